import { readdirSync, readFileSync } from 'node:fs'

import type { Redis } from 'ioredis'
import { lockTurnMs } from 'koa-user-sessions/store'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { RedisConnection } from '../../../src/store/redis/connection.ts'
import { replyOf, valuesOf } from '../../../src/store/redis/connection.ts'
import { defineScript } from '../../../src/store/redis/script.ts'
import type { Script, ScriptCall } from '../../../src/store/redis/script.ts'
import { addUserSession } from '../../../src/store/redis/scripts/add-user-session.ts'
import { commitSession } from '../../../src/store/redis/scripts/commit-session.ts'
import { createSession } from '../../../src/store/redis/scripts/create-session.ts'
import { destroySession } from '../../../src/store/redis/scripts/destroy-session.ts'
import { keepUserSession } from '../../../src/store/redis/scripts/keep-user-session.ts'
import { lockSession } from '../../../src/store/redis/scripts/lock-session.ts'
import { readUserSessions } from '../../../src/store/redis/scripts/read-user-sessions.ts'
import { refreshSession } from '../../../src/store/redis/scripts/refresh-session.ts'
import { removeUserSessions } from '../../../src/store/redis/scripts/remove-user-sessions.ts'
import { replaceValue } from '../../../src/store/redis/scripts/replace-value.ts'
import { tellTime } from '../../../src/store/redis/scripts/tell-time.ts'
import { commandName, countCommands } from '../../support/command-count.ts'
import { connectRedis, uniquePrefix } from '../../support/redis-client.ts'
import { startRedisServer } from '../../support/redis-server.ts'

const scripts = [
  ['add-user-session', addUserSession],
  ['commit-session', commitSession],
  ['create-session', createSession],
  ['destroy-session', destroySession],
  ['keep-user-session', keepUserSession],
  ['lock-session', lockSession],
  ['read-user-sessions', readUserSessions],
  ['refresh-session', refreshSession],
  ['remove-user-sessions', removeUserSessions],
  ['replace-value', replaceValue],
  ['tell-time', tellTime],
] as const

const folder = new URL('../../../src/store/redis/scripts/', import.meta.url)
const keyNames: ReadonlySet<string> = new Set(scripts.flatMap(([, { keys }]) => keys))
const argNames: ReadonlySet<string> = new Set(scripts.flatMap(([, { args }]) => args))

const head = '2a0mhwsoi680002\twxyzmhwsoi68\ti255s0\tuann'
const stored = `${head}\na\t1\nb\t"22"`
const now = expect.any(Number)
// An instant that is long over, and one that comes long after this test.
const [over, ahead] = [1, 8_640_000_000_000_000]

const redis = connectRedis()

describe('scripts', () => {
  it('are all in these tests', () => {
    const files = readdirSync(folder).filter((file) => file !== 'shared.ts')

    expect(files.toSorted()).toEqual(scripts.map(([name]) => `${name}.ts`))
  })

  it.each(scripts)('F6: %s has the name that Redis gives it', async (_, { lua, sha1 }) => {
    expect(await redis.script('LOAD', lua)).toBe(sha1)
  })

  it.each(scripts)('F6: %s touches no key but those in KEYS', (_, { keys, lua }) => {
    const calls = [...lua.matchAll(/redis\.p?call\('([A-Z]+)'([^)]*)\)/g)]
    // Parts that scripts share take a key for an argument, under the name that it has elsewhere.
    const names = new Set(['key', 'userSessions', 'session', 'lock', 'turn', 'KEYS[2]', 'KEYS[3]'])

    const bound = [...lua.matchAll(/^local ([\w, ]+) = ((?:KEYS\[[\d#KEYS]+\](?:, )?)+)$/gm)]
    const commands = calls.filter(([, command]) => command !== 'TIME')
    const touched = commands.map(([, command, rest = '']) => {
      const args = rest.split(', ').slice(1)
      return command === 'DEL' ? args : args.slice(0, 1)
    })

    // Every mention of `redis` is one of these calls.
    expect(calls).toHaveLength(lua.split('redis.').length - 1)
    expect(touched.flat().filter((key) => !names.has(key))).toEqual([])
    // A name of a key is given to a key only, and to no other one later on.
    const assigned = [...lua.matchAll(/^\s*(?:local )?([\w, ]+) = /gm)].filter(([, left = '']) =>
      left.split(', ').some((name) => keyNames.has(name)),
    )
    expect(assigned).toHaveLength(bound.length)
    expect(bound.length).toBeGreaterThan(0)
    expect(keys[0]).toBe(bound[0]?.[1])
  })

  it.each(scripts)('F6: %s documents its KEYS and ARGV as they are', (name, { keys, args }) => {
    const source = readFileSync(new URL(`${name}.ts`, folder), 'utf8')
    const doc = source.slice(source.lastIndexOf('/**', source.indexOf('export const')))
    const [, documented = ''] = /KEYS: ([^]*?)\*\//.exec(doc) ?? []
    const [ofKeys = '', ofArgs = ''] = documented.split('Reply:')[0]!.split('ARGV:')

    expect(namesIn(ofKeys, keyNames)).toEqual(keys)
    expect(namesIn(ofArgs, argNames)).toEqual(args)
  })

  it.each(scripts)('F7: %s has no shebang, which a full Redis would refuse', (_, { lua }) => {
    expect(lua).not.toContain('#!')
  })

  it.each(scripts)('H1: %s is the same text for every call', (_, { args, lua }) => {
    expect(lua).not.toContain('${')
    expect(new Set(args).size).toBe(args.length)
  })

  it.each(scripts)('F6: %s runs again after SCRIPT FLUSH, and is sent once', async (_, script) => {
    const client = await ownRedis()
    const connection = new RedisConnection(client)
    const run = (): Promise<unknown> => connection.run(anyScript(script), anyCall)
    await run()
    await client.script('FLUSH')

    const commands = await countCommands({ client }, async () => {
      await run()
      await run()
    })

    expect(commands.map(commandName)).toEqual(['EVALSHA', 'EVAL', 'EVALSHA'])
  })

  it.each(scripts)(
    'H1: %s gets each argument by its name, whatever the others are',
    async (_, own) => {
      const { keys, args } = own
      const letters = args.map((name, index) => [name, index % 3 === 1 ? '' : `${name} ${index}`])
      const lua = `return 'args\\n' .. table.concat({ ${args.join(', ') || "''"} }, '|')`
      const script = defineScript({ keys, args, lua, parse: ({ text }) => text })

      const reply = await new RedisConnection(redis).run(anyScript(script), {
        keys: { [String(keys[0])]: newKey() },
        args: Object.fromEntries(letters),
      })

      expect(reply).toBe(letters.map(([, value]) => value).join('|'))
    },
  )

  const words = scripts.filter(
    ([name]) => !['keep-user-session', 'remove-user-sessions', 'tell-time'].includes(name),
  )

  it.each(words)('F1: %s knows its own replies, and no other one', (_, { parse }) => {
    for (const reply of ['', 'OK', 'unknown', 'COMMITTED', ' committed', '0']) {
      expect(() => parse(replyOf(reply))).toThrow(
        expect.objectContaining({ code: 'ERR_SESSION_STORE' }),
      )
    }
  })
})

describe('create-session', () => {
  const args = { untilMs: ahead, timeToLiveMs: 5000, member: '', keepMs: '', perUser: '' }

  it('stores a session with its time to live, and leaves one that is there alone', async () => {
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

  it('M8: stores one for ever without a time to live', async () => {
    const session = newKey()
    const endless = { ...args, timeToLiveMs: '' }

    await run(createSession, { keys: { session }, args: endless, rest: [stored] })

    expect(await redis.pttl(session)).toBe(-1)
  })

  it('M2: puts it last among its user\u2019s in the same step, unless there is one', async () => {
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
  ])('F6: takes %s for a session, and leaves it alone', async (_, put) => {
    const session = newKey()
    await put(session)
    const before = await redis.dumpBuffer(session)

    expect(await run(createSession, { keys: { session }, args, rest: [stored] })).toEqual({
      status: 'exists',
    })
    expect(await redis.dumpBuffer(session)).toEqual(before)
  })

  it('F7: stores nothing of either on a Redis that is full, or whose index is of another type', async () => {
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

  it('T3: merges many names as it merges few', async () => {
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
    // Of one name that comes twice the last is stored: the app sends none twice.
    await commit(many, { maxKeys: 100 }, ['key 3', ''])
    expect(await redis.get(many)).toBe(text)
  })

  it('T3: changes the head only if it is as the app has seen it', async () => {
    const session = await storedKey()
    const rest = '\twabcmhwsoi68\tubob'

    const wrong = await commit(session, { revision: '00z', newRevision: '010', rest }, ['a', '5'])
    const right = await commit(session, { newRevision: '001', rest, activity: 'p123456789' })

    expect(wrong).toEqual({ status: 'changed', head })
    expect(right).toMatchObject({ status: 'committed' })
    expect(await redis.get(session)).toBe(`2p1234567890012${rest}\na\t1\nb\t"22"`)
  })

  it('L4: writes the time to live where there is one', async () => {
    const session = await storedKey()

    await commit(session, { timeToLiveMs: 5000 })

    expect(await redis.pttl(session)).toSatisfy(isJustUnder(5000))
  })

  it('T4: tells the text as it is then, and extends the lock or gives it back', async () => {
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

  it('T4: stores nothing under a lock that another one has, or that has run out', async () => {
    const [session, lock] = [await storedKey(), newKey()]
    const call = { lockToken: 'me', leaseMs: 0 }

    const free = await commit(session, call, ['a', '5'], { lock })
    await redis.set(lock, 'other')
    const taken = await commit(session, call, ['a', '5'], { lock })

    expect([free, taken]).toEqual([{ status: 'unlocked' }, { status: 'unlocked' }])
    expect(await redis.mget(session, lock)).toEqual([stored, 'other'])
  })

  it('L8: tells that a session has ended before it tells of its lock', async () => {
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

  it('T4: looks at nothing but the lock where only the lock changes', async () => {
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

  it('T7: takes what shrinks or stays as large, though it is over a limit', async () => {
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

  it('M2: puts a session among its user\u2019s only when it is stored', async () => {
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

  it('F5: stores nothing after its caller has stopped waiting, and tells the time', async () => {
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
  ])('F6: leaves %s under the key of a session alone', async (_, put, outcome) => {
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
    'F7: on a full Redis takes a change that %s: as one step, or not at all',
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

  it('F7: on a full Redis writes a new time to live with what it takes', async () => {
    const client = await ownRedis()
    const session = newKey()
    await client.set(session, stored)
    await fill(client)

    await commit(session, { timeToLiveMs: 5000 }, ['b', ''], { client })

    expect(await client.pttl(session)).toSatisfy(isJustUnder(5000))
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

  it('M8: leaves a time to live alone that there is none of', async () => {
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
  ])('L4: leaves %s alone', async (_, text, outcome) => {
    const session = newKey()
    await redis.set(session, text, 'PX', 60_000)

    expect(await refresh(session)).toBe(outcome)

    expect(await redis.get(session)).toBe(text)
    expect(await redis.pttl(session)).toBeGreaterThan(5000)
  })

  it('L8, F6: brings nothing back that is gone, and changes no list', async () => {
    const [gone, list] = [newKey(), newKey()]
    await redis.rpush(list, 'a')

    expect([await refresh(gone), await refresh(list)]).toEqual(['ended', 'ended'])

    expect(await redis.exists(gone)).toBe(0)
    expect(await redis.pttl(list)).toBe(-1)
  })

  it('F7: works on a Redis that is full', async () => {
    const client = await ownRedis()
    const session = newKey()
    await client.set(session, stored, 'PX', 1000)
    await fill(client)

    expect(await refresh(session, {}, client)).toBe('refreshed')

    expect(await client.get(session)).toBe(`2a123456789${stored.slice(11)}`)
    expect(await client.pttl(session)).toBeGreaterThan(1000)
  })

  it('F7: is refused by a Redis that takes no writes, without an error', async () => {
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
  it('T4: takes the lock for the lease, and answers the text', async () => {
    const keys = await lockable()

    expect(await ask(keys, 'me', 5000)).toEqual({ status: 'locked', now, text: stored })

    expect(await redis.get(keys.lock)).toBe('me')
    expect(await redis.pttl(keys.lock)).toSatisfy(isJustUnder(5000))
  })

  it('T4: gives the next turn to the first that was refused, and to nobody else', async () => {
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

  it('T4: extends the lock for its holder, and lets go of nobody\u2019s turn for that', async () => {
    const keys = await lockable()
    await ask(keys, 'me', 1000)
    await redis.set(keys.turn, 'first')

    expect((await ask(keys, 'me', 9000)).status).toBe('locked')

    expect(await redis.pttl(keys.lock)).toSatisfy(isJustUnder(9000))
  })

  it('L8, F6: locks nothing where no session is', async () => {
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
  it('M3: deletes a session and its lock, and answers the head, without what was stored', async () => {
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

  it('F6: leaves what is no string alone', async () => {
    const keys = newKeys()
    await redis.rpush(keys.session, 'a')

    expect(await destroy(keys)).toEqual({ status: 'ended' })
    expect(await redis.exists(keys.session)).toBe(1)
  })

  it('F7: works on a Redis that is full', async () => {
    const client = await ownRedis()
    const keys = newKeys()
    await client.set(keys.session, stored)
    await fill(client)

    expect(await destroy(keys, {}, client)).toMatchObject({ status: 'destroyed' })
    expect(await client.exists(keys.session)).toBe(0)
  })
})

describe('tell-time', () => {
  it('L4: tells the time of Redis in ms', async () => {
    const told = await run(tellTime, { keys: { session: newKey() }, args: {} })
    const [seconds, micros] = await redis.time()

    const time = Number(seconds) * 1000 + Math.floor(Number(micros) / 1000)
    expect(time - told).toSatisfy((ms: number) => ms >= 0 && ms < 5000)
  })
})

describe('the scripts of an index', () => {
  it('add-user-session answers a score above all others, and what was there', async () => {
    const userSessions = newKey()
    await redis.zadd(userSessions, 4_000_000_000_000, 'later')
    const add = (member: string, perUser: number | ''): Promise<unknown> =>
      run(addUserSession, { keys: { userSessions }, args: { member, keepMs: 5000, perUser } })

    expect(await add('a', '')).toEqual({
      now,
      count: 2,
      isNew: true,
      score: '4000000000001.5',
      others: [],
    })
    expect(await add('b', 3)).toEqual({
      now,
      count: 3,
      isNew: true,
      score: '4000000000002.5',
      others: [],
    })
    expect(await add('a', 2)).toEqual({
      now,
      count: 3,
      isNew: false,
      score: '4000000000003.5',
      others: ['later', '4000000000000', 'b', '4000000000002.5'],
    })
    expect(await redis.pttl(userSessions)).toSatisfy(isJustUnder(5000))
  })

  it('add-user-session takes the time for the score, and leaves a longer life', async () => {
    const userSessions = newKey()
    await redis.zadd(userSessions, 1, 'first')
    await redis.pexpire(userSessions, 60_000)

    const added = await run(addUserSession, {
      keys: { userSessions },
      args: { member: 'a', keepMs: 5000, perUser: '' },
    })

    expect(added.score).toBe(`${added.now}.5`)
    expect(await redis.pttl(userSessions)).toBeGreaterThan(5000)
  })

  it('keep-user-session puts back what is missing, confirms what is as it was added, and no more', async () => {
    const userSessions = newKey()
    await redis.zadd(userSessions, '10.5', 'pending', '20.5', 'anew', '30', 'confirmed')
    const keep = (member: string, score: number | '', pendingScore: number | ''): Promise<void> =>
      run(keepUserSession, {
        keys: { userSessions },
        args: { member, score, pendingScore, keepMs: 5000 },
      })

    await keep('pending', 10, 10.5)
    // It was signed in a second time, which is on its way.
    await keep('anew', 15, 15.5)
    await keep('anew', 15, '')
    await keep('confirmed', 25, '')
    await keep('missing', 40, '')
    await keep('unknown', '', '')

    expect(await redis.zrange(userSessions, '0', '-1', 'WITHSCORES')).toEqual([
      'pending',
      '10',
      'anew',
      '20.5',
      'confirmed',
      '30',
      'missing',
      '40',
    ])
    expect(await redis.pttl(userSessions)).toSatisfy(isJustUnder(5000))
  })

  it('read-user-sessions answers the time and all entries in their order', async () => {
    const userSessions = newKey()
    const read = (): Promise<unknown> => run(readUserSessions, { keys: { userSessions }, args: {} })

    expect(await read()).toEqual({ now, entries: [] })
    await redis.zadd(userSessions, '1763000000001.5', 'b', '1763000000000', 'c')
    expect(await read()).toEqual({
      now,
      entries: ['c', '1763000000000', 'b', '1763000000001.5'],
    })
  })

  it('remove-user-sessions removes entries whose score is the same, or whatever it is', async () => {
    const userSessions = newKey()
    await redis.zadd(userSessions, '10', 'same', '20.5', 'other', '30.5', 'any')

    const removed = await run(removeUserSessions, {
      keys: { userSessions },
      args: {},
      rest: ['same', '10', 'other', '20', 'any', '', 'missing', '1', 'absent', ''],
    })

    expect(removed).toBe(2)
    expect(await redis.zrange(userSessions, '0', '-1')).toEqual(['other'])
  })

  it.each([
    ['add', addUserSession],
    ['keep', keepUserSession],
    ['read', readUserSessions],
    ['remove', removeUserSessions],
  ] as const)('F6: %s leaves a key of another type alone, and fails', async (_, script) => {
    const userSessions = newKey()
    await redis.set(userSessions, 'something else')
    const call = { ...anyCall, keys: { userSessions } }

    await expect(run(anyScript(script), call)).rejects.toMatchObject({ code: 'ERR_SESSION_STORE' })

    expect(await redis.get(userSessions)).toBe('something else')
  })
})

describe('a script and its replies', () => {
  it('F6: passes keys in the order of the script, without those that a call leaves out', () => {
    const { keyCount, values } = valuesOf(commitSession, {
      keys: { userSessions: 'users', session: 'session' },
      args: { ...noArgs, untilMs: 5, leaseMs: 0 },
      rest: ['a', '1'],
    })

    expect(keyCount).toBe(2)
    expect(values).toEqual(['session', 'users', '5\n\n\n\n\n0', 'a', '1'])
  })

  it.each([
    ['committed', 'committed', [], ''],
    ['committed 1 2.5', 'committed', [1, 2.5], ''],
    ['word 1\ntext\n2 3', 'word', [1], 'text\n2 3'],
    ['word\n', 'word', [], ''],
    ['', '', [], ''],
  ])('takes %j apart', (reply, word, numbers, text) => {
    expect(replyOf(reply)).toEqual({ word, numbers, text })
  })

  it('H1: writes no number in a way that loses a digit', async () => {
    const script = defineScript({
      keys: ['session'],
      args: [],
      shared: [],
      lua: `return 'now ' .. string.format('%.0f', 1763000000123)`,
      parse: ({ numbers }) => numbers,
    })

    expect(await run(script, { keys: { session: newKey() }, args: {} })).toEqual([
      1_763_000_000_123,
    ])
    expect(await commit(await storedKey())).toSatisfy(
      ({ now: told }: { now: number }) => Math.abs(told - Date.now()) < 60_000,
    )
  })

  it('F8: leaves no timer behind', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval'] })
    onTestFinished(() => {
      vi.useRealTimers()
    })

    await run(tellTime, { keys: { session: newKey() }, args: {} })

    expect(vi.getTimerCount()).toBe(0)
  })
})

type CommitArgs = Partial<Record<(typeof commitSession.args)[number], string | number>>

const noArgs = {
  untilMs: ahead,
  revision: '',
  maxKeys: '',
  maxBytes: '',
  lockToken: '',
  leaseMs: '',
  tells: '',
  newRevision: '',
  rest: '',
  activity: '',
  timeToLiveMs: '',
  mayGrow: '',
  member: '',
  keepMs: '',
  perUser: '',
} as const

/** Enough for each of the scripts. */
const anyCall: ScriptCall<string, string> = {
  keys: { session: '{a}none', userSessions: '{a}users', lock: '{a}lock', turn: '{a}turn' },
  args: {
    ...noArgs,
    timeToLiveMs: 1000,
    token: 'a',
    leaseMs: 1000,
    isOwned: '',
    userName: '',
    perUser: '',
    score: 1,
    pendingScore: '',
    keepMs: 1000,
  },
  rest: ['a', '1'],
}

/** A script to which the names of keys and arguments do not matter. */
function anyScript(
  script: Pick<Script<never, never, unknown>, 'lua' | 'sha1' | 'parse'> & {
    readonly keys: readonly string[]
    readonly args: readonly string[]
  },
): Script<string, string, unknown> {
  return script
}

function run<Key extends string, Arg extends string, Outcome>(
  script: Script<Key, Arg, Outcome>,
  call: ScriptCall<Key, Arg>,
  client: Redis = redis,
): Promise<Outcome> {
  return new RedisConnection(client).run(script, call)
}

function commit(
  session: string,
  args: CommitArgs = {},
  entries: readonly string[] = [],
  at: { readonly lock?: string; readonly userSessions?: string; readonly client?: Redis } = {},
): ReturnType<typeof run<string, string, { readonly status: string; readonly now?: number }>> {
  const { client = redis, ...keys } = at
  return run(
    commitSession,
    {
      keys: { session, ...keys },
      args: { ...noArgs, revision: '000', maxKeys: 10, maxBytes: 1000, ...args },
      rest: entries,
    },
    client,
  )
}

/** A key with a session that Redis ends in a minute. */
async function storedKey(): Promise<string> {
  const session = newKey()
  await redis.set(session, stored, 'PX', 60_000)
  return session
}

function newKeys(): { readonly session: string; readonly lock: string; readonly turn: string } {
  return { session: newKey(), lock: newKey(), turn: newKey() }
}

function ask(
  keys: ReturnType<typeof newKeys>,
  token: string,
  leaseMs = 60_000,
): Promise<{ readonly status: string }> {
  return run(lockSession, { keys, args: { token, leaseMs } })
}

/** Keys with a session that has no lock. */
async function lockable(): Promise<ReturnType<typeof newKeys>> {
  const keys = newKeys()
  await redis.set(keys.session, stored)
  return keys
}

function destroy(
  keys: ReturnType<typeof newKeys>,
  args: { readonly isOwned?: 1; readonly userName?: string } = {},
  client = redis,
): Promise<{ readonly status: string }> {
  const call = { keys, args: { isOwned: '', userName: '', ...args } } as const
  return run(destroySession, call, client)
}

/** Those of some names that stand in backticks, once each and in their order. */
function namesIn(text: string, names: ReadonlySet<string>): readonly string[] {
  const quoted = [...text.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name)
  return [...new Set(quoted.filter((name) => names.has(name)))]
}

function newKey(): string {
  return `${uniquePrefix()}{a}`
}

function isJustUnder(limit: number): (ms: number) => boolean {
  return (ms) => ms <= limit && ms > limit - 4000
}

async function ownRedis(): Promise<Redis> {
  const server = await startRedisServer()
  onTestFinished(() => server.stop())
  return connectRedis(server.url)
}

/** Leaves no memory for anything new. */
async function fill(client: Redis): Promise<void> {
  await client.config('SET', 'maxmemory-policy', 'noeviction')
  await client.config('SET', 'maxmemory', '1')
}
