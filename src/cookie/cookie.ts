import { stringifySetCookie } from 'cookie'

import type { CookieSettings } from './cookie-options.ts'
import { parseCookieValue } from './credential.ts'
import type { SessionCredential } from './credential.ts'

const noCredentials: readonly SessionCredential[] = []

/** Whether the cookie is the one of HTTPS. */
export function isSecureCookie({ secure }: CookieSettings, cameSecurely: boolean): boolean {
  return secure === 'auto' ? cameSecurely : secure
}

/**
 * Finds the values that a request has for the session cookie: a browser sends several of one name
 * when a sibling host or another path has set its own.
 *
 * @param header The `Cookie` header.
 * @param cameSecurely Whether the request came over HTTPS.
 * @returns Each well-formed value once, in the order of the header.
 */
export function readCredentials(
  header: string | undefined,
  settings: CookieSettings,
  cameSecurely: boolean,
): readonly SessionCredential[] {
  if (header === undefined) return noCredentials
  const isSecure = isSecureCookie(settings, cameSecurely)
  const pattern = isSecure ? settings.secureValues : settings.plainValues
  pattern.lastIndex = 0
  const values: string[] = []
  const credentials: SessionCredential[] = []
  for (let match = pattern.exec(header); match; match = pattern.exec(header)) {
    const value = match[1] ?? ''
    if (values.includes(value)) continue
    values.push(value)
    const credential = parseCookieValue(value)
    if (credential) credentials.push(credential)
  }
  return credentials
}

// RFC 6265bis section 5.5: 400 days is the most that browsers keep.
const maxAgeLimit = 400 * 24 * 60 * 60

/**
 * The `Set-Cookie` header that gives a browser its session.
 *
 * @param settings Of the deployment.
 * @param isSecure Whether the cookie is `Secure`.
 * @param value The cookie's value.
 * @param lifetimeMs From now to the session's absolute end; `Infinity` for none.
 */
export function setCookieHeader(
  settings: CookieSettings,
  isSecure: boolean,
  value: string,
  lifetimeMs: number,
): string {
  const maxAge = Math.max(1, Math.min(Math.ceil(lifetimeMs / 1000), maxAgeLimit))
  return stringifySetCookie({
    ...settings.attributes,
    name: isSecure ? settings.secureName : settings.plainName,
    value,
    secure: isSecure,
    ...(settings.persistent && { maxAge }),
  })
}

/**
 * The `Set-Cookie` header that takes the cookie away.
 *
 * @param settings Of the deployment.
 * @param isSecure Whether the cookie is `Secure`.
 */
export function clearCookieHeader(settings: CookieSettings, isSecure: boolean): string {
  return stringifySetCookie({
    ...settings.attributes,
    name: isSecure ? settings.secureName : settings.plainName,
    value: '',
    secure: isSecure,
    maxAge: 0,
    expires: new Date(0),
  })
}
