import { randomUUID } from 'node:crypto'

import { RedisStore, Sessions } from 'koa-user-sessions'
import { unknownClient } from 'koa-user-sessions/store'
import type { RecordDraft, SessionCredential, StorePolicy } from 'koa-user-sessions/store'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { newSecret, parseCookieValue } from '../../src/cookie/cookie.ts'
import { sessionKey } from '../../src/store/redis/keys.ts'
import { makeApp } from '../support/apps.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { startRedisServer } from '../support/redis-server.ts'
import { backgroundIsDone } from '../support/time.ts'
import { addOTP, draftOf, newCredential, newHash, redeemOTP, touch } from './contract-parts.ts'
import { rewrite, sessionAt } from './redis/stored-texts.ts'

const minute = 60_000

const policy: StorePolicy = {
  expiry: { refreshMs: minute, absoluteTimeoutMs: 120 * minute },
  limits: { storageBytes: 1000, storageKeys: 4 },
  maxSessions: undefined,
  timeoutMs: 1000,
}

const redis = connectRedis()

describe('RedisStore and callers without a cookie', () => {
  it('X1: keeps no secret in a session that only trusted callers open', async () => {
    const { store, keyOf } = makeStore()
    const { id } = await created(store, { type: 'remote' }, { id: randomUUID(), secretHash: '' })

    const { secrets, record } = await sessionAt(redis, keyOf(id))

    expect(record.type).toBe('remote')
    expect(secrets).toEqual([])
  })

  it.each([newHash(), 'undefined', ' '])(
    'X1: opens a session with secrets to a trusted caller, but not with %j',
    async (strange) => {
      const { store, keyOf } = makeStore()
      const { id } = await created(store, { type: 'remote' }, { id: randomUUID(), secretHash: '' })
      const trusted = { id, secretHash: '' }
      const before = await store.load(trusted, policy, false)
      await rewrite(redis, keyOf(id), (session) => ({
        ...session,
        secrets: [{ hash: newHash(), madeAt: Date.now(), isJoined: false, rotatedAt: 0 }],
      }))

      const after = await store.load(trusted, policy, false)

      expect(after).toEqual({ ...before, now: expect.any(Number) })
      expect(await touch(store, trusted, policy)).toEqual(expect.any(Number))
      expect(await addOTP(store, trusted, newHash(), minute, policy)).toBe(true)
      const lock = { token: 'a', leaseMs: minute }
      expect(await store.lock(trusted, lock)).toMatchObject({ status: 'locked' })
      expect(await store.load({ id, secretHash: strange }, policy, false)).toBeUndefined()
      expect(await touch(store, { id, secretHash: strange }, policy)).toBeUndefined()
    },
  )

  it('X1: creates no key when a trusted caller finds no session', async () => {
    const { store, prefix } = makeStore()
    const trusted = { id: randomUUID(), secretHash: '' }

    await store.load(trusted, policy, true)
    await touch(store, trusted, policy)
    await store.lock(trusted, { token: 'a', leaseMs: minute })
    await addOTP(store, trusted, newHash(), minute, policy)
    await redeemOTP(store, { ...trusted, secretHash: newHash() }, newHash(), policy)
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

  it.each([
    ['none', Infinity, -1],
    ['that of its absolute end', 120 * minute, 120 * minute],
  ])(
    'M8, L5: gives a session without an idle timeout no time to live other than %s',
    async (_, absoluteTimeoutMs, timeToLiveMs) => {
      const { store, keyOf } = makeStore()
      const own = { ...policy, expiry: { ...policy.expiry, absoluteTimeoutMs } }
      const draft = { type: 'storedProcedure', idleTimeoutMs: Infinity } as const
      const credential = newCredential()
      const { id } = credential
      await store.create({ credential, draft: draftOf(draft), signsIn: false }, own)

      const times = [await redis.pttl(keyOf(id))]
      await store.load(credential, own, true)
      await touch(store, credential, own)
      await store.commit(credential, { ...emptyCommit, postpones: true }, own)
      await touch(store, credential, own)
      const otp = newHash()
      await addOTP(store, credential, otp, minute, own)
      await redeemOTP(store, { id, secretHash: otp }, newHash(), own)
      await backgroundIsDone(redis)
      times.push(await redis.pttl(keyOf(id)))

      const areRight = times.map((ms) => ms <= timeToLiveMs && ms > timeToLiveMs - minute)
      expect(areRight).toEqual([true, true])
      const { record, isPostponed } = await sessionAt(redis, keyOf(id))
      expect([record.idleTimeoutMs, isPostponed]).toEqual([Infinity, false])
    },
  )

  it('X5: keeps only the hash and the end of a one-time token, and no longer than it works', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store)
    const { id } = credential
    const [otp, secret] = [newHash(), newHash()]

    await addOTP(store, credential, otp, minute, policy)
    const during = await sessionAt(redis, keyOf(id))
    await redeemOTP(store, { id, secretHash: otp }, secret, policy)
    const after = await sessionAt(redis, keyOf(id))

    expect(during.otps).toEqual([{ hash: otp, goodUntil: expect.any(Number) }])
    expect(during.otps[0]!.goodUntil - Date.now()).toSatisfy(
      (ms: number) => ms > minute - 10_000 && ms <= minute,
    )
    expect(after.otps).toEqual([])
    expect(after.secrets.map(({ hash, isJoined }) => [hash, isJoined])).toEqual([
      [credential.secretHash, false],
      [secret, true],
    ])
    expect(await redis.get(keyOf(id))).not.toContain(otp)
  })

  it('X5: opens no unreadable session with a one-time token', async () => {
    const { store, keyOf } = makeStore()
    const credential = await created(store)
    const { id } = credential
    const otp = newHash()
    await addOTP(store, credential, otp, minute, policy)
    // As a later version may write it.
    await redis.setrange(keyOf(id), 0, '3')
    const before = await redis.get(keyOf(id))

    expect(await redeemOTP(store, { id, secretHash: otp }, newHash(), policy)).toBeUndefined()

    expect(await redis.get(keyOf(id))).toBe(before)
  })

  it('M2: puts a redeemed session back into the list of its user', async () => {
    const { store, prefix } = makeStore()
    const credential = await created(store, { userName: 'ann' })
    const { id } = credential
    const otp = newHash()
    await addOTP(store, credential, otp, minute, policy)
    const indexes = await redis.keys(`${prefix}user:*`)
    await redis.del(...indexes)

    await redeemOTP(store, { id, secretHash: otp }, newHash(), policy)

    expect(indexes).toHaveLength(1)
    await vi.waitFor(async () => {
      expect(await store.list('ann')).toEqual([expect.objectContaining({ id })])
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
  credential: SessionCredential = newCredential(),
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
