import { STATUS_CODES } from 'node:http'
import { types } from 'node:util'

import type { Context, DefaultState, Middleware } from 'koa'

import { SessionError, SessionOptionError } from '../errors/errors.ts'
import { deploymentOf, Sessions } from '../manager/sessions.ts'
import type { SessionsOptions } from '../options/options.ts'
import type { Session } from '../session/session.ts'
import type { SessionStorage } from '../storage/storage-type.ts'
import { attach, attachmentOf, type Attachment } from './attachment.ts'
import { varyByOf, withHeaders } from './error-headers.ts'
import { carryOver } from './legacy.ts'

/** What `session()` adds to a Koa context. */
export interface SessionContext<S = SessionStorage> {
  /** The session of this request. Accepts only `null`, which ends it. */
  get session(): Session<S>
  set session(none: null)
}

/**
 * Middleware that gives every request its session, `ctx.session`, and commits the changes before
 * the response is sent. Mount it before everything that uses sessions.
 *
 * Also commits when a handler throws an error below 500, as `ctx.throw(403)` does. Commits nothing
 * for a status of 500 and above, thrown or set.
 *
 * @example
 *   app.use(session({ redis: new Redis(), roles: 'roles.json' }))
 *
 * @param options Options, or the app's own `Sessions`.
 * @throws {SessionOptionError} When an option is unknown, wrong or contradicts another.
 * @throws {SessionRolesError} When the roles file cannot be used.
 */
export function session<S = SessionStorage>(
  options: SessionsOptions | Sessions<S> = {},
): Middleware<DefaultState, SessionContext<S>> {
  const sessions = options instanceof Sessions ? options : new Sessions<S>(options)
  const deployment = deploymentOf(sessions)
  const { settings, tokens } = deployment
  const { asyncContext, legacy } = settings
  const varyBy = varyByOf(deployment)

  const middleware = async function session(ctx: Context, next: () => Promise<unknown>) {
    const present = attachmentOf(ctx)
    if (present) {
      if (present.deployment === deployment) return next()
      throw new SessionOptionError('this request has a second session() with options of its own')
    }
    const attachment = attach(ctx, deployment)
    // Without these headers nothing in the request opens a session.
    const { cookie, authorization } = ctx.req.headers
    const mayOpen = cookie !== undefined || (authorization !== undefined && tokens !== undefined)
    if (mayOpen) await attachment.requestSession.load()
    const carrying = legacy ? carryOver(ctx, attachment) : undefined
    if (carrying) await carrying

    try {
      await (asyncContext
        ? deployment.context.run(() => attachment.requestSession.session, next)
        : next())
    } catch (error) {
      throw await failed(ctx, attachment, error)
    }
    const { usedSession } = attachment
    if (!usedSession) return undefined
    try {
      const committing = ctx.status < 500 ? usedSession.commit() : undefined
      if (committing) await committing
    } catch (error) {
      throw closing(ctx, withHeaders(error, attachment))
    }
    attachment.usedCookie?.apply()
    if (usedSession.affectsResponse && !ctx.headerSent) {
      // `ctx.vary()` is expensive, and only needed where the header is present.
      if (ctx.res.hasHeader('Vary')) ctx.vary([...varyBy])
      else ctx.res.setHeader('Vary', varyBy.join(', '))
    }
    return undefined
  }
  return middleware as Middleware<DefaultState, SessionContext<S>>
}

/** Commits if the error is ordinary flow. Returns the error for the client, with its headers. */
async function failed(ctx: Context, attachment: Attachment, error: unknown): Promise<unknown> {
  const { usedSession } = attachment
  if (!usedSession) return closing(ctx, error)
  try {
    if (isOrdinary(error)) await usedSession.commit()
  } catch (failure) {
    return closing(ctx, withHeaders(failure, attachment))
  }
  return closing(ctx, withHeaders(error, attachment))
}

/** Ends a response whose headers are sent: on a later error Koa would leave it open for ever. */
function closing(ctx: Context, error: unknown): unknown {
  if (error instanceof SessionError && ctx.headerSent && !ctx.res.writableEnded) ctx.res.end()
  return error
}

/** Returns whether Koa responds to the error with a status below 500, as to `ctx.throw(404)`. */
function isOrdinary(error: unknown): boolean {
  // Koa responds with 500 to anything but an error, and to statuses that HTTP does not have.
  if (!(error instanceof Error || types.isNativeError(error))) return false
  const given: unknown = Reflect.get(error, 'status') ?? Reflect.get(error, 'statusCode')
  return typeof given === 'number' && given < 500 && given in STATUS_CODES
}
