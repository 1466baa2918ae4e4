import { inspect } from 'node:util'

import { clientCulture, clientUICulture, clientUtcOffset } from '../client/culture.ts'
import type { HeaderReader } from '../client/description.ts'
import { parseGrant, type GrantInput, type PrivilegeName } from '../privileges/privileges.ts'
import type { SessionStorage, StorageOf } from '../storage/storage-type.ts'
import { createStorageView } from '../storage/storage.ts'
import type { SessionType } from '../store/record.ts'
import type { TokenClaims } from '../tokens/claims.ts'
import type { LiveSession } from './live-session.ts'
import type { NestedTokenInput } from './nested-token.ts'
import { infoOf, type SessionInfo } from './session-info.ts'
import type { SessionState } from './session-state.ts'
import { typeRules } from './session-types.ts'

/** What Passport keeps of its user in a session. */
export interface PassportEntry {
  /** What the app's `serializeUser` has answered. */
  user?: unknown
}

/** Node's convention for callbacks: called once, with an error or without. */
export type SessionCallback = (error?: unknown) => void

/**
 * The session of one request, `ctx.session`: who is calling, what they may do, and a storage that
 * all requests of the session share.
 *
 * Changes are committed before the response is sent; see the README for the whole life of one.
 */
export class Session<S = SessionStorage> {
  readonly #live: LiveSession
  #storage: StorageOf<S> | undefined

  /** Sessions come from `ctx.session`. */
  constructor(live: LiveSession) {
    this.#live = live
    Object.freeze(this)
  }

  /**
   * A UUID given by the server, the same for the life of the session. Public: it may be logged and
   * listed, and knowing it opens nothing.
   */
  get id(): string {
    return this.#live.state.id
  }

  /** What kind of session it is. */
  get type(): SessionType {
    return this.#live.state.type
  }

  /** True until the session has been stored once. */
  get isNew(): boolean {
    return this.#live.state.isNew
  }

  /** Who is signed in; `''` for nobody. Given by {@link setPrivileges}. */
  get userName(): string {
    return this.#live.state.userName
  }

  /** The same as an object. */
  get user(): { readonly name: string } {
    return { name: this.userName }
  }

  /** Who acts for the user, in a nested context: a user name. `null` elsewhere. */
  get actor(): string | null {
    return this.token?.act?.sub ?? null
  }

  /** The claims of the token that this request came with, frozen; `null` without one. */
  get token(): TokenClaims | null {
    return this.#live.state.token?.claims ?? null
  }

  /** The application that the request's token was made for; `null` without one. */
  get applicationId(): string | null {
    return this.token?.client_id ?? null
  }

  /** What this server is called, by the option of this name. */
  get instanceName(): string {
    return this.#live.deployment.settings.instanceName
  }

  /** The code of this server, by the option of this name. */
  get serverCode(): string {
    return this.#live.deployment.settings.serverCode
  }

  /**
   * When the session ends if nothing more is requested: ISO 8601 with milliseconds, UTC. Follows
   * {@link idleTimeout} at once and never passes the absolute limit. The store may keep the session
   * `refreshSeconds` longer. `''` for the stored-procedure session, which never ends.
   */
  get expirationDate(): string {
    const { expiresAt } = this.#live.state.times
    return expiresAt === Infinity ? '' : new Date(expiresAt).toISOString()
  }

  /**
   * Minutes without a request after which the session ends, for this session only. From
   * `minIdleTimeout` (a lower value is raised to it) to 525 600; fractions are allowed.
   *
   * @default 60
   * @throws {TypeError} When set to more, to NaN, infinity or anything but a number.
   */
  get idleTimeout(): number {
    return this.#live.state.times.idleTimeout
  }

  set idleTimeout(minutes: number) {
    const { type, times } = this.#live.openState
    if (typeRules[type].user === 'server') {
      throw new TypeError('the stored-procedure session has no idle timeout')
    }
    times.idleTimeout = minutes
  }

  /**
   * Data that all requests of the session share, on every process. Looks like a plain object; holds
   * JSON. Each top-level key is stored on its own, so that parallel requests that change different
   * keys both win. See the README for what it takes and refuses.
   *
   * @throws {StorageValueError} When something that is no JSON is assigned.
   * @throws {StorageKeyError} When a name is `__proto__`, `constructor` or `prototype`, or
   *   malformed.
   * @throws {SessionEndedError} When it is changed after this request has ended the session.
   */
  get storage(): StorageOf<S> {
    this.#storage ??= createStorageView(this.#live) as StorageOf<S>
    return this.#storage
  }

  /**
   * `storage.passport` by another name: Passport keeps whom it has signed in there, as the `user`
   * of an object. It is no more than that: nobody is signed in to the session, and no guard lets
   * anybody through, until {@link setPrivileges} says so.
   *
   * Reading it answers `undefined` unless there is an object.
   *
   * @throws {StorageValueError} When set to what JSON cannot hold.
   */
  get passport(): PassportEntry | undefined {
    const entry: unknown = this.#live.state.storage.get('passport')
    return typeof entry === 'object' && entry !== null ? entry : undefined
  }

  set passport(entry: PassportEntry | undefined) {
    this.#live.openState.storage.set('passport', entry)
  }

  /** What is known of the session: a new plain object at each read. */
  get info(): SessionInfo {
    const { state } = this.#live
    const { id, type, ip, client } = state
    const { createdAt } = state.times
    return infoOf(
      { id, type, ip, client, createdAt, userName: this.userName },
      state.isPostponed ? 'postponed' : 'active',
    )
  }

  /**
   * The culture of this request's client: a BCP 47 tag such as `de-CH`, from the header
   * `X-Client-Culture`, else the best of `Accept-Language`. `null` when there is none or it is no
   * tag. In a nested context that of its token.
   */
  get clientCulture(): string | null {
    const { state } = this.#live
    if (state.isNested) return state.token?.claims.culture ?? null
    return clientCulture(headerOf(state))
  }

  /** The same for the texts that the client shows, from `X-Client-UI-Culture`. */
  get clientUICulture(): string | null {
    const { state } = this.#live
    if (state.isNested) return state.token?.claims.ui_culture ?? null
    return clientUICulture(headerOf(state))
  }

  /**
   * Minutes by which the clock of this request's client is ahead of UTC, such as 120 for UTC+02:00,
   * from the header `X-Client-UTC-Offset`. `null` when it is missing or no such number.
   */
  get clientUtcOffset(): number | null {
    const { state } = this.#live
    if (state.isNested) return state.token?.claims.utc_offset ?? null
    return clientUtcOffset(headerOf(state))
  }

  /** Whether the client is a browser or an application that the `applications` option calls `web`. */
  isWebClient(): boolean {
    return this.#live.state.clientKind === 'web'
  }

  /** Whether the client is an application that the `applications` option calls `desktop`. */
  isDesktopClient(): boolean {
    return this.#live.state.clientKind === 'desktop'
  }

  /** Whether the client is neither. */
  isNotWebOrDesktopClient(): boolean {
    return this.#live.state.clientKind === 'other'
  }

  /**
   * Whether a privilege is held: directly, through a role, through what another one includes, or
   * lent by {@link promote}.
   *
   * @param name Privilege name in any case.
   */
  hasPrivilege(name: PrivilegeName): boolean {
    const { state } = this.#live
    if (typeof name !== 'string' || !state.isPrivileged) return false
    return state.grants.has(name) || state.promotions.has(name)
  }

  /**
   * Adds privileges and roles, and says who is signed in. Names that the roles file does not
   * declare are left out, with one process warning each.
   *
   * Gaining anything, or another `userName`, gives the cookie a new secret, and every earlier value
   * opens nothing from then on. A `userName` other than the present, non-empty one ends this
   * session and starts a new one with a new id, an empty storage, and only what this call grants.
   *
   * @param input `'a'`, `'a, b'`, `['a', 'b']`, or `{ privileges?, roles?, userName? }` with these
   *   forms.
   * @returns False where sessions of this type have no privileges, which nothing then changes.
   * @throws {TypeError} When the argument is anything else, or a name in an array has a comma.
   * @throws {SessionEndedError} When this request has ended the session.
   */
  setPrivileges(input: GrantInput): boolean {
    const grant = parseGrant(input)
    const { grants, isGrantable, type, userName } = this.#live.openState
    if (!isGrantable) return false
    const { user } = typeRules[type]
    if (user === 'kept' && (grant.userName ?? userName) !== userName) {
      throw new TypeError('a remote session keeps the user that it was opened for')
    }
    if (user === 'server' && grant.userName !== undefined) {
      throw new TypeError("the stored-procedure session is no user's")
    }
    if (grants.isForAnotherUser(grant)) this.#live.switchUser()
    this.#live.state.grants.add(grant)
    return true
  }

  /**
   * All privileges, roles and includes expanded, in the declared spelling, none twice. What
   * {@link promote} lends is not among them.
   *
   * @returns A new array.
   */
  getPrivileges(): PrivilegeName[] {
    const { state } = this.#live
    return state.isPrivileged ? ([...state.grants.held.values()] as PrivilegeName[]) : []
  }

  /**
   * Takes back all privileges, all roles and the user name. Id, storage and idle timeout stay: to
   * sign somebody out, end the session with `ctx.session = null`.
   *
   * @returns False where sessions of this type have no privileges.
   * @throws {SessionEndedError} When this request has ended the session.
   */
  clearPrivileges(): boolean {
    const state = this.#live.openState
    if (!state.isGrantable) return false
    state.grants.clear(typeRules[state.type].user === 'kept')
    return true
  }

  /** Whether the session has no privilege. */
  isGuest(): boolean {
    const { state } = this.#live
    return !state.isPrivileged || state.grants.held.size === 0
  }

  /**
   * Lends a declared privilege to the rest of this request: never stored, not in
   * {@link getPrivileges}, unseen by parallel requests.
   *
   * @param name Privilege name in any case.
   * @returns An id for {@link demote}, larger than every earlier one; 0 when the name is not
   *   declared or lent already.
   * @throws {SessionEndedError} When this request has ended the session.
   */
  promote(name: PrivilegeName): number {
    const state = this.#live.openState
    if (typeof name !== 'string' || !state.isPrivileged) return 0
    return state.promotions.promote(name)
  }

  /**
   * Takes back what {@link promote} lent. An unknown id does nothing.
   *
   * @param id What `promote()` answered.
   */
  demote(id: number): void {
    this.#live.state.promotions.demote(id)
  }

  /**
   * Runs a block that nobody else's block on this session runs beside, on any process. It sees the
   * latest committed values; what it changes is committed as one when it ends, and discarded when
   * it throws. Changes from before the block are committed first. Waiters take turns. A block
   * within a block runs at once, as part of the outer one.
   *
   * Keep blocks short. Only other blocks wait: plain changes of other requests still merge.
   *
   * @example
   *   const count = await ctx.session.use((storage) => {
   *     storage.count = (storage.count ?? 0) + 1
   *     return storage.count
   *   })
   *
   * @param block Gets `session.storage`.
   * @returns What the block returns.
   * @throws {SessionEndedError} When the session has ended meanwhile.
   * @throws {SessionLockTimeoutError} When its turn did not come in `lockTimeoutMs`, or the process
   *   stood still for so long that it has lost its turn. Nothing of the block is stored then.
   * @throws {SessionHeadersSentError} When it needs a cookie that the client cannot be given.
   * @throws {StorageValueError} When what it has put into a stored object is no JSON.
   * @throws {StorageSizeError} When the storage would become larger than `limits` allows.
   * @throws {SessionStoreError} When the store fails.
   */
  use<T>(block: (storage: StorageOf<S>) => T | Promise<T>): Promise<T> {
    return this.#live.use(() => block(this.storage))
  }

  /**
   * Commits all changes now, and stores a new session even without any. Most apps never need this:
   * it is for streams, and for libraries that ask for it.
   *
   * @param callback Called instead of rejecting.
   * @throws {SessionEndedError} When the session has ended meanwhile.
   * @throws {SessionLimitError} When it signs somebody in who has as many sessions as `maxSessions`
   *   allows.
   * @throws {SessionHeadersSentError} When it needs a cookie that the client cannot be given.
   * @throws {StorageValueError} When what was put into a stored object is no JSON.
   * @throws {StorageSizeError} When the storage would become larger than `limits` allows.
   * @throws {SessionStoreError} When the store fails.
   */
  save(callback?: SessionCallback): Promise<void> {
    return settle(this.#live.save(), callback)
  }

  /**
   * Drops uncommitted changes and reads the session again.
   *
   * @throws {SessionEndedError} When the session has ended meanwhile.
   * @throws {SessionStoreError} When the store fails.
   */
  reload(): Promise<void> {
    return this.#live.reload()
  }

  /**
   * Ends the session now, in the store too, and clears the cookie. `ctx.session` is a new guest
   * session from then on; this object takes no more changes.
   *
   * @throws {SessionStoreError} When the store fails.
   */
  destroy(): Promise<void> {
    return this.#live.destroy()
  }

  /**
   * Commits all changes and gives the cookie a new secret; id and data stay. Gaining privileges
   * does the same by itself.
   *
   * @param callback Called instead of rejecting.
   * @throws {SessionEndedError} When the session has ended meanwhile.
   * @throws {SessionStoreError} When the store fails.
   */
  regenerate(callback?: SessionCallback): Promise<void> {
    return settle(this.#live.regenerate(), callback)
  }

  /**
   * Counts as activity, as a request does: for sockets and streams that live longer than one.
   *
   * @throws {SessionEndedError} When the session has ended meanwhile.
   * @throws {SessionStoreError} When the store fails.
   */
  touch(): Promise<void> {
    return this.#live.touch()
  }

  /**
   * Notes that the client suspends, such as a phone that puts the app away: until its next request
   * the session counts as `postponed`. It expires as ever. A session that is not stored stays so.
   *
   * @throws {SessionEndedError} When the session has ended meanwhile.
   * @throws {SessionStoreError} When the store fails.
   */
  postpone(): Promise<void> {
    return this.#live.postpone()
  }

  /**
   * Makes a token for another user within this session: `Authorization: Bearer` with it, or
   * `sessions.run()`, sees this session, its storage too, as that user's, with exactly the
   * privileges and roles that are named here. It keeps the culture of this request, names who acts
   * (RFC 8693), and dies with the session. What this request has changed is committed first.
   *
   * @param input For whom, and with what.
   * @returns The token. Whoever has it is let in: it is for its user alone, and belongs in no log.
   * @throws {TypeError} Without the option `tokens`, for wrong input, or three levels deep.
   * @throws {SessionEndedError} When the session has ended meanwhile.
   * @throws {SessionStoreError} When the store fails.
   */
  createNestedToken(input: NestedTokenInput): Promise<string> {
    return this.#live.createNestedToken(input)
  }

  /**
   * Makes a one-time token, by which another browser joins this session with {@link restore}: for a
   * link in a mail, or a code on another device. It dies with the session, and when the cookie gets
   * a new secret. What this request has changed is committed first.
   *
   * Whoever has it first gets in: it belongs in the body of a POST, not in a GET that link scanners
   * follow.
   *
   * @param lifespan Seconds; raised to 10. By default the session's idle timeout.
   * @returns 64 characters of base64url.
   * @throws {TypeError} When the lifespan is no number of seconds, and in a context that is not the
   *   session's own.
   * @throws {SessionEndedError} When the session has ended meanwhile.
   * @throws {SessionStoreError} When the store fails.
   */
  createOTP(lifespan?: number): Promise<string> {
    return this.#live.createOTP(lifespan)
  }

  /**
   * Goes over to the session that has made a one-time token, with a cookie of its own beside the
   * first. The session that this request came with ends; what the request had changed is dropped.
   *
   * @param otp What `createOTP()` answered. Anybody's text.
   * @returns False, and nothing has changed, when it is used, expired or unknown, or its session
   *   has ended.
   * @throws {SessionHeadersSentError} When the client cannot be given a cookie.
   * @throws {SessionStoreError} When the store fails.
   */
  restore(otp: string): Promise<boolean> {
    return this.#live.restore(otp)
  }

  /** What may be shown of the session: no secret, no storage. */
  toJSON(): Record<string, unknown> {
    const { id, type, userName, expirationDate, idleTimeout } = this
    const creationDateTime = new Date(this.#live.state.times.createdAt).toISOString()
    const privileges = this.getPrivileges()
    const actor = this.actor === null ? {} : { actor: this.actor }
    const dates = { creationDateTime, expirationDate, idleTimeout }
    return { id, type, userName, ...actor, privileges, ...dates }
  }
}

function headerOf({ origin }: SessionState): HeaderReader {
  return (name) => origin.request.header(name)
}

Object.defineProperty(Session.prototype, inspect.custom, {
  value(this: Session, _depth: number, options: object): string {
    return `Session ${inspect(this.toJSON(), options)}`
  },
})
seal(Session.prototype)

/**
 * Makes assigning anything but a settable member throw, in sloppy code too: people come from
 * packages where `ctx.session.user = …` was the way. The check sits at the far end of the prototype
 * chain, so that using the members costs nothing.
 */
function seal(prototype: object): void {
  const members = Object.getOwnPropertyDescriptors(prototype)
  for (const [name, member] of Object.entries(members)) {
    if (member.set) continue
    // Methods get a getter: sloppy code would not notice that an assignment to one is refused.
    const accessor = member.get ? member : { get: (): unknown => member.value }
    Object.defineProperty(prototype, name, {
      ...accessor,
      set() {
        throw new TypeError(`session.${name} is read-only: keep data in session.storage`)
      },
    })
  }
  Object.setPrototypeOf(
    prototype,
    new Proxy(Object.prototype, {
      set(_target, name) {
        throw new TypeError(
          `a session takes no property "${String(name)}": keep data in session.storage`,
        )
      },
    }),
  )
}

async function settle(work: Promise<void>, callback?: SessionCallback): Promise<void> {
  if (!callback) return work
  try {
    await work
  } catch (error) {
    callback(error)
    return
  }
  callback()
}
