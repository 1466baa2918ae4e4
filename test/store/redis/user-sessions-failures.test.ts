import type { Redis } from 'ioredis'
import { RedisStore } from 'koa-user-sessions'
import type { SessionCredential } from 'koa-user-sessions/store'
import { describe, expect, it, onTestFinished } from 'vitest'

import { newSessionId } from '../../../src/cookie/cookie.ts'
import { shortId, userSessionsKey } from '../../../src/store/redis/keys.ts'
import { cookieOf, makeApp, setCookies } from '../../support/apps.ts'
import { connectRedis, uniquePrefix } from '../../support/redis-client.ts'
import { startRedisServer } from '../../support/redis-server.ts'
import { SteppedRedis } from '../../support/round-trips.ts'
import { backgroundIsDone } from '../../support/time.ts'
import {
  idsOf,
  inTurn,
  minute,
  newSession,
  policy,
  range,
  redis,
  setOf,
  setUp,
  signedIn,
  signIn,
  signInCommit,
} from '../../support/user-index.ts'
import { destroyAll, newHash } from '../contract-parts.ts'
import { sessionAt } from './stored-texts.ts'

describe('a Redis that fails the index', () => {
  it('F6: adds a session to the index before its user is set, even with SCRIPT FLUSH before each call', async () => {
    const client = await ownRedis()
    const { store, keyOf, indexKeyOf } = setUp(client, client)
    const guest = await signedIn(store, '')
    const session = newSession({ userName: 'ann' })
    const calls = [
      () => store.create(session, policy),
      () => signIn(store, guest, 'ann'),
      () =>
        store.create(newSession({ userName: 'ann' }), {
          ...policy,
          maxSessions: { perUser: 1, onExceed: 'terminateOldest' },
        }),
    ]
    for (const call of calls) {
      const lines = await monitored(client, async () => {
        await client.script('FLUSH')
        await call()
      })

      const adds = lines.findIndex(([name, key]) => name === 'ZADD' && key === indexKeyOf('ann'))
      const writes = lines.findIndex(
        ([name, key, text]) =>
          name === 'SET' && key?.includes('user:') === false && text?.includes('uann') === true,
      )
      expect(adds).toBeGreaterThanOrEqual(0)
      expect(writes).toBeGreaterThan(adds)
    }
    // The limit of the last one has ended the others.
    expect(await idsOf(store, 'ann')).toHaveLength(1)
    expect(await client.exists(keyOf(session.credential.id), keyOf(guest.id))).toBe(0)
  })

  it('F6: reads, counts and ends right after SCRIPT FLUSH', async () => {
    const client = await ownRedis()
    const { store, indexOf } = setUp(client, client)
    const sessions = await inTurn(3, async () => {
      const credential = await signedIn(store, 'ann')
      await client.script('FLUSH')
      return credential
    })

    expect(await idsOf(store, 'ann')).toEqual(sessions.map(({ id }) => id))
    await client.script('FLUSH')
    expect(await destroyAll(store, 'ann', sessions[1]!.id)).toEqual([
      sessions[0]!.id,
      sessions[2]!.id,
    ])
    await client.script('FLUSH')
    await expect.poll(() => indexOf('ann')).toEqual([sessions[1]!.id])
  })

  it('F1: answers 503 to a sign-in that the index refuses, and signs no user in', async () => {
    const prefix = uniquePrefix()
    const { visit, sessions } = makeApp({}, { redis, prefix })
    const cookie = cookieOf(await visit('/write?a=1'))
    await redis.set(userSessionsKey(prefix, 'ann'), 'something else')

    const without = await visit('/login')
    const withOne = await visit('/login', cookie)

    for (const response of [without, withOne]) {
      expect(response.status).toBe(503)
      expect(setCookies(response)).toEqual([])
    }
    // The session of the guest is unchanged.
    expect((await visit('/me', cookie)).body).toMatchObject({
      userName: '',
      isGuest: true,
      isNew: false,
      storage: { a: '1' },
    })
    const users = await Promise.all(
      (await redis.keys(`${prefix}{*`)).map(async (key) => {
        const { record } = await sessionAt(redis, key)
        return record.userName
      }),
    )
    expect(users.filter(Boolean)).toEqual([])
    await expect(sessions.list('ann')).rejects.toMatchObject({ code: 'ERR_SESSION_STORE' })
    await expect(sessions.terminateAll('ann')).rejects.toMatchObject({ status: 503 })
    expect((await visit('/login?user=bob')).status).toBe(200)
  })

  it('F1: ends no other session when the index refuses one, and recovers when the key is gone', async () => {
    const { store, indexKeyOf } = setUp()
    const first = await signedIn(store, 'ann')
    await redis.set(indexKeyOf('ann'), 'something else')

    await expect(store.create(newSession({ userName: 'ann' }), policy)).rejects.toMatchObject({
      code: 'ERR_SESSION_STORE',
    })
    expect(await store.load(first, policy, true)).toMatchObject({ status: 'live' })
    const wrong = { ...first, secretHash: newHash() }
    await expect(store.commit(first, signInCommit('ann'), policy)).rejects.toMatchObject({
      status: 503,
    })
    // A secret that opens nothing causes no access to an index.
    expect(await store.commit(wrong, signInCommit('ann'), policy)).toEqual({ status: 'ended' })
    expect(await store.load(first, policy, true)).toMatchObject({ status: 'live' })
    await redis.del(indexKeyOf('ann'))

    const second = await signedIn(store, 'ann')
    expect(await idsOf(store, 'ann')).toEqual([second.id])
  })

  it('F1: signs no user in while Redis forbids the index, and leaves a guest as it is', async () => {
    const client = await ownRedis()
    const { store, prefix } = setUp(client, client)
    const guest = await signedIn(store, '')
    await client.call('ACL', 'SETUSER', 'default', '-zadd')

    await expect(signIn(store, guest, 'ann')).rejects.toMatchObject({ status: 503 })
    await expect(signedIn(store, 'ann')).rejects.toMatchObject({ status: 503 })

    expect(await client.keys(`${prefix}*`)).toHaveLength(1)
    expect(await store.load(guest, policy, true)).toMatchObject({
      status: 'live',
      record: { userName: '', privileges: [] },
    })
  })

  it('F7: lists and ends all sessions of a user on a full Redis', async () => {
    const client = await ownRedis()
    const { store, prefix } = setUp(client, client)
    const first = await signedIn(store, 'ann')
    const guest = await signedIn(store, '')
    await client.config('SET', 'maxmemory-policy', 'noeviction')
    await client.config('SET', 'maxmemory', '1')

    await expect(signedIn(store, 'ann')).rejects.toMatchObject({ status: 503 })
    await expect(signIn(store, guest, 'ann')).rejects.toMatchObject({ status: 503 })
    await expect(signIn(store, first, 'ann')).rejects.toMatchObject({ status: 503 })

    expect(await store.load(guest, policy, true)).toMatchObject({ record: { userName: '' } })
    expect(await store.load(first, policy, true)).toMatchObject({ record: { userName: 'ann' } })
    expect(await idsOf(store, 'ann')).toEqual([first.id])
    expect(await client.keys(`${prefix}{*`)).toHaveLength(2)
    expect(await destroyAll(store, 'ann')).toEqual([first.id])
    expect(await idsOf(store, 'ann')).toEqual([])
  })

  it('F7: misses no session when Redis is full for one of the two steps of a sign-in', async () => {
    const direct = await ownRedis()
    await direct.config('SET', 'maxmemory-policy', 'noeviction')
    const guests: SessionCredential[] = []
    let isFull = false
    // The second step is on another node only on a Cluster.
    const client = new SteppedRedis(direct, true)
    const evalsha = client.evalsha.bind(client)
    client.evalsha = (...args) => {
      // Every third guest meets a full Redis at its first step, the next one at its second.
      const at = guests.findIndex(({ id }) => args.some((arg) => String(arg).includes(shortId(id))))
      const from = guests.findIndex(({ id }) => args.includes(keyOf(id)))
      isFull = (at >= 0 && at % 3 === 1) || (from >= 0 && from % 3 === 2)
      if (isFull) void direct.config('SET', 'maxmemory', '1')
      const reply = evalsha(...args)
      if (isFull) void direct.config('SET', 'maxmemory', '0')
      return reply
    }
    const { store, keyOf } = setUp(client, direct)
    // Redis knows the scripts after this.
    await signIn(store, await signedIn(store, 'bob'), 'bob')
    await destroyAll(store, 'bob')
    guests.push(...(await inTurn(30, () => signedIn(store, ''))))

    const outcomes = await Promise.allSettled(guests.map((guest) => signIn(store, guest, 'ann')))

    const isSignedIn = outcomes.map(({ status }) => status === 'fulfilled')
    const stored = await Promise.all(guests.map(({ id }) => sessionAt(direct, keyOf(id))))
    expect(isSignedIn).toEqual(guests.map((_, index) => index % 3 === 0))
    // A session that was not signed in is the same guest as before.
    expect(stored.map(({ record }) => record.userName === 'ann')).toEqual(isSignedIn)
    expect(await setOf(idsOf(store, 'ann'))).toEqual(
      new Set(guests.filter((_, index) => isSignedIn[index]).map(({ id }) => id)),
    )
  })
})

describe('one Redis', () => {
  it('L3: signs in and adds the session to the index with one command', async () => {
    const stepped = new SteppedRedis(redis)
    const { store, indexOf } = setUp(stepped)
    const guest = await signedIn(store, '')
    await signedIn(store, 'bob')
    const more = { ...policy, maxSessions: { perUser: 2, onExceed: 'terminateOldest' } } as const
    const session = newSession({ userName: 'ann' })

    const creating = await stepped.roundTrips(() => store.create(session, more))
    const signingIn = await stepped.roundTrips(() => signIn(store, guest, 'ann'))

    expect(creating).toEqual({ trips: [['create']], unanswered: [] })
    // A request has read the head by then.
    expect(signingIn).toEqual({ trips: [['getrange'], ['commit']], unanswered: [] })
    expect(await indexOf('ann')).toEqual([session.credential.id, guest.id])
  })
})

describe('one Redis at the limit', () => {
  it('L3, M6: ends other sessions with two more round trips', async () => {
    const stepped = new SteppedRedis(redis)
    const { store } = setUp(stepped)
    await signedIn(store, 'ann')
    await signedIn(store, 'ann')
    const limited = { ...policy, maxSessions: { perUser: 2, onExceed: 'terminateOldest' } } as const

    const ending = await stepped.roundTrips(() =>
      store.create(newSession({ userName: 'ann' }), limited),
    )

    expect(ending).toEqual({
      trips: [['create'], ['getrange', 'getrange'], ['destroy']],
      unanswered: ['remove'],
    })
  })
})

describe('a Cluster', () => {
  it('L3: adds a session to the index before the session has its user, and waits for that', async () => {
    const stepped = new SteppedRedis(redis, true)
    const { store } = setUp(stepped)
    const guest = await signedIn(store, '')
    await signedIn(store, 'ann')
    await backgroundIsDone(redis)
    const limited = {
      ...policy,
      maxSessions: { perUser: 2, onExceed: 'terminateOldest' },
    } as const

    const creating = await stepped.roundTrips(() => signedIn(store, 'ann'))
    const signingIn = await stepped.roundTrips(() => signIn(store, guest, 'ann'))
    const ending = await stepped.roundTrips(() =>
      store.create(newSession({ userName: 'ann' }), limited),
    )

    expect(creating).toEqual({ trips: [['add'], ['create']], unanswered: ['keep'] })
    expect(signingIn).toEqual({
      trips: [['getrange'], ['add'], ['commit']],
      unanswered: ['keep'],
    })
    expect(ending).toEqual({
      trips: [['add'], ['create'], ['entries'], Array(4).fill('getrange'), ['destroy', 'destroy']],
      unanswered: ['keep', 'remove'],
    })
  })

  it('F1: stores no session that the index cannot take', async () => {
    const { store, prefix, indexKeyOf } = setUp(new SteppedRedis(redis, true))
    const guest = await signedIn(store, '')
    await redis.set(indexKeyOf('ann'), 'something else')

    await expect(signedIn(store, 'ann')).rejects.toMatchObject({ status: 503 })
    await expect(signIn(store, guest, 'ann')).rejects.toMatchObject({ status: 503 })

    expect(await redis.keys(`${prefix}{*`)).toHaveLength(1)
    expect(await store.load(guest, policy, true)).toMatchObject({ record: { userName: '' } })
  })

  it.each([
    ['terminateOldest', false],
    ['terminateOldest', true],
    ['refuse', false],
    ['refuse', true],
  ] as const)(
    'M6: has 5 sessions after 50 parallel sign-ins with %s, as a Cluster: %s',
    async (onExceed, isCluster) => {
      const clients = [connectRedis(), connectRedis()]
      const { prefix, indexOf } = setUp()
      const stores = clients.map(
        (client) => new RedisStore(new SteppedRedis(client, isCluster), { prefix }),
      )
      const limited = { ...policy, maxSessions: { perUser: 5, onExceed } }

      const outcomes = await Promise.all(
        range(50).map((index) =>
          stores[index % 2]!.create(newSession({ userName: 'ann' }), limited),
        ),
      )

      const created = outcomes.filter(({ status }) => status === 'created')
      expect(created).toHaveLength(onExceed === 'refuse' ? 5 : 50)
      expect(await redis.keys(`${prefix}{*`)).toHaveLength(5)
      expect(await idsOf(stores[0]!, 'ann')).toHaveLength(5)
      await expect.poll(() => indexOf('ann')).toHaveLength(5)
    },
  )
})

describe('maxSessions on Redis', () => {
  it('M6: counts a sign-in in progress when it refuses, for two minutes', async () => {
    const { store, users, indexKeyOf } = setUp()
    const limited = { ...policy, maxSessions: { perUser: 1, onExceed: 'refuse' } } as const
    const pending = newSessionId()
    await users.add({ id: pending, userName: 'ann', timeToLiveMs: minute })

    const refused = await store.create(newSession({ userName: 'ann' }), limited)
    await redis.zadd(indexKeyOf('ann'), Date.now() - 121_000 + 0.5, shortId(pending))
    const created = await store.create(newSession({ userName: 'ann' }), limited)

    expect(refused).toEqual({ status: 'refused' })
    expect(created).toMatchObject({ status: 'created' })
  })

  it('M6: lets a live session sign in again, whatever sign-ins are in progress', async () => {
    const { store, users } = setUp()
    const limited = { ...policy, maxSessions: { perUser: 1, onExceed: 'refuse' } } as const
    const credential = await signedIn(store, 'ann')
    await users.add({ id: newSessionId(), userName: 'ann', timeToLiveMs: minute })

    const outcome = await store.commit(credential, signInCommit('ann'), limited)

    expect(outcome).toMatchObject({ status: 'committed' })
  })

  it('M6: ends no session in place of an expired one', async () => {
    const { store, keyOf } = setUp()
    const limited = { ...policy, maxSessions: { perUser: 2, onExceed: 'terminateOldest' } } as const
    const [kept, gone] = await inTurn(2, () => signedIn(store, 'ann'))
    await redis.del(keyOf(gone!.id))
    const session = newSession({ userName: 'ann' })

    const outcome = await store.create(session, limited)

    expect(outcome).toMatchObject({ status: 'created', now: expect.any(Number) })
    expect(Object.keys(outcome)).not.toContain('ended')
    expect(await idsOf(store, 'ann')).toEqual([kept!.id, session.credential.id])
  })

  it('M6: refuses no sign-in because of an expired session', async () => {
    const { store, keyOf } = setUp()
    const limited = { ...policy, maxSessions: { perUser: 2, onExceed: 'refuse' } } as const
    const [first] = await inTurn(2, () => signedIn(store, 'ann'))

    const refused = await store.create(newSession({ userName: 'ann' }), limited)
    await redis.del(keyOf(first!.id))
    const created = await store.create(newSession({ userName: 'ann' }), limited)

    expect(refused).toEqual({ status: 'refused' })
    expect(created).toMatchObject({ status: 'created' })
    expect(await idsOf(store, 'ann')).toHaveLength(2)
  })
})

/** A client of the test's own server. */
async function ownRedis(): Promise<Redis> {
  const server = await startRedisServer()
  onTestFinished(() => server.stop())
  return connectRedis(server.url)
}

/** All commands that Redis ran, including those of scripts, with their names in capitals. */
async function monitored(
  client: Redis,
  work: () => Promise<unknown>,
): Promise<readonly string[][]> {
  const monitor = await client.monitor()
  const lines: string[][] = []
  monitor.on('monitor', (_time: string, [name = '', ...args]: string[]) => {
    lines.push([name.toUpperCase(), ...args])
  })
  await work()
  await client.echo('the end')
  await expect.poll(() => lines.some((line) => line.includes('the end'))).toBe(true)
  monitor.disconnect()
  return lines
}
