import { readdirSync } from 'node:fs'

import type { RedisClient } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished } from 'vitest'

import { defineScript, runScript } from '../../../src/store/redis/script.ts'
import type { ScriptCall } from '../../../src/store/redis/script.ts'
import { commitSession } from '../../../src/store/redis/scripts/commit-session.ts'
import { createSession } from '../../../src/store/redis/scripts/create-session.ts'
import { destroySession } from '../../../src/store/redis/scripts/destroy-session.ts'
import { extendLock } from '../../../src/store/redis/scripts/extend-lock.ts'
import { loadSession } from '../../../src/store/redis/scripts/load-session.ts'
import { lockSession } from '../../../src/store/redis/scripts/lock-session.ts'
import { readSession } from '../../../src/store/redis/scripts/read-session.ts'
import { touchSession } from '../../../src/store/redis/scripts/touch-session.ts'
import { commandName, countCommands } from '../../support/command-count.ts'
import { connectRedis, uniquePrefix } from '../../support/redis-client.ts'
import { startRedisServer } from '../../support/redis-server.ts'

const scripts = [
  ['commit-session', commitSession],
  ['create-session', createSession],
  ['destroy-session', destroySession],
  ['extend-lock', extendLock],
  ['load-session', loadSession],
  ['lock-session', lockSession],
  ['read-session', readSession],
  ['touch-session', touchSession],
] as const

const stored = {
  v: '1',
  type: 'web',
  createdAt: '1763000000000',
  idleTimeoutMs: '3600000',
  'secret:good': '0',
  'storage:a': '1',
  keys: '1',
  bytes: '2',
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

  it.each(scripts)('F6: %s touches no key but those in KEYS', (_, { keys, lua }) => {
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
      args: { timeToLiveMs: 5000, absoluteTimeoutMs: 9000, signsIn: 1, maxKeys: 1, maxBytes: 2 },
      rest: ['type', 'web', 'storage:a', '1'],
    }

    const time = Number(await runScript(redis, createSession, call))
    const again = await runScript(redis, createSession, call)

    expect(again).toBe(0)
    expect(await redis.hgetall(session)).toEqual({
      type: 'web',
      'storage:a': '1',
      createdAt: String(time),
      signedInAt: String(time),
      endsAt: String(time + 9000),
      keys: '1',
      bytes: '2',
    })
  })

  it.each([
    ['too many keys', { maxKeys: 0, maxBytes: 2 }],
    ['too many bytes', { maxKeys: 1, maxBytes: 1 }],
  ])('create-session refuses %s', async (_, limits) => {
    const session = newKey()

    const reply = await runScript(redis, createSession, {
      keys: { session },
      args: { timeToLiveMs: 5000, absoluteTimeoutMs: '', signsIn: 0, ...limits },
      rest: ['storage:a', '1'],
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
      'secret:renewed': now,
      'secret:forgotten': now - 31_000,
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
        args: { ...commitArgs, setCount: 2 },
        rest: ['storage:b', '2', 'storage:a'],
      }),
    )

    const { 'storage:a': _, ...others } = stored
    expect(time).toBeGreaterThan(0)
    expect(await redis.hgetall(session)).toEqual({ ...others, 'storage:b': '2' })
  })

  it('commit-session answers a negative time, 0, 1 or 2 when it takes not everything', async () => {
    const session = newKey()
    await redis.hset(session, { ...stored, 'secret:renewed': Date.now() })
    const commit = (args: Partial<typeof commitArgs>, rest: string[] = []): Promise<unknown> =>
      runScript(redis, commitSession, {
        keys: { session },
        args: { ...commitArgs, setCount: rest.length, ...args },
        rest,
      })

    expect(await commit({ secretHash: 'wrong' })).toBe(0)
    expect(await commit({ secretHash: 'renewed', asksFor: 'secret' })).toBe(1)
    expect(await commit({ maxKeys: 1 }, ['storage:b', '2'])).toBe(2)
    expect(await commit({ maxBytes: 2 }, ['storage:b', '2'])).toBe(2)
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
    expect(await touch('good')).toBeGreaterThan(1_700_000_000_000)
    expect(await redis.pttl(session)).toBeGreaterThan(3_600_000)
  })

  it('destroy-session answers 1, and 0 for what is not there', async () => {
    const session = newKey()
    await redis.hset(session, stored)
    const call = { keys: { session }, args: {} }

    expect(await runScript(redis, destroySession, call)).toBe(1)
    expect(await runScript(redis, destroySession, call)).toBe(0)
    expect(await redis.exists(session)).toBe(0)
  })
})

describe('runScript', () => {
  const echo = defineScript({
    keys: ['first', 'second'],
    args: ['one', 'two'],
    lua: 'return { KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], #ARGV }',
  })
  const call: ScriptCall<'first' | 'second', 'one' | 'two'> = {
    keys: { second: '{a}2', first: '{a}1' },
    args: { two: 2, one: '' },
    rest: ['more'],
  }

  it('passes keys and arguments in the order of the script, whatever that of the call is', async () => {
    expect(await runScript(redis, echo, call)).toEqual(['{a}1', '{a}2', '', '2', 'more', 3])
  })

  it.each(scripts)('F6: runs %s again after SCRIPT FLUSH, and sends it once', async (_, script) => {
    const server = await startRedisServer()
    onTestFinished(() => server.stop())
    const client = connectRedis(server.url)
    const run = (): Promise<unknown> =>
      runScript(client, script, { keys: { session: 'none' }, args: allArgs })
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

const commitArgs = {
  secretHash: 'good',
  newSecretHash: '',
  asksFor: '',
  clears: 0,
  userName: '',
  absoluteTimeoutMs: '',
  timeToLiveMs: '',
  maxKeys: 10,
  maxBytes: 1000,
  renewedMemoryMs: 30_000,
  lockToken: '',
  leaseMs: 0,
  setCount: 0,
}

/** Enough for each of the scripts. */
const allArgs = {
  ...commitArgs,
  ...loadArgs('good'),
  signsIn: 0,
  timeToLiveMs: 1000,
  token: 'a',
  turnMs: 250,
}

function loadArgs(
  secretHash: string,
): Record<'secretHash' | 'refreshMs' | 'isActivity' | 'renewedMemoryMs', string | number> {
  return { secretHash, refreshMs: 60_000, isActivity: 1, renewedMemoryMs: 30_000 }
}

function newKey(): string {
  return `${uniquePrefix()}{a}`
}
