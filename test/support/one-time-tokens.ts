import type { Context } from 'koa'
import { MemoryStore, RedisStore } from 'koa-user-sessions'
import type { SessionEvents, SessionsOptions, SessionStore } from 'koa-user-sessions'
import { expect, onTestFinished, vi } from 'vitest'

import { ObservedStore } from './apps.ts'
import { connectRedis, uniquePrefix } from './redis-client.ts'
import { changeStored } from './stored-text.ts'
import { serve } from './visits.ts'
import type { Answer, Server } from './visits.ts'

/** The store of a test's sessions. */
export interface Backend {
  /** A store with its own client, as in another process. */
  store(): SessionStore
  /** Lets time pass for all one-time tokens. */
  passTime(ms: number): Promise<void>
}

export const backends: readonly (readonly [string, () => Backend])[] = [
  ['MemoryStore', memoryBackend],
  ['RedisStore', redisBackend],
]

const options: SessionsOptions = {
  tokens: {
    keys: [{ kid: 'one', alg: 'HS256', secret: 'x'.repeat(32) }],
    issuer: 'https://shop.example',
    audience: 'https://api.shop.example',
  },
}
const notUsed = { isRestored: false }

/** What a request sees of its session. */
export interface View {
  readonly id: string
  readonly isNew: boolean
  readonly userName: string
  readonly privileges: readonly string[]
  readonly storage: Readonly<Record<string, unknown>>
}

/** A server, and what a test observes of it. */
export interface ObservedServer extends Server {
  readonly store: ObservedStore
  /** In order. */
  readonly events: (readonly [string, unknown])[]
  /** The lifespans of all one-time tokens so far. Milliseconds. */
  readonly lifespans: readonly number[]
  /** The hashes that the store was asked to redeem. */
  readonly redeemed: readonly string[]
}

export async function start(backend: Backend, more: SessionsOptions = {}): Promise<ObservedServer> {
  const store = new ObservedStore(backend.store())
  const lifespans: number[] = []
  const redeemed: string[] = []
  const commit = store.commit.bind(store)
  store.commit = (credential, changes, policy) => {
    if (changes.newOTP) lifespans.push(changes.newOTP.lifespanMs)
    if (changes.redeemsOTP !== undefined) redeemed.push(changes.redeemsOTP)
    return commit(credential, changes, policy)
  }
  const server = await serve(store, { ...options, ...more })
  const events: (readonly [string, unknown])[] = []
  const names = ['session:created', 'session:rotated', 'session:ended'] as const
  for (const name of names) {
    server.sessions.on(name, (event: SessionEvents[typeof name]) => events.push([name, event]))
  }
  return { ...server, store, events, lifespans, redeemed }
}

export function fillCart({ session }: Context): void {
  session.storage['cart'] = ['tea']
}

export function signIn({ session }: Context): void {
  session.setPrivileges({ userName: 'ann', privileges: 'browse' })
}

/** Ann signs in in a browser, and creates a token for another one. */
export async function signUp(
  server: Server,
): Promise<{ readonly cookie: string; readonly otp: string; readonly view: View }> {
  const { cookie } = await server.visit((ctx) => {
    fillCart(ctx)
    signIn(ctx)
  })
  if (cookie === undefined) throw new Error('no cookie')
  return { cookie, otp: await createOTP(server, cookie), view: await viewOf(server, cookie) }
}

export async function createOTP(
  { visit }: Server,
  cookie: string | undefined,
  lifespan?: number,
): Promise<string> {
  const { result } = await visit(({ session }) => session.createOTP(lifespan), cookie)
  return String(result)
}

/** A browser brings a token; without a cookie it is another browser. */
export function restore({ visit }: Server, otp: unknown, cookie?: string): Promise<Answer> {
  return visit(async ({ session }) => {
    const isRestored = await untyped(session).restore(otp)
    return isRestored ? { isRestored, view: seen(session) } : { isRestored }
  }, cookie)
}

/** Like a call from JavaScript code. */
export function untyped(session: {
  createOTP(lifespan: unknown): Promise<string>
  restore(otp: unknown): Promise<boolean>
}): typeof session {
  return session
}

export function seen(session: Context['session']): View {
  const { id, isNew, userName, storage } = session
  return { id, isNew, userName, privileges: session.getPrivileges(), storage: { ...storage } }
}

export async function viewOf({ visit }: Server, cookie: string | undefined): Promise<View> {
  const { result } = await visit(({ session }) => seen(session), cookie)
  const view: View = Object(result)
  return view
}

/** Neither a new browser nor one with its own session is affected by a bad token. */
export async function expectUntouched(server: ObservedServer, otp: unknown): Promise<void> {
  const { cookie } = await server.visit(fillCart)
  const before = await viewOf(server, cookie)
  const eventCount = server.events.length

  const [stranger, guest] = [await restore(server, otp), await restore(server, otp, cookie)]
  const changed = await server.visit(async ({ session }) => {
    session.storage['kept'] = 1
    await untyped(session).restore(otp)
    session.storage['kept too'] = 2
  }, cookie)

  expect([stranger.result, guest.result]).toEqual([notUsed, notUsed])
  expect([stranger.cookie, guest.cookie, changed.cookie]).toEqual(Array(3).fill(undefined))
  expect(server.events.slice(eventCount)).toEqual([])
  const storage = { ...before.storage, kept: 1, 'kept too': 2 }
  expect(await viewOf(server, cookie)).toEqual({ ...before, storage })
}

export function codeOf(error: unknown): unknown {
  return Reflect.get(Object(error), 'code')
}

function memoryBackend(): Backend {
  const store = new MemoryStore()
  return {
    store: () => store,
    async passTime(ms) {
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms })
      onTestFinished(() => {
        vi.useRealTimers()
      })
    },
  }
}

function redisBackend(): Backend {
  const prefix = uniquePrefix()
  return {
    store: () => new RedisStore(connectRedis(), { prefix }),
    async passTime(ms) {
      const redis = connectRedis()
      for (const key of await redis.keys(`${prefix}{*`)) {
        await changeStored(redis, key, (session) => ({
          ...session,
          otps: session.otps.map(({ hash, goodUntil }) => ({ hash, goodUntil: goodUntil - ms })),
        }))
      }
    },
  }
}
