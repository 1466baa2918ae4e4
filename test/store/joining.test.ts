import { randomUUID } from 'node:crypto'

import { MemoryStore, RedisStore, Sessions, unknownClient } from 'koa-user-sessions'
import type { RecordDraft, SessionCredential, StorePolicy } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { newSecret, parseCookieValue } from '../../src/core/secret.ts'
import { sessionKey } from '../../src/store/redis/keys.ts'
import { makeApp } from '../support/apps.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { startRedisServer } from '../support/redis-server.ts'
import { passRedisTime } from '../support/time.ts'
import { describeJoining } from './joining-contract.ts'

const minute = 60_000

const policy: StorePolicy = {
  expiry: { refreshMs: minute, absoluteTimeoutMs: 120 * minute },
  limits: { storageBytes: 1000, storageKeys: 4 },
  maxSessions: undefined,
  timeoutMs: 1000,
}

const redis = connectRedis()

describeJoining('MemoryStore', () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  onTestFinished(() => {
    vi.useRealTimers()
  })
  return {
    store: new MemoryStore(),
    async passTime(ms) {
      vi.setSystemTime(Date.now() + ms)
    },
  }
})

describeJoining('RedisStore', () => {
  const prefix = uniquePrefix()
  return {
    store: new RedisStore(redis, { prefix }),
    passTime: (ms) => passRedisTime(redis, prefix, ms),
  }
})

describe('RedisStore and those without a cookie', () => {
  it('X1: keeps no secret of a session that only trusted callers open', async () => {
    const { store, keyOf } = makeStore()
    const { id } = await created(store, { type: 'remote' }, { id: randomUUID(), secretHash: '' })

    const fields = await redis.hkeys(keyOf(id))

    expect(fields).toContain('v')
    expect(fields.filter((field) => field.startsWith('secret'))).toEqual([])
  })

  it.each(['0', '1763000000000', 'x'])(
    'X1: makes nothing of a field for an empty secret that says %s',
    async (value) => {
      const { store, keyOf } = makeStore()
      const { id } = await created(store, { type: 'remote' }, { id: randomUUID(), secretHash: '' })
      const trusted = { id, secretHash: '' }
      const before = await store.load(trusted, policy, false)
      await redis.hset(keyOf(id), 'k:', value)

      const after = await store.load(trusted, policy, false)

      expect(after).toEqual({ ...before, now: expect.any(Number) })
      expect(await store.touch(trusted, policy)).toEqual(expect.any(Number))
      expect(await store.addOTP(trusted, 'hash', minute, policy)).toBe(true)
      const lock = { token: 'a', leaseMs: minute }
      expect(await store.lock(trusted, lock)).toMatchObject({ status: 'locked' })
      const strange = { id, secretHash: 'undefined' }
      expect(await store.load(strange, policy, false)).toBeUndefined()
      expect(await store.touch(strange, policy)).toBeUndefined()
    },
  )

  it('X1: leaves nothing in Redis where a trusted caller finds nothing', async () => {
    const { store, prefix } = makeStore()
    const trusted = { id: randomUUID(), secretHash: '' }

    await store.load(trusted, policy, true)
    await store.touch(trusted, policy)
    await store.lock(trusted, { token: 'a', leaseMs: minute })
    await store.addOTP(trusted, 'hash', minute, policy)
    await store.redeemOTP(trusted, 'new', policy)
    await store.commit(trusted, { ...emptyCommit, idleTimeoutMs: minute }, policy)

    expect(await redis.keys(`${prefix}*`)).toEqual([])
  })

  it('C1: reads no cookie value as that of a trusted caller', () => {
    const id = randomUUID()
    const empty = Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url')

    for (const value of ['', id, empty, empty.padEnd(64, 'A'), newSecret(id).value]) {
      expect(parseCookieValue(value)?.secretHash).not.toBe('')
    }
  })

  it('M8: gives a session without idle timeout no time to live, whatever is done to it', async () => {
    const { store, keyOf } = makeStore()
    const draft = { type: 'storedProcedure', idleTimeoutMs: Infinity } as const
    const credential = await created(store, draft)
    const { id } = credential

    const times = [await redis.pttl(keyOf(id))]
    await store.load(credential, policy, true)
    await store.touch(credential, policy)
    await store.commit(credential, { ...emptyCommit, postpones: true }, policy)
    await store.touch(credential, policy)
    await store.addOTP(credential, 'otp', minute, policy)
    await store.redeemOTP({ id, secretHash: 'otp' }, 'new', policy)
    times.push(await redis.pttl(keyOf(id)))

    expect(times).toEqual([-1, -1])
    expect(await redis.hget(keyOf(id), 'i')).toBe('none')
    expect(await redis.hexists(keyOf(id), 'z')).toBe(0)
  })

  it('X5: keeps of a one-time token its hash and until when, no longer than it works', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store)
    const { id } = credential
    const before = await redis.hkeys(keyOf(id))

    await store.addOTP(credential, 'hash', minute, policy)
    const during = await redis.hgetall(keyOf(id))
    await store.redeemOTP({ id, secretHash: 'hash' }, 'new', policy)
    const after = await redis.hkeys(keyOf(id))

    expect(Object.keys(during)).toEqual([...before, 'o:hash'])
    expect(Number(during['o:hash'])).toBeGreaterThan(Date.now())
    expect(Number(during['o:hash'])).toBeLessThanOrEqual(Date.now() + minute)
    expect(after.toSorted()).toEqual([...before, 'k:new'].toSorted())
  })

  it('X5: opens no session that it cannot read by a one-time token', async () => {
    const { store, keyOf } = makeStore()
    const id = randomUUID()
    await redis.hset(keyOf(id), { 'o:hash': Date.now() + minute, color: 'red' })

    expect(await store.redeemOTP({ id, secretHash: 'hash' }, 'new', policy)).toBeUndefined()

    expect(await redis.hkeys(keyOf(id))).toEqual(['o:hash', 'color'])
  })

  it('M2: puts a session that is redeemed back into the list of its user', async () => {
    const { store, prefix } = makeStore()
    const credential = await created(store, { userName: 'ann' })
    const { id } = credential
    await store.addOTP(credential, 'hash', minute, policy)
    const indexes = await redis.keys(`${prefix}user:*`)
    await redis.del(...indexes)

    await store.redeemOTP({ id, secretHash: 'hash' }, 'new', policy)

    expect(indexes).toHaveLength(1)
    await vi.waitFor(async () => {
      expect(await store.list('ann', policy)).toEqual([expect.objectContaining({ id })])
    })
  })

  it('X5, H2: never sends the text of a one-time token to Redis', async () => {
    const server = await startRedisServer()
    onTestFinished(() => server.stop())
    const client = connectRedis(server.url)
    const monitor = await client.monitor()
    onTestFinished(() => monitor.disconnect())
    const seen: string[] = []
    monitor.on('monitor', (_time: string, args: readonly string[]) => seen.push(args.join(' ')))
    const texts: string[] = []
    const { sessions, browser } = makeApp(
      {
        '/otp': async (ctx) => {
          texts.push(await ctx.session.createOTP())
        },
        '/restore': async (ctx) => {
          ctx.body = { isRestored: await ctx.session.restore(texts[0] ?? '') }
        },
      },
      { redis: client },
    )
    expect(sessions).toBeInstanceOf(Sessions)

    await browser().get('/otp').expect(200)
    await browser().get('/restore').expect(200, { isRestored: true })
    await client.echo('the end')
    await vi.waitFor(() => expect(seen.at(-1)).toContain('the end'))

    const [otp = ''] = texts
    const bytes = Buffer.from(otp, 'base64url').subarray(16)
    const { secretHash = '' } = parseCookieValue(otp) ?? {}
    const all = seen.join('\n')
    expect(all).toContain(secretHash)
    for (const text of [otp, otp.slice(24), bytes.toString('base64url'), bytes.toString('hex')]) {
      expect(text.length).toBeGreaterThan(32)
      expect(all).not.toContain(text)
    }
  })
})

const emptyCommit = {
  storage: undefined,
  idleTimeoutMs: undefined,
  grants: undefined,
  userName: '',
  presentIdleTimeoutMs: Infinity,
  newSecretHash: undefined,
  asksFor: undefined,
} as const

/** A store on the shared server. */
function makeStore(): {
  readonly store: RedisStore
  readonly prefix: string
  readonly keyOf: (id: string) => string
} {
  const prefix = uniquePrefix()
  return {
    store: new RedisStore(redis, { prefix }),
    prefix,
    keyOf: (id) => sessionKey(prefix, id),
  }
}

async function created(
  store: RedisStore,
  parts: Partial<RecordDraft> = {},
  credential: SessionCredential = { id: randomUUID(), secretHash: randomUUID() },
): Promise<SessionCredential> {
  const draft: RecordDraft = {
    type: 'web',
    ip: '',
    client: unknownClient,
    idleTimeoutMs: 60 * minute,
    userName: '',
    privileges: [],
    roles: [],
    storage: new Map(),
    ...parts,
  }
  const outcome = await store.create({ credential, draft, signsIn: false }, policy)
  expect(outcome.status).toBe('created')
  return credential
}
