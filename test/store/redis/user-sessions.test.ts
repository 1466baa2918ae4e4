import { RedisStore } from 'koa-user-sessions'
import type { RedisClient } from 'koa-user-sessions'
import type { SessionCredential } from 'koa-user-sessions/store'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { newSessionId } from '../../../src/cookie/cookie.ts'
import { sessionKey, shortId } from '../../../src/store/redis/keys.ts'
import { removeUserSessions } from '../../../src/store/redis/scripts/remove-user-sessions.ts'
import { SteppedRedis } from '../../support/round-trips.ts'
import { backgroundIsDone } from '../../support/time.ts'
import {
  emptyCommit,
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
  year,
} from '../../support/user-index.ts'
import { describeById, destroyAll, grant, newHash } from '../contract-parts.ts'
import { idle, rewrite, sessionAt } from './stored-texts.ts'

const noGrants = {
  clears: false,
  userName: undefined,
  privileges: [],
  roles: [],
  signsIn: false,
} as const

class Deferred {
  resolve = (): void => {}
  readonly promise = new Promise<void>((resolve) => {
    this.resolve = resolve
  })
}

describe('the key of a user', () => {
  it('H1: does not contain the user name, which stands only in the text of the session', async () => {
    const { store, prefix } = setUp()
    const userName = 'ann{}@example.com'

    const { id } = await signedIn(store, userName)

    const keys = await redis.keys(`${prefix}*`)
    expect(keys.filter((key) => key !== sessionKey(prefix, id))).toEqual([
      expect.stringMatching(/^t:[0-9a-f]{8}:user:\{[\w-]{16}\}$/),
    ])
    expect(keys.join()).not.toContain('ann')
  })

  it('M2: differs for each user name, however alike two look', async () => {
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
  it('M2: lists everybody who is signed in, and no guests, in the order of sign-ins', async () => {
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

  it('M2: keeps sign-ins in strict order within one millisecond, and when the clock goes back', async () => {
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

    // One whose time was set while it belonged to a guest.
    await redis.pexpire(key, minute)
    const guest = await signedIn(store, '')
    await store.commit(guest, { ...emptyCommit, ...long, userName: '' }, policy)
    const second = await signIn(store, guest, 'ann')
    expect(await margin(second)).toBeGreaterThan(year - minute)

    await redis.pexpire(key, minute)
    await idle(redis, keyOf(second.id), 2 * minute)
    await store.load(second, policy, true)
    await expect.poll(() => margin(second)).toBeGreaterThan(year - minute)

    // The shorter time to live of another session takes nothing away.
    await signedIn(store, 'ann')
    expect(await margin(second)).toBeGreaterThan(year - minute)
  })

  it('M2: gets a missing session back when a load refreshes it', async () => {
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

  it('M2: is not repaired by a load that is not activity or finds nothing', async () => {
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

  it('M2: keeps the order of a repaired sign-in, so that maxSessions ends the oldest', async () => {
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

  it('M2: loses entries of sessions that are gone when it is read, but no pending ones', async () => {
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

  it('M2: keeps a pending entry when all sessions are ended', async () => {
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

  it('M2: keeps a session that signs in again during a pruning', async () => {
    const gate = gateOf(removeUserSessions.sha1)
    const { store: pruning, prefix, indexOf } = setUp(gate.client)
    const store = new RedisStore(redis, { prefix })
    const credential = await signedIn(store, 'ann')
    await grant(store, credential.id, 'ann', { ...noGrants, clears: true, userName: '' }, policy)

    // It was found to be a guest's, and the removal is in progress.
    expect(await idsOf(pruning, 'ann')).toEqual([])
    await gate.reached
    await signIn(store, credential, 'ann')
    gate.open()
    await gate.done

    expect(await indexOf('ann')).toEqual([credential.id])
    expect(await idsOf(store, 'ann')).toEqual([credential.id])
  })

  it('M2: keeps a session whose sign-in is in progress during a pruning', async () => {
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
    // The first sign-in is confirmed late, which says nothing about the second one.
    const { score } = (await users.entries('ann'))[0]!
    await users.confirm({ id: credential.id, userName: 'ann', timeToLiveMs: minute }, added.score)
    expect((await users.entries('ann'))[0]!.score).toBe(score)
  })

  it('M2: outlives a session whose idle timeout another request has changed meanwhile', async () => {
    const { store, indexKeyOf } = setUp()
    const credential = await signedIn(store, '')
    await store.commit(credential, { ...emptyCommit, idleTimeoutMs: year }, policy)

    // This request loaded it earlier.
    await signIn(store, credential, 'ann')

    await expect.poll(() => redis.pttl(indexKeyOf('ann'))).toBeGreaterThan(year)
  })

  it('M2: keeps the entry of a session that only a later version can read', async () => {
    const { store, keyOf, indexOf } = setUp()
    const [later, gone, last] = await inTurn(3, () => signedIn(store, 'ann'))
    await redis.setrange(keyOf(later!.id), 0, '3')
    await redis.del(keyOf(gone!.id))

    expect(await idsOf(store, 'ann')).toEqual([last!.id])

    await expect.poll(() => indexOf('ann')).toEqual([later!.id, last!.id])
  })

  it('F6, M2: tolerates foreign members', async () => {
    const { store, indexKeyOf, indexOf } = setUp()
    const [first, second, third] = await inTurn(3, () => signedIn(store, 'ann'))
    await redis.ping()
    const foreign = ['', 'a', '{}', first!.id, `${shortId(first!.id)}==`, '!'.repeat(22)]
    // So that each comes before all others, and one is as pending as possible.
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

  it('M2: has at most a stale entry after a confirmation that comes after the end', async () => {
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
    'M2: omits a session whose sign-in was not stored, on a Cluster: %s',
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
    'M2: keeps a session whose next sign-in is not stored, on a Cluster: %s',
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

  it('M2: stays small over 2 000 sign-ins of sessions that are never ended', async () => {
    const { store, keyOf, indexKeyOf } = setUp()
    const random = seeded(7)
    const spy = vi.spyOn(Math, 'random').mockImplementation(random)
    onTestFinished(() => spy.mockRestore())
    let most = 0
    for (let made = 0; made < 2000; made++) {
      const { id } = await signedIn(store, 'ann')
      // As if its time had passed.
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

/** The same numbers each time, from 0 to 1. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    // The constants are from Numerical Recipes.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
