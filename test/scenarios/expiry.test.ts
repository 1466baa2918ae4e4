import type { SessionsOptions } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import { sessionKey } from '../../src/store/redis/keys.ts'
import { cookieOf, guestView, makeApp, setCookies } from '../support/apps.ts'
import type { Handler, TestApp } from '../support/apps.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'

const minuteMs = 60_000
const idleMs = 60 * minuteMs
const refreshMs = minuteMs
// What a request may take on a busy machine. Half of `refreshMs`, so that no two bounds meet.
const slackMs = 30_000

const handlers: Readonly<Record<string, Handler>> = {
  '/idle': (ctx) => {
    ctx.session.idleTimeout = Number(ctx.query['minutes'])
  },
  '/elevate': ({ session }) => session.setPrivileges('audit'),
}

interface ExpiringApp extends TestApp {
  /** Milliseconds that Redis gives the session that a cookie opens. */
  readonly timeToLiveMs: (key: string) => Promise<number>
  /** A new session: its cookie, and its key in Redis. */
  readonly start: (path?: string) => Promise<{ cookie: string; key: string }>
  readonly redis: ReturnType<typeof connectRedis>
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
    timeToLiveMs: (key) => redis.pttl(key),
    start: async (path = '/write?a=1') => {
      const cookie = cookieOf(await testApp.visit(path))
      const [key = ''] = await redis.keys(`${prefix}{*`)
      return { cookie, key }
    },
  }
}

/** Waits, for 10 s at most, until Redis has a key no more. */
async function untilGone(redis: ReturnType<typeof connectRedis>, key: string): Promise<void> {
  await expect.poll(() => redis.exists(key), { interval: 10, timeout: 10_000 }).toBe(0)
}

/** Milliseconds from now to an ISO date. */
function msUntil(date: unknown): number {
  return Date.parse(String(date)) - Date.now()
}

function expectBetween(value: number, min: number, max: number): void {
  expect(value).toBeGreaterThan(min)
  expect(value).toBeLessThanOrEqual(max)
}

describe('the time to live in Redis', () => {
  it.each(['/write?a=1', '/login'])(
    'L4: is idleTimeout and refreshSeconds after %s',
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

    const whole = actual * minuteMs + refreshMs
    expectBetween(await timeToLiveMs(key), whole - slackMs, whole)
    const { body } = await other.visit('/me', cookie)
    expect(body.idleTimeout).toBe(actual)
    const untilEnd = Math.min(actual * minuteMs, 43_200 * minuteMs)
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
    const { start, timeToLiveMs, visit, redis } = makeExpiring()
    const { cookie, key } = await start()
    await visit('/me', cookie)

    await redis.pexpire(key, idleMs + slackMs)
    for (const path of ['/me', '/page', '/write?a=2']) await visit(path, cookie)

    expectBetween(await timeToLiveMs(key), idleMs, idleMs + slackMs)
  })

  it.each(['/me', '/page', '/write?a=2'])(
    'L4: is whole again after %s once it covers less',
    async (path) => {
      const { start, timeToLiveMs, visit, redis } = makeExpiring()
      const { cookie, key } = await start()

      await redis.pexpire(key, idleMs - 1)
      await visit(path, cookie)

      expectBetween(await timeToLiveMs(key), idleMs + refreshMs - slackMs, idleMs + refreshMs)
    },
  )

  it('L4: is whole again after a request to another process', async () => {
    const { start, timeToLiveMs, other, redis } = makeExpiring()
    const { cookie, key } = await start()

    await redis.pexpire(key, slackMs)
    expect((await other.visit('/me', cookie)).body.storage).toEqual({ a: '1' })

    expectBetween(await timeToLiveMs(key), idleMs + refreshMs - slackMs, idleMs + refreshMs)
  })

  it('L4: follows the idleTimeout of the session, not of the options', async () => {
    const { start, timeToLiveMs, visit, redis } = makeExpiring()
    const { cookie, key } = await start('/idle?minutes=120')

    await redis.pexpire(key, 110 * minuteMs)
    await visit('/me', cookie)

    const whole = 120 * minuteMs + refreshMs
    expectBetween(await timeToLiveMs(key), whole - slackMs, whole)
  })

  it('L4: is not raised by who comes with a wrong or a renewed cookie', async () => {
    const { start, timeToLiveMs, visit, redis } = makeExpiring()
    const { cookie, key } = await start()
    await visit('/login', cookie)
    const wrong = cookie.slice(0, -1) + (cookie.endsWith('A') ? 'B' : 'A')

    await redis.pexpire(key, slackMs)
    for (const value of [wrong, cookie]) {
      expect((await visit('/me', value)).body).toMatchObject(guestView)
    }

    expectBetween(await timeToLiveMs(key), 0, slackMs)
  })

  it('L4: is not raised by a request that countsAsActivity leaves out', async () => {
    const { start, timeToLiveMs, visit, redis } = makeExpiring({
      countsAsActivity: ({ path }) => path !== '/me',
    })
    const { cookie, key } = await start()

    await redis.pexpire(key, slackMs)
    expect((await visit('/me', cookie)).body.storage).toEqual({ a: '1' })

    expectBetween(await timeToLiveMs(key), 0, slackMs)
  })
})

describe('a session whose idle timeout has passed', () => {
  // As short as a busy machine allows: it must not pass before the test has looked at the session.
  const short = { minIdleTimeout: 0.03, idleTimeout: 0.03, refreshSeconds: 0 }
  const waiting = { timeout: 20_000 }

  it('L4: is gone in Redis, and its client is a guest without a new cookie', waiting, async () => {
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
  })

  it('L4: is not gone before the moment that expirationDate has said', waiting, async () => {
    const testApp = makeExpiring(short)
    const { cookie, key } = await testApp.start()
    const { body } = await testApp.visit('/me', cookie)
    expect(body.isNew).toBe(false)

    await untilGone(testApp.redis, key)

    // Redis' clock is that of this machine; both dates are rounded to milliseconds.
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(body.expirationDate) - 2)
  })

  it('L4: is another one when its client changes something', waiting, async () => {
    const testApp = makeExpiring(short)
    const { cookie, key } = await testApp.start('/login')
    await untilGone(testApp.redis, key)

    const response = await testApp.visit('/write?b=2', cookie)

    expect(response.status).toBe(200)
    expect(cookieOf(response)).not.toBe(cookie)
    expect(testApp.events.filter(({ name }) => name === 'session:created')).toHaveLength(2)
  })

  it(
    'L8: loses the changes of a request that it ends under; the answer stands',
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

    expectBetween(Number(await redis.hget(key, 'e')) - Date.now(), 119 * minuteMs, 120 * minuteMs)
  })

  it('L5: is not there with absoluteTimeout: Infinity', async () => {
    const { start, redis, visit } = makeExpiring({ absoluteTimeout: Infinity })
    const { cookie, key } = await start()
    expect(await redis.hexists(key, 'e')).toBe(0)

    await visit('/login', cookie)

    expect(await redis.hexists(key, 'e')).toBe(0)
    const signedInAt = Number(await redis.hget(key, 'l'))
    expectBetween(Date.now() - signedInAt, -slackMs, slackMs)
  })

  it('L5: ends a busy session, in every process', async () => {
    const testApp = makeExpiring()
    const { cookie, key } = await testApp.start('/login')
    for (let visits = 0; visits < 3; visits++) {
      expect((await testApp.visit('/me', cookie)).body.userName).toBe('ann')
    }

    await testApp.redis.hset(key, 'e', Date.now() - 1)

    for (const { visit } of [testApp.other, testApp]) {
      const response = await visit('/me', cookie)
      expect(response.body).toMatchObject(guestView)
      expect(setCookies(response)).toEqual([])
    }
    expect(await testApp.redis.exists(key)).toBe(0)
  })

  it('L5: bounds expirationDate, and no activity moves it', async () => {
    const { start, redis, visit } = makeExpiring()
    const { cookie, key } = await start('/login')
    const endsAt = Date.now() + 10 * minuteMs
    await redis.hset(key, 'e', endsAt)

    for (const path of ['/write?a=2', '/idle?minutes=90', '/me']) await visit(path, cookie)

    expect(await redis.hget(key, 'e')).toBe(String(endsAt))
    const { body } = await visit('/me', cookie)
    expect(body.expirationDate).toBe(new Date(endsAt).toISOString())
  })

  it('L5: is counted anew from a sign-in, and not from a gain of rights', async () => {
    const { start, redis, visit } = makeExpiring({ absoluteTimeout: 120 })
    const { cookie, key } = await start()
    const endsAt = Date.now() + 10 * minuteMs
    await redis.hset(key, 'e', endsAt)

    const signedIn = cookieOf(await visit('/login', cookie))
    const anew = Number(await redis.hget(key, 'e'))
    expectBetween(anew - Date.now(), 119 * minuteMs, 120 * minuteMs)

    await redis.hset(key, 'e', endsAt)
    await visit('/elevate', signedIn)
    expect(await redis.hget(key, 'e')).toBe(String(endsAt))
  })

  it('L5: ends a session under a request, whose changes are dropped', async () => {
    const redis = connectRedis()
    const prefix = uniquePrefix()
    const testApp = makeApp(
      {
        '/slow': async (ctx) => {
          ctx.session.storage.late = true
          await redis.hset(sessionKey(prefix, ctx.session.id), 'e', Date.now() - 1)
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

  it('L5: leaves the time to live to the idle timeout', async () => {
    const { start, timeToLiveMs } = makeExpiring({ absoluteTimeout: 60 })

    const { key } = await start()

    expectBetween(await timeToLiveMs(key), idleMs + refreshMs - slackMs, idleMs + refreshMs)
  })
})
