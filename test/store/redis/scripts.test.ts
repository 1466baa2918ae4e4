import { readdirSync } from 'node:fs'

import { maxOTPs } from 'koa-user-sessions'
import type { RedisClient } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished } from 'vitest'

import { defineScript, runScript } from '../../../src/store/redis/script.ts'
import type { ScriptCall } from '../../../src/store/redis/script.ts'
import { addOTP } from '../../../src/store/redis/scripts/add-otp.ts'
import { addUserSession } from '../../../src/store/redis/scripts/add-user-session.ts'
import { commitSession } from '../../../src/store/redis/scripts/commit-session.ts'
import { createSession } from '../../../src/store/redis/scripts/create-session.ts'
import { describeSession } from '../../../src/store/redis/scripts/describe-session.ts'
import { destroySession } from '../../../src/store/redis/scripts/destroy-session.ts'
import { extendLock } from '../../../src/store/redis/scripts/extend-lock.ts'
import { grantSession } from '../../../src/store/redis/scripts/grant-session.ts'
import { keepUserSession } from '../../../src/store/redis/scripts/keep-user-session.ts'
import { loadSession } from '../../../src/store/redis/scripts/load-session.ts'
import { lockSession } from '../../../src/store/redis/scripts/lock-session.ts'
import { readSession } from '../../../src/store/redis/scripts/read-session.ts'
import { readUserSessions } from '../../../src/store/redis/scripts/read-user-sessions.ts'
import { redeemOTP } from '../../../src/store/redis/scripts/redeem-otp.ts'
import { removeUserSessions } from '../../../src/store/redis/scripts/remove-user-sessions.ts'
import { tellTime } from '../../../src/store/redis/scripts/tell-time.ts'
import { touchSession } from '../../../src/store/redis/scripts/touch-session.ts'
import { commandName, countCommands } from '../../support/command-count.ts'
import { connectRedis, uniquePrefix } from '../../support/redis-client.ts'
import { startRedisServer } from '../../support/redis-server.ts'

const scripts = [
  ['add-otp', addOTP],
  ['add-user-session', addUserSession],
  ['commit-session', commitSession],
  ['create-session', createSession],
  ['describe-session', describeSession],
  ['destroy-session', destroySession],
  ['extend-lock', extendLock],
  ['grant-session', grantSession],
  ['keep-user-session', keepUserSession],
  ['load-session', loadSession],
  ['lock-session', lockSession],
  ['read-session', readSession],
  ['read-user-sessions', readUserSessions],
  ['redeem-otp', redeemOTP],
  ['remove-user-sessions', removeUserSessions],
  ['tell-time', tellTime],
  ['touch-session', touchSession],
] as const

const stored = {
  v: '1 web',
  b: '1763000000000',
  i: '3600000',
  'k:good': '0',
  's:a': '1',
  n: '1',
  m: '2',
}

const redis = connectRedis()

describe('scripts', () => {
  it('are all in these tests', () => {
    const folder = new URL('../../../src/store/redis/scripts/', import.meta.url)

    const files = readdirSync(folder)

    expect(files.toSorted()).toEqual(scripts.map(([name]) => `${name}.ts`))
  })

  it.each(scripts)('F6: %s has the name that Redis gives it', async (_, { lua, sha1 }) => {
    expect(await redis.script('LOAD', lua)).toBe(sha1)
  })

  // One only asks the server that has its key.
  const touching = scripts.filter(([name]) => name !== 'tell-time')

  it.each(touching)('F6: %s touches no key but those in KEYS', (_, { keys, lua }) => {
    const calls = [...lua.matchAll(/redis\.p?call\('([A-Z]+)'(?:, ([^,)]+))?[,)]/g)]

    const bound = keys.map((name, index) => `local ${name} = KEYS[${index + 1}]`)
    const touched = calls.filter(([, command]) => command !== 'TIME').map(([, , key]) => key)
    // Every mention of `redis` is one of these calls, and every one of `KEYS` binds a name.
    expect(calls).toHaveLength(lua.split('redis').length - 1)
    expect(lua.match(/\bKEYS\b/g)).toHaveLength(keys.length)
    expect(bound.filter((line) => !lua.includes(line))).toEqual([])
    expect(touched.length).toBeGreaterThan(0)
    expect(touched.filter((key) => !keys.some((name) => name === key))).toEqual([])
    // Nobody gives the name to something else later on.
    expect(lua).not.toMatch(new RegExp(String.raw`^\s*(?:${keys.join('|')})\s*=[^=]`, 'm'))
  })

  it.each(scripts)('F7: %s has no shebang, which a full Redis would refuse', (_, { lua }) => {
    expect(lua).not.toContain('#!')
  })

  it.each(scripts)('H1: %s is the same text for every call', (_, { args, lua }) => {
    expect(lua).not.toContain('${')
    expect(new Set(args).size).toBe(args.length)
  })

  it('create-session stores a session, and nothing where there is one', async () => {
    const session = newKey()
    const call = {
      keys: { session },
      args: {
        untilMs: '',
        timeToLiveMs: 5000,
        absoluteTimeoutMs: 9000,
        signsIn: 1,
        maxKeys: 1,
        maxBytes: 2,
      },
      rest: ['v', '1 web', 's:a', '1'],
    }

    const time = Number(await runScript(redis, createSession, call))
    const again = await runScript(redis, createSession, call)

    expect(again).toBe(0)
    expect(await redis.hgetall(session)).toEqual({
      v: '1 web',
      's:a': '1',
      b: String(time),
      l: String(time),
      e: String(time + 9000),
      n: '1',
      m: '2',
    })
  })

  it.each([
    ['too many keys', { maxKeys: 0, maxBytes: 2 }],
    ['too many bytes', { maxKeys: 1, maxBytes: 1 }],
  ])('create-session refuses %s', async (_, limits) => {
    const session = newKey()

    const reply = await runScript(redis, createSession, {
      keys: { session },
      args: { untilMs: '', timeToLiveMs: 5000, absoluteTimeoutMs: '', signsIn: 0, ...limits },
      rest: ['s:a', '1'],
    })

    expect(reply).toBe(-1)
    expect(await redis.exists(session)).toBe(0)
  })

  it('load-session answers the fields in lines, after the time and whether it has refreshed', async () => {
    const session = newKey()
    await redis.hset(session, stored)
    await redis.pexpire(session, 1000)
    const call = { keys: { session }, args: loadArgs('good') }

    const first = String(await runScript(redis, loadSession, call)).split('\n')
    const next = String(await runScript(redis, loadSession, call)).split('\n')

    expect(first[0]).toMatch(/^\d{13}$/)
    expect([first[1], next[1]]).toEqual(['1', '0'])
    expect(first.slice(2)).toEqual(Object.entries(stored).flat())
  })

  it('load-session answers 0, -1 or -2 when it opens nothing', async () => {
    const session = newKey()
    const text = newKey()
    const now = Date.now()
    await redis.hset(session, {
      ...stored,
      'k:renewed': now,
      'k:forgotten': now - 31_000,
    })
    await redis.set(text, 'something else')
    const load = (key: string, secretHash: string): Promise<unknown> =>
      runScript(redis, loadSession, { keys: { session: key }, args: loadArgs(secretHash) })

    expect(await load(newKey(), 'good')).toBe(0)
    expect(await load(session, 'wrong')).toBe(0)
    expect(await load(session, 'forgotten')).toBe(0)
    expect(await load(session, 'renewed')).toBe(-1)
    expect(await load(text, 'good')).toBe(-2)
  })

  it('commit-session sets and deletes what it is given', async () => {
    const session = newKey()
    await redis.hset(session, stored)

    const time = Number(
      await runScript(redis, commitSession, {
        keys: { session },
        args: { ...commitArgs, removedCount: 1 },
        rest: ['s:b', '2', 's:a'],
      }),
    )

    const { 's:a': _, ...others } = stored
    expect(time).toBeGreaterThan(0)
    expect(await redis.hgetall(session)).toEqual({ ...others, 's:b': '2' })
  })

  it('commit-session answers a negative time, 0, 1 or 2 when it takes not everything', async () => {
    const session = newKey()
    await redis.hset(session, { ...stored, 'k:renewed': Date.now() })
    const commit = (args: Partial<typeof commitArgs>, rest: string[] = []): Promise<unknown> =>
      runScript(redis, commitSession, {
        keys: { session },
        args: { ...commitArgs, ...args },
        rest,
      })

    expect(await commit({ secretHash: 'wrong' })).toBe(0)
    expect(await commit({ secretHash: 'renewed', asksFor: 'secret' })).toBe(1)
    expect(await commit({ maxKeys: 1 }, ['s:b', '2'])).toBe(2)
    expect(await commit({ maxBytes: 2 }, ['s:b', '2'])).toBe(2)
    expect(await commit({ secretHash: 'renewed' })).toBeLessThan(-1_700_000_000_000)
    expect(await redis.hgetall(session)).toMatchObject(stored)
  })

  it('touch-session answers the time, and 0 for what is not live', async () => {
    const session = newKey()
    await redis.hset(session, stored)
    await redis.pexpire(session, 1000)
    const touch = (secretHash: string): Promise<unknown> =>
      runScript(redis, touchSession, {
        keys: { session },
        args: { secretHash, refreshMs: 60_000 },
      })

    expect(await touch('wrong')).toBe(0)
    expect(await redis.pttl(session)).toBeLessThanOrEqual(1000)
    expect(await touch('good')).toMatch(/^\d{13}\n1\n3600000\n0\n$/)
    expect(await redis.pttl(session)).toBeGreaterThan(3_600_000)
    await redis.hset(session, { u: String.raw`ann\n`, l: '1763000000001' })
    expect(await touch('good')).toMatch(/^\d{13}\n0\n3600000\n1763000000001\nann\\n$/)
  })

  it('destroy-session answers whose it was, and 0 for what is not there', async () => {
    const session = newKey()
    await redis.hset(session, stored)
    const call = { keys: { session }, args: { isOwned: 0, userName: '' } }

    expect(await runScript(redis, destroySession, call)).toBe('')
    expect(await runScript(redis, destroySession, call)).toBe(0)
    expect(await redis.exists(session)).toBe(0)
  })

  it('destroy-session ends an owned session for its user only, and none that is past its end', async () => {
    const [session, over] = [newKey(), newKey()]
    await redis.hset(session, { ...stored, u: 'ann' })
    await redis.hset(over, { ...stored, e: Date.now() - 1 })
    const destroy = (key: string, isOwned: number, userName: string): Promise<unknown> =>
      runScript(redis, destroySession, { keys: { session: key }, args: { isOwned, userName } })

    expect(await destroy(session, 1, 'bob')).toBe(0)
    expect(await destroy(session, 1, '')).toBe(0)
    expect(await redis.exists(session)).toBe(1)
    expect(await destroy(session, 1, 'ann')).toBe('ann')
    expect(await destroy(over, 0, '')).toBe(0)
    expect(await redis.exists(session, over)).toBe(0)
  })

  it('describe-session answers what is known and not what is kept, and 0 or -2 for what is no session', async () => {
    const [session, over, text] = [newKey(), newKey(), newKey()]
    await redis.hset(session, { ...stored, 'p:a': '', c: 'Firefox', c3: 'more' })
    await redis.pexpire(session, 3_600_000)
    await redis.hset(over, { ...stored, e: Date.now() - 1 })
    await redis.set(text, 'something else')
    const describeKey = (key: string): Promise<unknown> =>
      runScript(redis, describeSession, { keys: { session: key }, args: { refreshMs: 60_000 } })

    const [now, activeAt, isPostponed, ...fields] = String(await describeKey(session)).split('\n')

    const { v, b, i } = stored
    const known = { v, b, i, c: 'Firefox', c3: 'more' }
    expect(Number(now) - Number(activeAt)).toSatisfy((ms: number) => ms >= 60_000 && ms < 70_000)
    expect(isPostponed).toBe('0')
    expect(fields).toEqual(Object.entries(known).flat())
    expect(await redis.pttl(session)).toBeLessThanOrEqual(3_600_000)
    expect(await describeKey(newKey())).toBe(0)
    expect(await describeKey(over)).toBe(0)
    expect(await redis.exists(over)).toBe(1)
    expect(await describeKey(text)).toBe(-2)
  })

  it('grant-session adds, or replaces all, and changes nothing for another user', async () => {
    const [session, over] = [newKey(), newKey()]
    const owned = { ...stored, u: 'ann', 'p:a': '', 'r:b': '' }
    await redis.hset(session, owned)
    await redis.hset(over, { ...owned, e: Date.now() - 1 })
    const grant = (userName: string, clears: number, key = session): Promise<unknown> =>
      runScript(redis, grantSession, {
        keys: { session: key },
        args: { untilMs: '', userName, clears },
        rest: ['u', 'ann', 'p:c', ''],
      })

    expect(await grant('bob', 1)).toBe(0)
    expect(await grant('ann', 1, over)).toBe(0)
    expect(await grant('ann', 1, newKey())).toBe(0)
    expect(await redis.hgetall(session)).toEqual(owned)
    expect(await grant('ann', 0)).toBe(1)
    expect(await redis.hgetall(session)).toEqual({ ...owned, 'p:c': '' })
    expect(await grant('ann', 1)).toBe(1)
    expect(await redis.hgetall(session)).toEqual({ ...stored, u: 'ann', 'p:c': '' })
  })

  it('F6: lock-session and add-otp find no session whose end is damaged', async () => {
    const session = newKey()
    await redis.hset(session, { ...stored, e: 'soon' })
    const before = await redis.hgetall(session)

    const locked = await runScript(redis, lockSession, { keys: { session }, args: lockArgs })

    expect([locked, await addTo(session, { secretHash: 'good' })]).toEqual([0, 0])
    expect(await redis.hgetall(session)).toEqual(before)
  })

  it('add-user-session answers a score above all others, and what was there', async () => {
    const userSessions = newKey()
    await redis.zadd(userSessions, 4_000_000_000_000, 'later')
    const add = (id: string, perUser: number | ''): Promise<unknown> =>
      runScript(redis, addUserSession, {
        keys: { userSessions },
        args: { id, timeToLiveMs: 5000, perUser },
      })

    const now = expect.stringMatching(/^\d{13}$/)
    const later = ['later', '4000000000000']
    expect(await add('a', '')).toEqual(['4000000000001.5', '0', now, '2'])
    expect(await add('b', 3)).toEqual(['4000000000002.5', '0', now, '3'])
    expect(await add('a', 2)).toEqual([
      '4000000000003.5',
      '1',
      now,
      '3',
      ...later,
      'b',
      '4000000000002.5',
    ])
    expect(await redis.pttl(userSessions)).toSatisfy((ms: number) => ms > 0 && ms <= 5000)
  })

  it('add-user-session takes the time for the score, and leaves a longer life', async () => {
    const userSessions = newKey()
    await redis.zadd(userSessions, 1, 'first')
    await redis.pexpire(userSessions, 60_000)

    const reply = await runScript(redis, addUserSession, {
      keys: { userSessions },
      args: { id: 'a', timeToLiveMs: 5000, perUser: '' },
    })

    const [score, , now] = Array.isArray(reply) ? reply.map(String) : []
    expect(score).toBe(`${now}.5`)
    expect(await redis.pttl(userSessions)).toBeGreaterThan(5000)
  })

  it('keep-user-session puts back what is missing, confirms what is as it was added, and no more', async () => {
    const userSessions = newKey()
    await redis.zadd(userSessions, '10.5', 'pending', '20.5', 'anew', '30', 'confirmed')
    const keep = (id: string, score: number | '', pendingScore: number | ''): Promise<unknown> =>
      runScript(redis, keepUserSession, {
        keys: { userSessions },
        args: { id, score, pendingScore, timeToLiveMs: 5000 },
      })

    expect(await keep('pending', 10, 10.5)).toBe(1)
    // It was signed in a second time, which is on its way.
    expect(await keep('anew', 15, 15.5)).toBe(1)
    expect(await keep('anew', 15, '')).toBe(1)
    expect(await keep('confirmed', 25, '')).toBe(1)
    expect(await keep('missing', 40, '')).toBe(1)
    expect(await keep('unknown', '', '')).toBe(1)
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
    expect(await redis.pttl(userSessions)).toBeGreaterThan(0)
  })

  it('read-user-sessions answers the time and all entries in their order', async () => {
    const userSessions = newKey()
    const read = (): Promise<unknown> =>
      runScript(redis, readUserSessions, { keys: { userSessions }, args: {} })
    const now = expect.stringMatching(/^\d{13}$/)

    expect(await read()).toEqual([now])
    await redis.zadd(userSessions, '1763000000001.5', 'b', '1763000000000', 'c')
    expect(await read()).toEqual([now, 'c', '1763000000000', 'b', '1763000000001.5'])
  })

  it('remove-user-sessions removes entries whose score is the same, or whatever it is', async () => {
    const userSessions = newKey()
    await redis.zadd(userSessions, '10', 'same', '20.5', 'other', '30.5', 'any')

    const removed = await runScript(redis, removeUserSessions, {
      keys: { userSessions },
      args: {},
      rest: ['same', '10', 'other', '20', 'any', '', 'missing', '1', 'absent', ''],
    })

    expect(removed).toBe(2)
    expect(await redis.zrange(userSessions, '0', '-1')).toEqual(['other'])
  })
})

describe('scripts of one-time tokens', () => {
  it('X5: add-otp stores until when the token works, and answers 0 for what is not live', async () => {
    const session = newKey()
    const text = newKey()
    const before = Date.now()
    await redis.hset(session, { ...stored, 'k:renewed': before })
    await redis.set(text, 'something else')

    expect(await addTo(newKey())).toBe(0)
    expect(await addTo(newKey(), { secretHash: '' })).toBe(0)
    expect(await addTo(text)).toBe(0)
    expect(await addTo(session, { secretHash: 'wrong' })).toBe(0)
    expect(await addTo(session, { secretHash: 'renewed' })).toBe(0)
    expect(await redis.hkeys(session)).not.toContain('o:otp')
    expect(await addTo(session)).toBe(1)
    expect(Number(await redis.hget(session, 'o:otp'))).toBeGreaterThanOrEqual(before + 1000)
  })

  it('X5: add-otp removes those that are over, and of too many the first to expire', async () => {
    const session = newKey()
    const now = Date.now()
    const others = Array.from({ length: maxOTPs - 1 }, (_, index) => `o:other${index}`)
    const otps = { 'o:over': now - 1, 'o:first': now + 30_000, 'o:bad': 'some day' }
    await redis.hset(session, { ...stored, ...otps })
    await redis.hset(session, Object.fromEntries(others.map((field) => [field, now + 60_000])))

    await addTo(session)

    const fields = await redis.hkeys(session)
    expect(fields.filter((field) => field.startsWith('o:'))).toEqual(
      expect.arrayContaining([...others, 'o:otp']),
    )
    expect(fields.filter((field) => field.startsWith('o:'))).toHaveLength(maxOTPs)
  })

  it('X5: redeem-otp answers as load-session, once, and 0 for what opens nothing', async () => {
    const session = newKey()
    const text = newKey()
    const now = Date.now()
    await redis.hset(session, { ...stored, 'o:good': now + 60_000, 'o:over': now })
    await redis.set(text, 'something else')

    const lines = String(await redeemOf(session, 'good')).split('\n')

    const fields = { ...stored, 'o:over': String(now), 'k:new': '0' }
    expect(lines[0]).toMatch(/^\d{13}$/)
    expect(lines[1]).toBe('1')
    expect(lines.slice(2)).toEqual(Object.entries(fields).flat())
    expect(await redis.hgetall(session)).toEqual(fields)
    expect(await redis.pttl(session)).toBeGreaterThan(3_600_000)
    expect(await redeemOf(session, 'good')).toBe(0)
    expect(await redeemOf(session, 'over')).toBe(0)
    expect(await redeemOf(session, 'never')).toBe(0)
    expect(await redeemOf(newKey(), 'good')).toBe(0)
    expect(await redeemOf(text, 'good')).toBe(0)
  })
})

describe('runScript', () => {
  const echo = defineScript({
    keys: ['first', 'second'],
    args: ['one', 'two'],
    constants: { three: 3 },
    lua: 'return { first, second, one, two, three, ARGV[2], #ARGV }',
  })
  const call: ScriptCall<'first' | 'second', 'one' | 'two'> = {
    keys: { second: '{a}2', first: '{a}1' },
    args: { two: 2, one: '' },
    rest: ['more'],
  }

  it('passes keys and arguments in the order of the script, whatever that of the call is', async () => {
    expect(await runScript(redis, echo, call)).toEqual(['{a}1', '{a}2', '', '2', 3, 'more', 2])
  })

  it.each(scripts)('F6: runs %s again after SCRIPT FLUSH, and sends it once', async (_, script) => {
    const server = await startRedisServer()
    onTestFinished(() => server.stop())
    const client = connectRedis(server.url)
    const run = (): Promise<unknown> =>
      runScript(client, script, { keys: { session: 'none', userSessions: 'none' }, args: allArgs })
    await run()
    await client.script('FLUSH')

    const commands = await countCommands({ client }, async () => {
      await run()
      await run()
    })

    expect(commands.map(commandName)).toEqual(['EVALSHA', 'EVAL', 'EVALSHA'])
  })

  it('F1: sends a script no second time for any other error', async () => {
    const calls: string[] = []
    const client: RedisClient = {
      async evalsha() {
        calls.push('evalsha')
        throw new Error('READONLY no')
      },
      async eval() {
        calls.push('eval')
      },
    }

    await expect(runScript(client, echo, call)).rejects.toThrow('READONLY no')

    expect(calls).toEqual(['evalsha'])
  })
})

const commitArgs: Readonly<Record<(typeof commitSession.args)[number], string | number>> = {
  untilMs: '',
  secretHash: 'good',
  maxKeys: 10,
  maxBytes: 1000,
  timeToLiveMs: '',
  removedCount: '',
  lockToken: '',
  leaseMs: '',
  newSecretHash: '',
  asksFor: '',
  clears: '',
  userName: '',
  absoluteTimeoutMs: '',
}

/** Enough for each of the scripts. */
const allArgs = {
  ...commitArgs,
  ...loadArgs('good'),
  signsIn: 0,
  timeToLiveMs: 1000,
  token: 'a',
  id: 'a',
  isOwned: 0,
  pendingScore: '',
  perUser: '',
  score: 1,
  otpHash: 'otp',
  lifespanMs: 1000,
}

const lockArgs = { secretHash: 'good', token: 'a', leaseMs: 1000 }

function addTo(session: string, args: Partial<typeof allArgs> = {}): Promise<unknown> {
  return runScript(redis, addOTP, { keys: { session }, args: { ...allArgs, ...args } })
}

function redeemOf(session: string, otpHash: string): Promise<unknown> {
  const args = { ...allArgs, otpHash, newSecretHash: 'new' }
  return runScript(redis, redeemOTP, { keys: { session }, args })
}

function loadArgs(
  secretHash: string,
): Record<'secretHash' | 'refreshMs' | 'isActivity', string | number> {
  return { secretHash, refreshMs: 60_000, isActivity: 1 }
}

function newKey(): string {
  return `${uniquePrefix()}{a}`
}
