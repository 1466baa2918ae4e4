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
  /** The session of this request. Takes nothing but `null`, which ends it. */
  get session(): Session<S>
  set session(none: null)
}

/**
 * Middleware that gives every request its session, `ctx.session`, and commits what it changed
 * before the response is sent. Mount it before everything that uses sessions.
 *
 * A handler that throws an error below 500, as `ctx.throw(403)` does, commits too. An error of 500
 * and above, thrown or set as the status, commits nothing.
 *
 * @example
 *   app.use(session({ redis: new Redis(), roles: 'roles.json' }))
 *
 * @param options Options, or a `Sessions` that the app has made.
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
      throw new SessionOptionError('a second session() with options of its own is on this request')
    }
    const attachment = attach(ctx, deployment)
    // Without these headers nothing comes with the request that opens a session.
    const { cookie, authorization } = ctx.req.headers
    const mayOpen = cookie !== undefined || (authorization !== undefined && tokens !== undefined)
    if (mayOpen) await attachment.request.load()
    const carrying = legacy ? carryOver(ctx, attachment) : undefined
    if (carrying) await carrying

    try {
      await (asyncContext ? deployment.context.run(() => attachment.request.session, next) : next())
    } catch (error) {
      throw await failed(ctx, attachment, error)
    }
    const { usedRequest } = attachment
    if (!usedRequest) return undefined
    try {
      const committing = ctx.status < 500 ? usedRequest.commit() : undefined
      if (committing) await committing
    } catch (error) {
      throw closing(ctx, withHeaders(error, attachment))
    }
    attachment.usedCookie?.apply()
    if (usedRequest.isAttached && !ctx.headerSent) {
      // Koa's own way is dear, and where nothing is there it comes to the same.
      if (ctx.res.hasHeader('Vary')) ctx.vary([...varyBy])
      else ctx.res.setHeader('Vary', varyBy.join(', '))
    }
    return undefined
  }
  return middleware as Middleware<DefaultState, SessionContext<S>>
}

/**
 * Commits where the error is ordinary flow.
 *
 * @returns The error that the client is to get, with the headers that the session owes the client.
 */
async function failed(ctx: Context, attachment: Attachment, error: unknown): Promise<unknown> {
  const { usedRequest } = attachment
  if (!usedRequest) return closing(ctx, error)
  try {
    if (isOrdinary(error)) await usedRequest.commit()
  } catch (failure) {
    return closing(ctx, withHeaders(failure, attachment))
  }
  return closing(ctx, withHeaders(error, attachment))
}

/**
 * Ends a response whose headers are sent: Koa leaves it open when something is thrown by then, and
 * the client would wait for ever.
 */
function closing(ctx: Context, error: unknown): unknown {
  if (error instanceof SessionError && ctx.headerSent && !ctx.res.writableEnded) ctx.res.end()
  return error
}

/** Whether Koa answers the error by a status below 500 that it was given, as by `ctx.throw(404)`. */
function isOrdinary(error: unknown): boolean {
  // Koa answers by 500 what is no error, and a status that HTTP does not know.
  if (!(error instanceof Error || types.isNativeError(error))) return false
  const given: unknown = Reflect.get(error, 'status') ?? Reflect.get(error, 'statusCode')
  return typeof given === 'number' && given < 500 && given in STATUS_CODES
}
