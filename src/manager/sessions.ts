import type { IncomingMessage } from 'node:http'

import { readCredentials, trustedCredential } from '../cookie/cookie.ts'
import { SessionStoreError } from '../errors/errors.ts'
import type { SessionEventName, SessionEvents } from '../events/events.ts'
import { resolveOptions } from '../options/option-table.ts'
import type { SessionsOptions } from '../options/options.ts'
import { Grants, nothingGranted, type GrantChanges } from '../privileges/grants.ts'
import { parseGrant, type GrantInput } from '../privileges/privileges.ts'
import { createDeployment, type Deployment } from '../session/deployment.ts'
import { addressOf, RequestSession } from '../session/request-session.ts'
import {
  activeSessions,
  activityOf,
  infoOf,
  type ActiveSession,
  type SessionInfo,
} from '../session/session-info.ts'
import { typeRules } from '../session/session-types.ts'
import type { Session } from '../session/session.ts'
import type { SessionStorage, StorageOf } from '../storage/storage-type.ts'
import { createStorageView, Storage } from '../storage/storage.ts'
import type { LoadOutcome } from '../store/session-store.ts'
import { readBearer } from '../tokens/bearer.ts'
import { openSession, type OpenedSession, type OpenInput } from './open-session.ts'
import { serverRequest, storedProcedure } from './server-session.ts'

const hex = '([\\da-f]{4})'
const idForm = new RegExp(`^([\\da-f]{8})-?${hex}-?${hex}-?${hex}-?([\\da-f]{12})$`, 'i')

/** Returns what is inside a `Sessions`, for the other parts of this package. */
export let deploymentOf: <S>(sessions: Sessions<S>) => Deployment

/**
 * The sessions of an app: their options, store and events. `session(sessions)` mounts it. Apps that
 * need none of its methods pass their options to `session()` instead.
 *
 * Methods that use the store reject with `SessionStoreError` when it fails, and those that take a
 * user name with `TypeError` when that is not text. User names are compared exactly; `''` has no
 * sessions.
 *
 * @example
 *   const sessions = new Sessions({ redis: new Redis(), roles: 'roles.json' })
 *   app.use(session(sessions))
 *   sessions.on('session:ended', ({ id, reason }) => console.log(id, reason))
 */
export class Sessions<S = SessionStorage> {
  static {
    deploymentOf = (sessions) => sessions.#deployment
  }

  readonly #deployment: Deployment

  /**
   * @throws {SessionOptionError} When an option is unknown, wrong or contradicts another.
   * @throws {SessionRolesError} When the roles file cannot be used.
   */
  constructor(options: SessionsOptions = {}) {
    this.#deployment = createDeployment(resolveOptions(options))
  }

  /** Returns what is known of any session, or `null` when there is no such session. */
  async info(id: string): Promise<SessionInfo | null> {
    const found = await this.#find(id)
    if (!found) return null
    const { record, ...activity } = found
    const { idleTimeoutMs } = record
    const { refreshMs } = this.#deployment.settings.policy.expiry
    return infoOf(record, activityOf({ ...activity, idleTimeoutMs }, refreshMs))
  }

  /**
   * Returns a copy of any session's storage, or `null` when there is no such session. Changes to
   * the copy do not reach the session.
   */
  async storage(id: string): Promise<StorageOf<S> | null> {
    const found = await this.#find(id)
    if (!found) return null
    const { settings, events } = this.#deployment
    const storage = new Storage(found.record.storage, {
      maxBytes: settings.policy.limits.storageBytes,
      onCorrupt: () => events.emit('session:storeError', { operation: 'load', id }),
    })
    return { ...createStorageView({ storage, changeableStorage: () => storage }) } as StorageOf<S>
  }

  /**
   * Returns a user's live sessions: the current one first, then the most recently active.
   *
   * @example
   *   ctx.body = await sessions.list(ctx.session.userName, { current: ctx.session })
   *
   * @param options `current` is the caller's own session, if any.
   */
  async list(
    userName: string,
    options: { readonly current?: { readonly id: string } | undefined } = {},
  ): Promise<ActiveSession[]> {
    checkUserName(userName)
    if (userName === '') return []
    const { store, settings } = this.#deployment
    return activeSessions(
      await store.list(userName, settings.policy),
      sessionIdIn(options.current?.id),
    )
  }

  /**
   * Ends any session. Once this resolves, no request in any process can open it.
   *
   * @param options With `userName`, ends the session only if it is that user's, so that a page for
   *   users' own sessions needs no further check.
   * @returns Whether the session was live, and that user's.
   */
  async terminate(
    id: string,
    options: { readonly userName?: string | undefined } = {},
  ): Promise<boolean> {
    const { userName } = options
    if (userName !== undefined) checkUserName(userName)
    const known = sessionIdIn(id)
    if (known === undefined || userName === '' || known === this.#deployment.storedProcedureId) {
      return false
    }
    const isEnded = await this.#deployment.store.destroy(known, userName)
    if (isEnded) this.#terminated([known])
    return isEnded
  }

  /**
   * Ends all sessions of a session's user except this one, such as `ctx.session`. Returns how many;
   * 0 when no user is signed in.
   */
  async terminateOthers(session: {
    readonly id: string
    readonly userName: string
    readonly actor?: string | null
  }): Promise<number> {
    if (typeof session.actor === 'string') {
      throw new TypeError('a nested context cannot end the sessions of its user')
    }
    // A real user may have the user name of the server's own code.
    const id = sessionIdIn(session.id)
    if (id === this.#deployment.storedProcedureId) return 0
    return this.#terminateAll(session.userName, id)
  }

  /**
   * Ends all sessions of a user, and returns how many. A session that signs in meanwhile may
   * survive; one whose sign-in already got its response does not.
   */
  async terminateAll(userName: string): Promise<number> {
    return this.#terminateAll(userName)
  }

  /**
   * Adds privileges and roles to all live sessions of a user, from their next request on. Their
   * secrets are not rotated, because no response could carry new cookies.
   *
   * @param input As for `session.setPrivileges()`, but without a user name.
   * @param options `replace` removes in the same step whatever is not given; the sessions stay
   *   signed in.
   * @returns The number of sessions.
   * @throws {TypeError} When the input is anything else, or names a user.
   */
  async setPrivileges(
    userName: string,
    input: GrantInput,
    options: { readonly replace?: boolean | undefined } = {},
  ): Promise<number> {
    const grant = parseGrant(input)
    if (grant.userName !== undefined) throw new TypeError('setPrivileges() takes no user name here')
    const { settings, onUndeclared } = this.#deployment
    const grants = new Grants(nothingGranted, settings.roles, onUndeclared)
    grants.add(grant)
    const { privileges, roles } = grants.granted
    const clears = options.replace === true
    return this.#grantAll(userName, { clears, userName, privileges, roles, signsIn: false })
  }

  /**
   * Removes all privileges, all roles and the user name from all live sessions of a user, from
   * their next request on. Ids, storage and idle timeouts stay: {@link terminateAll} ends the
   * sessions.
   *
   * @returns The number of sessions.
   */
  async clearPrivileges(userName: string): Promise<number> {
    return this.#grantAll(userName, {
      clears: true,
      userName: '',
      privileges: [],
      roles: [],
      signsIn: false,
    })
  }

  /**
   * Opens a remote session for a client that is not a browser, once its user has signed in. It ends
   * like any session, and its token with it.
   *
   * @example
   *   const { token } = await sessions.open({ userName: 'ann', applicationId: 'cli' })
   *   ctx.body = { token }
   *
   * @returns The session, and the token for `Authorization: Bearer`.
   * @throws {TypeError} Without the option `tokens`, or for wrong input.
   * @throws {SessionLimitError} When the user has reached `maxSessions`.
   */
  async open(input: OpenInput): Promise<OpenedSession<S>> {
    return openSession<S>(this.#deployment, input)
  }

  /**
   * Returns the session of the server's own code: one for all processes, which never ends. Its
   * storage and `use()` work as usual. Its user is `system`, and it has privileges only if
   * `privilegedTypes` allows. Call `save()` after changes outside of `use()`.
   */
  async storedProcedure(): Promise<Session<S>> {
    return storedProcedure<S>(this.#deployment)
  }

  /**
   * Runs code as a session: inside, {@link current} is that session, even after awaits and in timers
   * that the code starts. Afterwards `current` is what it was, even after a throw.
   *
   * @param tokenOrSession A token of `open()` or `createNestedToken()`, whose session is loaded,
   *   and committed unless the code throws; or a session, which the caller must commit.
   * @returns What the code returns.
   * @throws {SessionTokenError} When the token is not good, or its session has ended.
   */
  async run<T>(
    tokenOrSession: string | Session<S>,
    fn: (session: Session<S>) => T | Promise<T>,
  ): Promise<T> {
    const runAs = (session: Session<S>): Promise<T> =>
      this.#deployment.context.run(
        () => session as Session<never>,
        async () => fn(session),
      )
    if (typeof tokenOrSession !== 'string') return runAs(tokenOrSession)
    const bearer = { status: 'token', token: tokenOrSession } as const
    const request = new RequestSession<S>(this.#deployment, { ...serverRequest, bearer })
    await request.load()
    // Code for a user must not run for a guest, whatever `onStoreError` says.
    if (request.fault) throw request.fault
    const result = await runAs(request.session)
    await request.commit()
    return result
  }

  /**
   * The session of the running code: inside {@link run} and, with the option `asyncContext`, inside
   * every request; elsewhere `undefined`.
   *
   * @throws {SessionStoreError} When the request's session could not be loaded.
   */
  get current(): Session<S> | undefined {
    return this.#deployment.context.getStore()?.()
  }

  /**
   * Returns the session of a request that Koa does not handle, such as a WebSocket upgrade, by its
   * cookie or bearer token, or `null` without a live session. Counts as activity. Call `save()` to
   * commit: a change that needs a new cookie throws `ERR_SESSION_HEADERS_SENT`.
   *
   * Pages of other sites can open WebSockets too: check the `Origin` header.
   *
   * @param options `secure` is whether the request came over HTTPS, `ip` the client's address:
   *   behind a proxy the socket shows neither.
   */
  async fromRequest(
    req: IncomingMessage,
    options: { readonly secure?: boolean | undefined; readonly ip?: string | undefined } = {},
  ): Promise<Session<S> | null> {
    const { cookie } = this.#deployment.settings
    const { secure = 'encrypted' in req.socket, ip = req.socket.remoteAddress ?? '' } = options
    const request = new RequestSession<S>(this.#deployment, {
      ...serverRequest,
      credentials: readCredentials(req.headers.cookie, cookie, secure),
      bearer: this.#deployment.tokens
        ? readBearer(req.headersDistinct['authorization'] ?? [])
        : { status: 'none' },
      ip: addressOf(ip),
      header: (header) => String(req.headers[header.toLowerCase()] ?? ''),
    })
    await request.load()
    if (request.fault instanceof SessionStoreError) throw request.fault
    return request.isFound ? request.session : null
  }

  /** Adds a listener. An error that it throws is an uncaught exception. */
  on<Name extends SessionEventName>(
    name: Name,
    listener: (event: SessionEvents[Name]) => void,
  ): this {
    this.#deployment.events.on(name, listener)
    return this
  }

  /** Removes a listener of {@link on}. */
  off<Name extends SessionEventName>(
    name: Name,
    listener: (event: SessionEvents[Name]) => void,
  ): this {
    this.#deployment.events.off(name, listener)
    return this
  }

  /** Releases what this package has opened. A Redis client stays the app's. */
  async close(): Promise<void> {
    await this.#deployment.store.close()
  }

  /** Finds a live session, without counting as activity. */
  async #find(id: string): Promise<Extract<LoadOutcome, { status: 'live' }> | undefined> {
    const known = sessionIdIn(id)
    if (known === undefined) return undefined
    const { store, settings } = this.#deployment
    const found = await store.load(trustedCredential(known), settings.policy, false)
    return found?.status === 'live' ? found : undefined
  }

  async #terminateAll(userName: string, exceptId?: string): Promise<number> {
    checkUserName(userName)
    if (userName === '') return 0
    const { store, settings } = this.#deployment
    const sessions = await store.list(userName, settings.policy)
    const others = sessions.filter(({ id }) => id !== exceptId)
    const areEnded = await Promise.all(others.map(({ id }) => store.destroy(id, userName)))
    const ended = others.filter((_session, index) => areEnded[index]).map(({ id }) => id)
    this.#terminated(ended)
    return ended.length
  }

  async #grantAll(userName: string, grants: GrantChanges): Promise<number> {
    checkUserName(userName)
    if (userName === '') return 0
    const { store, settings } = this.#deployment
    const { policy, privilegedTypes } = settings
    const sessions = await store.list(userName, policy)
    const outcomes = await Promise.all(
      sessions
        .filter(({ type }) => privilegedTypes.has(type))
        .map(({ id, type }) => {
          // A remote session keeps the user that it was opened for.
          const changes = typeRules[type].user === 'kept' ? { ...grants, userName } : grants
          return store.commit(trustedCredential(id), { grants: changes, ownedBy: userName }, policy)
        }),
    )
    return outcomes.filter(({ status }) => status === 'committed').length
  }

  #terminated(ids: readonly string[]): void {
    const { events } = this.#deployment
    for (const id of ids) events.emit('session:ended', { id, reason: 'terminated' })
  }
}

/**
 * Returns an id in lower case with hyphens, given in any case with or without hyphens. Returns
 * `undefined` for other text, which must never become part of a key.
 */
export function sessionIdIn(text: unknown): string | undefined {
  const parts = typeof text === 'string' ? idForm.exec(text) : null
  return parts?.slice(1).join('-').toLowerCase()
}

function checkUserName(userName: unknown): asserts userName is string {
  if (typeof userName !== 'string') throw new TypeError('a user name must be text')
}
