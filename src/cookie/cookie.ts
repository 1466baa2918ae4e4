import { hash, randomFillSync, randomUUID } from 'node:crypto'

import { stringifySetCookie } from 'cookie'

import type { CookieSettings } from './cookie-options.ts'

const idBytes = 16
const secretBytes = 32
// 48 bytes are exactly 64 characters of base64url, without padding or spare bits, so each value has
// one spelling only.
const wellFormedValue = /^[A-Za-z0-9_-]{64}$/

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** Identifies a session and proves that the caller may use it: the content of a session cookie. */
export interface SessionCredential {
  /** The session's public id, a UUID. */
  readonly id: string
  /**
   * SHA-256 of the cookie's secret, in base64url; a store never sees the secret itself. Empty for a
   * caller that is trusted without a secret.
   */
  readonly secretHash: string
  /** The session's generation in which the caller's nested token is good. Any if left out. */
  readonly generation?: number | undefined
}

/** A new cookie secret. */
export interface NewSecret {
  /** The cookie's value: id and secret in 64 characters of base64url, for `Set-Cookie` only. */
  readonly value: string
  /** The hash that the store keeps of the secret. */
  readonly secretHash: string
}

/**
 * Returns the credential for a caller that is trusted without a cookie, such as by a signed token.
 * A cookie cannot yield it, because the hash of a secret is never empty.
 */
export function trustedCredential(id: string): SessionCredential {
  return { id, secretHash: '' }
}

/** Returns whether a value has the form of a session id, and so may become part of a key. */
export function isSessionId(id: unknown): id is string {
  return typeof id === 'string' && uuid.test(id)
}

/** Returns a new session id: a random UUID. */
export function newSessionId(): string {
  return randomUUID()
}

/**
 * Makes a cookie secret of 256 random bits for the session with this id. OWASP ASVS 5.0, 7.2.3
 * requires at least 128 bits.
 */
export function newSecret(id: string): NewSecret {
  const bytes = Buffer.alloc(idBytes + secretBytes)
  bytes.write(id.replaceAll('-', ''), 'hex')
  takeRandom(bytes.subarray(idBytes))
  return {
    value: bytes.toString('base64url'),
    secretHash: hash('sha256', bytes.subarray(idBytes), 'base64url'),
  }
}

/** Reads a cookie's value. Returns `undefined` unless it has the form of {@link newSecret}. */
export function parseCookieValue(value: string): SessionCredential | undefined {
  if (!wellFormedValue.test(value)) return undefined
  const bytes = Buffer.from(value, 'base64url')
  return { id: uuidOf(bytes), secretHash: hash('sha256', bytes.subarray(idBytes), 'base64url') }
}

// A system call takes as long for many random bytes as for few, so a pool keeps some ready, as
// `randomUUID()` does.
const randomPool = Buffer.alloc(64 * secretBytes)
let randomUsed = randomPool.length

/** Fills a secret with random bytes, and erases them from the pool. */
function takeRandom(secret: Buffer): void {
  if (randomUsed === randomPool.length) {
    randomFillSync(randomPool)
    randomUsed = 0
  }
  const end = randomUsed + secretBytes
  randomPool.copy(secret, 0, randomUsed, end)
  randomPool.fill(0, randomUsed, end)
  randomUsed = end
}

/** Returns the UUID in the first 16 bytes. */
export function uuidOf(bytes: Buffer): string {
  const hex = bytes.toString('hex', 0, idBytes)
  const [low, mid, high] = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16)]
  return `${low}-${mid}-${high}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

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

// RFC 6265bis section 5.5: browsers keep a cookie for 400 days at most.
const maxAgeLimit = 400 * 24 * 60 * 60

/** Returns the `Set-Cookie` header of a session that lives as long, `Infinity` for no end. */
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

/** Returns the `Set-Cookie` header that removes the session cookie. */
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
