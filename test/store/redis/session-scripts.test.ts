import { lockTurnMs } from 'koa-user-sessions/store'
import { describe, expect, it } from 'vitest'

import { createSession } from '../../../src/store/redis/scripts/create-session.ts'
import { lockSession } from '../../../src/store/redis/scripts/lock-session.ts'
import { refreshSession } from '../../../src/store/redis/scripts/refresh-session.ts'
import {
  ahead,
  destroy,
  fill,
  head,
  isJustUnder,
  newKey,
  newKeys,
  now,
  over,
  ownRedis,
  redis,
  run,
  stored,
  storedKey,
} from '../../support/script-calls.ts'

describe('create-session', () => {
  const args = { untilMs: ahead, timeToLiveMs: 5000, member: '', keepMs: '', perUser: '' }

  it('stores a session with its time to live, and does not change an existing one', async () => {
    const session = newKey()
    const create = (text: string): Promise<unknown> =>
      run(createSession, { keys: { session }, args, rest: [text] })

    const first = await create(stored)
    const again = await create('other')

    expect([first, again]).toEqual([
      { status: 'created', now, count: 0, others: [] },
      { status: 'exists' },
    ])
    expect(await redis.get(session)).toBe(stored)
    expect(await redis.pttl(session)).toSatisfy(isJustUnder(5000))
  })

  it('M8: stores a session forever without a time to live', async () => {
    const session = newKey()
    const endless = { ...args, timeToLiveMs: '' }

    await run(createSession, { keys: { session }, args: endless, rest: [stored] })

    expect(await redis.pttl(session)).toBe(-1)
  })

  it('M2: adds it to the end of its user’s index in the same step, unless it exists', async () => {
    const [session, userSessions] = [newKey(), newKey()]
    const call = {
      keys: { session, userSessions },
      args: { ...args, member: 'me', keepMs: 9000 },
      rest: [stored],
    }
    await redis.zadd(userSessions, 5_000_000_000_000, 'later')

    const first = await run(createSession, call)
    const again = await run(createSession, { ...call, args: { ...call.args, member: 'other' } })

    expect([first, again]).toEqual([
      { status: 'created', now, count: 2, others: [] },
      { status: 'exists' },
    ])
    expect(await redis.zrange(userSessions, '0', '-1', 'WITHSCORES')).toEqual([
      'later',
      '5000000000000',
      'me',
      '5000000000001',
    ])
    expect(await redis.pttl(userSessions)).toSatisfy(isJustUnder(9000))
  })

  it('F5: stores nothing after its caller has stopped waiting', async () => {
    const [session, userSessions] = [newKey(), newKey()]

    const outcome = await run(createSession, {
      keys: { session, userSessions },
      args: { untilMs: over, timeToLiveMs: 5000, member: 'me', keepMs: 9000, perUser: '' },
      rest: [stored],
    })

    expect(outcome).toEqual({ status: 'late', now })
    expect(await redis.exists(session, userSessions)).toBe(0)
  })

  it.each([
    ['a list', (key: string) => redis.rpush(key, 'a')],
    ['a hash', (key: string) => redis.hset(key, 'a', 'b')],
    ['a text', (key: string) => redis.set(key, 'a')],
  ])('F6: treats %s as a session, and does not change it', async (_, put) => {
    const session = newKey()
    await put(session)
    const before = await redis.dumpBuffer(session)

    expect(await run(createSession, { keys: { session }, args, rest: [stored] })).toEqual({
      status: 'exists',
    })
    expect(await redis.dumpBuffer(session)).toEqual(before)
  })

  it('F7: stores neither key on a full Redis, or with an index of another type', async () => {
    const client = await ownRedis()
    const [session, userSessions] = [newKey(), newKey()]
    const call = {
      keys: { session, userSessions },
      args: { ...args, member: 'me', keepMs: 9000 },
      rest: [stored],
    }
    await client.set(userSessions, 'something else')
    await expect(run(createSession, call, client)).rejects.toMatchObject({ status: 503 })
    await client.del(userSessions)
    await fill(client)

    await expect(run(createSession, call, client)).rejects.toThrow('Redis failed: OOM')

    expect(await client.exists(session, userSessions)).toBe(0)
  })
})

describe('refresh-session', () => {
  const args = { revision: '000', activity: 'a123456789', timeToLiveMs: 5000 }

  it('L4: writes activity and time to live, and no other byte', async () => {
    const session = await storedKey()

    expect(await refresh(session)).toBe('refreshed')

    expect(await redis.get(session)).toBe(`2a123456789${stored.slice(11)}`)
    expect(await redis.pttl(session)).toSatisfy(isJustUnder(5000))
  })

  it('M8: sets no time to live on a session without one', async () => {
    const session = newKey()
    await redis.set(session, stored)

    expect(await refresh(session, { timeToLiveMs: '' })).toBe('refreshed')

    expect(await redis.pttl(session)).toBe(-1)
  })

  it.each([
    ['another revision', stored.replace('0002\t', '0012\t'), 'changed'],
    ['a later version', `3${stored.slice(1)}`, 'changed'],
    ['a word', 'word', 'changed'],
    ['an empty text', '', 'ended'],
  ])('L4: does not change %s', async (_, text, outcome) => {
    const session = newKey()
    await redis.set(session, text, 'PX', 60_000)

    expect(await refresh(session)).toBe(outcome)

    expect(await redis.get(session)).toBe(text)
    expect(await redis.pttl(session)).toBeGreaterThan(5000)
  })

  it('L8, F6: brings back nothing that is gone, and changes no index', async () => {
    const [gone, list] = [newKey(), newKey()]
    await redis.rpush(list, 'a')

    expect([await refresh(gone), await refresh(list)]).toEqual(['ended', 'ended'])

    expect(await redis.exists(gone)).toBe(0)
    expect(await redis.pttl(list)).toBe(-1)
  })

  it('F7: works on a full Redis', async () => {
    const client = await ownRedis()
    const session = newKey()
    await client.set(session, stored, 'PX', 1000)
    await fill(client)

    expect(await refresh(session, {}, client)).toBe('refreshed')

    expect(await client.get(session)).toBe(`2a123456789${stored.slice(11)}`)
    expect(await client.pttl(session)).toBeGreaterThan(1000)
  })

  it('F7: is refused by a Redis that accepts no writes, without an error', async () => {
    const client = await ownRedis()
    const session = newKey()
    await client.set(session, stored, 'PX', 60_000)
    await client.replicaof('127.0.0.1', 1)

    expect(await refresh(session, {}, client)).toBe('refused')

    expect(await client.get(session)).toBe(stored)
  })

  function refresh(
    session: string,
    parts: Partial<typeof args> | { readonly timeToLiveMs: '' } = {},
    client = redis,
  ): Promise<string> {
    return run(refreshSession, { keys: { session }, args: { ...args, ...parts } }, client)
  }
})

describe('lock-session', () => {
  it('T4: takes the lock for the lease, and returns the text', async () => {
    const keys = await lockable()

    expect(await ask(keys, 'me', 5000)).toEqual({ status: 'locked', now, text: stored })

    expect(await redis.get(keys.lock)).toBe('me')
    expect(await redis.pttl(keys.lock)).toSatisfy(isJustUnder(5000))
  })

  it('T4: gives the lock next to the first that was refused, and to no other', async () => {
    const keys = await lockable()
    await ask(keys, 'me')

    const refused = [await ask(keys, 'first'), await ask(keys, 'second')]
    const turn = await redis.get(keys.turn)
    const turnMs = await redis.pttl(keys.turn)
    await redis.del(keys.lock)
    await redis.pexpire(keys.turn, 60_000)
    const second = await ask(keys, 'second')
    const first = await ask(keys, 'first')

    const busy = { status: 'busy', now, text: head }
    expect(refused).toEqual([busy, busy])
    expect(turn).toBe('first')
    expect(turnMs).toSatisfy((ms: number) => ms > 0 && ms <= lockTurnMs)
    expect(second).toEqual(busy)
    expect(first.status).toBe('locked')
    expect(await redis.exists(keys.turn)).toBe(0)
  })

  it('T4: extends the lock for its holder, and keeps the queue as it is', async () => {
    const keys = await lockable()
    await ask(keys, 'me', 1000)
    await redis.set(keys.turn, 'first')

    expect((await ask(keys, 'me', 9000)).status).toBe('locked')

    expect(await redis.pttl(keys.lock)).toSatisfy(isJustUnder(9000))
  })

  it('L8, F6: locks nothing when there is no session', async () => {
    const [gone, list] = [newKeys(), newKeys()]
    await redis.rpush(list.session, 'a')

    expect([await ask(gone, 'me'), await ask(list, 'me')]).toEqual([
      { status: 'ended' },
      { status: 'ended' },
    ])

    expect(await redis.exists(gone.lock, gone.turn, list.lock, list.turn)).toBe(0)
  })
})

describe('destroy-session', () => {
  it('M3: deletes a session and its lock, and returns the head, without the storage', async () => {
    const keys = newKeys()
    for (const key of Object.values(keys)) await redis.set(key, stored)

    const first = await destroy(keys)
    const again = await destroy(keys)

    expect([first, again]).toEqual([{ status: 'destroyed', now, head }, { status: 'ended' }])
    expect(await redis.exists(...Object.values(keys))).toBe(0)
  })

  it.each([
    ['ann', '\tuann', true],
    ['ann', '\tuanna', false],
    ['ann', '\tua', false],
    ['ann', '', false],
    ['', '', true],
    ['', '\tuann', false],
    ['%a+', '\tuann', false],
    [String.raw`a\nb`, String.raw`${'\t'}ua\nb`, true],
  ])('M3: ends a session of %j whose head has %j: %s', async (userName, item, isEnded) => {
    const keys = newKeys()
    const text = `2a0mhwsoi680001\twxyzmhwsoi68${item}\tpuann\nx\t"\tu${userName}"`
    await redis.set(keys.session, text)

    const outcome = await destroy(keys, { isOwned: 1, userName })

    expect(outcome.status).toBe(isEnded ? 'destroyed' : 'ended')
    expect(await redis.exists(keys.session)).toBe(isEnded ? 0 : 1)
  })

  it('F6: does not change a key that is not a string', async () => {
    const keys = newKeys()
    await redis.rpush(keys.session, 'a')

    expect(await destroy(keys)).toEqual({ status: 'ended' })
    expect(await redis.exists(keys.session)).toBe(1)
  })

  it('F7: works on a full Redis', async () => {
    const client = await ownRedis()
    const keys = newKeys()
    await client.set(keys.session, stored)
    await fill(client)

    expect(await destroy(keys, {}, client)).toMatchObject({ status: 'destroyed' })
    expect(await client.exists(keys.session)).toBe(0)
  })
})

function ask(
  keys: ReturnType<typeof newKeys>,
  token: string,
  leaseMs = 60_000,
): Promise<{ readonly status: string }> {
  return run(lockSession, { keys, args: { token, leaseMs } })
}

/** The keys of a session without a lock. */
async function lockable(): Promise<ReturnType<typeof newKeys>> {
  const keys = newKeys()
  await redis.set(keys.session, stored)
  return keys
}
