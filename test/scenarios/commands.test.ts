import type { Redis } from 'ioredis'
import type { SessionsOptions } from 'koa-user-sessions'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'

import { sessionKey } from '../../src/store/redis/keys.ts'
import { cookieOf, makeApp, setCookies } from '../support/apps.ts'
import type { Handler, TestApp } from '../support/apps.ts'
import { commandName, countCommands } from '../support/command-count.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { startRedisServer } from '../support/redis-server.ts'
import type { TestRedis } from '../support/redis-server.ts'
import { SteppedRedis } from '../support/round-trips.ts'
import type { RoundTrips, CommandName } from '../support/round-trips.ts'
import { passRedisTime } from '../support/time.ts'

// Its own server: a SCRIPT FLUSH by another test file would cost commands here.
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
  '/touch': ({ session }) => session.touch(),
}

interface CountedApp extends TestApp {
  /**
   * The commands of the app's client when a client visits a path. Its time is known by then: asking
   * for the time is one more command, every few seconds.
   */
  readonly commands: (path: string, cookie?: string) => Promise<readonly string[]>
  /** The round trips that a visit waits for, and the commands that it does not wait for. */
  readonly trips: (path: string, cookie?: string) => Promise<RoundTrips>
  /** Those of any work. */
  readonly tripsOf: (
    work: () => Promise<unknown>,
    unanswered?: readonly CommandName[],
  ) => Promise<RoundTrips>
  /** The key of the session that a cookie opens. */
  readonly keyOf: (cookie: string) => Promise<string>
  /** How many sessions the app has in Redis. */
  readonly sessionCount: () => Promise<number>
  readonly redis: Redis
  readonly prefix: string
}

/** An app of its own, on a Redis that knows all scripts: the first run of each costs one more EVAL. */
async function makeCounted(options: SessionsOptions = {}): Promise<CountedApp> {
  const [redis, prefix] = [connectRedis(server.url), uniquePrefix()]
  const client = new SteppedRedis(redis)
  const testApp = makeApp(handlers, { ...options, redis: client, prefix })
  const { visit, sessions } = testApp
  const cookie = cookieOf(await visit('/write?a=1'))
  await visit('/write?a=2', cookie)
  const signedIn = cookieOf(await visit('/login?user=first', cookie))
  await passRedisTime(redis, prefix, 90_000)
  await visit('/touch', signedIn)
  await sessions.list('first')
  await sessions.setPrivileges('first', 'audit')
  await visit('/logout', signedIn)
  const tripsOf: CountedApp['tripsOf'] = async (work, unanswered) => {
    await sessions.info(unknownId)
    const { trips, unanswered: late } = await client.roundTrips(work, unanswered)
    return { trips, unanswered: late.toSorted() }
  }
  return {
    ...testApp,
    redis,
    prefix,
    async commands(path, cookie) {
      await sessions.info(unknownId)
      return countCommands({ client: redis }, async () => {
        const { status } = await visit(path, cookie)
        expect(status).toBe(200)
      })
    },
    trips: (path, cookie) =>
      tripsOf(async () => {
        const { status } = await visit(path, cookie)
        expect(status).toBe(200)
      }),
    tripsOf,
    keyOf: async (cookie) => sessionKey(prefix, (await visit('/me', cookie)).body.id),
    sessionCount: async () => (await redis.keys(`${prefix}{*`)).length,
  }
}

describe('an app on Redis', () => {
  it.each(['/page', '/me', '/logout'])(
    'L2: sends nothing for an untouched guest on %s',
    async (path) => {
      const { commands, sessionCount } = await makeCounted()

      expect(await commands(path)).toEqual([])
      expect(await commands(path, 'theme=dark')).toEqual([])
      expect(await sessionCount()).toBe(0)
    },
  )

  it.each(['session=abc', 'session=', 'session={x}', `session=${'A'.repeat(63)}*`])(
    'L2: sends nothing for the malformed cookie %s',
    async (cookie) => {
      const { commands, sessionCount } = await makeCounted()

      expect(await commands('/me', cookie)).toEqual([])
      expect(await sessionCount()).toBe(0)
    },
  )

  it.each(['/page', '/me', '/logout'])(
    'L2: sends one command for a well-formed unknown cookie on %s, and creates no key',
    async (path) => {
      const { commands, sessionCount, prefix, visit } = await makeCounted()

      expect(await commands(path, unknown)).toEqual([`GET ${sessionKey(prefix, unknownId)}`])
      expect(await sessionCount()).toBe(0)
      expect(setCookies(await visit(path, unknown))).toEqual([])
    },
  )

  it('L3: sends one command for the first change of a guest', async () => {
    const { commands, sessionCount } = await makeCounted()

    expect(await commands('/write?a=1')).toHaveLength(1)
    expect(await commands('/idle')).toHaveLength(1)
    expect(await commands('/save')).toHaveLength(1)
    expect(await sessionCount()).toBe(3)
  })

  it.each(['/me', '/page', '/write?a=1'])(
    'L3: sends one command for a live session on %s, which changes nothing',
    async (path) => {
      const { commands, keyOf, visit } = await makeCounted()
      const cookie = cookieOf(await visit('/write?a=1'))
      const key = await keyOf(cookie)

      expect(await commands(path, cookie)).toEqual([`GET ${key}`])
    },
  )

  it.each(['/write?a=2', '/write?a=2&b=3&c=4', '/idle', '/elevate', '/save'])(
    'L3: sends two commands for a change, here %s',
    async (path) => {
      const { commands, keyOf, visit } = await makeCounted()
      const cookie = cookieOf(await visit('/write?a=1'))
      const key = await keyOf(cookie)

      expect(await commands(path, cookie)).toEqual([`GET ${key}`, `EVALSHA ${key}`])
    },
  )

  it('L3: sends two commands for a sign-in with an earlier session', async () => {
    const { trips, visit } = await makeCounted()
    const cookie = cookieOf(await visit('/write?a=1'))

    expect(await trips('/login', cookie)).toEqual({
      trips: [['get'], ['commit']],
      unanswered: [],
    })
  })

  it.each([undefined, 'session=abc'])(
    'L3: sends one command for a sign-in without an earlier session, with the cookie %s',
    async (cookie) => {
      const { trips, sessionCount } = await makeCounted()

      expect(await trips('/login', cookie)).toEqual({
        trips: [['create']],
        unanswered: [],
      })
      expect(await sessionCount()).toBe(1)
    },
  )

  it('L3: adds a session to the index of its user with the command that signs it in', async () => {
    const { commands, keyOf, sessions, visit } = await makeCounted()
    const cookie = cookieOf(await visit('/write?a=1'))
    const key = await keyOf(cookie)

    const asked = await commands('/login', cookie)

    expect(asked).toEqual([`GET ${key}`, `EVALSHA ${key}`])
    expect(await sessions.list('ann')).toHaveLength(1)
  })

  it('L3: asks for the time with the first command of a process, and not in the next request', async () => {
    const { prefix, keyOf, visit } = await makeCounted()
    const cookie = cookieOf(await visit('/write?a=1'))
    const key = await keyOf(cookie)
    const redis = connectRedis(server.url)
    const client = new SteppedRedis(redis)
    const other = makeApp(handlers, { redis: client, prefix })
    const trips = [['get', 'time']]

    const first = await client.roundTrips(() => other.visit('/me', cookie), [])
    const next = await countCommands({ client: redis }, async () => {
      await other.visit('/write?a=2', cookie)
    })

    expect(first).toEqual({ trips, unanswered: [] })
    expect(next).toEqual([`GET ${key}`, `EVALSHA ${key}`])
  })

  it('L3: creates one session and ends the other in parallel when another user signs in', async () => {
    const { trips, sessionCount, visit } = await makeCounted()
    const cookie = cookieOf(await visit('/login?user=ann'))

    const asked = await trips('/login?user=bob', cookie)

    expect(asked.trips.map((trip) => trip.toSorted())).toEqual([['get'], ['create', 'destroy']])
    expect(asked.unanswered).toEqual(['remove'])
    expect(await sessionCount()).toBe(1)
  })

  it('L3: makes two round trips for a sign-out', async () => {
    const { trips, sessionCount, visit } = await makeCounted()
    const cookie = cookieOf(await visit('/login'))

    expect(await trips('/logout', cookie)).toEqual({
      trips: [['get'], ['destroy']],
      unanswered: ['remove'],
    })
    expect(await sessionCount()).toBe(0)
  })

  it.each([
    ['/me', [['get']]],
    ['/write?a=2', [['get'], ['commit']]],
    ['/touch', [['get'], ['get']]],
  ])(
    'L3: sends two more to refresh a signed-in session, for which %s does not wait',
    async (path, expected) => {
      const { trips, redis, prefix, visit } = await makeCounted()
      const cookie = cookieOf(await visit('/login'))

      await passRedisTime(redis, prefix, 90_000)

      expect(await trips(path, cookie)).toEqual({
        trips: expected,
        unanswered: ['keep', 'refresh'],
      })
      expect(await trips('/me', cookie)).toEqual({ trips: [['get']], unanswered: [] })
    },
  )

  it('L3: sends one more for a new idle timeout of a signed-in session, beside the commit', async () => {
    const { trips, visit } = await makeCounted()
    const cookie = cookieOf(await visit('/login'))

    expect(await trips('/idle', cookie)).toEqual({
      trips: [['get'], ['commit']],
      unanswered: ['keep'],
    })
  })

  it('L3: sends one more to refresh a guest session', async () => {
    const { trips, redis, prefix, visit } = await makeCounted()
    const cookie = cookieOf(await visit('/write?a=1'))

    await passRedisTime(redis, prefix, 90_000)

    expect(await trips('/me', cookie)).toEqual({ trips: [['get']], unanswered: ['refresh'] })
    expect(await trips('/me', cookie)).toEqual({ trips: [['get']], unanswered: [] })
  })

  it.each([1, 10, 300])(
    'L3: makes two round trips for a list of %d, and one more to end them',
    async (count) => {
      const { tripsOf, sessions, visit } = await makeCounted()
      for (let made = 0; made < count; made++) await visit('/login')
      let found: unknown[] = []
      let ended = 0

      const listing = await tripsOf(async () => {
        found = await sessions.list('ann')
      })
      const ending = await tripsOf(async () => {
        ended = await sessions.terminateAll('ann')
      })

      expect([found.length, ended]).toEqual([count, count])
      expect(listing).toEqual({
        trips: [['entries'], Array(count).fill('getrange')],
        unanswered: [],
      })
      expect(ending).toEqual({
        trips: [['entries'], Array(count).fill('getrange'), Array(count).fill('destroy')],
        unanswered: ['remove'],
      })
      expect(await sessions.list('ann')).toEqual([])
    },
  )

  it('L3: makes three round trips to end all other sessions, and one to end a single session', async () => {
    const { tripsOf, sessions, visit } = await makeCounted()
    const kept = await visit('/me', cookieOf(await visit('/login')))
    const other = await visit('/me', cookieOf(await visit('/login')))
    const { id, userName } = kept.body

    const ending = await tripsOf(() => sessions.terminate(other.body.id, { userName }))
    await visit('/login')
    const endingOthers = await tripsOf(() => sessions.terminateOthers({ id, userName }))

    expect(ending).toEqual({ trips: [['destroy']], unanswered: ['remove'] })
    expect(endingOthers).toEqual({
      trips: [['entries'], ['getrange', 'getrange'], ['destroy']],
      unanswered: ['remove'],
    })
  })

  it('L3: makes one round trip for info(), and four to change the privileges of a user', async () => {
    const { tripsOf, sessions, visit } = await makeCounted()
    const { body } = await visit('/me', cookieOf(await visit('/login')))

    const info = await tripsOf(() => sessions.info(body.id))
    const granting = await tripsOf(() => sessions.setPrivileges('ann', 'audit'))
    const clearing = await tripsOf(() => sessions.clearPrivileges('ann'))

    // The list lacks the secrets, which a change must know.
    const trips = [['entries'], ['getrange'], ['getrange'], ['commit']]
    expect(info).toEqual({ trips: [['get']], unanswered: [] })
    for (const changing of [granting, clearing]) {
      expect(changing).toEqual({ trips, unanswered: [] })
    }
  })

  it('L3: makes two more round trips for a sign-in that ends others by maxSessions, and none otherwise', async () => {
    const { trips, visit } = await makeCounted({
      maxSessions: { perUser: 2, onExceed: 'terminateOldest' },
    })
    await visit('/login')

    const within = await trips('/login')
    const over = await trips('/login')

    expect(within).toEqual({ trips: [['create']], unanswered: [] })
    expect(over).toEqual({
      trips: [['create'], ['getrange', 'getrange'], ['destroy']],
      unanswered: ['remove'],
    })
  })

  it('L3: makes one more round trip for a sign-in when maxSessions refuses some, and three for a refusal', async () => {
    const { trips, tripsOf, visit } = await makeCounted({
      maxSessions: { perUser: 2, onExceed: 'refuse' },
    })
    await visit('/login')

    const within = await trips('/login')
    let status = 0
    const over = await tripsOf(async () => {
      status = (await visit('/login')).status
    }, ['keep', 'time'])

    expect(within).toEqual({ trips: [['add'], ['create']], unanswered: ['keep'] })
    expect(status).toBe(403)
    expect(over).toEqual({
      trips: [['add'], ['getrange', 'getrange'], ['remove']],
      unanswered: [],
    })
  })

  it('L3: accesses Redis only by key, from the first visit to the last', async () => {
    const own = await startRedisServer()
    onTestFinished(() => own.stop())
    const redis = connectRedis(own.url)
    const { visit, sessions } = makeApp(handlers, {
      redis,
      maxSessions: { perUser: 2, onExceed: 'terminateOldest' },
    })
    const statsBefore = await commandStats(redis)

    const commands = await countCommands(redis, async () => {
      const guest = cookieOf(await visit('/write?a=1'))
      const cookie = cookieOf(await visit('/login', guest))
      const { body } = await visit('/me', cookie)
      for (const path of ['/touch', '/idle', '/save', '/elevate']) await visit(path, cookie)
      for (let round = 0; round < 40; round++) await visit('/login')
      await visit('/me', unknown)
      await sessions.setPrivileges('ann', 'audit')
      await sessions.info(body.id)
      await sessions.storage(body.id)
      const [first] = await sessions.list('ann')
      await sessions.terminate(first!.id, { userName: 'ann' })
      await sessions.clearPrivileges('ann')
      await visit('/login?user=bob', cookieOf(await visit('/login')))
      await visit('/logout', cookieOf(await visit('/login')))
      await sessions.terminateAll('ann')
      await sessions.terminateAll('bob')
    })

    expect(new Set(commands.map(commandName))).toEqual(
      new Set(['GET', 'GETRANGE', 'EVAL', 'EVALSHA']),
    )
    // The commands that scripts ran, which MONITOR does not show.
    const ran = (await commandStats(redis)).filter((name) => !statsBefore.includes(name))
    const byKey = ['del', 'exists', 'get', 'getrange', 'set', 'setrange']
    const ofIndex = ['zadd', 'zcard', 'zrange', 'zrem', 'zrevrange', 'zscore']
    const others = ['eval', 'evalsha', 'time', 'pttl', 'pexpire']
    const ofTest = ['client|info', 'echo', 'info', 'monitor', 'client|setinfo', 'hello']
    expect(
      ran.filter((name) => ![...byKey, ...ofIndex, ...others, ...ofTest].includes(name)),
    ).toEqual([])
    expect(ran).toEqual(expect.arrayContaining(['get', 'zadd', 'zrange', 'zrem', 'pexpire']))
  })

  it('L3: sends one more command after a read whose refresh is due', async () => {
    const { commands, keyOf, visit } = await makeCounted({ refreshSeconds: 0 })
    const cookie = cookieOf(await visit('/write?a=1'))
    const key = await keyOf(cookie)

    expect(await commands('/me', cookie)).toEqual([`GET ${key}`, `EVALSHA ${key}`])
  })

  it('C7: sends at most four commands, however many cookies there are', async () => {
    const { commands } = await makeCounted()
    const cookies = ['A', 'B', 'C', 'D', 'E', 'F'].map((letter) => `session=${letter.repeat(64)}`)

    expect(await commands('/me', cookies.join('; '))).toHaveLength(4)
  })
})

/** The commands that a server has run, including those of scripts. */
async function commandStats(redis: Redis): Promise<readonly string[]> {
  const info = await redis.info('commandstats')
  return [...info.matchAll(/^cmdstat_([^:]+):/gm)].map(([, name = '']) => name)
}
