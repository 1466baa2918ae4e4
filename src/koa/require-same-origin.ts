import type { Context, Middleware, Next } from 'koa'

import { SessionCrossSiteError, SessionOptionError } from '../errors/errors.ts'
import { checkFunction, checkNames, checkObject, namesOf } from '../errors/option-checks.ts'
import { attachmentOf } from './attachment.ts'
import { tellRefusal } from './guard.ts'

/** Options of `requireSameOrigin()`. */
export interface SameOriginOptions {
  /**
   * Other origins whose pages may send requests, such as `https://app.example.com`: scheme, host
   * and port as browsers write them, in lower case, without a default port or a final slash.
   *
   * @default none
   */
  readonly trustedOrigins?: readonly string[]
  /** Responds to a refused request instead of the error. The handler never runs. */
  readonly onDenied?: (ctx: Context, error: SessionCrossSiteError) => unknown
}

// RFC 9110 section 9.2.1: methods that change nothing. Without TRACE, which browsers do not send.
const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Guard against cross-site request forgery: refuses requests that a page of another origin sends
 * with the visitor's cookies. They get 403 `ERR_SESSION_CROSS_SITE` and do not reach the handler.
 * Works in every Koa app, with or without `session()`.
 *
 * GET, HEAD and OPTIONS pass, so they must not change state. For other methods, `Sec-Fetch-Site`
 * decides, else `Origin`, which must have the request's host. A request without both headers
 * passes, because browsers always send one. A bearer token exempts the caller if `session()` is
 * mounted before with the option `tokens`; otherwise `Authorization` is ignored.
 *
 * Behind a proxy that changes the `Host` header, set `app.proxy = true`.
 *
 * @example
 *   router.delete('/account', requireSameOrigin(), requireUser(), closeAccount)
 *   app.use(requireSameOrigin({ trustedOrigins: ['https://app.example.com'] }))
 *
 * @throws {SessionOptionError} When an option is unknown or wrong.
 */
export function requireSameOrigin(options: SameOriginOptions = {}): Middleware {
  checkObject('guard', options)
  checkNames(
    'requireSameOrigin()',
    options,
    namesOf<SameOriginOptions>({ trustedOrigins: true, onDenied: true }),
  )
  const { trustedOrigins = [], onDenied } = options
  const trusted = readOrigins(trustedOrigins)
  if (onDenied !== undefined) checkFunction('onDenied', onDenied)

  return async function requireSameOrigin(ctx: Context, next: Next): Promise<unknown> {
    // A page cannot make a browser send a bearer token, and with one the cookies do not count.
    const attachment = attachmentOf(ctx)
    const isBearer = attachment?.requestSession.isBearer ?? false
    if (isBearer || safeMethods.has(ctx.method) || isSameOrigin(ctx, trusted)) return next()
    const error = new SessionCrossSiteError()
    if (attachment) tellRefusal(attachment, error)
    if (!onDenied) throw error
    await onDenied(ctx, error)
    return undefined
  }
}

// OWASP Cross-Site Request Forgery Prevention Cheat Sheet, "Fetch Metadata headers": allow
// same-origin, and use the Origin header for browsers without them.
// https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html
function isSameOrigin(ctx: Context, trusted: ReadonlySet<string>): boolean {
  const { origin, 'sec-fetch-site': site } = ctx.req.headers
  if (origin !== undefined && trusted.has(origin)) return true
  // W3C Fetch Metadata section 2.3: pages cannot set this header. `none` is the visitor's own
  // action. https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header
  if (site !== undefined) return site === 'same-origin' || site === 'none'
  return origin === undefined || hasHost(origin, ctx.host)
}

/**
 * Returns whether an origin has this host and port. Ignores the scheme, because the app sees http
 * behind a proxy that ends TLS.
 */
function hasHost(origin: string, host: string): boolean {
  if (!URL.canParse(origin)) return false
  // With the origin's scheme, for its default port.
  const address = `${new URL(origin).protocol}//${host}`
  return URL.canParse(address) && new URL(address).origin === origin
}

function isOrigin(origin: unknown): origin is string {
  return typeof origin === 'string' && URL.canParse(origin) && new URL(origin).origin === origin
}

function readOrigins(origins: unknown): ReadonlySet<string> {
  if (Array.isArray(origins) && origins.every(isOrigin)) return new Set(origins)
  throw new SessionOptionError(
    '"trustedOrigins" option must be an array of origins such as "https://app.example.com"',
  )
}
