import { hash, randomBytes } from 'node:crypto'

import { LRUCache } from 'lru-cache'

import { readClaims, type TokenClaims } from './claims.ts'
import { kidForm, type TokenSettings } from './keys.ts'

/** A verified token. */
export interface VerifiedToken {
  readonly claims: TokenClaims
  /** Whether it is a nested token: it acts for another user, with privileges of its own. */
  readonly isNested: boolean
}

/** The claims of a new token that {@link Tokens.issue} does not fill in itself. */
export type NewClaims = Omit<TokenClaims, 'iss' | 'aud' | 'jti' | 'iat'>

const sessionType = 'session+jwt'
const nestedType = 'nested-session+jwt'
// RFC 7515 section 3.1: three non-empty parts of base64url. Keeps all other text from the parsers.
const compactForm = /^[\w-]+\.[\w-]+\.[\w-]+$/
const maxLength = 8192
const toleranceSeconds = 5
const maxRemembered = 10_000

/** Issues and verifies tokens. Loads `jose` at the first one. */
export class Tokens {
  readonly #settings: TokenSettings
  /** Tokens with a valid signature, by the SHA-256 of their text, which is not kept. */
  readonly #remembered = new LRUCache<string, VerifiedToken>({ max: maxRemembered })

  constructor(settings: TokenSettings) {
    this.#settings = settings
  }

  /**
   * Returns a new token, a compact JWS.
   *
   * @throws {TypeError} When the claims are too many or too long.
   */
  async issue(claims: NewClaims, isNested: boolean): Promise<string> {
    const { SignJWT } = await import('jose')
    const { signer, issuer, audience } = this.#settings
    const { kid, alg, signingKey } = signer
    const jti = randomBytes(24).toString('base64url')
    const iat = Math.floor(Date.now() / 1000)
    const all = { ...claims, iss: issuer, aud: audience, jti, iat }
    const text = await new SignJWT(all)
      .setProtectedHeader({ alg, kid, typ: isNested ? nestedType : sessionType })
      .sign(signingKey)
    // `verify` would refuse such a token.
    if (!readClaims(all, isNested) || text.length > maxLength) {
      throw new TypeError('the token would hold too many names, or names that are too long')
    }
    return text
  }

  /**
   * Returns when a new token of a session expires, in seconds since 1970.
   *
   * @param endsAt The session's absolute end in epoch milliseconds, or `Infinity`.
   * @param seconds The longest lifetime, in seconds.
   */
  expiry(endsAt: number, seconds: number = Infinity): number {
    const { lifetimeSeconds = Infinity } = this.#settings
    const lifetime = Math.min(seconds, lifetimeSeconds)
    return Math.floor(Math.min(endsAt / 1000, Date.now() / 1000 + lifetime))
  }

  /**
   * Verifies a token from a client: its form, its signature by the key that it names and that key's
   * algorithm, then its claims. Does not load the session. Returns `undefined` for a bad token.
   */
  async verify(text: string): Promise<VerifiedToken | undefined> {
    if (text.length > maxLength) return undefined
    // The digest covers the whole text: no part of a token proves anything by itself.
    const digest = hash('sha256', text, 'base64url')
    const remembered = this.#remembered.get(digest)
    if (remembered) return isOver(remembered.claims) ? undefined : remembered
    const verified = await this.#verify(text)
    if (verified) this.#remembered.set(digest, verified)
    return verified
  }

  async #verify(text: string): Promise<VerifiedToken | undefined> {
    if (!compactForm.test(text)) return undefined
    const [head = '', body = '', signature = ''] = text.split('.')
    // Spare bits at the end would give one signature several spellings.
    if (Buffer.from(signature, 'base64url').toString('base64url') !== signature) return undefined
    const { alg, kid, typ, ...others } = jsonOf(head) ?? {}
    // RFC 8725 section 3.10: `jku`, `jwk` and `x5u` supply the sender's own keys, `crit` and `b64`
    // other rules. A token that was issued here has none of them.
    if (Object.keys(others).length > 0) return undefined
    const isNested = typ === nestedType
    if (!isNested && typ !== sessionType) return undefined
    const key = typeof kid === 'string' && kidForm.test(kid) && this.#settings.keys.get(kid)
    if (!key || alg !== key.alg || !jsonOf(body)) return undefined
    const { issuer, audience } = this.#settings
    const { jwtVerify } = await import('jose')
    try {
      const { payload } = await jwtVerify(text, key.verifyingKey, {
        // RFC 8725 section 3.1: the key determines the algorithm, never the token.
        algorithms: [key.alg],
        issuer,
        audience,
        typ: isNested ? nestedType : sessionType,
        clockTolerance: toleranceSeconds,
        requiredClaims: ['sub', 'sid', 'jti', 'iat', 'exp'],
      })
      const claims = readClaims(payload, isNested)
      if (!claims || claims.iat > Date.now() / 1000 + toleranceSeconds) return undefined
      return { claims, isNested }
    } catch {
      // A client must not learn the reason.
      return undefined
    }
  }
}

/** Returns whether a token has expired, with the tolerance for clocks that differ. */
export function isOver({ exp }: TokenClaims): boolean {
  return exp + toleranceSeconds <= Date.now() / 1000
}

/**
 * Reads an untrusted JSON object in base64url. Returns `undefined` unless its text is exactly what
 * `JSON.stringify` writes: parsers disagree about a repeated name (RFC 7519 section 4).
 */
function jsonOf(part: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const json = Buffer.from(part, 'base64url').toString()
    const value: unknown = JSON.parse(json)
    if (typeof value !== 'object' || value === null || JSON.stringify(value) !== json) {
      return undefined
    }
    return { ...value }
  } catch {
    return undefined
  }
}
