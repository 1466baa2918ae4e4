import type { SessionsOptions } from 'koa-user-sessions'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { cookieOf, makeApp, setCookies } from '../support/apps.ts'
import type { Handler, TestApp } from '../support/apps.ts'
import { countCommands } from '../support/command-count.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { startRedisServer } from '../support/redis-server.ts'
import type { TestRedis } from '../support/redis-server.ts'

// Of its own: a SCRIPT FLUSH by another test file would cost commands here.
let server: TestRedis

beforeAll(async () => {
  server = await startRedisServer()
})

afterAll(() => server.stop())

const unknown = `session=${'A'.repeat(64)}`
const unknownId = '00000000-0000-0000-0000-000000000000'

const handlers: Readonly<Record<string, Handler>> = {
  '/elevate': ({ session }) => session.setPrivileges('audit'),
  '/idle': ({ session }) => void (session.idleTimeout = 90),
  '/save': async ({ session }) => {
    session.storage.a = 1
    await session.save()
  },
}

interface CountedApp extends TestApp {
  /** What Redis gets from the app's client when a client visits a path. */
  readonly commands: (path: string, cookie?: string) => Promise<readonly string[]>
  /** The key of the session that a cookie opens. */
  readonly keyOf: (cookie: string) => Promise<string>
  /** How many keys the app has in Redis. */
  readonly keyCount: () => Promise<number>
  readonly prefix: string
}

/** An app of its own, on a Redis that knows all scripts: the first run of each costs an EVAL more. */
async function makeCounted(options: SessionsOptions = {}): Promise<CountedApp> {
  const [redis, prefix] = [connectRedis(server.url), uniquePrefix()]
  const testApp = makeApp(handlers, { ...options, redis, prefix })
  const { visit } = testApp
  const cookie = cookieOf(await visit('/write?a=1'))
  await visit('/write?a=2', cookie)
  await visit('/logout', cookie)
  return {
    ...testApp,
    prefix,
    commands: (path, cookie) =>
      countCommands({ client: redis }, async () => {
        const { status } = await visit(path, cookie)
        expect(status).toBe(200)
      }),
    keyOf: async (cookie) => `${prefix}{${(await visit('/me', cookie)).body.id}}`,
    keyCount: async () => (await redis.keys(`${prefix}*`)).length,
  }
}

describe('an app on Redis', () => {
  it.each(['/page', '/me', '/logout'])(
    'L2: asks nothing for an untouched guest on %s',
    async (path) => {
      const { commands, keyCount } = await makeCounted()

      expect(await commands(path)).toEqual([])
      expect(await commands(path, 'theme=dark')).toEqual([])
      expect(await keyCount()).toBe(0)
    },
  )

  it.each(['session=abc', 'session=', 'session={x}', `session=${'A'.repeat(63)}*`])(
    'L2: asks nothing for the malformed cookie %s',
    async (cookie) => {
      const { commands, keyCount } = await makeCounted()

      expect(await commands('/me', cookie)).toEqual([])
      expect(await keyCount()).toBe(0)
    },
  )

  it.each(['/page', '/me', '/logout'])(
    'L2: asks once for a well-formed unknown cookie on %s, and makes no key',
    async (path) => {
      const { commands, keyCount, prefix, visit } = await makeCounted()

      expect(await commands(path, unknown)).toEqual([`EVALSHA ${prefix}{${unknownId}}`])
      expect(await keyCount()).toBe(0)
      expect(setCookies(await visit(path, unknown))).toEqual([])
    },
  )

  it('L3: asks once for the first change of a guest', async () => {
    const { commands, keyCount } = await makeCounted()

    expect(await commands('/write?a=1')).toHaveLength(1)
    expect(await commands('/idle')).toHaveLength(1)
    expect(await commands('/save')).toHaveLength(1)
    expect(await keyCount()).toBe(3)
  })

  it.each(['/me', '/page', '/write?a=1'])(
    'L3: asks once for a live session on %s, which changes nothing',
    async (path) => {
      const { commands, keyOf, visit } = await makeCounted()
      const cookie = cookieOf(await visit('/write?a=1'))
      const key = await keyOf(cookie)

      expect(await commands(path, cookie)).toEqual([`EVALSHA ${key}`])
    },
  )

  it.each(['/write?a=2', '/write?a=2&b=3&c=4', '/idle', '/elevate', '/save'])(
    'L3: asks twice for a change, here %s',
    async (path) => {
      const { commands, keyOf, visit } = await makeCounted()
      const cookie = cookieOf(await visit('/write?a=1'))
      const key = await keyOf(cookie)

      expect(await commands(path, cookie)).toEqual([`EVALSHA ${key}`, `EVALSHA ${key}`])
    },
  )

  it('L3: asks twice for a sign-in with an earlier session', async () => {
    const { commands, keyOf, visit } = await makeCounted()
    const cookie = cookieOf(await visit('/write?a=1'))
    const key = await keyOf(cookie)

    expect(await commands('/login', cookie)).toEqual([`EVALSHA ${key}`, `EVALSHA ${key}`])
  })

  it.each([undefined, 'session=abc'])(
    'L3: asks once for a sign-in without one, with the cookie %s',
    async (cookie) => {
      const { commands, keyCount } = await makeCounted()

      expect(await commands('/login', cookie)).toHaveLength(1)
      expect(await keyCount()).toBe(1)
    },
  )

  it('L3: makes one session and ends the other side by side when another user signs in', async () => {
    const { commands, keyOf, keyCount, visit } = await makeCounted()
    const cookie = cookieOf(await visit('/login?user=ann'))
    const key = await keyOf(cookie)

    const asked = await commands('/login?user=bob', cookie)

    expect(asked).toHaveLength(3)
    expect(asked.filter((command) => command === `EVALSHA ${key}`)).toHaveLength(2)
    expect(await keyCount()).toBe(1)
  })

  it('L3: asks twice for a sign-out', async () => {
    const { commands, keyOf, keyCount, visit } = await makeCounted()
    const cookie = cookieOf(await visit('/login'))
    const key = await keyOf(cookie)

    expect(await commands('/logout', cookie)).toEqual([`EVALSHA ${key}`, `EVALSHA ${key}`])
    expect(await keyCount()).toBe(0)
  })

  it('L3: asks once for a read whose refresh is due', async () => {
    const { commands, keyOf, visit } = await makeCounted({ refreshSeconds: 0 })
    const cookie = cookieOf(await visit('/write?a=1'))
    const key = await keyOf(cookie)

    expect(await commands('/me', cookie)).toEqual([`EVALSHA ${key}`])
  })

  it('C7: asks four times at most, however many cookies there are', async () => {
    const { commands } = await makeCounted()
    const cookies = ['A', 'B', 'C', 'D', 'E', 'F'].map((letter) => `session=${letter.repeat(64)}`)

    expect(await commands('/me', cookies.join('; '))).toHaveLength(4)
  })
})
