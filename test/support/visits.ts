import { once } from 'node:events'

import Koa from 'koa'
import type { Context } from 'koa'
import { session, Sessions } from 'koa-user-sessions'
import type { SessionsOptions, SessionStore } from 'koa-user-sessions'
import { onTestFinished } from 'vitest'

/** A running app. Each visit brings the handler that serves it. */
export interface Server {
  readonly sessions: Sessions
  readonly visit: (handler: (ctx: Context) => unknown, cookie?: string) => Promise<Answer>
}

/** The result of a visit. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** The session cookie that the response sets, as `Cookie` takes it. */
  readonly cookie: string | undefined
  /** What the handler returned, through JSON; `undefined` when it threw. */
  readonly result: unknown
  /** What was thrown. */
  readonly error: unknown
}

/**
 * Starts an app with `session()`; it ends with the test.
 *
 * @param store Keeps its sessions.
 * @param options Its other options.
 */
export async function serve(store: SessionStore, options: SessionsOptions = {}): Promise<Server> {
  const sessions = new Sessions({ ...options, store })
  const handlers = new Map<string, (ctx: Context) => unknown>()
  const errors = new Map<string, unknown>()
  const app = new Koa()
  app.silent = true
  app.use(async (ctx, next) => {
    try {
      await next()
    } catch (error) {
      errors.set(ctx.path, error)
      throw error
    }
  })
  app.use(session(sessions))
  app.use(async (ctx) => {
    const result: unknown = await handlers.get(ctx.path)?.(ctx)
    ctx.body = { result: result ?? null }
  })
  const server = app.listen(0, '127.0.0.1')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined

  return {
    sessions,
    async visit(handler, cookie) {
      const path = `/${handlers.size}`
      handlers.set(path, handler)
      const response = await fetch(`http://127.0.0.1:${port}${path}`, {
        headers: cookie === undefined ? {} : { cookie },
      })
      const text = await response.text()
      const body: { readonly result?: unknown } = response.ok ? JSON.parse(text) : {}
      const set = response.headers.getSetCookie().find((header) => header.startsWith('session='))
      return {
        status: response.status,
        headers: response.headers,
        cookie: set?.split(';', 1)[0],
        result: body.result,
        error: errors.get(path),
      }
    },
  }
}
