import { randomUUID } from 'node:crypto'

import type { Context } from 'koa'
import type { RedisClient } from 'koa-user-sessions'

import { cookieOf, makeApp } from './apps.ts'
import type { Handler } from './apps.ts'

/**
 * Uses everything in this package that sends commands to Redis.
 *
 * @param redis The client for all of it.
 * @throws {Error} When any of it fails, including what runs in the background.
 */
export async function tour(redis: RedisClient): Promise<void> {
  const failures: unknown[] = []
  const note = async <T>(reply: Promise<T>): Promise<T> => {
    try {
      return await reply
    } catch (error) {
      if (!String(error).includes('NOSCRIPT')) failures.push(error)
      throw error
    }
  }
  const watched: RedisClient = {
    isCluster: redis.isCluster ?? false,
    get: (key) => note(redis.get(key)),
    getrange: (...args) => note(redis.getrange(...args)),
    eval: (...args) => note(redis.eval(...args)),
    evalsha: (...args) => note(redis.evalsha(...args)),
  }
  const userName = `ann ${randomUUID()}`
  const other = `bob ${randomUUID()}`
  await Promise.all([requests(watched, userName), calls(watched, other)])
  // Replies that are not awaited come before this one.
  await redis.eval('return 1', 0)
  if (failures.length > 0) throw failures[0]
}

const tokens = {
  keys: [{ kid: '1', alg: 'HS256', secret: '0123456789abcdef0123456789abcdef' }],
  issuer: 'tour',
  audience: 'tour',
} as const

const privilegedTypes = ['web', 'rest', 'remote'] as const

/** What requests do with their own sessions. */
async function requests(redis: RedisClient, userName: string): Promise<void> {
  const handlers: Readonly<Record<string, Handler>> = {
    '/start': (ctx) => {
      ctx.session.storage['cart'] = ['tea']
    },
    '/sign-in': async ({ session }) => {
      session.setPrivileges({ userName, privileges: 'browse' })
      session.idleTimeout = 90
      await session.save()
      await session.use((storage) => {
        delete storage['cart']
        storage['count'] = 1
      })
      await session.touch()
      await session.reload()
      await session.postpone()
      await session.regenerate()
    },
    '/otp': async (ctx: Context) => {
      ctx.body = { otp: await ctx.session.createOTP() }
    },
    '/restore': async (ctx) => {
      if (!(await ctx.session.restore(String(ctx.query['otp'])))) ctx.throw(409)
    },
    '/clear': ({ session }) => {
      session.clearPrivileges()
    },
  }
  const { app, visit } = makeApp(handlers, {
    redis,
    tokens,
    privilegedTypes,
    refreshSeconds: 0,
    maxSessions: { perUser: 1, onExceed: 'terminateOldest' },
  })
  app.silent = true
  const get = async (path: string, cookie?: string): ReturnType<typeof visit> => {
    const response = await visit(path, cookie)
    if (response.status >= 400) throw new Error(`${path} was answered ${response.status}`)
    return response
  }
  const signedIn = cookieOf(await get('/sign-in', cookieOf(await get('/start'))))
  const { otp }: { readonly otp: string } = (await get('/otp', signedIn)).body
  const joined = cookieOf(await get(`/restore?otp=${otp}`))
  await get('/me', joined)
  // Over the limit: ends the first one.
  await get('/sign-in')
  await get('/clear', cookieOf(await get('/sign-in')))
  await get('/logout', cookieOf(await get('/sign-in')))
}

/** What an app does with sessions from outside. */
async function calls(redis: RedisClient, userName: string): Promise<void> {
  const { sessions, app, visit } = makeApp(
    {},
    { redis, tokens, privilegedTypes, maxSessions: { perUser: 2, onExceed: 'refuse' } },
  )
  app.silent = true
  const open = { userName, applicationId: 'tour' }
  const { session, token } = await sessions.open(open)
  await sessions.run(token, (current) => current.use((storage) => (storage['count'] = 1)))
  await session.createNestedToken({ userName: 'carl' })
  await sessions.open(open)
  const isRefused = await sessions.open(open).then(
    () => false,
    (error: unknown) =>
      error instanceof Error && 'code' in error && error.code === 'ERR_SESSION_LIMIT',
  )
  if (!isRefused) throw new Error('a third session was not refused')
  await sessions.info(session.id)
  await sessions.storage(session.id)
  await sessions.list(userName)
  await sessions.terminateOthers(session)
  await sessions.terminate(session.id)
  await visit(`/login?user=${encodeURIComponent(userName)}`)
  await sessions.setPrivileges(userName, 'more')
  await sessions.clearPrivileges(userName)
  await sessions.terminateAll(userName)
  const own = await sessions.storedProcedure()
  await own.use((storage) => (storage['count'] = 1))
}
