import { randomUUID } from 'node:crypto'

import { RedisStore, SessionStoreError } from 'koa-user-sessions'
import { unknownClient } from 'koa-user-sessions/store'
import type { SessionCredential } from 'koa-user-sessions/store'
import { describe, expect, it } from 'vitest'

import { sessionKey } from '../../src/store/redis/keys.ts'
import { decodeSession, encodeSession } from '../../src/store/session-text.ts'
import type { StoredSession } from '../../src/store/stored-session.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { changes, draftOf, minute, newHash, newSession, policy, setting } from './contract-parts.ts'
import { signInOf, storageOf } from './contract-parts.ts'

// The number of damaged texts. More texts find more errors; the message names the seed.
const mutations = 10_000
const seed = 20_261_128
const atOnce = 100

const hash = 'a'.repeat(43)
const [userName, privileges, roles] = ['ann', ['browse', 'audit'], ['Clerk']]
const granted: ReadonlySet<string> = new Set([...privileges, ...roles])
const redis = connectRedis()

describe('damaged texts', () => {
  it(
    'H1, F6: grant no more than was granted, and break no call, over 10 000 of them',
    { timeout: 300_000 },
    async () => {
      const prefix = uniquePrefix()
      const store = new RedisStore(redis, { prefix })
      const originals = sessions().map((session) => Buffer.from(encodeSession(session)))
      const chance = randomNumbers(seed)
      const outcomes = new Map<string, number>()

      for (let done = 0; done < mutations; done += atOnce) {
        const batch = Array.from({ length: atOnce }, (_, index) =>
          mutated(originals[(done + index) % originals.length]!, chance),
        )
        const told = await Promise.all(batch.map((text) => useOf(store, prefix, text)))
        for (const word of told) outcomes.set(word, (outcomes.get(word) ?? 0) + 1)
      }

      // Both occur often, so that the checks after a load have a value.
      expect(outcomes.get('live')).toBeGreaterThan(500)
      expect(outcomes.get('unreadable')).toBeGreaterThan(2000)
      expect(await redis.keys(`${prefix}{*`)).toEqual([])
      await redis.del(...(await redis.keys(`${prefix}*`)))
    },
  )

  it('H1: decode as one session or as none, and never throw, whatever the bytes', () => {
    const chance = randomNumbers(seed + 1)
    const originals = sessions().map((session) => Buffer.from(encodeSession(session)))
    for (let index = 0; index < mutations; index++) {
      let text = mutated(originals[index % originals.length]!, chance)
      for (let more = chance() * 4; more > 1; more--) text = mutated(text, chance)

      const session = decodeSession('id', text.toString())

      if (session) expectGranted(session.record)
    }
  })
})

/** Makes all calls on a damaged text. Returns the outcome of the load. */
async function useOf(store: RedisStore, prefix: string, text: Buffer): Promise<string> {
  const id = randomUUID()
  const key = sessionKey(prefix, id)
  const credential = { id, secretHash: hash }
  await redis.set(key, text)
  const loaded = await answerOf(() => store.load(credential, policy, true))
  if (loaded?.status === 'live') {
    expectGranted(loaded.record)
    const texts = [...loaded.record.storage].flat()
    expect(texts.filter((part) => typeof part !== 'string')).toEqual([])
  }
  const wrong = await answerOf(() => store.load({ id, secretHash: newHash() }, policy, true))
  expect(['unreadable', undefined]).toContain(wrong?.status)
  await answerOf(() => store.commit(credential, setting({ a: '2', new: '1' }, ['b']), policy))
  // One that has not loaded anything.
  await answerOf(() => store.commit({ ...credential }, setting({ a: '3' }), policy))
  const locked = await answerOf(() =>
    store.lock({ ...credential }, { token: 'a', leaseMs: minute }),
  )
  if (locked?.status === 'locked') expectGranted(locked.record)
  const again = await answerOf(() => store.load({ ...credential }, policy, true))
  if (again?.status === 'live') expectGranted(again.record)
  const signIn = { ...signInOf(id, newHash()), storage: changes({ c: '1' }) }
  const signedIn = await answerOf(() => store.commit({ ...credential }, signIn, policy))
  const listed = await answerOf(() => store.list(id))
  if (signedIn?.status === 'committed') expect(listed?.map((one) => one.userName)).toEqual([id])
  expect(typeof (await answerOf(() => store.destroy(id)))).toBe('boolean')
  expect(await store.load({ ...credential }, policy, true)).toBeUndefined()
  await redis.del(key, `${key}:lock`)
  if (signedIn?.status === 'committed') return 'live'
  return loaded?.status ?? 'nothing'
}

/** The result of a call; nothing when the store fails, which it may. */
async function answerOf<T>(call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call()
  } catch (error) {
    expect(error).toBeInstanceOf(SessionStoreError)
    return undefined
  }
}

function expectGranted(record: StoredSession['record']): void {
  expect(['', userName]).toContain(record.userName)
  for (const name of [...record.privileges, ...record.roles]) expect(granted).toContain(name)
  for (const name of record.privileges) expect(privileges).toContain(name)
}

function sessions(): readonly StoredSession[] {
  const createdAt = Date.now() - minute
  const base: StoredSession = {
    record: {
      ...draftOf(),
      id: '',
      createdAt,
      signedInAt: 0,
      endsAt: createdAt + 600 * minute,
      generation: 2,
    },
    activeAt: createdAt,
    isPostponed: false,
    secrets: [{ hash, madeAt: createdAt, isJoined: false, rotatedAt: 0 }],
    otps: [],
    revision: 5,
  }
  const storage = new Map([
    ['a', '1'],
    ['b', '"uann"'],
    ['', '{"\\n":"\\t"}'],
    ['\npWebAdmin\t1', '"\\npWebAdmin"'],
    ['漢', '"👩"'],
  ])
  const user = { ...base.record, userName, privileges, roles, signedInAt: createdAt + 5 }
  const client = { ...unknownClient, appName: 'Firefox', platform: 'Windows', isOfficialApp: true }
  return [
    base,
    { ...base, record: { ...base.record, storage } },
    { ...base, record: { ...user, storage, client } },
    {
      ...base,
      record: { ...user, idleTimeoutMs: Infinity, endsAt: Infinity },
      isPostponed: true,
      secrets: [
        ...base.secrets,
        { hash: newHash(), madeAt: createdAt, isJoined: true, rotatedAt: createdAt + 9 },
      ],
      otps: [{ hash: newHash(), goodUntil: createdAt + 100 * minute }],
    },
  ]
}

/** A text with one or several damaged bytes. */
function mutated(text: Buffer, chance: () => number): Buffer {
  const at = Math.floor(chance() * text.length)
  const to = at + Math.floor(chance() * 12)
  const [before, behind] = [text.subarray(0, at), text.subarray(at + 1)]
  const marks = [
    '\n',
    '\t',
    '2',
    'a',
    'p',
    'z',
    '0',
    '"',
    '\\',
    '\0',
    'ž',
    '\npWebAdmin\t1',
    '\tueve',
  ]
  const mark = Buffer.from(marks[Math.floor(chance() * marks.length)]!)
  switch (Math.floor(chance() * 8)) {
    case 0:
      return Buffer.concat([before, behind])
    case 1:
      return Buffer.concat([before, mark, text.subarray(at)])
    case 2:
      return Buffer.concat([before, mark, behind])
    case 3:
      return before
    case 4:
      // A part comes twice.
      return Buffer.concat([text.subarray(0, to), text.subarray(at)])
    case 5:
      return Buffer.concat([before, text.subarray(to)])
    default:
      return Buffer.concat([before, Buffer.from([Math.floor(chance() * 256)]), behind])
  }
}

/** The same numbers each time, from 0 to 1. */
function randomNumbers(from: number): () => number {
  let state = from
  return () => {
    // The constants are from Numerical Recipes.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

describe('bad names and values', () => {
  const large = JSON.stringify('x'.repeat(262_000))
  const deep = `${'['.repeat(32)}1${']'.repeat(32)}`
  const awkward: readonly (readonly [string, string, string])[] = [
    ['line breaks', 'a\nb\r\n', '"\\n\\r\\n"'],
    ['escapes', '\\n\\t\\u0000', '"\\\\n"'],
    ['lone surrogates', '\uD800', '"\\ud800"'],
    ['another half of one', '\uDC00', '"\\udc00"'],
    ['256 KB', 'large', large],
    ['32 levels', 'deep', deep],
    ['an entry as a name', '\nadmin\ttrue', '1'],
    ['an entry as a value', 'entry', '"\\nadmin\\ttrue"'],
    ['the head as a name', '2a0mhwsoi680002\twxyzmhwsoi68\ti255s0\tueve', '1'],
    ['the head as a value', 'head', '"\\n2a0mhwsoi680002\\twxyzmhwsoi68\\tueve\\tpWebAdmin"'],
    ['an item of the head', '\tpWebAdmin', '"\\tpWebAdmin"'],
    ['nothing', '', '""'],
    ['NUL', '\0', '"\\u0000"'],
    ['patterns of Lua', '%a+.*[^\n]', '"%1"'],
    ['a prototype', '__proto__', '{"isAdmin":true}'],
    ['a long name', 'n'.repeat(20_000), '1'],
  ]

  it.each(awkward)(
    'H1, T3: stores, merges and removes %s, and nothing else',
    async (_, name, json) => {
      const store = new RedisStore(redis, { prefix: uniquePrefix() })
      const wide = { ...policy, limits: { storageBytes: 1_000_000, storageKeys: 256 } }
      const session = newSession({ storage: new Map([[name, json]]) })
      const { credential } = session
      await store.create(session, wide)

      const atFirst = await storageOf(store, credential)
      await store.commit(credential, setting({ other: '1' }), wide)
      await store.commit(
        credential,
        { storage: { set: new Map([[name, '2']]), removed: [] } },
        wide,
      )
      const changed = await storageOf(store, credential)
      await store.commit(
        credential,
        { storage: { set: new Map([[name, json]]), removed: [] } },
        wide,
      )
      const again = await storageOf(store, credential)
      await store.commit(credential, setting({}, [name]), wide)
      const removed = await storageOf(store, credential)

      const expected = (value: string): object =>
        Object.fromEntries([
          [name, value],
          ['other', '1'],
        ])
      expect(atFirst).toEqual(Object.fromEntries([[name, json]]))
      expect(changed).toEqual(expected('2'))
      expect(again).toEqual(expected(json))
      expect(removed).toEqual({ other: '1' })
      expect(await recordIn(store, credential)).toMatchObject({ userName: '', privileges: [] })
      expect(Reflect.get({}, 'isAdmin')).toBeUndefined()
    },
  )

  it.each(awkward)('H1: keeps user, privileges and roles with %s apart', async (_, name) => {
    const store = new RedisStore(redis, { prefix: uniquePrefix() })
    const names = { userName: `${name}!`, privileges: [name, `${name}?`], roles: [name] }
    const session = { ...newSession({ ...names, storage: new Map([[name, '1']]) }), signsIn: true }
    await store.create(session, policy)
    const { credential } = session

    expect(await recordIn(store, credential)).toMatchObject(names)
    const listed = await store.list(`${name}!`)
    expect(listed).toEqual([expect.objectContaining({ id: credential.id, ...names })])
    expect(await store.list(name === '' ? '?' : name)).toEqual([])
    expect(await store.destroy(credential.id, name)).toBe(false)
    expect(await store.destroy(credential.id, `${name}!`)).toBe(true)
  })

  it.each(['{', 'a}b', 'sess:', '*', '../x', '\n'])(
    'H1: looks up no foreign key for the id %j',
    async (id) => {
      const prefix = uniquePrefix()
      const store = new RedisStore(redis, { prefix })

      expect(await store.load({ id, secretHash: hash }, policy, true)).toBeUndefined()
      expect(await store.destroy(id)).toBe(false)
      expect(await redis.keys(`${prefix}*`)).toEqual([])
    },
  )

  it('F6: treats a lock whose key has another type as missing', async () => {
    const prefix = uniquePrefix()
    const store = new RedisStore(redis, { prefix })
    const session = newSession()
    const { credential } = session
    await store.create(session, policy)
    const key = sessionKey(prefix, credential.id)
    await redis.rpush(`${key}:lock`, 'a')
    const lock = { token: 'a', leaseMs: minute }

    await expect(store.commit(credential, { lock }, policy)).rejects.toMatchObject({ status: 503 })
    expect((await store.lock(credential, lock))?.status).toBe('locked')
    expect(await redis.type(`${key}:lock`)).toBe('string')
    expect((await store.load(credential, policy, true))?.status).toBe('live')
    expect(await store.destroy(credential.id)).toBe(true)
    expect(await redis.keys(`${prefix}*`)).toEqual([])
  })
})

async function recordIn(store: RedisStore, credential: SessionCredential): Promise<object | false> {
  const loaded = await store.load(credential, policy, false)
  return loaded?.status === 'live' && loaded.record
}
