import { isDeepStrictEqual } from 'node:util'

import Koa from 'koa'
import type { Context, Middleware } from 'koa'
import { MemoryStore, RedisStore, session, Sessions } from 'koa-user-sessions'
import type {
  SessionEventName,
  SessionEvents,
  SessionsOptions,
  SessionStore,
} from 'koa-user-sessions'
import type {
  CommitOutcome,
  CreateOutcome,
  LoadOutcome,
  LockOutcome,
  NewSession,
  SessionCommit,
  SessionCredential,
  SessionLock,
  SessionSummary,
  StorePolicy,
} from 'koa-user-sessions/store'
import supertest from 'supertest'
import type { Response } from 'supertest'
import { expect } from 'vitest'

import { connectRedis, uniquePrefix } from './redis-client.ts'

/** Serves one path of a test app. The test app is passed along for requests within requests. */
export type Handler = (ctx: Context, testApp: TestApp) => unknown

/** A Koa app with `session()`, and what a test observes. */
export interface TestApp {
  readonly app: Koa
  readonly sessions: Sessions
  /** The app's store; unused when the app was given `redis`. */
  readonly store: ObservedStore
  /** The events of the sessions so far, in order. */
  readonly events: readonly TestEvent[]
  /** The errors that Koa answered so far, in order. */
  readonly errors: readonly unknown[]
  /** A browser without cookies, which keeps those that it gets. */
  readonly browser: () => ReturnType<typeof supertest.agent>
  /**
   * One GET request from a client that keeps nothing.
   *
   * @param path With its query.
   * @param cookie The `Cookie` header; none by default.
   */
  readonly visit: (path: string, cookie?: string) => Promise<Response>
}

/** One event of a `Sessions`. */
export interface TestEvent {
  readonly name: SessionEventName
  readonly event: SessionEvents[SessionEventName]
}

/** What `/me` returns. */
export interface SessionView {
  readonly id: string
  readonly isNew: boolean
  readonly isGuest: boolean
  readonly userName: string
  readonly privileges: readonly string[]
  readonly idleTimeout: number
  readonly expirationDate: string
  readonly storage: Readonly<Record<string, unknown>>
}

/** A store method that an `ObservedStore` counts. */
export type StoreOperation = Exclude<keyof SessionStore, 'close'>

/**
 * For `toMatchObject`, which treats an object as a part of the expected one: these names and no
 * others.
 *
 * @param values A whole storage.
 */
export function exactly(values: Readonly<Record<string, unknown>>): unknown {
  const shown = JSON.stringify(values)
  return expect.toSatisfy((found: unknown) => isDeepStrictEqual(found, values), `is ${shown}`)
}

/** What `/me` shows for a guest, except the id and the date, which are new each time. */
export const guestView = {
  isNew: true,
  isGuest: true,
  userName: '',
  privileges: [],
  idleTimeout: 60,
  storage: exactly({}),
} as const

/** Both stores, for `it.each`: a name and a way to make an empty one. */
export const storeKinds: readonly (readonly [string, () => SessionStore])[] = [
  ['MemoryStore', () => new MemoryStore()],
  ['RedisStore', () => new RedisStore(connectRedis(), { prefix: uniquePrefix() })],
]

// What most tests need. `/page` does not use sessions, and `/me` only reads.
const commonHandlers: Readonly<Record<string, Handler>> = {
  '/page': (ctx) => {
    ctx.body = 'page'
  },
  '/me': (ctx) => {
    ctx.body = viewOf(ctx)
  },
  '/write': (ctx) => {
    Object.assign(ctx.session.storage, ctx.query)
  },
  '/login': (ctx) => {
    const { user = 'ann', privileges = 'browse' } = ctx.query
    ctx.session.setPrivileges({ privileges, userName: String(user) })
  },
  '/logout': (ctx) => {
    ctx.session = null
  },
}

/**
 * Makes a Koa app with `session()` and a handler for each path. Built-in paths: `/page`, `/me`,
 * `/write?name=value`, `/login?user=ann&privileges=browse` and `/logout`.
 *
 * @param handlers By path. One that sets neither status nor body answers 200. Other paths fall
 *   through to what a test adds to `app`.
 * @param options Of `session()`. By default the sessions are in a `MemoryStore`.
 * @param outer Middleware that is mounted before `session()`.
 */
export function makeApp(
  handlers: Readonly<Record<string, Handler>> = {},
  options: SessionsOptions = {},
  outer: readonly Middleware[] = [],
): TestApp {
  const store = new ObservedStore(options.store ?? new MemoryStore())
  const sessions = new Sessions(options.redis === undefined ? { ...options, store } : options)
  const app = new Koa()
  const errors: unknown[] = []
  app.on('error', (error) => errors.push(error))
  for (const middleware of outer) app.use(middleware)
  app.use(session(sessions))
  app.use(async (ctx, next) => {
    const handler = handlers[ctx.path] ?? commonHandlers[ctx.path]
    if (!handler) return next()
    ctx.status = 200
    return handler(ctx, testApp)
  })

  const testApp: TestApp = {
    app,
    sessions,
    store,
    events: recordEvents(sessions),
    errors,
    browser: () => supertest.agent(app.callback()),
    async visit(path, cookie) {
      const request = supertest(app.callback()).get(path).redirects(0)
      if (cookie !== undefined) request.set('Cookie', cookie)
      return request
    },
  }
  return testApp
}

/**
 * What `/me` returns for a client.
 *
 * @param client A browser.
 */
export async function me(client: {
  get(path: string): PromiseLike<Response>
}): Promise<SessionView> {
  const view: SessionView = (await client.get('/me')).body
  return view
}

/**
 * The `Set-Cookie` headers of a response.
 *
 * @param response Any.
 */
export function setCookies(response: Response): readonly string[] {
  const headers: Readonly<Record<string, unknown>> = response.headers
  return [headers['set-cookie'] ?? []].flat().map(String)
}

/**
 * What a browser sends back after a response.
 *
 * @param response A response that gives the client a session cookie.
 * @param name The cookie's name.
 * @returns `session=` and the value.
 * @throws {Error} When it sets no such cookie.
 */
export function cookieOf(response: Response, name = 'session'): string {
  const header = setCookies(response).find((text) => text.startsWith(`${name}=`))
  if (header === undefined) throw new Error(`the response sets no cookie ${name}`)
  return header.split(';', 1)[0]!
}

/** A store that counts the calls of another one, and fails on demand. */
export class ObservedStore implements SessionStore {
  /** The methods that were called so far, in order. */
  readonly calls: StoreOperation[] = []
  /** Methods that fail: they reject, or never answer. The other store does not see the call. */
  readonly faults = new Map<StoreOperation, 'rejects' | 'hangs'>()
  readonly #store: SessionStore

  constructor(store: SessionStore) {
    this.#store = store
  }

  create(session: NewSession, policy: StorePolicy): Promise<CreateOutcome> {
    return this.#observe('create', () => this.#store.create(session, policy))
  }

  load(
    credential: SessionCredential,
    policy: StorePolicy,
    isActivity: boolean,
  ): Promise<LoadOutcome | undefined> {
    return this.#observe('load', async () => this.#store.load(credential, policy, isActivity))
  }

  commit(
    credential: SessionCredential,
    commit: SessionCommit,
    policy: StorePolicy,
  ): Promise<CommitOutcome> {
    return this.#observe('commit', () => this.#store.commit(credential, commit, policy))
  }

  lock(credential: SessionCredential, lock: SessionLock): Promise<LockOutcome | undefined> {
    return this.#observe('lock', () => this.#store.lock(credential, lock))
  }

  list(userName: string, policy: StorePolicy): Promise<readonly SessionSummary[]> {
    return this.#observe('list', () => this.#store.list(userName, policy))
  }

  destroy(id: string, userName?: string): Promise<boolean> {
    return this.#observe('destroy', () => this.#store.destroy(id, userName))
  }

  close(): Promise<void> {
    return this.#store.close()
  }

  async #observe<T>(operation: StoreOperation, call: () => Promise<T>): Promise<T> {
    this.calls.push(operation)
    const fault = this.faults.get(operation)
    if (fault === 'rejects') throw new Error('the store is broken')
    if (fault === 'hangs') return new Promise(() => {})
    return call()
  }
}

/**
 * Collects the process warnings of this package from now on.
 *
 * @returns Their messages, a list that grows, and a way to stop.
 */
export function recordWarnings(): {
  readonly messages: readonly string[]
  readonly stop: () => void
} {
  const messages: string[] = []
  const listener = (warning: Error): void => {
    if (warning.name === 'SessionWarning') messages.push(warning.message)
  }
  process.on('warning', listener)
  return { messages, stop: () => process.off('warning', listener) }
}

function recordEvents(sessions: Sessions): readonly TestEvent[] {
  const names: readonly SessionEventName[] = [
    'session:created',
    'session:signedIn',
    'session:rotated',
    'session:ended',
    'session:refused',
    'session:ambiguous',
    'session:storeError',
  ]
  const events: TestEvent[] = []
  for (const name of names) sessions.on(name, (event) => events.push({ name, event }))
  return events
}

function viewOf({ session }: Context): SessionView {
  const { id, isNew, userName, idleTimeout, expirationDate } = session
  return {
    id,
    isNew,
    isGuest: session.isGuest(),
    userName,
    privileges: session.getPrivileges(),
    idleTimeout,
    expirationDate,
    storage: { ...session.storage },
  }
}
