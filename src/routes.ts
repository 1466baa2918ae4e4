import { STATUS_CODES } from 'node:http'

import Router from '@koa/router'
import type { Context, Next } from 'koa'

import {
  SessionError,
  SessionNotMountedError,
  SessionOptionError,
  SessionPrivilegeError,
} from './errors/errors.ts'
import { checkNames, checkObject } from './errors/option-checks.ts'
import { attachmentOf } from './koa/attachment.ts'
import { tellRefusal } from './koa/guard.ts'
import { requirePrivilege } from './koa/require-privilege.ts'
import { requireSameOrigin } from './koa/require-same-origin.ts'
import { requireUser } from './koa/require-user.ts'
import { deploymentOf, sessionIdIn, Sessions } from './manager/sessions.ts'
import type { SessionStorage } from './storage/storage-type.ts'

/** Options of `sessionRoutes()`. */
export interface SessionRoutesOptions {
  /**
   * What the paths start with, such as `/api`: begins with a slash and does not end with one.
   *
   * @default ''
   */
  readonly prefix?: string
}

/**
 * Routes by which users see and end their own sessions: a "where you are signed in" page needs no
 * more. Answers JSON, errors too, which are `{ code, message }`; nothing of it is cached.
 *
 * - `GET /sessions`: the caller's sessions, the current one first.
 * - `DELETE /sessions/:id`: ends one of them, 204. Of another user's, 404.
 * - `DELETE /sessions`: ends all but the current one, `{ ended }`.
 * - `GET /sessions/:id/info`: what is known of anybody's session, for callers with the privilege
 *   `WebAdmin`.
 *
 * Guests get 401, callers with a nested token 403, and so does a DELETE from another site; see
 * `requireSameOrigin()`.
 *
 * @example
 *   const sessions = new Sessions({ redis: new Redis() })
 *   app.use(session(sessions))
 *   app.use(sessionRoutes(sessions, { prefix: '/api' }).routes())
 *
 * @param sessions The same that is mounted by `session(sessions)`; with another one all is 500.
 * @param options Where the routes are.
 * @returns A router to mount after `session()`, or in another router.
 * @throws {SessionOptionError} When `sessions` is no `Sessions`, or an option is unknown or wrong.
 */
export function sessionRoutes<S = SessionStorage>(
  sessions: Sessions<S>,
  options: SessionRoutesOptions = {},
): Router {
  if (!(sessions instanceof Sessions)) {
    throw new SessionOptionError('sessionRoutes() takes the Sessions that session() mounts')
  }
  checkObject('routes', options)
  checkNames('sessionRoutes()', options, ['prefix'])
  const { prefix = '' } = options
  checkPrefix(prefix)
  const deployment = deploymentOf(sessions)

  const requireMounted = (ctx: Context, next: Next): Promise<unknown> => {
    if (attachmentOf(ctx)?.deployment === deployment) return next()
    throw new SessionNotMountedError(
      'the Sessions of sessionRoutes() is not on this request: mount it before by session(sessions)',
    )
  }
  // On each route rather than by `router.use`, which would also hold for routes of a router that
  // this one is mounted in.
  const read = [answerErrors, requireMounted, requireUser(), refuseActors]
  const change = [answerErrors, requireMounted, requireSameOrigin(), requireUser(), refuseActors]
  const administer = [answerErrors, requireMounted, requirePrivilege('WebAdmin')]

  // Strict: `DELETE /sessions/`, as of a client that has lost the id, ends nothing.
  const router = new Router({ prefix, strict: true })
  router.get('/sessions', ...read, async (ctx) => {
    const { session } = ctx
    ctx.body = await sessions.list(session.userName, { current: session })
  })
  router.delete('/sessions', ...change, async (ctx) => {
    ctx.body = { ended: await sessions.terminateOthers(ctx.session) }
  })
  router.delete('/sessions/:id', ...change, async (ctx) => {
    const { session } = ctx
    const id = sessionIdIn(ctx.params['id']) ?? ''
    // The request's own session ends through itself, so that its cookie goes too.
    if (id === session.id) await session.destroy()
    else if (!(await sessions.terminate(id, { userName: session.userName }))) {
      answerMissing(ctx)
      return
    }
    ctx.status = 204
  })
  router.get('/sessions/:id/info', ...administer, async (ctx) => {
    const info = await sessions.info(ctx.params['id'] ?? '')
    if (info) ctx.body = info
    else answerMissing(ctx)
  })
  return router
}

/** Who acts as a user has the rights that the token names, and none over that user's own sessions. */
function refuseActors(ctx: Context, next: Next): Promise<unknown> {
  if (ctx.session.actor === null) return next()
  const error = new SessionPrivilegeError([])
  const attachment = attachmentOf(ctx)
  if (attachment) tellRefusal(attachment, error)
  throw error
}

/** Renders the errors of this package, and keeps all answers out of caches. */
async function answerErrors(ctx: Context, next: Next): Promise<void> {
  ctx.set('Cache-Control', 'no-store')
  try {
    await next()
  } catch (error) {
    if (!(error instanceof SessionError)) throw error
    const { status, code, expose, headers = {} } = error
    ctx.status = status
    ctx.set({ ...headers, ...attachmentOf(ctx)?.request.challengeFor(error) })
    ctx.body = { code, message: expose ? error.message : STATUS_CODES[status] }
    // Koa's convention for errors that are answered here: the app still hears of them.
    if (!expose) ctx.app.emit('error', error, ctx)
  }
}

function answerMissing(ctx: { status: number; body: unknown }): void {
  ctx.status = 404
  ctx.body = { message: 'no such session' }
}

function checkPrefix(prefix: unknown): void {
  if (prefix === '') return
  if (typeof prefix === 'string' && prefix.startsWith('/') && !prefix.endsWith('/')) return
  throw new SessionOptionError(
    '"prefix" option must be a path such as "/api", without a slash at the end',
  )
}
