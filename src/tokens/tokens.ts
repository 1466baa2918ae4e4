import { hash, randomBytes } from 'node:crypto'

import { LRUCache } from 'lru-cache'

import { readClaims } from './claims.ts'
import type { TokenClaims } from './claims.ts'
import { kidForm } from './keys.ts'
import type { TokenSettings } from './keys.ts'

/** A verified token. */
export interface VerifiedToken {
  readonly claims: TokenClaims
  /** Whether it is nested in a session: for another user, with rights of its own. */
  readonly isNested: boolean
}

/** What a new token says beside what all tokens do. */
export type NewClaims = Omit<TokenClaims, 'iss' | 'aud' | 'jti' | 'iat'>

const sessionType = 'session+jwt'
const nestedType = 'nested-session+jwt'
// RFC 7515 section 3.1: three parts of base64url, none empty. Nothing else gets near a parser.
const compactForm = /^[\w-]+\.[\w-]+\.[\w-]+$/
const maxLength = 8192
const toleranceSeconds = 5
const maxRemembered = 10_000

/** Makes and verifies tokens. `jose` is loaded when the first one is. */
export class Tokens {
  readonly #settings: TokenSettings
  /** Tokens whose signatures were right, by the SHA-256 of their text, which is not kept. */
  readonly #remembered = new LRUCache<string, VerifiedToken>({ max: maxRemembered })

  constructor(settings: TokenSettings) {
    this.#settings = settings
  }

  /**
   * Makes a token.
   *
   * @param claims What it says.
   * @param isNested Which kind it is.
   * @returns A compact JWS.
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
    // Not one that is refused when it comes back.
    if (!readClaims(all, isNested) || text.length > maxLength) {
      throw new TypeError('the token would hold too many or too long names')
    }
    return text
  }

  /**
   * When a token of a session ends.
   *
   * @param endsAt The session's absolute end, `Infinity` for none. Epoch milliseconds.
   * @param seconds The most that it may live.
   * @returns Seconds since 1970.
   */
  expiry(endsAt: number, seconds: number = Infinity): number {
    const { lifetimeSeconds = Infinity } = this.#settings
    const lifetime = Math.min(seconds, lifetimeSeconds)
    return Math.floor(Math.min(endsAt / 1000, Date.now() / 1000 + lifetime))
  }

  /**
   * Verifies a token: its form, its signature by the key that it names and that key's algorithm,
   * then its claims. The session is not asked.
   *
   * @param text Whatever a client sent.
   * @returns `undefined` when it is not good.
   */
  async verify(text: string): Promise<VerifiedToken | undefined> {
    if (text.length > maxLength) return undefined
    // Of all of the text: no part of it proves anything by itself.
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
    // Spare bits at its end would give one signature several spellings.
    if (Buffer.from(signature, 'base64url').toString('base64url') !== signature) return undefined
    const { alg, kid, typ, ...others } = jsonOf(head) ?? {}
    // RFC 8725 section 3.10: `jku`, `jwk` and `x5u` bring keys of the sender's, `crit` and `b64` other
    // rules. None of them is in a token that was made here.
    if (Object.keys(others).length > 0) return undefined
    const isNested = typ === nestedType
    if (!isNested && typ !== sessionType) return undefined
    const key = typeof kid === 'string' && kidForm.test(kid) && this.#settings.keys.get(kid)
    if (!key || alg !== key.alg || !jsonOf(body)) return undefined
    const { issuer, audience } = this.#settings
    const { jwtVerify } = await import('jose')
    try {
      const { payload } = await jwtVerify(text, key.verifyingKey, {
        // RFC 8725 section 3.1: the key says the algorithm, never the token.
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
      // Every reason is the same to a client.
      return undefined
    }
  }
}

function isOver({ exp }: TokenClaims): boolean {
  return exp + toleranceSeconds <= Date.now() / 1000
}

/**
 * An object in base64url; nothing of it is believed.
 *
 * @returns `undefined` when it is none, or is not spelt as `JSON.stringify` does: a name that is
 *   there twice would mean one thing here and another elsewhere (RFC 7519 section 4).
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
