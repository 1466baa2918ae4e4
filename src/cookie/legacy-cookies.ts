import { stringifySetCookie } from 'cookie'
import type { SetCookie } from 'cookie'

import { SessionOptionError } from '../errors/errors.ts'
import { checkDomain, checkPath } from './cookie-options.ts'
import type { CookieSettings } from './cookie-options.ts'

/** The cookies of another package that an app had before. */
export interface LegacyCookieOptions {
  /**
   * Names of its cookies, all of them, such as `koa.sess` and `koa.sess.sig`. A request with one of
   * them is asked about.
   */
  readonly cookieNames: readonly string[]
  /** The `Domain` that they were set with: without it browsers would keep them. */
  readonly cookieDomain?: string
  /**
   * The `Path` that they were set with.
   *
   * @default '/'
   */
  readonly cookiePath?: string
}

/** Checked {@link LegacyCookieOptions}. */
export interface LegacyCookies {
  /** What finds their names in a `Cookie` header, in group 1. Global. */
  readonly pattern: RegExp
  readonly attributes: Pick<SetCookie, 'path' | 'domain'>
}

/**
 * Checks which cookies another package has.
 *
 * @param options What the app gave.
 * @param cookie Our own cookie.
 * @throws {SessionOptionError} When one is wrong, or is our own.
 */
export function resolveLegacyCookies(
  { cookieNames, cookieDomain, cookiePath = '/' }: LegacyCookieOptions,
  { plainName, secureName }: CookieSettings,
): LegacyCookies {
  if (!Array.isArray(cookieNames) || cookieNames.length === 0 || !cookieNames.every(isToken)) {
    throw new SessionOptionError(
      '"legacy.cookieNames" option must be an array of cookie names, not empty',
    )
  }
  if (cookieNames.includes(plainName) || cookieNames.includes(secureName)) {
    throw new SessionOptionError(
      '"legacy.cookieNames" option must not have the session cookie\'s own name: set "cookie.name"',
    )
  }
  checkPath('legacy.cookiePath', cookiePath)
  if (cookieDomain !== undefined) checkDomain('legacy.cookieDomain', cookieDomain)
  const names = cookieNames.map((name) => name.replace(/\W/g, String.raw`\$&`))
  return {
    pattern: new RegExp(String.raw`(?:^|;)[ \t]*(${names.join('|')})[ \t]*=`, 'g'),
    attributes: { path: cookiePath, ...(cookieDomain !== undefined && { domain: cookieDomain }) },
  }
}

function isToken(name: unknown): boolean {
  // RFC 9110 section 5.6.2.
  return typeof name === 'string' && /^[!#$%&'*+.^_`|~\w-]{1,256}$/.test(name)
}

/**
 * Which of them a request has.
 *
 * @param header The `Cookie` header.
 * @param cookies Of the deployment.
 * @returns Their names, each once.
 */
export function legacyCookiesIn(
  header: string | undefined,
  cookies: LegacyCookies,
): ReadonlySet<string> {
  const matches = header === undefined ? [] : header.matchAll(cookies.pattern)
  return new Set(Array.from(matches, (match) => match[1] ?? ''))
}

/**
 * The `Set-Cookie` header that takes one of them away.
 *
 * @param name Of the cookie.
 * @param cookies Of the deployment.
 * @param attributes That browsers want where they take our own.
 */
export function expiryOf(
  name: string,
  cookies: LegacyCookies,
  attributes: { readonly secure: boolean; readonly sameSite: 'lax' | 'strict' | 'none' },
): string {
  return stringifySetCookie({
    ...cookies.attributes,
    ...attributes,
    name,
    value: '',
    maxAge: 0,
    expires: new Date(0),
  })
}
