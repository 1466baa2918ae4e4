import type { Redis } from 'ioredis'
import { beforeAll, describe, expect, it } from 'vitest'

import { lockKeys, sessionKey, userSessionsKey } from '../../src/store/redis/keys.ts'
import { cookieOf, exactly, makeApp } from '../support/apps.ts'
import type { TestApp } from '../support/apps.ts'
import { loadHandlers } from '../support/load.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { changeStored } from '../support/stored-text.ts'

const marker = 'marker-of-what-is-stored'
let redis: Redis
beforeAll(() => {
  redis = connectRedis()
})

type Damage = (key: string) => Promise<unknown>

const otherValues: readonly (readonly [string, Damage])[] = [
  ['a string', (key) => redis.set(key, marker)],
  ['a list', (key) => redis.rpush(key, marker)],
  ['a set', (key) => redis.sadd(key, marker)],
  ['a sorted set', (key) => redis.zadd(key, 1, marker)],
  ['a foreign hash', (key) => redis.hset(key, { name: marker, value: marker })],
]

const otherSessions: readonly (readonly [string, Damage])[] = [
  ...otherValues,
  ['an empty string', (key) => redis.set(key, '')],
  ['bytes that are not text', (key) => redis.set(key, Buffer.from([0x32, 0x61, 0xff, 0xfe]))],
  ['a session of the first version', (key) => redis.hset(key, { v: '1 web', u: marker })],
]

/** The head of a session's text; the entries stay. */
interface Parts {
  readonly version: string
  readonly state: string
  readonly active: string
  readonly revision: string
  readonly keys: string
  readonly type: string
  readonly created: string
  /** Pairs of a tag and its value. */
  readonly items: readonly string[]
}

/** Changes parts of a text and corrects its checksum, so that the parts are read. */
function parts(change: (parts: Parts) => Partial<Parts>): Damage {
  return async (key) => {
    const [head = '', ...entries] = ((await redis.get(key)) ?? '').split('\n')
    const [start = '', first = '', ...items] = head.split('\t')
    const before = {
      version: start.slice(0, 1),
      state: start.slice(1, 2),
      active: start.slice(2, 11),
      revision: start.slice(11, 14),
      keys: start.slice(14),
      type: first.slice(0, 1),
      created: first.slice(4),
      items,
    }
    const { version, state, active, revision, keys, type, ...rest } = {
      ...before,
      ...change(before),
    }
    const body = [rest.created, ...rest.items].join('\t')
    const check = checkOf(revision + type + body)
    const changed = `${version}${state}${active}${revision}${keys}\t${type}${check}${body}`
    await redis.set(key, [changed, ...entries].join('\n'))
  }
}

/** Changes the values of all items with a tag, or adds one if there is none. */
function item(tag: string, change: (value: string) => string): Damage {
  return parts(({ items }) => {
    const changed = items.map((text) => (text.startsWith(tag) ? tag + change(text.slice(1)) : text))
    return {
      items: items.some((text) => text.startsWith(tag)) ? changed : [...items, tag + change('')],
    }
  })
}

/** Changes a text without correcting its checksum. */
function text(change: (text: string) => string): Damage {
  return async (key) => redis.set(key, change((await redis.get(key)) ?? ''))
}

const beyondDates = 'zzzzzzzzzzz'
const endless = 'z'.repeat(300)

const damages: readonly (readonly [string, Damage])[] = [
  ['no version', parts(() => ({ version: '' }))],
  ['a later version', parts(() => ({ version: '3' }))],
  ['an unknown state', parts(() => ({ state: 'x' }))],
  ['a last activity that is not a number', parts(() => ({ active: '!'.repeat(9) }))],
  ['a revision that is not a number', parts(() => ({ revision: '-01' }))],
  ['no number of keys', parts(() => ({ keys: '' }))],
  ['a malformed number of keys', parts(() => ({ keys: '1.5' }))],
  ['no type', parts(() => ({ type: '' }))],
  ['an unknown type', parts(() => ({ type: 'x' }))],
  ['no creation date', parts(() => ({ created: '' }))],
  ['a creation date that is not a number', parts(() => ({ created: '-1' }))],
  ['a creation date beyond all dates', parts(() => ({ created: beyondDates }))],
  ['an infinite creation date', parts(() => ({ created: endless }))],
  ['a sign-in date that is not a number', item('n', () => '1.5')],
  ['a sign-in date beyond all dates', item('n', () => beyondDates)],
  ['an end that is not a number', item('e', () => '-1')],
  ['an empty end', item('e', () => '')],
  ['an end beyond all dates', item('e', () => beyondDates)],
  ['an empty idle timeout', item('i', () => '')],
  ['an idle timeout that is not a number', item('i', () => '1e-3')],
  ['an idle timeout beyond all dates', item('i', () => beyondDates)],
  ['a user name with a broken escape', item('u', () => '\\u12')],
  ['an app name with a broken escape', item('A', () => '\\x')],
  ['a privilege with a broken escape', item('p', () => '\\u12')],
  ['a role with a broken escape', item('r', () => '\\u12')],
  ['a secret without a date', item('s', (value) => value.slice(0, 43))],
  ['a one-time token without an end', item('o', () => 'A'.repeat(43))],
  ['an item of no kind', parts(({ items }) => ({ items: [...items, `?${marker}`] }))],
  ['an empty item', parts(({ items }) => ({ items: [...items, ''] }))],
  ['a user twice', parts(({ items }) => ({ items: ['ueve', ...items] }))],
  ['items in another order', parts(({ items }) => ({ items: items.toReversed() }))],
  ['a line break in a value', item('a', () => `1\n${marker}`)],
  ['another user under the same check', text((all) => all.replace('\tuann', '\tueve'))],
  ['another type under the same check', text((all) => all.replace('\tw', '\tm'))],
  ['a head that was cut', text((all) => all.slice(0, all.indexOf('\n') - 5))],
  ['nothing but its beginning', text((all) => all.slice(0, 14))],
]

/** The checksum of the head: FNV-1a, its last three digits in base 36. */
function checkOf(of: string): string {
  let hash = 0x811c9dc5
  for (let index = 0; index < of.length; index++) {
    hash = Math.imul(hash ^ of.charCodeAt(index), 0x01000193)
  }
  return ((hash >>> 0) % 46_656).toString(36).padStart(3, '0')
}

describe('a session key with a foreign value', () => {
  it.each(otherSessions)(
    'F6, H2: %s reads as no session, and is reported',
    async (_name, write) => {
      const stage = await openSession()
      await redis.del(stage.key)
      await write(stage.key)

      await expectNoSession(stage)
    },
  )
})

describe('a session that is damaged', () => {
  it.each(damages)('F6, H2: %s reads as no session, and is reported', async (_name, damage) => {
    const stage = await openSession()
    await damage(stage.key)

    await expectNoSession(stage)
  })

  it.each(damages)('F6: %s is ended by id, though it was not live', async (_name, damage) => {
    const { testApp, key, id } = await openSession()
    await damage(key)

    expect(await testApp.sessions.terminate(id)).toBe(false)
    expect(await redis.exists(key)).toBe(0)
  })

  it('F6: parts that are rewritten without a change read as the session', async () => {
    const { testApp, cookie, key } = await openSession()
    const before = await redis.get(key)
    await parts(() => ({}))(key)

    expect(await redis.get(key)).toBe(before)
    expect((await testApp.visit('/me', cookie)).body).toMatchObject({ userName: 'ann' })
  })

  it('F6: a stored name with a broken escape reads as absent, and the other names as they are', async () => {
    const { testApp, cookie, key, id } = await openSession()
    await redis.append(key, '\n\\u12\t1')

    const { status, body } = await testApp.visit('/me', cookie)

    expect(status).toBe(200)
    expect(body).toMatchObject({ userName: 'ann', storage: exactly({ kept: '1' }) })
    expect(await testApp.sessions.storage(id)).toEqual({ kept: '1' })
    expect((await testApp.visit('/write?kept=2', cookie)).status).toBe(200)
    expect((await testApp.visit('/me', cookie)).body.storage).toEqual({ kept: '2' })
  })

  it.each(['\n', '\n\n', '\t', '\nno tab', '\n\t', '\n\t1', '\nkept\t2'])(
    'F6: %j after its entries does no harm',
    async (garbage) => {
      const { testApp, cookie, key } = await openSession()
      await redis.append(key, garbage)

      const { status, body } = await testApp.visit('/me', cookie)

      expect(status).toBe(200)
      expect(body).toMatchObject({ userName: 'ann' })
      expect((await testApp.visit('/write?more=1', cookie)).status).toBe(200)
      expect((await testApp.visit('/me', cookie)).body.storage).toMatchObject({ more: '1' })
    },
  )

  it('F6, H2: a stored value that is not JSON reads as absent, and is reported', async () => {
    const { testApp, cookie, key, id } = await openSession()
    await changeStored(redis, key, (session) => {
      const { storage } = session.record
      const damaged = new Map([...storage, ['cart', `{${marker}`], ['list', '[1']])
      return { ...session, record: { ...session.record, storage: damaged } }
    })

    const { status, body } = await testApp.visit('/me', cookie)

    expect(status).toBe(200)
    expect(body).toMatchObject({ userName: 'ann', storage: { kept: '1' } })
    expect(body.storage).not.toHaveProperty('cart')
    expect(testApp.events).toContainEqual({
      name: 'session:storeError',
      event: { operation: 'load', id },
    })
    expect((await testApp.visit('/write?cart=2', cookie)).status).toBe(200)
    expect((await testApp.visit('/me', cookie)).body.storage).toMatchObject({ cart: '2' })
    expectNothingTold(testApp)
  })

  it.each([0, 99_999, 1e9])('F6: a wrong number of keys, %d, ends nothing', async (keys) => {
    const { testApp, cookie, key } = await openSession()
    await parts(() => ({ keys: String(keys) }))(key)

    expect((await testApp.visit('/me', cookie)).body.storage).toEqual({ kept: '1' })
    expect((await testApp.visit('/write?kept=2', cookie)).status).toBe(200)
    expect((await testApp.visit('/me', cookie)).body.storage).toEqual({ kept: '2' })
    expect((await testApp.visit('/logout', cookie)).status).toBe(200)
  })

  it.each(otherValues)('F6: %s in place of a lock does no harm', async (_name, write) => {
    const { testApp, cookie, key } = await openSession()
    const { lock, turn } = lockKeys(key)
    await write(lock)
    await write(turn)

    expect((await testApp.visit('/count', cookie)).body).toMatchObject({ count: 1 })
    expect((await testApp.visit('/count', cookie)).body).toMatchObject({ count: 2 })
    expect((await testApp.visit('/write?more=1', cookie)).status).toBe(200)
    await write(lock)
    expect((await testApp.visit('/logout', cookie)).status).toBe(200)
    expect(await redis.exists(key, lock, turn)).toBe(0)
  })
})

describe("a user's index with a foreign value", () => {
  it.each(otherValues.filter(([name]) => name !== 'a sorted set'))(
    'F6, M2: %s never gives a wrong list, and affects no other user',
    async (_name, write) => {
      const { testApp, cookie, prefix } = await openSession()
      const key = userSessionsKey(prefix, 'ann')
      await redis.del(key)
      await write(key)

      const failure = { code: 'ERR_SESSION_STORE', status: 503 }
      await expect(testApp.sessions.list('ann')).rejects.toMatchObject(failure)
      await expect(testApp.sessions.terminateAll('ann')).rejects.toMatchObject(failure)
      expect((await testApp.visit('/login?user=ann')).status).toBe(503)
      // Her existing sessions still work.
      expect((await testApp.visit('/me', cookie)).body).toMatchObject({ userName: 'ann' })
      expect((await testApp.visit('/write?more=1', cookie)).status).toBe(200)
      expect((await testApp.visit('/login?user=bob')).status).toBe(200)
      expect(await testApp.sessions.list('bob')).toHaveLength(1)
      await redis.del(key)
      expect((await testApp.visit('/login?user=ann')).status).toBe(200)
      expectNothingTold(testApp)
    },
  )

  it('F6, M2: foreign members are not listed', async () => {
    const { testApp, prefix, id } = await openSession()
    await redis.zadd(userSessionsKey(prefix, 'ann'), 1, marker, 2, '', 3, '{}')

    expect((await testApp.sessions.list('ann')).map((session) => session.id)).toEqual([id])
    expect(await testApp.sessions.terminateAll('ann')).toBe(1)
  })
})

interface Stage {
  readonly testApp: TestApp
  readonly prefix: string
  readonly id: string
  readonly key: string
  readonly cookie: string
}

/** A session of `ann`, and one of `eve` beside it. */
async function openSession(): Promise<Stage> {
  const prefix = uniquePrefix()
  const testApp = makeApp(loadHandlers, { redis, prefix, lockTimeoutMs: 1500 })
  testApp.app.silent = true
  const first = await testApp.visit('/write?kept=1')
  const cookie = cookieOf(await testApp.visit('/login?user=ann', cookieOf(first)))
  const { id } = (await testApp.visit('/me', cookie)).body
  return { testApp, prefix, id, key: sessionKey(prefix, id), cookie }
}

async function expectNoSession({ testApp, cookie, id, key }: Stage): Promise<void> {
  const others = cookieOf(await testApp.visit('/login?user=eve'))
  for (let times = 0; times < 3; times++) {
    const { status, body } = await testApp.visit('/me', cookie)
    expect(status).toBe(200)
    expect(body).toMatchObject({ isGuest: true, userName: '', privileges: [] })
    expect((await testApp.visit('/admin', cookie)).status).toBe(401)
  }
  const told = testApp.events.find(({ name }) => name === 'session:storeError')
  expect(told?.event).toEqual({ operation: 'load', id })
  expect(await testApp.sessions.storage(id)).toBeNull()
  expect(await testApp.sessions.list('ann')).toEqual([])
  expect(await testApp.sessions.info(id)).toBeNull()
  // A client with its cookie gets a new session.
  const anew = await testApp.visit('/write?new=1', cookie)
  expect((await testApp.visit('/me', cookieOf(anew))).body.storage).toEqual({ new: '1' })
  expect((await testApp.visit('/login', cookie)).status).toBe(200)
  expect((await testApp.visit('/me', others)).body).toMatchObject({ userName: 'eve' })
  expect(await redis.exists(key)).toBe(1)
  expectNothingTold(testApp)
}

function expectNothingTold({ errors, events }: TestApp): void {
  expect(JSON.stringify([errors.map(String), events])).not.toContain(marker)
}
