import { once } from 'node:events'

import { Redis } from 'ioredis'
import { recommendedRedisOptions, RedisStore } from 'koa-user-sessions'
import { unknownClient } from 'koa-user-sessions/store'
import type { SessionCommit, SessionCredential, StorePolicy } from 'koa-user-sessions/store'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { newSecret, newSessionId } from '../../src/cookie/cookie.ts'
import { sessionKey } from '../../src/store/redis/keys.ts'
import { addOTP, grant, noGrants, read, redeemOTP } from '../store/contract-parts.ts'
import { cookieOf, makeApp } from '../support/apps.ts'
import { connectRedis } from '../support/redis-client.ts'
import { startRedisServer } from '../support/redis-server.ts'
import type { TestRedis } from '../support/redis-server.ts'
import { storedSession } from '../support/stored-text.ts'

const policy: StorePolicy = {
  expiry: { refreshMs: 60_000, absoluteTimeoutMs: Infinity },
  limits: { storageBytes: 262_144, storageKeys: 256 },
  maxSessions: undefined,
  timeoutMs: 200,
}

const emptyCommit: SessionCommit = {
  storage: undefined,
  idleTimeoutMs: undefined,
  grants: undefined,
  userName: '',
  newSecretHash: undefined,
  asksFor: undefined,
}

describe('a frozen Redis', () => {
  it('F5: applies no write whose caller has given up', async () => {
    const server = await start()
    const client = connectRedis(server.url)
    const store = new RedisStore(client)
    const credential = await created(store, 'ann')
    const redeemed = newCredential()
    const otp = { id: credential.id, secretHash: redeemed.secretHash }
    await addOTP(store, credential, otp.secretHash, 60_000, policy)
    const key = sessionKey('sess:', credential.id)
    const before = await client.get(key)

    server.kill('SIGSTOP')
    const late = Array.from({ length: 50 }, (_, index) => commit(store, credential, `late${index}`))
    const alsoLate = newCredential()
    late.push(
      create(store, alsoLate),
      ...[
        grant(store, credential.id, 'ann', { ...noGrants, privileges: ['late'] }, policy),
        addOTP(store, credential, newCredential().secretHash, 60_000, policy),
        redeemOTP(store, otp, redeemed.secretHash, policy),
      ].map(async (call) => void (await call)),
    )
    await passes(policy.timeoutMs)
    server.kill('SIGCONT')
    const outcomes = await Promise.allSettled(late)

    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toEqual([])
    expect(await client.get(key)).toBe(before)
    expect(await client.exists(sessionKey('sess:', alsoLate.id))).toBe(0)
    // Later writes are in time.
    await commit(store, credential, 'now')
    expect((await read(store, credential.id))?.storage.has('now')).toBe(true)
  })

  it('F5: applies no first write of a process whose caller has given up', async () => {
    const server = await start()
    const client = connectRedis(server.url)
    const credential = await created(new RedisStore(client))
    const first = newCredential()

    server.kill('SIGSTOP')
    const late = [create(new RedisStore(client), first)]
    late.push(commit(new RedisStore(client), credential, 'late'))
    await passes(policy.timeoutMs)
    server.kill('SIGCONT')
    const outcomes = await Promise.allSettled(late)

    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toEqual([])
    const { record } = await storedSession(client, sessionKey('sess:', credential.id))
    expect([...record.storage.keys()]).not.toContain('late')
    expect(await client.exists(sessionKey('sess:', first.id))).toBe(0)
  })

  it('F5: follows the clock of Redis when that was set', async () => {
    const server = await start()
    const client = connectRedis(server.url)
    const store = new RedisStore({
      // As if Redis' clock had been an hour slow when it was asked for its time.
      get: (key) => client.get(key),
      getrange: (...args) => client.getrange(...args),
      evalsha: async (...args) => moved(await client.evalsha(...args)),
      eval: async (...args) => moved(await client.eval(...args)),
    })
    const credential = await created(new RedisStore(client))
    expect(await store.load(credential, policy, true)).toMatchObject({ status: 'live' })

    await commit(store, credential, 'now')

    expect((await read(store, credential.id))?.storage.has('now')).toBe(true)
  })

  it('F1, F4: costs no timeout for long, and serves the next request after it resumes', async () => {
    const server = await start()
    const redis = await connect(server)
    const { app, visit, errors } = makeApp({}, { redis, storeTimeoutMs: 200 })
    app.silent = true
    const cookie = cookieOf(await visit('/login'))

    server.kill('SIGSTOP')
    const during = await Promise.all(Array.from({ length: 20 }, () => visit('/me', cookie)))
    const guests = await Promise.all(Array.from({ length: 5 }, () => visit('/page')))
    server.kill('SIGCONT')

    expect(new Set(during.map(({ status }) => status))).toEqual(new Set([503]))
    expect(new Set(during.map(({ headers }) => headers['retry-after']))).toEqual(new Set(['1']))
    expect(new Set(guests.map(({ status }) => status))).toEqual(new Set([200]))
    expect(errors.length).toBeGreaterThanOrEqual(20)
    await vi.waitFor(async () => expect((await visit('/me', cookie)).status).toBe(200), {
      timeout: 5000,
    })
  })
})

describe('a Redis that is killed', () => {
  it('F1, F4: answers 503 meanwhile, and works again without a restart', async () => {
    const server = await start()
    const redis = await connect(server)
    const { app, visit } = makeApp({}, { redis })
    app.silent = true
    const cookie = cookieOf(await visit('/login'))

    await server.stop()
    const during = await Promise.all(Array.from({ length: 20 }, () => visit('/me', cookie)))
    const again = await startRedisServer({ port: server.port })
    onTestFinished(() => again.stop())

    expect(new Set(during.map(({ status }) => status))).toEqual(new Set([503]))
    await vi.waitFor(async () => expect((await visit('/login')).status).toBe(200), {
      timeout: 5000,
    })
    // It has lost everything: every session is gone.
    expect((await visit('/me', cookie)).body).toMatchObject({ isGuest: true, userName: '' })
  })
})

async function start(): Promise<TestRedis> {
  const server = await startRedisServer()
  onTestFinished(() => server.stop())
  return server
}

async function connect(server: TestRedis): Promise<Redis> {
  const redis = new Redis(server.url, recommendedRedisOptions)
  redis.on('error', () => {})
  onTestFinished(() => redis.disconnect())
  await once(redis, 'ready')
  return redis
}

function newCredential(): SessionCredential {
  const id = newSessionId()
  return { id, secretHash: newSecret(id).secretHash }
}

async function created(store: RedisStore, userName = ''): Promise<SessionCredential> {
  const credential = newCredential()
  await create(store, credential, userName)
  return credential
}

async function create(
  store: RedisStore,
  credential: SessionCredential,
  userName = '',
): Promise<void> {
  const draft = {
    type: 'web',
    ip: '',
    client: unknownClient,
    idleTimeoutMs: 3_600_000,
    userName,
    privileges: [],
    roles: [],
    storage: new Map(),
  } as const
  const outcome = await store.create({ credential, draft, signsIn: false }, policy)
  expect(outcome).toMatchObject({ status: 'created' })
}

async function commit(
  store: RedisStore,
  credential: SessionCredential,
  name: string,
): Promise<void> {
  const storage = { set: new Map([[name, '1']]), removed: [] }
  const outcome = await store.commit(credential, { ...emptyCommit, storage }, policy)
  expect(outcome).toMatchObject({ status: 'committed' })
}

/** Waits until all earlier calls have given up. */
async function passes(ms: number): Promise<void> {
  const until = performance.now() + ms
  await vi.waitFor(() => expect(performance.now()).toBeGreaterThan(until), { timeout: 5000 })
}

/** Redis' time an hour ago; other replies unchanged. */
function moved(reply: unknown): unknown {
  const time = /^time (\d{13})$/.exec(String(reply))?.[1]
  return time === undefined ? reply : `time ${Number(time) - 3_600_000}`
}
