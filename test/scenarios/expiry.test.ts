import type { SessionsOptions } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import { sessionKey } from '../../src/store/redis/keys.ts'
import { cookieOf, guestView, makeApp, setCookies } from '../support/apps.ts'
import type { Handler, TestApp } from '../support/apps.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { changeStored, storedSession } from '../support/stored-text.ts'
import { passRedisTime } from '../support/time.ts'

const minuteMs = 60_000
const idleMs = 60 * minuteMs
const refreshMs = minuteMs
// What a request may take on a busy machine. Half of `refreshMs`, so that two bounds never meet.
const slackMs = 30_000
const whole = { min: idleMs + refreshMs - slackMs, max: idleMs + refreshMs }

const handlers: Readonly<Record<string, Handler>> = {
  '/idle': (ctx) => {
    ctx.session.idleTimeout = Number(ctx.query['minutes'])
  },
  '/elevate': ({ session }) => session.setPrivileges('audit'),
}

interface ExpiringApp extends TestApp {
  /** The time to live of the session that a cookie opens, in milliseconds. */
  readonly timeToLiveMs: (key: string) => Promise<number>
  /** A new session: its cookie, and its key in Redis. */
  readonly start: (path?: string) => Promise<{ cookie: string; key: string }>
  readonly redis: ReturnType<typeof connectRedis>
  /** Lets time pass for the app's keys in Redis. */
  readonly pass: (ms: number) => Promise<void>
  /** The same app in another process. */
  readonly other: TestApp
}

function makeExpiring(options: SessionsOptions = {}): ExpiringApp {
  const [redis, prefix] = [connectRedis(), uniquePrefix()]
  const testApp = makeApp(handlers, { ...options, redis, prefix })
  const other = makeApp(handlers, { ...options, redis: connectRedis(), prefix })
  return {
    ...testApp,
    redis,
    other,
    pass: (ms) => passRedisTime(redis, prefix, ms),
    timeToLiveMs: (key) => redis.pttl(key),
    start: async (path = '/write?a=1') => {
      const cookie = cookieOf(await testApp.visit(path))
      const [key = ''] = await redis.keys(`${prefix}{*`)
      return { cookie, key }
    },
  }
}

/** Waits, for at most 10 s, until Redis no longer has a key. */
async function untilGone(redis: ReturnType<typeof connectRedis>, key: string): Promise<void> {
  await expect.poll(() => redis.exists(key), { interval: 10, timeout: 10_000 }).toBe(0)
}

/** Milliseconds from now to an ISO date. */
function msUntil(date: unknown): number {
  return Date.parse(String(date)) - Date.now()
}

/** Gives a session another absolute end. */
function endAt(redis: ReturnType<typeof connectRedis>, key: string, endsAt: number): Promise<void> {
  return changeStored(redis, key, (session) => ({
    ...session,
    record: { ...session.record, endsAt },
  }))
}

/** The effect of a refresh, which is sent after the load and not waited for. */
async function expectSoon(
  read: () => Promise<number>,
  { min, max }: { readonly min: number; readonly max: number },
): Promise<void> {
  await expect.poll(read, { timeout: 10_000 }).toSatisfy((ms: number) => ms > min && ms <= max)
}

function expectBetween(value: number, min: number, max: number): void {
  expect(value).toBeGreaterThan(min)
  expect(value).toBeLessThanOrEqual(max)
}

describe('the time to live in Redis', () => {
  it.each(['/write?a=1', '/login'])(
    'L4: equals idleTimeout plus refreshSeconds after %s',
    async (path) => {
      const { start, timeToLiveMs } = makeExpiring()

      const { key } = await start(path)

      expectBetween(await timeToLiveMs(key), idleMs + refreshMs - slackMs, idleMs + refreshMs)
    },
  )

  it('L4: follows the options', async () => {
    const { start, timeToLiveMs } = makeExpiring({ idleTimeout: 240, refreshSeconds: 600 })

    const { key } = await start()

    const whole = 250 * minuteMs
    expectBetween(await timeToLiveMs(key), whole - slackMs, whole)
  })

  it.each([
    [120, 120],
    [60.5, 60.5],
    [10, 10],
    [1, 5],
    [-1, 5],
    [525_600, 525_600],
  ])('S4: follows idleTimeout set to %d, here and in another process', async (minutes, actual) => {
    const { start, timeToLiveMs, visit, other } = makeExpiring({ minIdleTimeout: 5 })
    const { cookie, key } = await start()

    expect((await visit(`/idle?minutes=${minutes}`, cookie)).status).toBe(200)

    const { body } = await other.visit('/me', cookie)
    expect(body.idleTimeout).toBe(actual)
    const absoluteMs = 43_200 * minuteMs
    const whole = Math.min(actual * minuteMs + refreshMs, absoluteMs)
    expectBetween(await timeToLiveMs(key), whole - slackMs, whole)
    const untilEnd = Math.min(actual * minuteMs, absoluteMs)
    expectBetween(msUntil(body.expirationDate), untilEnd - slackMs, untilEnd + slackMs)
  })

  it('S4: follows the idleTimeout that a new session is given first', async () => {
    const { start, timeToLiveMs } = makeExpiring()

    const { key } = await start('/idle?minutes=90')

    const whole = 90 * minuteMs + refreshMs
    expectBetween(await timeToLiveMs(key), whole - slackMs, whole)
  })

  it.each(['525601', 'NaN', 'Infinity', '-Infinity'])(
    'S4: stays when idleTimeout is set to %s, which throws',
    async (minutes) => {
      const { start, timeToLiveMs, visit, errors } = makeExpiring()
      const { cookie, key } = await start()

      const response = await visit(`/idle?minutes=${minutes}`, cookie)

      expect(response.status).toBe(500)
      expect(errors[0]).toBeInstanceOf(TypeError)
      expectBetween(await timeToLiveMs(key), idleMs, idleMs + refreshMs)
      expect((await visit('/me', cookie)).body.idleTimeout).toBe(60)
    },
  )

  it('L4: is not raised by a read while it covers the idle timeout', async () => {
    const { start, timeToLiveMs, visit, pass } = makeExpiring()
    const { cookie, key } = await start()
    await visit('/me', cookie)

    await pass(refreshMs - slackMs)
    for (const path of ['/me', '/page', '/write?a=2']) await visit(path, cookie)

    expectBetween(await timeToLiveMs(key), idleMs, idleMs + slackMs)
  })

  it.each(['/me', '/page', '/write?a=2'])(
    'L4: is full again after %s once it covers less',
    async (path) => {
      const { start, timeToLiveMs, visit, pass } = makeExpiring()
      const { cookie, key } = await start()

      await pass(refreshMs + slackMs)
      await visit(path, cookie)

      await expectSoon(() => timeToLiveMs(key), whole)
    },
  )

  it('L4: is full again after a request to another process', async () => {
    const { start, timeToLiveMs, other, pass } = makeExpiring()
    const { cookie, key } = await start()

    await pass(idleMs)
    expectBetween(await timeToLiveMs(key), 0, refreshMs)
    expect((await other.visit('/me', cookie)).body.storage).toEqual({ a: '1' })

    await expectSoon(() => timeToLiveMs(key), whole)
  })

  it('L4: is written together with the activity of a read when a refresh is due', async () => {
    const { start, visit, pass, redis } = makeExpiring()
    const { cookie, key } = await start()
    const first = (await storedSession(redis, key)).activeAt

    await visit('/me', cookie)
    expect((await storedSession(redis, key)).activeAt).toBe(first)
    await pass(refreshMs + slackMs)
    await visit('/me', cookie)

    const sinceCreation = async (): Promise<number> => {
      const { activeAt, record } = await storedSession(redis, key)
      return activeAt - record.createdAt
    }
    await expectSoon(sinceCreation, { min: refreshMs, max: refreshMs + 2 * slackMs })
  })

  it('L4: follows the idleTimeout of the session, not that of the options', async () => {
    const { start, timeToLiveMs, visit, pass } = makeExpiring()
    const { cookie, key } = await start('/idle?minutes=120')

    await pass(10 * minuteMs)
    await visit('/me', cookie)

    const max = 120 * minuteMs + refreshMs
    await expectSoon(() => timeToLiveMs(key), { min: max - slackMs, max })
  })

  it('L4: is not raised by a wrong cookie or one rotated out', async () => {
    const { start, timeToLiveMs, visit, pass } = makeExpiring()
    const { cookie, key } = await start()
    await visit('/login', cookie)
    const wrong = cookie.slice(0, -1) + (cookie.endsWith('A') ? 'B' : 'A')

    await pass(idleMs)
    for (const value of [wrong, cookie]) {
      expect((await visit('/me', value)).body).toMatchObject(guestView)
    }

    expectBetween(await timeToLiveMs(key), 0, refreshMs)
  })

  it('L4: is not raised by a request that countsAsActivity excludes', async () => {
    const { start, timeToLiveMs, visit, pass } = makeExpiring({
      countsAsActivity: ({ path }) => path !== '/me',
    })
    const { cookie, key } = await start()

    await pass(idleMs)
    expect((await visit('/me', cookie)).body.storage).toEqual({ a: '1' })

    expectBetween(await timeToLiveMs(key), 0, refreshMs)
  })
})

describe('a session whose idle timeout has passed', () => {
  // As short as a busy machine allows: it must not pass before the test has looked at the session.
  const short = { minIdleTimeout: 0.03, idleTimeout: 0.03, refreshSeconds: 0 }
  const waiting = { timeout: 20_000 }

  it(
    'L4: is gone from Redis, and its client is a guest without a new cookie',
    waiting,
    async () => {
      const testApp = makeExpiring(short)
      const { cookie, key } = await testApp.start('/login')
      expectBetween(await testApp.timeToLiveMs(key), 0, 1800)

      await untilGone(testApp.redis, key)

      for (const { visit } of [testApp, testApp.other]) {
        const response = await visit('/me', cookie)
        expect(response.status).toBe(200)
        expect(response.body).toMatchObject({ ...guestView, idleTimeout: 0.03 })
        expect(setCookies(response)).toEqual([])
      }
    },
  )

  it('L4: stays until the moment that expirationDate promised', waiting, async () => {
    const testApp = makeExpiring(short)
    const { cookie, key } = await testApp.start()
    const { body } = await testApp.visit('/me', cookie)
    expect(body.isNew).toBe(false)

    await untilGone(testApp.redis, key)

    // Redis uses the clock of this machine; both dates are rounded to milliseconds.
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(body.expirationDate) - 2)
  })

  it('L4: is replaced by a new one when its client changes something', waiting, async () => {
    const testApp = makeExpiring(short)
    const { cookie, key } = await testApp.start('/login')
    await untilGone(testApp.redis, key)

    const response = await testApp.visit('/write?b=2', cookie)

    expect(response.status).toBe(200)
    expect(cookieOf(response)).not.toBe(cookie)
    expect(testApp.events.filter(({ name }) => name === 'session:created')).toHaveLength(2)
  })

  it(
    'L8: loses the changes of a request during which it ends; the response is unchanged',
    waiting,
    async () => {
      const [redis, prefix] = [connectRedis(), uniquePrefix()]
      const testApp = makeApp(
        {
          '/slow': async (ctx) => {
            ctx.session.storage.late = true
            await untilGone(redis, sessionKey(prefix, ctx.session.id))
            ctx.body = 'done'
          },
        },
        { ...short, redis, prefix },
      )
      const cookie = cookieOf(await testApp.visit('/login'))

      const response = await testApp.visit('/slow', cookie)

      expect([response.status, response.text]).toEqual([200, 'done'])
      expect(setCookies(response)).toEqual([])
      expect(testApp.events.at(-1)).toMatchObject({ event: { reason: 'gone' } })
      expect(await redis.keys(`${prefix}{*`)).toEqual([])
    },
  )
})

describe('the absolute end', () => {
  it('L5: is stored with the session, counted from creation', async () => {
    const { start, redis } = makeExpiring({ absoluteTimeout: 120 })

    const { key } = await start()

    const { createdAt, endsAt } = (await storedSession(redis, key)).record
    expect(endsAt - createdAt).toBe(120 * minuteMs)
    expectBetween(endsAt - Date.now(), 119 * minuteMs, 120 * minuteMs)
  })

  it('L5: is missing with absoluteTimeout: Infinity', async () => {
    const { start, redis, visit } = makeExpiring({ absoluteTimeout: Infinity })
    const { cookie, key } = await start()
    expect((await storedSession(redis, key)).record.endsAt).toBe(Infinity)

    await visit('/login', cookie)

    const { signedInAt, endsAt } = (await storedSession(redis, key)).record
    expect(endsAt).toBe(Infinity)
    expectBetween(Date.now() - signedInAt, -slackMs, slackMs)
  })

  it('L5: ends a busy session, in every process', async () => {
    const testApp = makeExpiring()
    const { cookie, key } = await testApp.start('/login')
    const before = await testApp.redis.pttl(key)
    for (let visits = 0; visits < 3; visits++) {
      expect((await testApp.visit('/me', cookie)).body.userName).toBe('ann')
    }

    await endAt(testApp.redis, key, Date.now() - 1)

    for (const { visit } of [testApp.other, testApp]) {
      const response = await visit('/me', cookie)
      expect(response.body).toMatchObject(guestView)
      expect(setCookies(response)).toEqual([])
    }
    // Nothing has kept it alive: Redis ends it on time.
    expect(await testApp.redis.pttl(key)).toBeLessThanOrEqual(before)
  })

  it('L5: bounds expirationDate, and no activity moves it', async () => {
    const { start, redis, visit } = makeExpiring()
    const { cookie, key } = await start('/login')
    const endsAt = Date.now() + 10 * minuteMs
    await endAt(redis, key, endsAt)
    await redis.pexpireat(key, endsAt)

    for (const path of ['/write?a=2', '/idle?minutes=90', '/me']) await visit(path, cookie)

    expect((await storedSession(redis, key)).record.endsAt).toBe(endsAt)
    expectBetween(await redis.pttl(key), 9 * minuteMs, 10 * minuteMs)
    const { body } = await visit('/me', cookie)
    expect(body.expirationDate).toBe(new Date(endsAt).toISOString())
  })

  it('L5: starts again at a sign-in, but not at a gain of rights', async () => {
    const { start, redis, visit } = makeExpiring({ absoluteTimeout: 120 })
    const { cookie, key } = await start()
    const endsAt = Date.now() + 10 * minuteMs
    await endAt(redis, key, endsAt)

    const signedIn = cookieOf(await visit('/login', cookie))
    const anew = (await storedSession(redis, key)).record.endsAt
    expectBetween(anew - Date.now(), 119 * minuteMs, 120 * minuteMs)

    await endAt(redis, key, endsAt)
    await visit('/elevate', signedIn)
    expect((await storedSession(redis, key)).record.endsAt).toBe(endsAt)
  })

  it('L5: gives a session near its end the full time to live at a sign-in', async () => {
    const { start, timeToLiveMs, visit, pass } = makeExpiring({ absoluteTimeout: 90 })
    const { cookie, key } = await start()
    await pass(50 * minuteMs)
    await visit('/me', cookie)
    await expectSoon(() => timeToLiveMs(key), { min: 39 * minuteMs, max: 40 * minuteMs })

    await visit('/login', cookie)

    expectBetween(await timeToLiveMs(key), idleMs + refreshMs - slackMs, idleMs + refreshMs)
  })

  it('L5: ends a session during a request, whose changes are dropped', async () => {
    const redis = connectRedis()
    const prefix = uniquePrefix()
    const testApp = makeApp(
      {
        '/slow': async (ctx) => {
          ctx.session.storage.late = true
          await endAt(redis, sessionKey(prefix, ctx.session.id), Date.now() - 1)
          ctx.body = 'done'
        },
      },
      { redis, prefix },
    )
    const cookie = cookieOf(await testApp.visit('/login'))

    const response = await testApp.visit('/slow', cookie)

    expect([response.status, response.text]).toEqual([200, 'done'])
    expect(testApp.events.at(-1)).toMatchObject({ event: { reason: 'gone' } })
    expect((await testApp.visit('/me', cookie)).body).toMatchObject(guestView)
  })

  it('L5: is the moment at which Redis ends the session, whatever its activity', async () => {
    const { start, timeToLiveMs, visit, pass, redis } = makeExpiring({ absoluteTimeout: 60 })

    const { cookie, key } = await start()
    expectBetween(await timeToLiveMs(key), idleMs - slackMs, idleMs)
    await pass(20 * minuteMs)
    for (const path of ['/me', '/write?a=2', '/idle?minutes=90']) await visit(path, cookie)

    expectBetween(await timeToLiveMs(key), 40 * minuteMs - slackMs, 40 * minuteMs)
    await pass(40 * minuteMs)
    await untilGone(redis, key)
  })
})
