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
  /** What the app's `serializeUser` returned. */
  user?: unknown
}

/** Node's convention for callbacks: called once, with an error or without. */
export type SessionCallback = (error?: unknown) => void

/**
 * The session of one request, `ctx.session`: who the caller is, what they may do, and a storage
 * that all requests of the session share.
 *
 * Changes are committed before the response is sent. Every method that returns a promise rejects
 * with `SessionStoreError` when the store fails and, except for `destroy()` and `restore()`, with
 * `SessionEndedError` when the session has ended meanwhile.
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
   * A UUID from the server, the same for the life of the session. It is public: logs and lists may
   * have it, and it does not open the session.
   */
  get id(): string {
    return this.#live.state.id
  }

  /** Who or what is behind the session. */
  get type(): SessionType {
    return this.#live.state.type
  }

  /** True until the session is first stored. */
  get isNew(): boolean {
    return this.#live.state.isNew
  }

  /** The signed-in user, or `''`. Set by {@link setPrivileges}. */
  get userName(): string {
    return this.#live.state.userName
  }

  /** The same name as an object. */
  get user(): { readonly name: string } {
    return { name: this.userName }
  }

  /** In a nested context, the name of the user who acts for `userName`; otherwise `null`. */
  get actor(): string | null {
    return this.token?.act?.sub ?? null
  }

  /** The frozen claims of the request's token; `null` without one. */
  get token(): TokenClaims | null {
    return this.#live.state.token?.claims ?? null
  }

  /** The application for which the request's token was issued; `null` without one. */
  get applicationId(): string | null {
    return this.token?.client_id ?? null
  }

  /** The option `instanceName`. */
  get instanceName(): string {
    return this.#live.deployment.settings.instanceName
  }

  /** The option `serverCode`. */
  get serverCode(): string {
    return this.#live.deployment.settings.serverCode
  }

  /**
   * When the session ends without another request: ISO 8601 with milliseconds, UTC. Follows
   * {@link idleTimeout} at once and never exceeds the absolute limit. The store may keep the session
   * up to `refreshSeconds` longer. `''` for the stored-procedure session, which never ends.
   */
  get expirationDate(): string {
    const { expiresAt } = this.#live.state.times
    return expiresAt === Infinity ? '' : new Date(expiresAt).toISOString()
  }

  /**
   * Minutes without a request after which this session ends. From `minIdleTimeout`, to which lower
   * values are raised, to 525 600; fractions are allowed.
   *
   * @default 60
   * @throws {TypeError} When set to more, to NaN or infinity, or to anything but a number.
   */
  get idleTimeout(): number {
    return this.#live.state.times.idleTimeout
  }

  set idleTimeout(minutes: number) {
    const { type, times } = this.#live.ownState
    if (typeRules[type].user === 'server') {
      throw new TypeError('the stored-procedure session has no idle timeout')
    }
    times.idleTimeout = minutes
  }

  /**
   * Data that all requests of the session share, in all processes: a plain object of JSON values.
   * Each top-level key is stored on its own, so parallel requests that change different keys do not
   * overwrite each other. The README lists what storage takes.
   *
   * @throws {StorageValueError} When an assigned value is not JSON.
   * @throws {StorageKeyError} When a name is malformed, `__proto__`, `constructor` or `prototype`.
   * @throws {SessionEndedError} When it is changed after this request has ended the session.
   */
  get storage(): StorageOf<S> {
    this.#storage ??= createStorageView(this.#live) as StorageOf<S>
    return this.#storage
  }

  /**
   * `storage.passport`, where Passport keeps its signed-in user as `user`. Does not sign anyone in
   * to the session: guards let a user through only after {@link setPrivileges}.
   *
   * Returns `undefined` unless the value is an object.
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
   * The culture of the client as a BCP 47 tag such as `de-CH`, from the header `X-Client-Culture`,
   * else the best of `Accept-Language`. `null` without a valid tag. In a nested context, the
   * token's.
   */
  get clientCulture(): string | null {
    const { state } = this.#live
    if (state.isNested) return state.token?.claims.culture ?? null
    return clientCulture(headerOf(state))
  }

  /** The culture of the client's texts, likewise, from the header `X-Client-UI-Culture`. */
  get clientUICulture(): string | null {
    const { state } = this.#live
    if (state.isNested) return state.token?.claims.ui_culture ?? null
    return clientUICulture(headerOf(state))
  }

  /**
   * Minutes by which the client's clock is ahead of UTC, such as 120 for UTC+02:00, from the header
   * `X-Client-UTC-Offset`. `null` when that is missing or not valid. In a nested context, the
   * token's.
   */
  get clientUtcOffset(): number | null {
    const { state } = this.#live
    if (state.isNested) return state.token?.claims.utc_offset ?? null
    return clientUtcOffset(headerOf(state))
  }

  /** Whether the client is a browser, or an application that the option `applications` calls `web`. */
  isWebClient(): boolean {
    return this.#live.state.clientKind === 'web'
  }

  /** Whether the client is an application that the option `applications` calls `desktop`. */
  isDesktopClient(): boolean {
    return this.#live.state.clientKind === 'desktop'
  }

  /** Whether the client is neither. */
  isNotWebOrDesktopClient(): boolean {
    return this.#live.state.clientKind === 'other'
  }

  /**
   * Whether the session has a privilege: directly, through a role, included in another privilege,
   * or lent by {@link promote}. The name may be in any case.
   */
  hasPrivilege(name: PrivilegeName): boolean {
    const { state } = this.#live
    if (typeof name !== 'string' || !state.isPrivileged) return false
    return state.grants.has(name) || state.promotions.has(name)
  }

  /**
   * Adds privileges and roles, and sets the signed-in user. Omits names that the roles file does
   * not declare, with one process warning each.
   *
   * Any gain, or a different `userName`, rotates the cookie's secret: earlier values no longer open
   * the session. A `userName` that replaces another user's ends this session, and starts a new one
   * with a new id, an empty storage, and only what this call grants.
   *
   * @param input `'a'`, `'a, b'`, `['a', 'b']`, or `{ privileges?, roles?, userName? }` with these
   *   forms.
   * @returns False, with nothing changed, where sessions of this type cannot have privileges.
   * @throws {TypeError} When the input is anything else, or a name in an array has a comma.
   * @throws {SessionEndedError} When this request has ended the session.
   */
  setPrivileges(input: GrantInput): boolean {
    const grant = parseGrant(input)
    const { grants, isGrantable, type, userName } = this.#live.ownState
    if (!isGrantable) return false
    const { user } = typeRules[type]
    if (user === 'kept' && (grant.userName ?? userName) !== userName) {
      throw new TypeError('a remote session keeps the user that it was opened for')
    }
    if (user === 'server' && grant.userName !== undefined) {
      throw new TypeError('the stored-procedure session cannot have a user')
    }
    if (grants.isForAnotherUser(grant)) this.#live.switchUser()
    this.#live.state.grants.add(grant)
    return true
  }

  /**
   * Returns all privileges in a new array, roles and includes expanded, once each in declared
   * spelling. Omits what {@link promote} lends.
   */
  getPrivileges(): PrivilegeName[] {
    const { state } = this.#live
    return state.isPrivileged ? ([...state.grants.held.values()] as PrivilegeName[]) : []
  }

  /**
   * Removes all privileges, all roles and the user name. Id, storage and idle timeout stay: to sign
   * a user out, end the session with `ctx.session = null`.
   *
   * @returns False where sessions of this type cannot have privileges.
   * @throws {SessionEndedError} When this request has ended the session.
   */
  clearPrivileges(): boolean {
    const state = this.#live.ownState
    if (!state.isGrantable) return false
    state.grants.clear(typeRules[state.type].user === 'kept')
    return true
  }

  /**
   * Whether somebody is signed in: the session has a user name or a privilege, or is remote. The
   * guards ask the same; {@link isGuest} asks for privileges alone.
   */
  isSignedIn(): boolean {
    return this.#live.state.isSignedIn
  }

  /** Whether the session has no privileges; {@link isSignedIn} asks whether somebody is signed in. */
  isGuest(): boolean {
    const { state } = this.#live
    return !state.isPrivileged || state.grants.held.size === 0
  }

  /**
   * Lends a declared privilege to the rest of this request. It is never stored, not in
   * {@link getPrivileges}, and invisible to parallel requests.
   *
   * @param name A privilege name in any case.
   * @returns An id for {@link demote}, larger than every earlier one; 0 when the privilege is not
   *   declared, or already lent.
   * @throws {SessionEndedError} When this request has ended the session.
   */
  promote(name: PrivilegeName): number {
    const state = this.#live.openState
    if (typeof name !== 'string' || !state.isPrivileged) return 0
    return state.promotions.promote(name)
  }

  /** Takes back what {@link promote} lent under this id. Ignores unknown ids. */
  demote(id: number): void {
    this.#live.state.promotions.demote(id)
  }

  /**
   * Runs a block that excludes all other blocks on this session, in all processes. The block sees
   * the latest committed values. Its changes are committed together when it ends, and discarded
   * when it throws. Earlier changes of the request are committed first. Waiting blocks take turns;
   * a block within a block is part of it.
   *
   * Keep blocks short. Changes outside of blocks do not wait: they still merge.
   *
   * @example
   *   const count = await ctx.session.use((storage) => {
   *     storage.count = (storage.count ?? 0) + 1
   *     return storage.count
   *   })
   *
   * @param block Receives `session.storage`.
   * @returns What the block returns.
   * @throws {SessionLockTimeoutError} When its turn did not come within `lockTimeoutMs`, or the
   *   process stood still for so long that it lost the lock. Then nothing of the block is stored.
   * @throws {SessionHeadersSentError} When it needs a cookie that cannot be set.
   * @throws {StorageValueError} When a stored object holds a value that is not JSON.
   * @throws {StorageSizeError} When the storage would exceed `limits`.
   */
  use<T>(block: (storage: StorageOf<S>) => T | Promise<T>): Promise<T> {
    return this.#live.use(() => block(this.storage))
  }

  /**
   * Commits all changes now, and stores a new session even without changes. For streams, and for
   * libraries that call it; most apps never need it.
   *
   * @param callback Called instead of a rejection.
   * @throws {SessionLimitError} When it signs in a user who has reached `maxSessions`.
   * @throws {SessionHeadersSentError} When it needs a cookie that cannot be set.
   * @throws {StorageValueError} When a stored object holds a value that is not JSON.
   * @throws {StorageSizeError} When the storage would exceed `limits`.
   */
  save(callback?: SessionCallback): Promise<void> {
    return settle(this.#live.save(), callback)
  }

  /** Discards uncommitted changes and reads the session again. */
  reload(): Promise<void> {
    return this.#live.reload()
  }

  /**
   * Ends the session now, in the store too, and clears the cookie. `ctx.session` is then a new
   * guest session; this object takes no more changes.
   */
  destroy(): Promise<void> {
    return this.#live.destroy()
  }

  /**
   * Commits all changes and rotates the cookie's secret; id and data stay. Gaining privileges also
   * does this.
   *
   * @param callback Called instead of a rejection.
   */
  regenerate(callback?: SessionCallback): Promise<void> {
    return settle(this.#live.regenerate(), callback)
  }

  /** Counts as activity, like a request: for sockets and streams that outlive their request. */
  touch(): Promise<void> {
    return this.#live.touch()
  }

  /**
   * Records that the client suspends, such as an app on a phone: until its next request the session
   * counts as `postponed`. It still expires. Does nothing for a session that is not stored.
   */
  postpone(): Promise<void> {
    return this.#live.postpone()
  }

  /**
   * Makes a token for another user within this session. A request with `Authorization: Bearer`, or
   * `sessions.run()`, then uses this session and its storage as that user, with only the given
   * privileges and roles. The token keeps this request's culture, names the acting user (RFC 8693),
   * and ends with the session. Commits this request's changes first.
   *
   * @returns The token. It admits anyone who has it: give it to its user only, and keep it out of
   *   logs.
   * @throws {TypeError} Without the option `tokens`, for wrong input, or beyond three levels.
   */
  createNestedToken(input: NestedTokenInput): Promise<string> {
    return this.#live.createNestedToken(input)
  }

  /**
   * Makes a one-time token, by which another browser joins this session with {@link restore}: for a
   * link in a mail, or a code on another device. It ends with the session, and when the cookie's
   * secret is rotated. Commits this request's changes first.
   *
   * The first to present it gets in: accept it in the body of a POST, not in a GET that link
   * scanners follow.
   *
   * @param lifespan Seconds, at least 10, to which lower values are raised. By default the idle
   *   timeout.
   * @returns 64 characters of base64url.
   * @throws {TypeError} When the lifespan is not a number or exceeds a year, or in a nested context
   *   or the stored-procedure session.
   */
  createOTP(lifespan?: number): Promise<string> {
    return this.#live.createOTP(lifespan)
  }

  /**
   * Joins the session that made a one-time token, with a secret of its own alongside the others.
   * The request's own session ends, and its uncommitted changes are lost.
   *
   * @param otp What `createOTP()` returned; untrusted text.
   * @returns False, with nothing changed, when the token is used, expired or unknown, or its
   *   session has ended.
   * @throws {SessionHeadersSentError} When no cookie can be set, such as after the headers are
   *   sent.
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
 * Makes every assignment but to settable members throw, even in sloppy code: other packages take
 * `ctx.session.user = …`. The check is at the far end of the prototype chain, so that using the
 * members costs nothing.
 */
function seal(prototype: object): void {
  const members = Object.getOwnPropertyDescriptors(prototype)
  for (const [name, member] of Object.entries(members)) {
    if (member.set) continue
    // Methods become getters: sloppy code would ignore a refused assignment to a method.
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
          `a session has no property "${String(name)}": keep data in session.storage`,
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
