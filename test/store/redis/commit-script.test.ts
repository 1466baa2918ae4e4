import { describe, expect, it } from 'vitest'

import {
  commit,
  fill,
  head,
  isJustUnder,
  newKey,
  noArgs,
  now,
  over,
  ownRedis,
  redis,
  stored,
  storedKey,
} from '../../support/script-calls.ts'
import type { CommitArgs } from '../../support/script-calls.ts'

describe('commit-session', () => {
  it('T3: merges names one by one, and keeps head and time to live', async () => {
    const session = await storedKey()

    const outcome = await commit(session, {}, ['a', '"long"', 'c', '3', 'b', ''])

    expect(outcome).toEqual({ status: 'committed', now, count: 0, others: [], text: '' })
    expect(await redis.get(session)).toBe(`${head}\na\t"long"\nc\t3`)
    expect(await redis.pttl(session)).toSatisfy(isJustUnder(60_000))
  })

  it.each([
    ['no change', [], '\na\t1\nb\t"22"', 2],
    ['the first name', ['a', '5'], '\na\t5\nb\t"22"', 2],
    ['the last name', ['b', '5'], '\na\t1\nb\t5', 2],
    ['all names, the last first', ['b', '', 'a', ''], '', 0],
    ['a name that is not there', ['c', ''], '\na\t1\nb\t"22"', 2],
    ['an empty name', ['', '0'], '\na\t1\nb\t"22"\n\t0', 3],
    ['a name that another one begins with', ['aa', '0'], '\na\t1\nb\t"22"\naa\t0', 3],
    ['patterns', ['%a+', '%1', '.', '0'], '\na\t1\nb\t"22"\n%a+\t%1\n.\t0', 4],
  ])('T3: merges %s', async (_, entries, text, keys) => {
    const session = await storedKey()

    await commit(session, {}, entries)

    expect(await redis.get(session)).toBe(head.replace('0002\t', `000${keys}\t`) + text)
  })

  it('T3: merges many names as it merges a few', async () => {
    const [few, many] = [await storedKey(), await storedKey()]
    const names = Array.from({ length: 50 }, (_, index) => `key ${index}`)
    const entries = [...names.flatMap((name) => [name, '1']), 'a', '', 'b', '7', 'key 3', '']

    await commit(many, { maxKeys: 100 }, entries)
    for (let index = 0; index < entries.length; index += 2) {
      await commit(few, { maxKeys: 100 }, entries.slice(index, index + 2))
    }

    const text = await redis.get(few)
    expect(text?.split('\n').slice(0, 3)).toEqual([
      head.replace('0002\t', '00050\t'),
      'b\t7',
      'key 0\t1',
    ])
    // When a name comes twice, the last one is stored; the app never sends one twice.
    await commit(many, { maxKeys: 100 }, ['key 3', ''])
    expect(await redis.get(many)).toBe(text)
  })

  it('T3: changes the head only if it is as the app saw it', async () => {
    const session = await storedKey()
    const rest = '\twabcmhwsoi68\tubob'

    const wrong = await commit(session, { revision: '00z', newRevision: '010', rest }, ['a', '5'])
    const right = await commit(session, { newRevision: '001', rest, activity: 'p123456789' })

    expect(wrong).toEqual({ status: 'changed', head })
    expect(right).toMatchObject({ status: 'committed' })
    expect(await redis.get(session)).toBe(`2p1234567890012${rest}\na\t1\nb\t"22"`)
  })

  it('L4: writes the time to live when one is given', async () => {
    const session = await storedKey()

    await commit(session, { timeToLiveMs: 5000 })

    expect(await redis.pttl(session)).toSatisfy(isJustUnder(5000))
  })

  it('T4: returns the text after the change, and extends or releases the lock', async () => {
    const [session, lock] = [await storedKey(), newKey()]
    const call = { lockToken: 'me', leaseMs: 5000, tells: 1 }
    await redis.set(lock, 'me', 'PX', 1000)

    const told = await commit(session, call, ['b', ''], { lock })
    const leaseMs = await redis.pttl(lock)
    await commit(session, { lockToken: 'me', leaseMs: 0 }, [], { lock })

    const text = `${head.replace('0002\t', '0001\t')}\na\t1`
    expect(told).toEqual({ status: 'committed', now, count: 0, others: [], text })
    expect(leaseMs).toSatisfy(isJustUnder(5000))
    expect(await redis.exists(lock)).toBe(0)
  })

  it('T4: stores nothing under a lock that another holds or that has expired', async () => {
    const [session, lock] = [await storedKey(), newKey()]
    const call = { lockToken: 'me', leaseMs: 0 }

    const free = await commit(session, call, ['a', '5'], { lock })
    await redis.set(lock, 'other')
    const taken = await commit(session, call, ['a', '5'], { lock })

    expect([free, taken]).toEqual([{ status: 'unlocked' }, { status: 'unlocked' }])
    expect(await redis.mget(session, lock)).toEqual([stored, 'other'])
  })

  it('L8: reports an ended session before a lost lock', async () => {
    expect(await commit(newKey(), { lockToken: 'me', leaseMs: 0 }, [], { lock: newKey() })).toEqual(
      {
        status: 'ended',
      },
    )
    expect(await commit(newKey(), {}, ['a', '1'])).toEqual({ status: 'ended' })
    const lock = newKey()
    await redis.set(lock, 'me')
    const about = { revision: '', lockToken: 'me', leaseMs: 5000 }
    expect(await commit(newKey(), about, [], { lock })).toEqual({ status: 'ended' })
  })

  it('T4: reads nothing but the lock when only the lock changes', async () => {
    const [session, lock] = [newKey(), newKey()]
    await redis.set(session, 'anything')
    await redis.set(lock, 'me', 'PX', 1000)

    const outcome = await commit(
      session,
      { ...noArgs, revision: '', lockToken: 'me', leaseMs: 5000 },
      [],
      { lock },
    )

    expect(outcome).toEqual({ status: 'committed', now, count: 0, others: [], text: '' })
    expect(await redis.get(session)).toBe('anything')
    expect(await redis.pttl(lock)).toSatisfy(isJustUnder(5000))
  })

  it.each([
    ['too many keys', { maxKeys: 2 }, ['c', '3']],
    ['too many bytes', { maxBytes: 6 }, ['a', '11']],
  ])('T7: stores nothing of %s', async (_, limits, entries) => {
    const session = await storedKey()

    const outcome = await commit(session, { ...limits, newRevision: '001', rest: '\twx' }, entries)

    expect(outcome).toEqual({ status: 'tooLarge' })
    expect(await redis.get(session)).toBe(stored)
  })

  it('T7: accepts what shrinks or stays as large, even over a limit', async () => {
    const session = await storedKey()
    const limits = { maxKeys: 0, maxBytes: 0 }

    const outcomes = [
      await commit(session, limits, ['a', '9']),
      await commit(session, limits, ['b', '"1"']),
      await commit(session, limits, ['b', '']),
      await commit(session, limits, ['b', '1']),
    ]

    expect(outcomes.map(({ status }) => status)).toEqual([
      'committed',
      'committed',
      'committed',
      'tooLarge',
    ])
  })

  it('M2: adds a session to those of its user only when it is stored', async () => {
    const [session, userSessions] = [await storedKey(), newKey()]
    const index = { member: 'me', keepMs: 9000 }

    const refused = [
      await commit(session, { ...index, untilMs: over }, [], { userSessions }),
      await commit(session, { ...index, revision: '999' }, [], { userSessions }),
      await commit(session, { ...index, maxKeys: 0 }, ['c', '3'], { userSessions }),
      await commit(newKey(), index, [], { userSessions }),
    ]
    const missing = await redis.exists(userSessions)
    const outcome = await commit(session, index, [], { userSessions })

    expect(refused.map(({ status }) => status)).toEqual(['late', 'changed', 'tooLarge', 'ended'])
    expect(missing).toBe(0)
    expect(outcome).toEqual({ status: 'committed', now, count: 1, others: [], text: '' })
    expect(await redis.zrange(userSessions, '0', '-1')).toEqual(['me'])
    expect(await redis.pttl(userSessions)).toSatisfy(isJustUnder(9000))
  })

  it('F5: stores nothing after its caller has stopped waiting, and returns the time', async () => {
    const session = await storedKey()

    const outcome = await commit(session, { untilMs: over }, ['a', '5'])

    expect(outcome).toEqual({ status: 'late', now })
    expect(await redis.get(session)).toBe(stored)
  })

  it.each([
    ['a list', (key: string) => redis.rpush(key, 'a'), { status: 'ended' }],
    ['a hash', (key: string) => redis.hset(key, 'a', 'b'), { status: 'ended' }],
    [
      'a later version',
      (key: string) => redis.set(key, `3${head.slice(1)}\na`),
      {
        status: 'changed',
        head: `3${head.slice(1)}`,
      },
    ],
    ['a word', (key: string) => redis.set(key, 'word'), { status: 'changed', head: 'word' }],
  ])('F6: does not change %s under the key of a session', async (_, put, outcome) => {
    const session = newKey()
    await put(session)
    const before = await redis.dumpBuffer(session)

    expect(await commit(session, { newRevision: '001', rest: '\tw' }, ['a', '1'])).toEqual(outcome)

    expect(await redis.dumpBuffer(session)).toEqual(before)
  })

  it.each([
    ['removes names', {}, ['b', ''], true],
    ['sets a value of the same length', {}, ['a', '9'], true],
    ['takes rights away', { newRevision: '001', rest: '\tw' }, [], true],
    ['takes rights away and must grow', { newRevision: '001', rest: head, mayGrow: 1 }, [], true],
    ['grows', {}, ['a', '10'], false],
    ['has more in its head', { newRevision: '001', rest: head }, [], false],
  ] satisfies [string, CommitArgs, string[], boolean][])(
    'F7: on a full Redis applies a change that %s either as a whole or not at all',
    async (_, args, entries, isTaken) => {
      const client = await ownRedis()
      const [session, endless] = [newKey(), newKey()]
      for (const key of [session, endless]) await client.set(key, stored)
      await client.pexpire(session, 60_000)
      await fill(client)

      const outcomes = await Promise.allSettled(
        [session, endless].map((key) => commit(key, args, entries, { client })),
      )

      expect(outcomes.map(({ status }) => status === 'fulfilled')).toEqual([isTaken, isTaken])
      const texts = await client.mget(session, endless)
      expect(texts.map((text) => text === stored)).toEqual([!isTaken, !isTaken])
      expect(texts[0]).toBe(texts[1])
      expect(await client.pttl(session)).toSatisfy(isJustUnder(60_000))
      expect(await client.pttl(endless)).toBe(-1)
    },
  )

  it('F7: on a full Redis writes a new time to live with what it accepts', async () => {
    const client = await ownRedis()
    const session = newKey()
    await client.set(session, stored)
    await fill(client)

    await commit(session, { timeToLiveMs: 5000 }, ['b', ''], { client })

    expect(await client.pttl(session)).toSatisfy(isJustUnder(5000))
  })
})
