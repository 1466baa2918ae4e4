import type { SetCookie } from 'cookie'

import { SessionOptionError } from '../errors/errors.ts'
import {
  checkBoolean,
  checkNames,
  checkObject,
  checkOneOf,
  namesOf,
} from '../errors/option-checks.ts'

/** The session cookie. Always `HttpOnly`. */
export interface CookieOptions {
  /**
   * The name without prefix, an RFC 9110 token of 1 to 64 characters. Over HTTPS the cookie gets
   * the prefix `__Host-`, or `__Secure-` with a `domain` or another `path`.
   *
   * @default 'session'
   */
  readonly name?: string | undefined
  /**
   * Whether requests from other sites carry the cookie: `lax` for top-level navigation only,
   * `strict` never, `none` always, which requires `secure: true`.
   *
   * @default 'lax'
   */
  readonly sameSite?: 'lax' | 'strict' | 'none' | undefined
  /**
   * Whether the cookie is `Secure`: `auto` follows `ctx.secure`. Behind a proxy that terminates
   * TLS, set `app.proxy = true`, or `true` here.
   *
   * @default 'auto'
   */
  readonly secure?: 'auto' | boolean | undefined
  /** The domain whose subdomains also get the cookie. By default only the exact host gets it. */
  readonly domain?: string | undefined
  /**
   * The path under which browsers send the cookie. Starts with `/`.
   *
   * @default '/'
   */
  readonly path?: string | undefined
  /**
   * Whether each top-level site gets its own cookie (CHIPS). Requires `secure: true`.
   *
   * @default false
   */
  readonly partitioned?: boolean | undefined
  /** How long browsers that know `Priority` keep the cookie when they run out of room. */
  readonly priority?: 'low' | 'medium' | 'high' | undefined
  /**
   * Whether the cookie outlives the browser, until the session's absolute end but at most 400 days.
   * The server alone decides when a session ends.
   *
   * @default true
   */
  readonly persistent?: boolean | undefined
}

/** Checked {@link CookieOptions}. */
export interface CookieSettings {
  readonly secure: 'auto' | boolean
  readonly persistent: boolean
  /** The name over HTTPS, with its prefix. */
  readonly secureName: string
  /** The name over HTTP. */
  readonly plainName: string
  /** Finds the cookie's values over HTTPS, in group 1. Global. */
  readonly secureValues: RegExp
  /** The same over HTTP. */
  readonly plainValues: RegExp
  readonly attributes: Omit<
    SetCookie,
    'name' | 'value' | 'secure' | 'maxAge' | 'expires' | 'sameSite'
  > & { readonly sameSite: 'lax' | 'strict' | 'none' }
}

const cookieOptionNames = namesOf<CookieOptions>({
  name: true,
  sameSite: true,
  secure: true,
  domain: true,
  path: true,
  partitioned: true,
  priority: true,
  persistent: true,
})

/**
 * Checks cookie options.
 *
 * @throws {SessionOptionError} When an option is wrong, or two contradict each other.
 */
export function resolveCookie(options: CookieOptions = {}): CookieSettings {
  checkObject('cookie', options)
  checkNames('"cookie" option', options, cookieOptionNames)
  const { name = 'session', sameSite = 'lax', secure = 'auto', path = '/', domain } = options
  const { partitioned = false, persistent = true, priority } = options
  // RFC 9110 section 5.6.2: a token.
  if (typeof name !== 'string' || !/^[!#$%&'*+.^_`|~\w-]{1,64}$/.test(name)) {
    throw new SessionOptionError('"cookie.name" option must be a token of 1 to 64 characters')
  }
  if (/^__(host|secure|http|host-http)-/i.test(name)) {
    throw new SessionOptionError('"cookie.name" option must not have a prefix: it is added')
  }
  checkOneOf('cookie.sameSite', sameSite, ['lax', 'strict', 'none'])
  checkOneOf('cookie.secure', secure, ['auto', true, false])
  checkBoolean('cookie.partitioned', partitioned)
  checkBoolean('cookie.persistent', persistent)
  if (priority !== undefined) checkOneOf('cookie.priority', priority, ['low', 'medium', 'high'])
  // Browsers drop both kinds of cookie over HTTP, so "auto" would work over HTTPS only.
  if (sameSite === 'none' && secure !== true) {
    throw new SessionOptionError('"cookie.sameSite" option "none" needs "cookie.secure": true')
  }
  if (partitioned && secure !== true) {
    throw new SessionOptionError('"cookie.partitioned" option needs "cookie.secure": true')
  }
  checkPath('cookie.path', path)
  if (domain !== undefined) checkDomain('cookie.domain', domain)
  const attributes = {
    path,
    sameSite,
    httpOnly: true,
    ...(domain !== undefined && { domain }),
    ...(partitioned && { partitioned }),
    ...(priority !== undefined && { priority }),
  } as const
  // RFC 6265bis section 4.1.3.2: __Host- promises Path=/ and no Domain.
  const prefix = domain === undefined && path === '/' ? '__Host-' : '__Secure-'
  const secureName = prefix + name
  return {
    secure,
    persistent,
    secureName,
    plainName: name,
    secureValues: valuePattern(secureName),
    plainValues: valuePattern(name),
    attributes,
  }
}

// The forms of RFC 6265 section 4.1.1 that `stringifySetCookie` accepts: an app must not learn of a
// wrong one at its first cookie.

/** Checks the path of a cookie. */
export function checkPath(label: string, path: unknown): void {
  const problem = 'must start with "/" and be ASCII without ";" and "<"'
  checkText(label, path, /^\/[ -:=-~]*$/, problem)
}

/** Checks the domain of a cookie. */
export function checkDomain(label: string, domain: unknown): void {
  const part = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
  const form = new RegExp(`^\\.?${part}(?:\\.${part})*$`, 'i')
  checkText(label, domain, form, 'must be a host name')
}

function checkText(label: string, value: unknown, form: RegExp, problem: string): void {
  if (typeof value === 'string' && form.test(value)) return
  throw new SessionOptionError(`"${label}" option ${problem}`)
}

// Our values are never quoted or encoded.
function valuePattern(name: string): RegExp {
  const escaped = name.replace(/\W/g, String.raw`\$&`)
  return new RegExp(String.raw`(?:^|;)[ \t]*${escaped}=[ \t]*([\w-]{64})[ \t]*(?=;|$)`, 'g')
}
