import { readdirSync, readFileSync } from 'node:fs'

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
import {
  commit,
  isJustUnder,
  newKey,
  noArgs,
  now,
  ownRedis,
  redis,
  run,
  storedKey,
} from '../../support/script-calls.ts'

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

/** Sufficient for each of the scripts. */
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

describe('scripts', () => {
  it('are all covered by these tests', () => {
    const files = readdirSync(folder).filter((file) => file !== 'shared.ts')

    expect(files.toSorted()).toEqual(scripts.map(([name]) => `${name}.ts`))
  })

  it.each(scripts)('F6: %s has the SHA-1 that Redis gives it', async (_, { lua, sha1 }) => {
    expect(await redis.script('LOAD', lua)).toBe(sha1)
  })

  it.each(scripts)('F6: %s touches no key except those in KEYS', (_, { keys, lua }) => {
    const calls = [...lua.matchAll(/redis\.p?call\('([A-Z]+)'([^)]*)\)/g)]
    // Parts that scripts share take a key as an argument, under its name in the other scripts.
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
    // The name of a key is given to a key only, and to no other one later.
    const assigned = [...lua.matchAll(/^\s*(?:local )?([\w, ]+) = /gm)].filter(([, left = '']) =>
      left.split(', ').some((name) => keyNames.has(name)),
    )
    expect(assigned).toHaveLength(bound.length)
    expect(bound.length).toBeGreaterThan(0)
    expect(keys[0]).toBe(bound[0]?.[1])
  })

  it.each(scripts)('F6: %s documents its KEYS and ARGV correctly', (name, { keys, args }) => {
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

  it.each(scripts)('H1: %s gets each argument by name, whatever the others are', async (_, own) => {
    const { keys, args } = own
    const letters = args.map((name, index) => [name, index % 3 === 1 ? '' : `${name} ${index}`])
    const lua = `return 'args\\n' .. table.concat({ ${args.join(', ') || "''"} }, '|')`
    const script = defineScript({ keys, args, lua, parse: ({ text }) => text })

    const reply = await new RedisConnection(redis).run(anyScript(script), {
      keys: { [String(keys[0])]: newKey() },
      args: Object.fromEntries(letters),
    })

    expect(reply).toBe(letters.map(([, value]) => value).join('|'))
  })

  const words = scripts.filter(
    ([name]) => !['keep-user-session', 'remove-user-sessions', 'tell-time'].includes(name),
  )

  it.each(words)('F1: %s accepts its own replies, and no others', (_, { parse }) => {
    for (const reply of ['', 'OK', 'unknown', 'COMMITTED', ' committed', '0']) {
      expect(() => parse(replyOf(reply))).toThrow(
        expect.objectContaining({ code: 'ERR_SESSION_STORE' }),
      )
    }
  })
})

describe('tell-time', () => {
  it('L4: returns the time of Redis in ms', async () => {
    const told = await run(tellTime, { keys: { session: newKey() }, args: {} })
    const [seconds, micros] = await redis.time()

    const time = Number(seconds) * 1000 + Math.floor(Number(micros) / 1000)
    expect(time - told).toSatisfy((ms: number) => ms >= 0 && ms < 5000)
  })
})

describe('the scripts of an index', () => {
  it('add-user-session returns a score above all others, and the previous one', async () => {
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

  it('add-user-session uses the time as the score, and keeps a longer time to live', async () => {
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

  it('keep-user-session restores a missing entry, confirms one unchanged since it was added, and no other', async () => {
    const userSessions = newKey()
    await redis.zadd(userSessions, '10.5', 'pending', '20.5', 'anew', '30', 'confirmed')
    const keep = (member: string, score: number | '', pendingScore: number | ''): Promise<void> =>
      run(keepUserSession, {
        keys: { userSessions },
        args: { member, score, pendingScore, keepMs: 5000 },
      })

    await keep('pending', 10, 10.5)
    // A second sign-in is in progress.
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

  it('read-user-sessions returns the time and all entries in order', async () => {
    const userSessions = newKey()
    const read = (): Promise<unknown> => run(readUserSessions, { keys: { userSessions }, args: {} })

    expect(await read()).toEqual({ now, entries: [] })
    await redis.zadd(userSessions, '1763000000001.5', 'b', '1763000000000', 'c')
    expect(await read()).toEqual({
      now,
      entries: ['c', '1763000000000', 'b', '1763000000001.5'],
    })
  })

  it('remove-user-sessions removes entries with the same score, or with any score', async () => {
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
  ] as const)('F6: %s does not change a key of another type, and fails', async (_, script) => {
    const userSessions = newKey()
    await redis.set(userSessions, 'something else')
    const call = { ...anyCall, keys: { userSessions } }

    await expect(run(anyScript(script), call)).rejects.toMatchObject({ code: 'ERR_SESSION_STORE' })

    expect(await redis.get(userSessions)).toBe('something else')
  })
})

describe('a script and its replies', () => {
  it('F6: passes keys in the order of the script, without those that a call omits', () => {
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
  ])('parses %j', (reply, word, numbers, text) => {
    expect(replyOf(reply)).toEqual({ word, numbers, text })
  })

  it('H1: writes numbers without losing a digit', async () => {
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

/** A script for which the names of keys and arguments do not matter. */
function anyScript(
  script: Pick<Script<never, never, unknown>, 'lua' | 'sha1' | 'parse'> & {
    readonly keys: readonly string[]
    readonly args: readonly string[]
  },
): Script<string, string, unknown> {
  return script
}

/** The names in backticks, without duplicates and in order. */
function namesIn(text: string, names: ReadonlySet<string>): readonly string[] {
  const quoted = [...text.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name)
  return [...new Set(quoted.filter((name) => names.has(name)))]
}
