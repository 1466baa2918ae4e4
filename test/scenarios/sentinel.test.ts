import { once } from 'node:events'

import { Redis } from 'ioredis'
import { recommendedSentinelOptions, RedisStore } from 'koa-user-sessions'
import type { SessionsOptions } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { sessionKey } from '../../src/store/redis/keys.ts'
import { read } from '../store/contract-parts.ts'
import { cookieOf, exactly, makeApp, me } from '../support/apps.ts'
import type { Handler, TestApp } from '../support/apps.ts'
import { connectRedis } from '../support/redis-client.ts'
import { startRedisSentinel } from '../support/redis-sentinel.ts'
import type { TestSentinel } from '../support/redis-sentinel.ts'
import type { TestRedis } from '../support/redis-server.ts'
import { startLoad } from './failover-load.ts'
import type { Load } from './failover-load.ts'

vi.setConfig({ testTimeout: 120_000 })

const soon = { timeout: 30_000, interval: 50 }

describe('a lost master', () => {
  it.each([
    ['killed', 'SIGKILL'],
    ['frozen', 'SIGSTOP'],
  ] as const)(
    'F1, F2, F4, F6: %s, it causes nothing worse than a 503, and nothing that replicas had is lost',
    async (_how, signal) => {
      const set = await start()
      const { app, redis } = await appOn(set)
      const load = await startLoad(app)
      await load.stores(10)
      const kept = keepsFrom(load, redis)
      await set.inSync()

      const old = await set.master()
      old.kill(signal)
      const master = await set.masterOther(old)
      await load.stores(10)
      if (signal === 'SIGSTOP') {
        // It resumes as a master until a Sentinel demotes it, and loses its writes in between.
        old.kill('SIGCONT')
        await set.inSync()
      }
      await load.stores(10)
      await load.stop()

      expect(load.wrong).toEqual([])
      expect(load.counts.get('writer 503')).toBeGreaterThan(0)
      expect(load.counts.get('reader 503')).toBeGreaterThan(0)
      expect(load.counts.get('gone 200')).toBeGreaterThan(0)
      expect(load.longestMs).toBeLessThan(10_000)
      await kept(master)
      if (signal === 'SIGSTOP') {
        await set.inSync()
        for (const { id } of load.writers) {
          expect(await storedBy(old, id)).toEqual(await storedBy(master, id))
        }
      }
    },
  )

  it('F4: a Sentinel that is frozen with the master does not hide the new one', async () => {
    const set = await start()
    const { app } = await appOn(set)
    const cookie = cookieOf(await app.visit('/login'))
    await set.inSync()
    const master = await set.master()

    set.sentinels[0]!.kill('SIGSTOP')
    master.kill('SIGSTOP')

    expect((await app.visit('/me', cookie)).status).toBe(503)
    await works(app, cookie)
  })

  it.each([
    // Keeps commands while there is no master, and sends them to the next one.
    ['default', {}],
    ['recommended', recommendedSentinelOptions],
  ] as const)(
    'F1, F5: a write that found no master is answered 503 and not applied by the next one (%s options)',
    async (_name, clientOptions) => {
      const set = await start()
      let loaded = 0
      const gone = new AbortController()
      const lost = once(gone.signal, 'abort')
      const late: Handler = async (ctx) => {
        loaded++
        await lost
        Object.assign(ctx.session.storage, ctx.query)
      }
      const options = { storeTimeoutMs: 200 }
      const { app, redis } = await appOn(set, clientOptions, options, { '/late': late })
      const cookie = cookieOf(await app.visit('/login'))
      const { id } = await me({ get: (path) => app.visit(path, cookie) })
      await app.visit('/write?early=1', cookie)
      await set.inSync()

      const answers = Promise.all([0, 1, 2, 3].map((n) => app.visit(`/late?late${n}=1`, cookie)))
      await vi.waitFor(() => expect(loaded).toBe(4), soon)
      const old = await set.master()
      redis.once('close', () => gone.abort())
      old.kill('SIGKILL')
      const statuses = (await answers).map(({ status }) => status)
      const master = await set.masterOther(old)

      expect(statuses).toEqual([503, 503, 503, 503])
      // It first sends the commands that it kept.
      await works(app, cookie)
      expect([...(await storedBy(master, id))].toSorted()).toEqual(['early', 'works'])
    },
  )
})

describe('lost replicas', () => {
  it('F1: no request fails when the first one is lost', async () => {
    const set = await start()
    const { app } = await appOn(set)
    const load = await startLoad(app)
    await load.stores(5)

    set.servers[1]!.kill('SIGKILL')
    await load.stores(10)
    await load.stop()

    expect(load.wrong).toEqual([])
    expect([...load.counts.keys()].toSorted()).toEqual([
      'gone 200',
      'guest 200',
      'reader 200',
      'writer 200',
    ])
    const master = await set.master()
    for (const { id, stored } of load.writers) {
      expect([...(await storedBy(master, id))].toSorted()).toEqual([...stored].toSorted())
    }
  })

  it('F1, F4, F7: with min-replicas-to-write sessions are read, and no change is acknowledged', async () => {
    const set = await start()
    const { app } = await appOn(set, recommendedSentinelOptions, { refreshSeconds: 1 })
    const direct = connectRedis((await set.master()).url)
    const cookie = cookieOf(await app.visit('/login?user=ann'))
    const { id } = await me({ get: (path) => app.visit(path, cookie) })
    const key = sessionKey('sess:', id)
    const ttl = await direct.pttl(key)
    const load = await startLoad(app)
    await load.stores(5)

    await direct.config('SET', 'min-replicas-to-write', '1')
    for (const replica of set.servers.slice(1)) replica.kill('SIGKILL')
    await vi.waitFor(() => expect(load.counts.get('writer 503')).toBeGreaterThan(50), soon)
    // By now a read must refresh the session, which is impossible.
    await vi.waitFor(async () => expect(await direct.pttl(key)).toBeLessThan(ttl - 1500), soon)
    await vi.waitFor(async () => {
      expect((await app.visit('/me', cookie)).body).toMatchObject({ id, userName: 'ann' })
    }, soon)
    const signIn = await app.visit('/login?user=bob')
    const signOut = await app.visit('/logout', cookie)
    const ends = app.sessions.terminate(id)

    await expect(ends).rejects.toMatchObject({ code: 'ERR_SESSION_STORE' })
    expect([signIn.status, signOut.status]).toEqual([503, 503])
    // The client looks for another master now and then.
    expect(load.counts.get('reader 200')).toBeGreaterThan(load.counts.get('reader 503') ?? 0)
    await direct.config('SET', 'min-replicas-to-write', '0')
    await load.stores(5)
    await load.stop()
    expect(load.wrong).toEqual([])
    const master = await set.master()
    for (const { id, stored } of load.writers) {
      expect([...(await storedBy(master, id))].toSorted()).toEqual([...stored].toSorted())
    }
    // No client was told that it has ended.
    expect((await app.visit('/me', cookie)).body).toMatchObject({ id, userName: 'ann' })
    expect(await app.sessions.terminate(id)).toBe(true)
  })
})

describe('a master that has become a replica', () => {
  it('F1, F4, F7: is read, refuses changes, and is left at the first refusal', async () => {
    const set = await start()
    const { app } = await appOn(set)
    const cookie = cookieOf(await app.visit('/login?user=ann'))
    await set.inSync()
    // Like a client that was connected before.
    const redis = await connected(new Redis(set.servers[1]!.url, recommendedSentinelOptions))
    const stale = appWith(redis)

    const read = await stale.visit('/me', cookie)
    const leaves = once(redis, 'close')
    const change = await stale.visit('/write?late=1', cookie)
    await leaves

    expect([read.status, change.status]).toEqual([200, 503])
    expect(read.body).toMatchObject({ userName: 'ann' })
    expect((await app.visit('/me', cookie)).body).toMatchObject({
      userName: 'ann',
      storage: exactly({}),
    })
  })
})

describe('a planned replacement of the master', () => {
  it('F1, F4: moves clients away before the old master is demoted, and loses nothing that replicas had', async () => {
    const set = await start(['--min-replicas-to-write', '1'])
    const { app, redis } = await appOn(set)
    const load = await startLoad(app)
    await load.stores(10)
    const kept = keepsFrom(load, redis)
    await set.inSync()

    const old = await set.master()
    await set.failOver()
    const master = await set.masterOther(old)
    await vi.waitFor(async () => {
      expect(await redis.info('server')).toContain(`tcp_port:${master.port}\r`)
    }, soon)
    const role = await connectRedis(old.url).info('replication')
    await load.stores(10)
    await load.stop()

    expect(role).toContain('role:master')
    expect(load.wrong).toEqual([])
    await kept(master)
  })
})

async function start(args?: readonly string[]): Promise<TestSentinel> {
  const set = await startRedisSentinel(args)
  onTestFinished(() => set.stop())
  return set
}

/** An app on the set's master. */
async function appOn(
  set: TestSentinel,
  clientOptions: Partial<typeof recommendedSentinelOptions> = recommendedSentinelOptions,
  options: SessionsOptions = {},
  handlers: Readonly<Record<string, Handler>> = {},
): Promise<{ readonly app: TestApp; readonly redis: Redis }> {
  const redis = await connected(new Redis({ ...set.connection, ...clientOptions }))
  return { app: appWith(redis, options, handlers), redis }
}

/** Waits for a client's first connection. It is disconnected with the test. */
async function connected(redis: Redis): Promise<Redis> {
  redis.on('error', () => {})
  onTestFinished(() => redis.disconnect())
  await once(redis, 'ready')
  return redis
}

function appWith(
  redis: Redis,
  options: SessionsOptions = {},
  handlers: Readonly<Record<string, Handler>> = {},
): TestApp {
  const limits = { storageKeys: 10_000 }
  const testApp = makeApp(handlers, { limits, ...options, redis })
  testApp.app.silent = true
  return testApp
}

/** Waits until a session can be read and changed. */
async function works({ visit }: TestApp, cookie: string): Promise<void> {
  await vi.waitFor(async () => {
    expect((await visit('/me', cookie)).body).toMatchObject({ isGuest: false })
    expect((await visit('/write?works=1', cookie)).status).toBe(200)
  }, soon)
}

/**
 * Records the writes acknowledged to the writers. In-sync replicas have them afterwards; what a
 * master acknowledges later is lost with it when they have not received it.
 *
 * @param redis Has a connection to the master, which it will lose.
 * @returns A function that checks that another master has what was recorded, and what was
 *   acknowledged to requests sent after the connection was lost.
 */
function keepsFrom({ writers }: Load, redis: Redis): (master: TestRedis) => Promise<void> {
  const before = writers.map(({ stored }) => [...stored])
  let sentBefore: readonly number[] = []
  redis.once('close', () => {
    sentBefore = writers.map(({ sent }) => sent.length)
  })
  return async (master) => {
    expect(sentBefore).toHaveLength(writers.length)
    for (const [index, { id, sent, stored }] of writers.entries()) {
      const found = await storedBy(master, id)
      const after = new Set(sent.slice(sentBefore[index]))
      const acknowledged = [...before[index]!, ...stored.filter((name) => after.has(name))]
      expect(acknowledged.filter((name) => !found.has(name))).toEqual([])
      expect([...found].filter((name) => !sent.includes(name))).toEqual([])
    }
  }
}

/** The names in the storage of a session on one server. */
async function storedBy({ url }: TestRedis, id: string): Promise<ReadonlySet<string>> {
  const record = await read(new RedisStore(connectRedis(url)), id)
  return new Set(record?.storage.keys())
}
