import { STATUS_CODES } from 'node:http'
import { types } from 'node:util'

import type { Context, DefaultState, Middleware } from 'koa'

import { readBearer } from '../carrier/bearer.ts'
import type { BearerCredentials } from '../carrier/bearer.ts'
import type { Session } from '../core/session.ts'
import type { SessionStorage } from '../core/storage-type.ts'
import { describeClient } from '../describe-client.ts'
import { SessionError, SessionOptionError } from '../errors.ts'
import type { SessionsOptions } from '../options.ts'
import { addressOf, RequestSession } from '../request-session.ts'
import type { Services } from '../services.ts'
import { Sessions, servicesOf } from '../sessions.ts'
import { attach, attachmentOf } from './attachment.ts'
import { CookieCarrier } from './cookie-carrier.ts'
import { withHeaders } from './error-headers.ts'

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
  const services = servicesOf(sessions)
  const { countsAsActivity, asyncContext } = services.settings

  const middleware = async function session(ctx: Context, next: () => Promise<unknown>) {
    const present = attachmentOf(ctx)
    if (present) {
      if (present.services === services) return next()
      throw new SessionOptionError('a second session() with options of its own is on this request')
    }
    const carrier = new CookieCarrier(ctx, services)
    const header = (name: string): string => ctx.get(name)
    const ip = addressOf(ctx.ip)
    const request = new RequestSession<never>(services, {
      cookies: carrier.values,
      bearer: bearerOf(ctx, services),
      carrier,
      ip,
      header,
      describeClient: () => describeClient(services, { header, ip, ctx }),
      isActivity: () => countsAsActivity?.(ctx) ?? true,
    })
    attach(ctx, { services, request, carrier })
    await request.load()

    try {
      await (asyncContext ? services.context.run(() => request.session, next) : next())
    } catch (error) {
      throw closing(ctx, withHeaders(await afterError(request, error), request, carrier))
    }
    try {
      if (ctx.status < 500) await request.finish()
    } catch (error) {
      throw closing(ctx, withHeaders(error, request, carrier))
    }
    carrier.apply()
    if (request.isAttached && !ctx.headerSent) ctx.vary([...request.varyBy])
    return undefined
  }
  return middleware as Middleware<DefaultState, SessionContext<S>>
}

/** The bearer token of a request, where tokens are on. */
function bearerOf({ req }: Context, { tokens }: Services): BearerCredentials {
  if (!tokens || req.headers.authorization === undefined) return { status: 'none' }
  return readBearer(req.headersDistinct['authorization'] ?? [])
}

/**
 * Ends a response whose headers are sent: Koa leaves it open when something is thrown by then, and
 * the client would wait for ever.
 */
function closing(ctx: Context, error: unknown): unknown {
  if (error instanceof SessionError && ctx.headerSent && !ctx.res.writableEnded) ctx.res.end()
  return error
}

/** Commits where the error is ordinary flow. Answers the error that the client is to get. */
async function afterError(request: RequestSession<never>, error: unknown): Promise<unknown> {
  if (!isOrdinary(error)) return error
  try {
    await request.finish()
    return error
  } catch (failure) {
    return failure
  }
}

/** Whether Koa answers the error by a status below 500 that it was given, as by `ctx.throw(404)`. */
function isOrdinary(error: unknown): boolean {
  // Koa answers by 500 what is no error, and a status that HTTP does not know.
  if (!(error instanceof Error || types.isNativeError(error))) return false
  const given: unknown = Reflect.get(error, 'status') ?? Reflect.get(error, 'statusCode')
  return typeof given === 'number' && given < 500 && given in STATUS_CODES
}
