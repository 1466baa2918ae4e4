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
import { storedProcedureId, typeRules } from '../session/session-types.ts'
import type { Session } from '../session/session.ts'
import type { SessionStorage, StorageOf } from '../storage/storage-type.ts'
import { createStorageView, Storage } from '../storage/storage.ts'
import type { LoadOutcome } from '../store/session-store.ts'
import { readBearer } from '../tokens/bearer.ts'
import { openSession, type OpenedSession, type OpenInput } from './open-session.ts'
import { serverRequest, storedProcedure } from './server-session.ts'

const hex = '([\\da-f]{4})'
const idForm = new RegExp(`^([\\da-f]{8})-?${hex}-?${hex}-?${hex}-?([\\da-f]{12})$`, 'i')

/**
 * What a `Sessions` has inside, for the other parts of this package.
 *
 * @param sessions Any.
 */
export let deploymentOf: <S>(sessions: Sessions<S>) => Deployment

/**
 * The sessions of an app: their options, their store and their events. `session(sessions)` mounts
 * it. Apps that need none of its methods give their options to `session()` itself.
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
   * @param options Checked at once.
   * @throws {SessionOptionError} When an option is unknown, wrong or contradicts another.
   * @throws {SessionRolesError} When the roles file cannot be used.
   */
  constructor(options: SessionsOptions = {}) {
    this.#deployment = createDeployment(resolveOptions(options))
  }

  /**
   * What is known of any session.
   *
   * @param id Of the session.
   * @returns `null` when there is no such session.
   * @throws {SessionStoreError} When the store fails.
   */
  async info(id: string): Promise<SessionInfo | null> {
    const found = await this.#find(id)
    if (!found) return null
    const { record, ...activity } = found
    const { idleTimeoutMs } = record
    const { refreshMs } = this.#deployment.settings.policy.expiry
    return infoOf(record, activityOf({ ...activity, idleTimeoutMs }, refreshMs))
  }

  /**
   * A copy of any session's storage, for the server's own use: changing it changes nothing.
   *
   * @param id Of the session.
   * @returns `null` when there is no such session.
   * @throws {SessionStoreError} When the store fails.
   */
  async storage(id: string): Promise<StorageOf<S> | null> {
    const found = await this.#find(id)
    if (!found) return null
    const { settings, events } = this.#deployment
    const storage = new Storage(found.record.storage, {
      maxBytes: settings.limits.storageBytes,
      onCorrupt: () => events.emit('session:storeError', { operation: 'load', id }),
    })
    return { ...createStorageView({ storage, changeableStorage: () => storage }) } as StorageOf<S>
  }

  /**
   * A user's live sessions: the current one first, then the most recently active.
   *
   * @example
   *   ctx.body = await sessions.list(ctx.session.userName, { current: ctx.session })
   *
   * @param userName Compared exactly; `''` has none.
   * @param options `current` is the session that asks, if one does.
   * @throws {TypeError} When the user name is no text.
   * @throws {SessionStoreError} When the store fails.
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
   * Ends any session. From the moment this resolves no request on any process gets it.
   *
   * @param id Of the session.
   * @param options `userName` ends it only if it is that user's, so that a page for one's own
   *   sessions needs no check of its own.
   * @returns Whether it was live, and that user's.
   * @throws {TypeError} When the user name is no text.
   * @throws {SessionStoreError} When the store fails.
   */
  async terminate(
    id: string,
    options: { readonly userName?: string | undefined } = {},
  ): Promise<boolean> {
    const { userName } = options
    if (userName !== undefined) checkUserName(userName)
    const known = sessionIdIn(id)
    if (known === undefined || userName === '' || known === storedProcedureId) return false
    const isEnded = await this.#deployment.store.destroy(known, userName)
    if (isEnded) this.#terminated([known])
    return isEnded
  }

  /**
   * Ends all sessions of a session's user but this one.
   *
   * @param session The one that stays, such as `ctx.session`.
   * @returns How many have ended; 0 when nobody is signed in.
   * @throws {TypeError} When the user name is no text.
   * @throws {SessionStoreError} When the store fails.
   */
  async terminateOthers(session: {
    readonly id: string
    readonly userName: string
  }): Promise<number> {
    // The user of the server's own code may be somebody's name too.
    const id = sessionIdIn(session.id)
    if (id === storedProcedureId) return 0
    return this.#terminateAll(session.userName, id)
  }

  /**
   * Ends all sessions of a user. One that is signing in at that moment may outlive it; one whose
   * sign-in was answered before does not.
   *
   * @param userName Compared exactly; `''` has none.
   * @returns How many have ended.
   * @throws {TypeError} When the user name is no text.
   * @throws {SessionStoreError} When the store fails.
   */
  async terminateAll(userName: string): Promise<number> {
    return this.#terminateAll(userName)
  }

  /**
   * Adds privileges and roles to all live sessions of a user, from their next request on. Their
   * cookies stay as they are: there is no response that could bring them new ones.
   *
   * @param userName Compared exactly; `''` has no sessions.
   * @param input As `session.setPrivileges()` takes it, but without a user name.
   * @param options `replace` takes back in the same step whatever is not given here; the sessions
   *   stay signed in.
   * @returns How many sessions.
   * @throws {TypeError} When the input is something else, or names a user.
   * @throws {SessionStoreError} When the store fails.
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
   * Takes back all privileges, all roles and the user name from all live sessions of a user, from
   * their next request on. Ids, storage and idle timeouts stay: {@link terminateAll} ends them.
   *
   * @param userName Compared exactly; `''` has no sessions.
   * @returns How many sessions.
   * @throws {TypeError} When the user name is no text.
   * @throws {SessionStoreError} When the store fails.
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
   * Opens a remote session for a client that is no browser, which somebody has signed in to by now.
   * It ends as all sessions do, and its token with it.
   *
   * @example
   *   const { token } = await sessions.open({ userName: 'ann', applicationId: 'cli' })
   *   ctx.body = { token }
   *
   * @param input Whose it is, and what the client says of itself.
   * @returns The session, and the token for `Authorization: Bearer`.
   * @throws {TypeError} Without the option `tokens`, or for wrong input.
   * @throws {SessionLimitError} When the user has as many sessions as `maxSessions` allows.
   * @throws {SessionStoreError} When the store fails.
   */
  async open(input: OpenInput): Promise<OpenedSession<S>> {
    return openSession<S>(this.#deployment, input)
  }

  /**
   * The session of the server's own code: one for all processes, which never ends. Its storage and
   * `use()` are real; its user is `system`, and it has no privileges unless `privilegedTypes` says
   * so. Call `save()` for changes outside of `use()`.
   *
   * @throws {SessionStoreError} When the store fails.
   */
  async storedProcedure(): Promise<Session<S>> {
    return storedProcedure<S>(this.#deployment)
  }

  /**
   * Runs code as a session: inside, {@link current} is that session, also after awaits and in timers
   * that it starts; afterwards, also after a throw, it is what it was.
   *
   * @param tokenOrSession A token of `open()` or `createNestedToken()`, whose session is loaded
   *   and, unless the code throws, committed afterwards; or a session, which stays with whoever has
   *   it.
   * @param fn The code.
   * @returns What the code returns.
   * @throws {SessionTokenError} When the token is not good, or its session has ended.
   * @throws {SessionStoreError} When the store fails.
   */
  async run<T>(
    tokenOrSession: string | Session<S>,
    fn: (session: Session<S>) => T | Promise<T>,
  ): Promise<T> {
    const { context } = this.#deployment
    if (typeof tokenOrSession !== 'string') {
      const session = tokenOrSession
      return context.run(
        () => session as Session<never>,
        async () => fn(session),
      )
    }
    const request = new RequestSession<S>(this.#deployment, {
      ...serverRequest,
      bearer: { status: 'token', token: tokenOrSession },
    })
    await request.load()
    // Code that runs for a user never runs for a guest, whatever `onStoreError` says.
    if (request.fault) throw request.fault
    const { session } = request
    const result = await context.run(
      () => session as Session<never>,
      async () => fn(session),
    )
    await request.commit()
    return result
  }

  /**
   * The session of the running code: inside of {@link run}, and with the option `asyncContext`
   * inside of every request; `undefined` elsewhere.
   *
   * @throws {SessionStoreError} When the request's session could not be loaded.
   */
  get current(): Session<S> | undefined {
    return this.#deployment.context.getStore()?.()
  }

  /**
   * The session of a request that Koa does not see, such as the upgrade to a WebSocket, by its
   * cookie or bearer token. It counts as activity. Nothing is committed by itself: call `save()`.
   * What needs a new cookie throws `ERR_SESSION_HEADERS_SENT`.
   *
   * Pages of other sites can open WebSockets too: check the `Origin` header.
   *
   * @param req The request.
   * @param options `secure` says whether it came over HTTPS, `ip` the client's address: behind a
   *   proxy the socket knows neither.
   * @returns `null` when the request has no live session; none is ever created.
   * @throws {SessionStoreError} When the store fails.
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

  /**
   * Listens to an event.
   *
   * @param name The event.
   * @param listener Called with the event's facts. What it throws is an uncaught exception.
   */
  on<Name extends SessionEventName>(
    name: Name,
    listener: (event: SessionEvents[Name]) => void,
  ): this {
    this.#deployment.events.on(name, listener)
    return this
  }

  /** Takes a listener of {@link on} away. */
  off<Name extends SessionEventName>(
    name: Name,
    listener: (event: SessionEvents[Name]) => void,
  ): this {
    this.#deployment.events.off(name, listener)
    return this
  }

  /** Releases what it has opened itself. A Redis client that was passed in stays the app's. */
  async close(): Promise<void> {
    await this.#deployment.store.close()
  }

  /** Finds any live session; it is no activity. */
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
 * The id of a session, as sessions have it: in lower case and with hyphens.
 *
 * @param text An id in any case, with or without hyphens.
 * @returns `undefined` for what is no id, and must become part of no key.
 */
export function sessionIdIn(text: unknown): string | undefined {
  const parts = typeof text === 'string' ? idForm.exec(text) : null
  return parts?.slice(1).join('-').toLowerCase()
}

function checkUserName(userName: unknown): asserts userName is string {
  if (typeof userName !== 'string') throw new TypeError('a user name must be text')
}
