import type { Redis } from 'ioredis'
import { RedisStore } from 'koa-user-sessions'
import type { RedisClient, SessionStore } from 'koa-user-sessions'
import type {
  NewSession,
  RecordDraft,
  SessionCommit,
  SessionCredential,
  StorePolicy,
} from 'koa-user-sessions/store'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { newSecret, newSessionId } from '../../../src/cookie/cookie.ts'
import { RedisConnection } from '../../../src/store/redis/connection.ts'
import { longId, sessionKey, shortId, userSessionsKey } from '../../../src/store/redis/keys.ts'
import { removeUserSessions } from '../../../src/store/redis/scripts/remove-user-sessions.ts'
import { UserIndex } from '../../../src/store/redis/user-index.ts'
import { cookieOf, makeApp, setCookies } from '../../support/apps.ts'
import { connectRedis, uniquePrefix } from '../../support/redis-client.ts'
import { startRedisServer } from '../../support/redis-server.ts'
import { SteppedRedis } from '../../support/round-trips.ts'
import { backgroundIsDone } from '../../support/time.ts'
import { describeById, destroyAll, draftOf, grant, newHash } from '../contract-parts.ts'
import { idle, rewrite, sessionAt } from './stored-texts.ts'

const minute = 60_000
const year = 525_600 * minute

const policy: StorePolicy = {
  expiry: { refreshMs: minute, absoluteTimeoutMs: Infinity },
  limits: { storageBytes: 262_144, storageKeys: 256 },
  maxSessions: undefined,
  timeoutMs: 1000,
}

const emptyCommit: SessionCommit = {
  storage: undefined,
  idleTimeoutMs: undefined,
  grants: undefined,
  userName: '',
  newSecretHash: undefined,
  asksFor: undefined,
}

const redis = connectRedis()

interface Setup {
  readonly store: RedisStore
  /** The index behind the store's back. */
  readonly users: UserIndex
  readonly prefix: string
  readonly keyOf: (id: string) => string
  readonly indexKeyOf: (userName: string) => string
  /** The ids in a user's index, the first sign-in first. */
  readonly indexOf: (userName: string) => Promise<readonly string[]>
  readonly scoreOf: (userName: string, id: string) => Promise<number>
}

function setUp(client: RedisClient = redis, direct: Redis = redis): Setup {
  const prefix = uniquePrefix()
  const indexKeyOf = (userName: string): string => userSessionsKey(prefix, userName)
  return {
    store: new RedisStore(client, { prefix }),
    users: new UserIndex(new RedisConnection(direct), prefix),
    prefix,
    keyOf: (id) => sessionKey(prefix, id),
    indexKeyOf,
    indexOf: async (userName) =>
      (await direct.zrange(indexKeyOf(userName), '0', '-1')).map((id) => longId(id) ?? id),
    scoreOf: async (userName, id) => Number(await direct.zscore(indexKeyOf(userName), shortId(id))),
  }
}

describe('the key of a user', () => {
  it('H1: has nothing of the user name, which stands in the text of the session alone', async () => {
    const { store, prefix } = setUp()
    const userName = 'ann{}@example.com'

    const { id } = await signedIn(store, userName)

    const keys = await redis.keys(`${prefix}*`)
    expect(keys.filter((key) => key !== sessionKey(prefix, id))).toEqual([
      expect.stringMatching(/^t:[0-9a-f]{8}:user:\{[\w-]{16}\}$/),
    ])
    expect(keys.join()).not.toContain('ann')
  })

  it('M2: is another one for each user name, however alike two look', async () => {
    const { store, indexOf } = setUp()
    const names = [
      'ann',
      'Ann',
      'ann ',
      ' ann',
      'ann\0',
      'an\u200Bn',
      '\u0430nn',
      '\u00E9',
      'e\u0301',
      '\uD800',
      '\uD801',
      '\uFFFD',
      '\uDC00\uD800',
      '😀',
      '\n',
      '\\n',
      '{ann}',
      'user:{ann}',
      '__proto__',
      'x'.repeat(10_000),
    ]
    const ids = new Map<string, string>()
    for (const name of names) ids.set(name, (await signedIn(store, name)).id)

    for (const name of names) {
      expect(await idsOf(store, name)).toEqual([ids.get(name)])
      expect(await indexOf(name)).toEqual([ids.get(name)])
    }
    expect(await destroyAll(store, '\uD800')).toEqual([ids.get('\uD800')])
    expect(await idsOf(store, '\uD801')).toHaveLength(1)
  })
})

describe("the index of a user's sessions", () => {
  it('M2: has nobody who is not signed in, and everybody who is, in the order of sign-ins', async () => {
    const { store, prefix, indexOf, scoreOf } = setUp()
    const guest = await signedIn(store, '')
    expect(await redis.keys(`${prefix}user:*`)).toEqual([])

    const first = await signedIn(store, 'ann')
    const second = await signedIn(store, 'ann')
    const next = await signIn(store, guest, 'ann')
    await signIn(store, first, 'ann')

    expect(await indexOf('ann')).toEqual([second.id, guest.id, first.id])
    expect(next.id).toBe(guest.id)
    const scores = await Promise.all([second, guest, first].map(({ id }) => scoreOf('ann', id)))
    // Nothing is pending once its sign-in was confirmed.
    expect(scores.map((score) => score % 1)).toEqual([0, 0, 0])
    expect(new Set(scores).size).toBe(3)
  })

  it('M2: keeps a strict order of sign-ins within one millisecond, and when the clock goes back', async () => {
    const { store, scoreOf, indexKeyOf } = setUp()
    const later = Date.now() + 60 * minute
    await redis.zadd(indexKeyOf('ann'), later, shortId(newSessionId()))

    const credentials = await Promise.all(range(50).map(() => signedIn(store, 'ann')))

    const scores = await Promise.all(credentials.map(({ id }) => scoreOf('ann', id)))
    expect(scores).toEqual(range(50).map((index) => later + 1 + index))
  })

  it('M2: outlives each session, after a sign-in, a longer idle timeout and a refresh', async () => {
    const { store, keyOf, indexKeyOf } = setUp()
    const key = indexKeyOf('ann')
    const margin = async ({ id }: SessionCredential): Promise<number> =>
      (await redis.pttl(key)) - (await redis.pttl(keyOf(id)))
    const long = { idleTimeoutMs: year, userName: 'ann' }

    const first = await signedIn(store, 'ann')
    expect(await margin(first)).toBeGreaterThan(60 * minute)

    await store.commit(first, { ...emptyCommit, ...long }, policy)
    expect(await margin(first)).toBeGreaterThan(year - minute)

    // One whose time was set while it was a guest's.
    await redis.pexpire(key, minute)
    const guest = await signedIn(store, '')
    await store.commit(guest, { ...emptyCommit, ...long, userName: '' }, policy)
    const second = await signIn(store, guest, 'ann')
    expect(await margin(second)).toBeGreaterThan(year - minute)

    await redis.pexpire(key, minute)
    await idle(redis, keyOf(second.id), 2 * minute)
    await store.load(second, policy, true)
    await expect.poll(() => margin(second)).toBeGreaterThan(year - minute)

    // A shorter life of another session takes nothing away.
    await signedIn(store, 'ann')
    expect(await margin(second)).toBeGreaterThan(year - minute)
  })

  it('M2: gets a session back that is missing, when a load refreshes it', async () => {
    const { store, keyOf, indexKeyOf, indexOf, scoreOf } = setUp()
    const first = await signedIn(store, 'ann')
    const second = await signedIn(store, 'ann')
    const { signedInAt } = (await sessionAt(redis, keyOf(first.id))).record

    await redis.zrem(indexKeyOf('ann'), shortId(first.id))
    await store.load(first, policy, true)
    await backgroundIsDone(redis)
    expect(await indexOf('ann')).toEqual([second.id])
    await idle(redis, keyOf(first.id), 2 * minute)
    await store.load(first, policy, true)
    await expect.poll(() => setOf(indexOf('ann'))).toEqual(new Set([first.id, second.id]))
    expect(await scoreOf('ann', first.id)).toBe(signedInAt)

    await redis.del(indexKeyOf('ann'))
    for (const { id } of [first, second]) await idle(redis, keyOf(id), 2 * minute)
    await store.load(second, policy, true)
    await store.load(first, policy, true)
    await expect.poll(() => setOf(idsOf(store, 'ann'))).toEqual(new Set([first.id, second.id]))
    expect(await redis.pttl(indexKeyOf('ann'))).toBeGreaterThan(61 * minute)
  })

  it('M2: is not repaired by a load that is no activity, or finds nothing', async () => {
    const { store, keyOf, indexKeyOf } = setUp()
    const credential = await signedIn(store, 'ann')
    await redis.del(indexKeyOf('ann'))
    await idle(redis, keyOf(credential.id), 2 * minute)

    await store.load(credential, policy, false)
    await store.load({ ...credential, secretHash: newHash() }, policy, true)
    await describeById(store, credential.id, policy)
    await backgroundIsDone(redis)

    expect(await redis.exists(indexKeyOf('ann'))).toBe(0)
  })

  it('M2: keeps the order of a sign-in that was repaired, so that maxSessions ends the oldest', async () => {
    const { store, keyOf, indexKeyOf, indexOf } = setUp()
    const sessions = await inTurn(3, () => signedIn(store, 'ann'))
    // So that no two have the same instant.
    const now = Date.now()
    for (const [index, { id }] of sessions.entries()) {
      await rewrite(redis, keyOf(id), (session) => ({
        ...session,
        record: { ...session.record, signedInAt: now + index },
      }))
      await idle(redis, keyOf(id), 2 * minute)
    }
    await redis.del(indexKeyOf('ann'))
    for (const credential of sessions.toReversed()) await store.load(credential, policy, true)
    await expect.poll(() => indexOf('ann')).toEqual(sessions.map(({ id }) => id))

    const outcome = await store.create(newSession({ userName: 'ann' }), {
      ...policy,
      maxSessions: { perUser: 3, onExceed: 'terminateOldest' },
    })

    expect(outcome).toMatchObject({ status: 'created', ended: [sessions[0]!.id] })
  })

  it('M2: loses entries of sessions that are gone when it is read, and no pending ones', async () => {
    const { store, keyOf, indexKeyOf, indexOf } = setUp()
    const [gone, cleared, kept] = await inTurn(3, () => signedIn(store, 'ann'))
    await redis.ping()
    await redis.del(keyOf(gone!.id))
    await grant(store, cleared!.id, 'ann', { ...noGrants, clears: true, userName: '' }, policy)
    const now = Date.now()
    const [young, almost, old] = [newSessionId(), newSessionId(), newSessionId()] as const
    const key = indexKeyOf('ann')
    await redis.zadd(
      key,
      `${now}.5`,
      shortId(young),
      `${now - 100_000}.5`,
      shortId(almost),
      `${now - 121_000}.5`,
      shortId(old),
    )

    expect(await idsOf(store, 'ann')).toEqual([kept!.id])

    await expect
      .poll(() => indexOf('ann'))
      .toSatisfy((ids: string[]) => !ids.includes(gone!.id) && !ids.includes(old))
    expect(new Set(await indexOf('ann'))).toEqual(new Set([kept!.id, young, almost]))
  })

  it('M2: loses no pending entry to the end of all sessions', async () => {
    const { store, users, indexOf } = setUp()
    const credential = await signedIn(store, '')
    const other = await signedIn(store, 'ann')
    await users.add({ id: credential.id, userName: 'ann', timeToLiveMs: minute })

    const ended = await destroyAll(store, 'ann')
    await expect.poll(() => indexOf('ann')).toEqual([credential.id])
    await signIn(store, credential, 'ann')

    expect(ended).toEqual([other.id])
    expect(await idsOf(store, 'ann')).toEqual([credential.id])
  })

  it('M2: keeps a session that signs in again while somebody prunes it', async () => {
    const gate = gateOf(removeUserSessions.sha1)
    const { store: pruning, prefix, indexOf } = setUp(gate.client)
    const store = new RedisStore(redis, { prefix })
    const credential = await signedIn(store, 'ann')
    await grant(store, credential.id, 'ann', { ...noGrants, clears: true, userName: '' }, policy)

    // It was seen to be nobody's, and the removal is under way.
    expect(await idsOf(pruning, 'ann')).toEqual([])
    await gate.reached
    await signIn(store, credential, 'ann')
    gate.open()
    await gate.done

    expect(await indexOf('ann')).toEqual([credential.id])
    expect(await idsOf(store, 'ann')).toEqual([credential.id])
  })

  it('M2: keeps a session whose sign-in is on its way while somebody prunes it', async () => {
    const { store, users, indexOf } = setUp()
    const credential = await signedIn(store, '')
    const stale = await signedIn(store, 'ann')
    await store.destroy(stale.id)
    // The first of the two steps of a sign-in.
    const added = await users.add({ id: credential.id, userName: 'ann', timeToLiveMs: minute })

    await users.add({ id: stale.id, userName: 'ann', timeToLiveMs: minute })
    await users.confirm(
      { id: stale.id, userName: 'ann', timeToLiveMs: minute },
      (await users.entries('ann')).at(-1)!.score,
    )
    expect(await idsOf(store, 'ann')).toEqual([])
    await expect.poll(() => indexOf('ann')).toEqual([credential.id])
    await signIn(store, credential, 'ann')

    expect(await idsOf(store, 'ann')).toEqual([credential.id])
    // The first sign-in is confirmed late: it says nothing of the second one.
    const { score } = (await users.entries('ann'))[0]!
    await users.confirm({ id: credential.id, userName: 'ann', timeToLiveMs: minute }, added.score)
    expect((await users.entries('ann'))[0]!.score).toBe(score)
  })

  it('M2: outlives a session whose idle timeout another request has changed meanwhile', async () => {
    const { store, indexKeyOf } = setUp()
    const credential = await signedIn(store, '')
    await store.commit(credential, { ...emptyCommit, idleTimeoutMs: year }, policy)

    // This request has loaded it before.
    await signIn(store, credential, 'ann')

    await expect.poll(() => redis.pttl(indexKeyOf('ann'))).toBeGreaterThan(year)
  })

  it('M2: leaves the entry of a session that only a later version can read', async () => {
    const { store, keyOf, indexOf } = setUp()
    const [later, gone, last] = await inTurn(3, () => signedIn(store, 'ann'))
    await redis.setrange(keyOf(later!.id), 0, '3')
    await redis.del(keyOf(gone!.id))

    expect(await idsOf(store, 'ann')).toEqual([last!.id])

    await expect.poll(() => indexOf('ann')).toEqual([later!.id, last!.id])
  })

  it('F6, M2: has foreign members that everybody passes over', async () => {
    const { store, indexKeyOf, indexOf } = setUp()
    const [first, second, third] = await inTurn(3, () => signedIn(store, 'ann'))
    await redis.ping()
    const foreign = ['', 'a', '{}', first!.id, `${shortId(first!.id)}==`, '!'.repeat(22)]
    // So that each comes before all others, and one is as pending as can be.
    const scored = foreign.flatMap((member, index) => [index + 1, member])
    await redis.zadd(indexKeyOf('ann'), ...scored, `${Date.now()}.5`, 'pending')
    const refusing = { ...policy, maxSessions: { perUser: 4, onExceed: 'refuse' } } as const
    const ending = {
      ...policy,
      maxSessions: { perUser: 4, onExceed: 'terminateOldest' },
    } as const

    expect(await idsOf(store, 'ann')).toEqual([first!.id, second!.id, third!.id])
    const fourth = newSession({ userName: 'ann' })
    expect(await store.create(fourth, refusing)).toMatchObject({ status: 'created' })
    const more = newSession({ userName: 'ann' })
    expect(await store.create(more, refusing)).toEqual({ status: 'refused' })
    expect(await store.create(more, ending)).toMatchObject({
      status: 'created',
      ended: [first!.id],
    })
    expect(await destroyAll(store, 'ann', second!.id)).toEqual([
      third!.id,
      fourth.credential.id,
      more.credential.id,
    ])
    expect(await destroyAll(store, 'ann')).toEqual([second!.id])

    expect(await idsOf(store, 'ann')).toEqual([])
    // It is not known whose they are.
    await expect.poll(() => indexOf('ann')).toHaveLength(foreign.length + 1)
  })

  it('M2: has a stale entry at most after a confirmation that comes behind the end', async () => {
    const { store, users, keyOf, indexOf } = setUp()
    const credential = await signedIn(store, '')
    const { score } = await users.add({ id: credential.id, userName: 'ann', timeToLiveMs: minute })
    await rewrite(redis, keyOf(credential.id), (session) => ({
      ...session,
      record: { ...session.record, userName: 'ann' },
    }))
    expect(await store.destroy(credential.id)).toBe(true)
    await expect.poll(() => indexOf('ann')).toEqual([])

    await users.confirm({ id: credential.id, userName: 'ann', timeToLiveMs: minute }, score)

    expect(await indexOf('ann')).toEqual([credential.id])
    expect(await idsOf(store, 'ann')).toEqual([])
    await expect.poll(() => indexOf('ann')).toEqual([])
  })

  it.each([false, true])(
    'M2: has no session whose sign-in was not stored, as a Cluster: %s',
    async (isCluster) => {
      const { store, indexOf, prefix } = setUp(new SteppedRedis(redis, isCluster))
      const small = { ...policy, limits: { storageBytes: 0, storageKeys: 0 } }
      const session = newSession({ userName: 'ann', storage: new Map([['a', '1']]) })

      expect(await store.create(session, small)).toEqual({ status: 'tooLarge' })
      await expect.poll(() => indexOf('ann')).toEqual([])
      const gone = { id: newSessionId(), secretHash: newHash() }
      expect(await store.commit(gone, signInCommit('ann'), policy)).toEqual({ status: 'ended' })
      await expect.poll(() => indexOf('ann')).toEqual([])
      const full = signInCommit('ann')
      const guest = await signedIn(store, '')
      const large = { ...full, storage: { set: new Map([['a', '1']]), removed: [] } }
      expect(await store.commit(guest, large, small)).toEqual({ status: 'tooLarge' })
      await expect.poll(() => indexOf('ann')).toEqual([])

      expect(await redis.keys(`${prefix}{*`)).toHaveLength(1)
    },
  )

  it.each([false, true])(
    'M2: keeps a session whose next sign-in is not stored, as a Cluster: %s',
    async (isCluster) => {
      const { store, indexOf } = setUp(new SteppedRedis(redis, isCluster))
      const credential = await signedIn(store, 'ann')
      const wrong = { ...credential, secretHash: newHash() }

      expect(await store.commit(wrong, signInCommit('ann'), policy)).toEqual({ status: 'ended' })
      await backgroundIsDone(redis)

      expect(await idsOf(store, 'ann')).toEqual([credential.id])
      expect(await indexOf('ann')).toEqual([credential.id])
    },
  )

  it('M2: stays small over 2 000 sign-ins of sessions that nobody ends', async () => {
    const { store, keyOf, indexKeyOf } = setUp()
    const random = seeded(7)
    const spy = vi.spyOn(Math, 'random').mockImplementation(random)
    onTestFinished(() => spy.mockRestore())
    let most = 0
    for (let made = 0; made < 2000; made++) {
      const { id } = await signedIn(store, 'ann')
      // As when its time has passed.
      await redis.del(keyOf(id))
      most = Math.max(most, await redis.zcard(indexKeyOf('ann')))
    }

    expect(most).toBeGreaterThanOrEqual(32)
    expect(most).toBeLessThan(1000)
    expect(await store.list('ann')).toEqual([])
    await expect.poll(() => redis.zcard(indexKeyOf('ann'))).toBeLessThanOrEqual(1)
  })

  it('M2: stays small when no sign-in was ever confirmed, once they are two minutes old', async () => {
    const { store, indexKeyOf, indexOf } = setUp()
    const spy = vi.spyOn(Math, 'random').mockReturnValue(0)
    onTestFinished(() => spy.mockRestore())
    const key = indexKeyOf('ann')
    const old = Date.now() - 121_000
    await redis.zadd(
      key,
      ...range(500).flatMap((index) => [`${old - index}.5`, shortId(newSessionId())]),
    )
    const young = newSessionId()
    await redis.zadd(key, Date.now() - 60_000 + 0.5, shortId(young))

    const { id } = await signedIn(store, 'ann')

    await expect.poll(() => indexOf('ann')).toEqual([young, id])
  })
})

describe('a Redis that fails the index', () => {
  it('F6: adds a session before it has its user, though SCRIPT FLUSH comes before each call', async () => {
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

  it('F1: answers 503 to a sign-in that the index cannot take, and signs nobody in', async () => {
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
    // The session of the guest is as it was.
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

  it('F1: ends no other session with that, and goes on when the key is gone', async () => {
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
    // Nobody touches an index for a secret that opens nothing.
    expect(await store.commit(wrong, signInCommit('ann'), policy)).toEqual({ status: 'ended' })
    expect(await store.load(first, policy, true)).toMatchObject({ status: 'live' })
    await redis.del(indexKeyOf('ann'))

    const second = await signedIn(store, 'ann')
    expect(await idsOf(store, 'ann')).toEqual([second.id])
  })

  it('F1: signs nobody in while Redis forbids the index, and leaves a guest as it is', async () => {
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

  it('F7: lists and ends the sessions of a user on a Redis that is full; none is missing', async () => {
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
    // A second step is on another node of a Cluster only.
    const client = new SteppedRedis(direct, true)
    const evalsha = client.evalsha.bind(client)
    client.evalsha = (...args) => {
      // Every third guest meets a full Redis with its first step, the next one with its second.
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
    // Who was not signed in is the guest that it was before.
    expect(stored.map(({ record }) => record.userName === 'ann')).toEqual(isSignedIn)
    expect(await setOf(idsOf(store, 'ann'))).toEqual(
      new Set(guests.filter((_, index) => isSignedIn[index]).map(({ id }) => id)),
    )
  })
})

describe('one Redis', () => {
  it('L3: signs in, and puts the session into the index, by one command', async () => {
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
  it('L3, M6: ends others by two more round trips', async () => {
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
  it('L3: is told of a session before the session has its user, and waits for that', async () => {
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

  it('F1: stores no session there that the index cannot take', async () => {
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
  it('M6: counts a sign-in that is on its way when it refuses, for two minutes', async () => {
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

  it('M6: lets a live session sign in again, whoever is on the way', async () => {
    const { store, users } = setUp()
    const limited = { ...policy, maxSessions: { perUser: 1, onExceed: 'refuse' } } as const
    const credential = await signedIn(store, 'ann')
    await users.add({ id: newSessionId(), userName: 'ann', timeToLiveMs: minute })

    const outcome = await store.commit(credential, signInCommit('ann'), limited)

    expect(outcome).toMatchObject({ status: 'committed' })
  })

  it('M6: ends no session for one that has ended by itself', async () => {
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

  it('M6: refuses no sign-in for a session that has ended by itself', async () => {
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

const noGrants = {
  clears: false,
  userName: undefined,
  privileges: [],
  roles: [],
  signsIn: false,
} as const

function newSession(parts: Partial<RecordDraft> = {}): NewSession {
  const id = newSessionId()
  return {
    credential: { id, secretHash: newSecret(id).secretHash },
    draft: draftOf(parts),
    signsIn: parts.userName !== undefined && parts.userName !== '',
  }
}

/** A new session of a user. */
async function signedIn(store: SessionStore, userName: string): Promise<SessionCredential> {
  const session = newSession({ userName })
  const { status } = await store.create(session, policy)
  if (status !== 'created') throw new Error(`not created but ${status}`)
  return session.credential
}

/** Lets a user sign in to a session that is there. */
async function signIn(
  store: SessionStore,
  credential: SessionCredential,
  userName: string,
  parts: Partial<SessionCommit> = {},
): Promise<SessionCredential> {
  const commit = { ...signInCommit(userName), ...parts }
  const { status } = await store.commit(credential, commit, policy)
  if (status !== 'committed') throw new Error(`not committed but ${status}`)
  return { ...credential, secretHash: commit.newSecretHash! }
}

function signInCommit(userName: string): SessionCommit {
  return {
    ...emptyCommit,
    grants: { clears: true, userName, privileges: ['a'], roles: [], signsIn: true },
    userName,
    newSecretHash: newSecret(newSessionId()).secretHash,
    asksFor: 'rights',
  }
}

/** The ids that a store lists. */
async function idsOf(store: SessionStore, userName: string): Promise<readonly string[]> {
  return (await store.list(userName, policy)).map(({ id }) => id)
}

/** A client that holds one script back, until it is opened. */
function gateOf(sha1: string): {
  readonly client: RedisClient
  readonly reached: Promise<void>
  readonly done: Promise<void>
  readonly open: () => void
} {
  const [reached, opened, done] = [new Deferred(), new Deferred(), new Deferred()]
  return {
    client: {
      get: (key) => redis.get(key),
      getrange: (key, start, end) => redis.getrange(key, start, end),
      eval: (...args) => redis.eval(...args),
      async evalsha(...args) {
        if (args[0] !== sha1) return redis.evalsha(...args)
        reached.resolve()
        await opened.promise
        const [, keyCount, ...keysAndArgs] = args
        const reply = await redis.eval(removeUserSessions.lua, keyCount, ...keysAndArgs)
        done.resolve()
        return reply
      },
    },
    reached: reached.promise,
    done: done.promise,
    open: () => opened.resolve(),
  }
}

async function setOf(ids: Promise<readonly string[]>): Promise<ReadonlySet<string>> {
  return new Set(await ids)
}

class Deferred {
  resolve = (): void => {}
  readonly promise = new Promise<void>((resolve) => {
    this.resolve = resolve
  })
}

/** A client of a server of the test's own. */
async function ownRedis(): Promise<Redis> {
  const server = await startRedisServer()
  onTestFinished(() => server.stop())
  return connectRedis(server.url)
}

/** All commands that Redis ran, those of scripts too, their names in capitals. */
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

async function inTurn<T>(count: number, make: () => Promise<T>): Promise<T[]> {
  const made: T[] = []
  for (let index = 0; index < count; index++) made.push(await make())
  return made
}

function range(length: number): number[] {
  return Array.from({ length }, (_, index) => index)
}

/** The same numbers each time, from 0 to 1. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    // The constants of Numerical Recipes.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
