import type { Redis } from 'ioredis'
import { beforeAll, describe, expect, it } from 'vitest'

import { sessionKey, userSessionsKey } from '../../src/store/redis/keys.ts'
import { cookieOf, makeApp } from '../support/apps.ts'
import type { TestApp } from '../support/apps.ts'
import { loadHandlers } from '../support/load.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'

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
  ['a hash of somebody else', (key) => redis.hset(key, { name: marker, value: marker })],
]

const damages: readonly (readonly [string, Damage])[] = [
  ['no version', (key) => redis.hdel(key, 'v')],
  ['a later version', (key) => redis.hset(key, 'v', '2 web')],
  ['no type', (key) => redis.hset(key, 'v', '1')],
  ['an unknown type', (key) => redis.hset(key, 'v', `1 ${marker}`)],
  ['no creation date', (key) => redis.hdel(key, 'b')],
  ['a creation date that is no number', (key) => redis.hset(key, 'b', marker)],
  ['a creation date beyond all dates', (key) => redis.hset(key, 'b', '1e300')],
  ['an infinite creation date', (key) => redis.hset(key, 'b', '1e999')],
  ['a sign-in date that is no number', (key) => redis.hset(key, 'l', marker)],
  ['a sign-in date beyond all dates', (key) => redis.hset(key, 'l', '1e300')],
  ['an end that is no number', (key) => redis.hset(key, 'e', marker)],
  ['an empty end', (key) => redis.hset(key, 'e', '')],
  ['no idle timeout', (key) => redis.hdel(key, 'i')],
  ['an idle timeout that is no number', (key) => redis.hset(key, 'i', marker)],
  ['an endless idle timeout', (key) => redis.hset(key, 'i', '1e999')],
  ['a user name with a broken escape', (key) => redis.hset(key, 'u', '\\u12')],
  ['an app name with a broken escape', (key) => redis.hset(key, 'c', '\\x')],
  ['a line break in a value', (key) => redis.hset(key, 'a', `1\n${marker}`)],
]

describe('a session key that has something else', () => {
  it.each(otherValues)('F6, H2: %s reads as no session, and is told', async (_name, write) => {
    const stage = await openSession()
    await redis.del(stage.key)
    await write(stage.key)

    await expectNoSession(stage)
  })
})

const damagedNames: readonly (readonly [string, Damage])[] = [
  ['a privilege', (key) => redis.hset(key, 'p:\\u12', '')],
  ['a role', (key) => redis.hset(key, 'r:\\u12', '')],
  ['a stored name', (key) => redis.hset(key, 's:\\u12', '1')],
]

describe('a session that is damaged', () => {
  it.each(damages)('F6, H2: %s reads as no session, and is told', async (_name, damage) => {
    const stage = await openSession()
    await damage(stage.key)

    await expectNoSession(stage)
  })

  // A list has nothing of these, and shows the session to whoever may want to end it.
  it.each(damagedNames)('F6: %s with a broken escape opens nothing', async (_name, damage) => {
    const { testApp, cookie, key, id } = await openSession()
    await damage(key)

    expect((await testApp.visit('/me', cookie)).body).toMatchObject({ isGuest: true, userName: '' })
    expect(testApp.events).toContainEqual({
      name: 'session:storeError',
      event: { operation: 'read', id },
    })
    expect(await testApp.sessions.storage(id)).toBeNull()
    expect(await testApp.sessions.terminate(id)).toBe(true)
    expect(await testApp.sessions.list('ann')).toEqual([])
  })

  it('F6, H2: a stored value that is no JSON reads as absent, and is told', async () => {
    const { testApp, cookie, key, id } = await openSession()
    await redis.hset(key, 's:cart', `{${marker}`, 's:list', '[1')

    const { status, body } = await testApp.visit('/me', cookie)

    expect(status).toBe(200)
    expect(body).toMatchObject({ userName: 'ann', storage: { kept: '1' } })
    expect(body.storage).not.toHaveProperty('cart')
    expect(testApp.events).toContainEqual({
      name: 'session:storeError',
      event: { operation: 'read', id },
    })
    expect((await testApp.visit('/write?cart=2', cookie)).status).toBe(200)
    expect((await testApp.visit('/me', cookie)).body.storage).toMatchObject({ cart: '2' })
    expectNothingTold(testApp)
  })

  it('F6: a damaged lock and damaged sizes do no harm', async () => {
    const { testApp, cookie, key } = await openSession()
    await redis.hset(key, {
      x: marker,
      y: marker,
      n: marker,
      m: '',
      z: 'x',
    })

    expect((await testApp.visit('/count', cookie)).body).toMatchObject({ count: 1 })
    expect((await testApp.visit('/write?more=1', cookie)).status).toBe(200)
    expect((await testApp.visit('/logout', cookie)).status).toBe(200)
  })
})

describe("a user's index that is something else", () => {
  it.each(otherValues.filter(([name]) => name !== 'a sorted set'))(
    'F6, M2: %s is never a wrong list, and harms nobody else',
    async (_name, write) => {
      const { testApp, cookie, prefix } = await openSession()
      const key = userSessionsKey(prefix, 'ann')
      await redis.del(key)
      await write(key)

      const failure = { code: 'ERR_SESSION_STORE', status: 503 }
      await expect(testApp.sessions.list('ann')).rejects.toMatchObject(failure)
      await expect(testApp.sessions.terminateAll('ann')).rejects.toMatchObject(failure)
      expect((await testApp.visit('/login?user=ann')).status).toBe(503)
      // What she has already works on.
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
  expect(told?.event).toEqual({ operation: 'read', id })
  expect(await testApp.sessions.storage(id)).toBeNull()
  expect(await testApp.sessions.list('ann')).toEqual([])
  expect(await testApp.sessions.info(id)).toBeNull()
  // Whoever comes with it gets a session of their own.
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
