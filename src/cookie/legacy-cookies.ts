import { stringifySetCookie, type SetCookie } from 'cookie'

import { SessionOptionError } from '../errors/errors.ts'
import { checkDomain, checkPath, type CookieSettings } from './cookie-options.ts'

/** The cookies of the session package that the app used before. */
export interface LegacyCookieOptions {
  /** All names of its cookies, such as `koa.sess`, `koa.sess.sig`: each triggers `legacy.read`. */
  readonly cookieNames: readonly string[]
  /** The `Domain` that the cookies were set with: without it browsers would keep them. */
  readonly cookieDomain?: string
  /**
   * The `Path` that the cookies were set with.
   *
   * @default '/'
   */
  readonly cookiePath?: string
}

/** Checked {@link LegacyCookieOptions}. */
export interface LegacyCookies {
  /** Finds their names in a `Cookie` header, in group 1. Global. */
  readonly pattern: RegExp
  /** The attributes by which browsers find the cookies to remove. */
  readonly attributes: Pick<SetCookie, 'path' | 'domain'>
}

/**
 * Checks the cookies of another package against our own cookie.
 *
 * @throws {SessionOptionError} When an option is wrong, or names our own cookie.
 */
export function resolveLegacyCookies(
  { cookieNames, cookieDomain, cookiePath = '/' }: LegacyCookieOptions,
  { plainName, secureName }: CookieSettings,
): LegacyCookies {
  if (!Array.isArray(cookieNames) || cookieNames.length === 0 || !cookieNames.every(isToken)) {
    throw new SessionOptionError(
      '"legacy.cookieNames" option must be a non-empty array of cookie names',
    )
  }
  if (cookieNames.includes(plainName) || cookieNames.includes(secureName)) {
    throw new SessionOptionError(
      '"legacy.cookieNames" option must not hold the session cookie\'s own name: set "cookie.name"',
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

/** Returns the names of the legacy cookies in a `Cookie` header, each once. */
export function legacyCookiesIn(
  header: string | undefined,
  cookies: LegacyCookies,
): ReadonlySet<string> {
  const matches = header === undefined ? [] : header.matchAll(cookies.pattern)
  return new Set(Array.from(matches, (match) => match[1] ?? ''))
}

/**
 * Returns the `Set-Cookie` header that removes a legacy cookie. The attributes are those of our own
 * cookie, so that browsers accept both headers alike.
 */
export function clearLegacyCookieHeader(
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
