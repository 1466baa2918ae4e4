import type { Context, Middleware, Next } from 'koa'

import { SessionCrossSiteError, SessionOptionError } from '../errors/errors.ts'
import { checkFunction, checkNames, checkObject } from '../errors/option-checks.ts'
import { attachmentOf } from './attachment.ts'
import { tellRefusal } from './guard.ts'

/** Options of `requireSameOrigin()`. */
export interface SameOriginOptions {
  /**
   * Other origins whose pages may call, such as `https://app.example.com`: scheme, host and port as
   * browsers write them, in lower case, without a default port and without a slash at the end.
   *
   * @default none
   */
  readonly trustedOrigins?: readonly string[]
  /** Answers a refused request in place of the error. The handler does not run whatever this does. */
  readonly onDenied?: (ctx: Context, error: SessionCrossSiteError) => unknown
}

// RFC 9110 section 9.2.1: methods that change nothing. TRACE, which browsers do not send, is left out.
const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Guard against cross-site request forgery: refuses requests that a page of another origin makes
 * with the visitor's cookies. They get 403 `ERR_SESSION_CROSS_SITE`, and what follows is not run.
 * Works in any Koa app, with `session()` and without.
 *
 * GET, HEAD and OPTIONS pass: do not change state on them. For other methods `Sec-Fetch-Site`
 * decides, else `Origin`, which must have the host of the request. A request with neither passes:
 * no browser sends it, so nobody else's cookies are on it. Callers with a bearer token are exempt,
 * where `session()` is mounted before and has the option `tokens`; otherwise an `Authorization`
 * header exempts nobody.
 *
 * Behind a proxy that changes the `Host` header set `app.proxy = true`.
 *
 * @example
 *   router.delete('/account', requireSameOrigin(), requireUser(), closeAccount)
 *   app.use(requireSameOrigin({ trustedOrigins: ['https://app.example.com'] }))
 *
 * @param options Other origins to trust, and what to do in place of the 403.
 * @throws {SessionOptionError} When an option is unknown or wrong.
 */
export function requireSameOrigin(options: SameOriginOptions = {}): Middleware {
  checkObject('guard', options)
  checkNames('requireSameOrigin()', options, ['trustedOrigins', 'onDenied'])
  const { trustedOrigins = [], onDenied } = options
  const trusted = readOrigins(trustedOrigins)
  if (onDenied !== undefined) checkFunction('onDenied', onDenied)

  return async function requireSameOrigin(ctx: Context, next: Next): Promise<unknown> {
    // No page can make a browser send a bearer token by itself, and beside one no cookie counts.
    const attachment = attachmentOf(ctx)
    const isBearer = attachment?.request.isBearer ?? false
    if (isBearer || safeMethods.has(ctx.method) || isSameOrigin(ctx, trusted)) return next()
    const error = new SessionCrossSiteError()
    if (attachment) tellRefusal(attachment, error)
    if (!onDenied) throw error
    await onDenied(ctx, error)
    return undefined
  }
}

// OWASP Cross-Site Request Forgery Prevention Cheat Sheet, "Fetch Metadata headers": allow
// same-origin, fall back to the Origin header where a browser does not send them.
// https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html
function isSameOrigin(ctx: Context, trusted: ReadonlySet<string>): boolean {
  const { origin, 'sec-fetch-site': site } = ctx.req.headers
  if (origin !== undefined && trusted.has(origin)) return true
  // W3C Fetch Metadata section 2.3: no page can set this header. `none` is the visitor's own doing.
  // https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header
  if (site !== undefined) return site === 'same-origin' || site === 'none'
  return origin === undefined || hasHost(origin, ctx.host)
}

/**
 * Whether an origin has this host and port. The scheme is not compared: behind a proxy that ends
 * TLS the app sees http.
 */
function hasHost(origin: string, host: string): boolean {
  if (!URL.canParse(origin)) return false
  // Parsed with the origin's scheme, for its default port.
  const address = `${new URL(origin).protocol}//${host}`
  return URL.canParse(address) && new URL(address).origin === origin
}

function readOrigins(origins: unknown): ReadonlySet<string> {
  const list: readonly unknown[] = Array.isArray(origins) ? origins : [undefined]
  return new Set(list.map(readOrigin))
}

function readOrigin(origin: unknown): string {
  if (typeof origin === 'string' && URL.canParse(origin) && new URL(origin).origin === origin) {
    return origin
  }
  throw new SessionOptionError(
    '"trustedOrigins" option must be an array of origins such as "https://app.example.com"',
  )
}
