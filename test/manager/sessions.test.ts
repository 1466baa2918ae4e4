import Koa from 'koa'
import { MemoryStore, RedisStore, session, Sessions } from 'koa-user-sessions'
import type { SessionStore } from 'koa-user-sessions'
import supertest from 'supertest'
import { describe, expect, it, vi } from 'vitest'

import { sessionKey } from '../../src/store/redis/keys.ts'
import { ObservedStore } from '../support/apps.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'

const storeKinds: readonly (readonly [string, () => SessionStore])[] = [
  ['MemoryStore', () => new MemoryStore()],
  ['RedisStore', () => new RedisStore(connectRedis(), { prefix: uniquePrefix() })],
]

describe.each(storeKinds)('sessions.storage() with a %s', (_name, makeStore) => {
  it('returns the storage of any session (T9)', async () => {
    const { sessions, visit } = appOf(makeStore())
    const first = await visit({ color: 'red', cart: { items: ['tea', 2] } })
    const second = await visit({ color: 'blue' })

    expect(await sessions.storage(first)).toEqual({ color: 'red', cart: { items: ['tea', 2] } })
    expect(await sessions.storage(second)).toEqual({ color: 'blue' })
  })

  it('is a plain object (T9)', async () => {
    const { sessions, visit } = appOf(makeStore())
    const id = await visit({ cart: { items: ['tea'] } })

    const storage = await sessions.storage(id)

    expect(Object.getPrototypeOf(storage)).toBe(Object.prototype)
    expect(structuredClone(storage)).toEqual({ cart: { items: ['tea'] } })
  })

  it('is a snapshot that later changes do not affect (T9)', async () => {
    const { sessions, visit, change } = appOf(makeStore())
    const id = await visit({ count: 1 })

    const before = await sessions.storage(id)
    await change({ count: 2 })

    expect(before).toEqual({ count: 1 })
    expect(await sessions.storage(id)).toEqual({ count: 2 })
  })

  it('changes nothing in the session when it is changed (T9)', async () => {
    const { sessions, visit, calls } = appOf(makeStore())
    const id = await visit({ cart: { items: ['tea'] } })
    const storage = (await sessions.storage(id)) ?? {}
    calls.length = 0

    storage['cart'].items.push('milk')
    storage['late'] = 1
    delete storage['cart']

    expect(calls).toEqual([])
    expect(await sessions.storage(id)).toEqual({ cart: { items: ['tea'] } })
  })

  it('is {} for a session that stores nothing (T9)', async () => {
    const { sessions, visit } = appOf(makeStore())

    expect(await sessions.storage(await visit({}))).toEqual({})
  })

  it('is null for an unknown session and one that has ended (T9)', async () => {
    const store = makeStore()
    const { sessions, visit } = appOf(store)
    const id = await visit({ color: 'red' })
    await store.destroy(id)

    expect(await sessions.storage(id)).toBeNull()
    expect(await sessions.storage('11111111-1111-4111-8111-111111111111')).toBeNull()
  })

  it.each(['', 'x', '../sess:{a}', '00000000-0000-4000-8000-00000000000', '__proto__', '\u0000'])(
    'is null for the malformed id %j without a store call (T9, H1)',
    async (id) => {
      const { sessions, calls } = appOf(makeStore())

      expect(await sessions.storage(id)).toBeNull()

      expect(calls).toEqual([])
    },
  )

  it('costs one store call (T9)', async () => {
    const { sessions, visit, calls } = appOf(makeStore())
    const id = await visit({ color: 'red' })
    calls.length = 0

    await sessions.storage(id)

    expect(calls).toEqual(['load'])
  })
})

describe('sessions.storage()', () => {
  it('is null for a value that is not text (T9, H1)', async () => {
    const { sessions, calls } = appOf(new MemoryStore())

    // @ts-expect-error
    expect(await sessions.storage(undefined)).toBeNull()
    // @ts-expect-error
    expect(await sessions.storage({})).toBeNull()
    expect(calls).toEqual([])
  })

  it('rejects with ERR_SESSION_STORE when the store fails (T9, F1)', async () => {
    const store = new MemoryStore()
    const sessions = new Sessions({ store })
    store.load = () => Promise.reject(new Error('the store is broken'))

    await expect(sessions.storage('11111111-1111-4111-8111-111111111111')).rejects.toMatchObject({
      code: 'ERR_SESSION_STORE',
      status: 503,
    })
  })

  it('is null for a key that holds no session (T9, F6)', async () => {
    const redis = connectRedis()
    const prefix = uniquePrefix()
    const sessions = new Sessions({ redis, prefix })
    const [text, hash] = [
      '00000000-0000-4000-8000-000000000001',
      '00000000-0000-4000-8000-000000000002',
    ]
    await redis.set(sessionKey(prefix, text), 'text')
    await redis.hset(sessionKey(prefix, hash), 'color', 'red')

    expect(await sessions.storage(text)).toBeNull()
    expect(await sessions.storage(hash)).toBeNull()
  })
})

/** An app in which every visit writes to storage. */
function appOf(inner: SessionStore): {
  readonly sessions: Sessions
  /** The store's methods that were called so far. */
  readonly calls: string[]
  /** Makes a session with this storage, and returns its id. */
  readonly visit: (storage: object) => Promise<string>
  /** Writes to the session that was made last. */
  readonly change: (storage: object) => Promise<void>
} {
  const calls: string[] = []
  const store = new Proxy(inner, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      return (...args: unknown[]): unknown => {
        // The server of a session is known without a request.
        if (name !== 'nodeOf') calls.push(String(name))
        return Reflect.apply(method, target, args)
      }
    },
  })
  const sessions = new Sessions({ store })
  const app = new Koa()
  app.use(session(sessions))
  app.use(async (ctx) => {
    Object.assign(ctx.session.storage, JSON.parse(String(ctx.query['storage'])))
    await ctx.session.save()
    ctx.body = ctx.session.id
  })
  let browser = supertest.agent(app.callback())
  const write = async (storage: object): Promise<string> =>
    (await browser.get('/').query({ storage: JSON.stringify(storage) })).text

  return {
    sessions,
    calls,
    visit(storage) {
      browser = supertest.agent(app.callback())
      return write(storage)
    },
    async change(storage) {
      await write(storage)
    },
  }
}

const tokens = {
  keys: [{ kid: 'one', alg: 'HS256', secret: 'a secret of thirty-two bytes or more' }],
  issuer: 'test',
  audience: 'test',
} as const

describe('with tokens', () => {
  it('X4: run() runs no code as a guest while the store is away, even with onStoreError guest', async () => {
    const store = new ObservedStore(new MemoryStore())
    const sessions = new Sessions({ store, tokens, onStoreError: 'guest' })
    const { token } = await sessions.open({ userName: 'ann', applicationId: 'cli' })
    store.faults.set('load', 'rejects')
    const code = vi.fn<() => void>()

    await expect(sessions.run(token, code)).rejects.toMatchObject({ code: 'ERR_SESSION_STORE' })

    expect(code).not.toHaveBeenCalled()
  })

  it.each([
    [undefined, 'Cookie, Authorization'],
    ['Accept', 'Accept, Cookie, Authorization'],
    ['authorization', 'authorization, Cookie'],
    ['*', '*'],
  ])('X2: an error varies by both headers, too (Vary: %s)', async (vary, expected) => {
    const app = new Koa().use(session({ tokens })).use((ctx) => {
      ctx.session.storage['seen'] = true
      ctx.throw(404, { headers: vary === undefined ? {} : { Vary: vary } })
    })

    await supertest(app.callback()).get('/').expect(404).expect('Vary', expected)
  })
})
