import { STATUS_CODES } from 'node:http'

import Router from '@koa/router'
import type { Context, Next } from 'koa'

import {
  SessionError,
  SessionNotMountedError,
  SessionOptionError,
  SessionPrivilegeError,
} from './errors/errors.ts'
import { checkNames, checkObject, namesOf } from './errors/option-checks.ts'
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
   * The start of the paths, such as `/api`: with a slash at its start, but not at its end.
   *
   * @default ''
   */
  readonly prefix?: string
}

/**
 * Routes by which users see and end their own sessions, for a "where you are signed in" page.
 * Responses are JSON and never cached; errors are `{ code, message }`.
 *
 * - `GET /sessions`: the caller's sessions, the current one first.
 * - `DELETE /sessions/:id`: ends one of them, 204. 404 for another user's.
 * - `DELETE /sessions`: ends all but the current one, `{ ended }`.
 * - `GET /sessions/:id/info`: what is known of any session, for callers with the privilege
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
 * @param sessions The one that `session(sessions)` mounts; with any other, all responses are 500.
 * @returns A router to mount after `session()`, or in another router.
 * @throws {SessionOptionError} When `sessions` is not a `Sessions`, or an option is unknown or
 *   wrong.
 */
export function sessionRoutes<S = SessionStorage>(
  sessions: Sessions<S>,
  options: SessionRoutesOptions = {},
): Router {
  if (!(sessions instanceof Sessions)) {
    throw new SessionOptionError('sessionRoutes() takes the Sessions that session() mounts')
  }
  checkObject('routes', options)
  checkNames('sessionRoutes()', options, namesOf<SessionRoutesOptions>({ prefix: true }))
  const { prefix = '' } = options
  checkPrefix(prefix)
  const deployment = deploymentOf(sessions)

  const requireMounted = (ctx: Context, next: Next): Promise<unknown> => {
    if (attachmentOf(ctx)?.deployment === deployment) return next()
    throw new SessionNotMountedError(
      'this request lacks the Sessions of sessionRoutes(): mount it before by session(sessions)',
    )
  }
  // On each route, because `router.use` would also affect routes of a router around this one.
  const read = [answerErrors, requireMounted, requireUser(), refuseActors]
  const change = [answerErrors, requireMounted, requireSameOrigin(), requireUser(), refuseActors]
  const administer = [answerErrors, requireMounted, requirePrivilege('WebAdmin'), refuseActors]

  // Strict: `DELETE /sessions/`, perhaps from a client that lost the id, must not end anything.
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
    // The caller's own session ends itself, so that its cookie is cleared too.
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

/** A user who acts as another has the token's rights only, and none over that user's sessions. */
function refuseActors(ctx: Context, next: Next): Promise<unknown> {
  if (ctx.session.actor === null) return next()
  const error = new SessionPrivilegeError([])
  const attachment = attachmentOf(ctx)
  if (attachment) tellRefusal(attachment, error)
  throw error
}

/** Responds to the errors of this package, and keeps all responses out of caches. */
async function answerErrors(ctx: Context, next: Next): Promise<void> {
  ctx.set('Cache-Control', 'no-store')
  try {
    await next()
  } catch (error) {
    if (!(error instanceof SessionError)) throw error
    const { status, code, expose, headers = {} } = error
    ctx.status = status
    ctx.set({ ...headers, ...attachmentOf(ctx)?.requestSession.challengeFor(error) })
    ctx.body = { code, message: expose ? error.message : STATUS_CODES[status] }
    // Koa's convention for handled errors: the app still learns of them.
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
