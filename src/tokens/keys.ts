import { createPrivateKey, createPublicKey, createSecretKey } from 'node:crypto'
import type { JsonWebKey, KeyObject } from 'node:crypto'

import { SessionOptionError } from '../errors/errors.ts'
import { checkInteger, checkNames, checkObject, checkOneOf } from '../errors/option-checks.ts'
import { maxNameLength } from './claims.ts'

/** How tokens are signed. */
export type TokenAlgorithm = 'HS256' | 'EdDSA' | 'ES256' | 'RS256'

/** A key of its own text or bytes, for `HS256`. */
export interface SecretTokenKey {
  /** By which tokens name the key: 1 to 64 letters, digits, `.`, `_` and `-`. */
  readonly kid: string
  /** HMAC with SHA-256 (RFC 7518 section 3.2). */
  readonly alg: 'HS256'
  /** Random bytes, or text that is taken as UTF-8: at least 32 bytes. */
  readonly secret: string | Uint8Array
}

/** A key as a JWK (RFC 7517). A private one signs and verifies, a public one verifies. */
export interface JsonWebTokenKey extends JsonWebKey {
  /** As in {@link SecretTokenKey}. */
  readonly kid: string
  /** The one algorithm that the key is for; a token that names another one is refused. */
  readonly alg: TokenAlgorithm
}

/** One key for tokens. */
export type TokenKey = SecretTokenKey | JsonWebTokenKey

/** Tokens for clients that are no browsers. */
export interface TokensOptions {
  /**
   * The keys, or a JWK Set: the first one signs, all of them verify, each with its own algorithm
   * only. To change keys add the new one last on every process, then put it first, and keep the old
   * ones until their tokens have ended.
   */
  readonly keys: readonly TokenKey[] | { readonly keys: readonly TokenKey[] }
  /** Who makes the tokens, such as `https://shop.example`. From 1 to 256 characters. */
  readonly issuer: string
  /** Whom they are for, such as `https://api.shop.example`. From 1 to 256 characters. */
  readonly audience: string
  /**
   * The most seconds that a token works. From 60 to 31 536 000. By default as long as its session;
   * needed when `absoluteTimeout` is `Infinity`.
   */
  readonly lifetimeSeconds?: number
}

/** A checked key. */
export interface ResolvedKey {
  readonly kid: string
  readonly alg: TokenAlgorithm
  /** `undefined` for a key that only verifies. */
  readonly signingKey: KeyObject | undefined
  readonly verifyingKey: KeyObject
}

/** Checked {@link TokensOptions}. */
export interface TokenSettings {
  readonly signer: ResolvedKey & { readonly signingKey: KeyObject }
  readonly keys: ReadonlyMap<string, ResolvedKey>
  readonly issuer: string
  readonly audience: string
  readonly lifetimeSeconds: number | undefined
}

const algorithms = ['HS256', 'EdDSA', 'ES256', 'RS256'] as const

/** What a `kid` may be; it is text of a client when it comes in a token. */
export const kidForm: RegExp = /^[\w.-]{1,64}$/

/**
 * Checks the keys and names of tokens.
 *
 * @param options What the app gave.
 * @throws {SessionOptionError} When one is missing or wrong, or a key is too weak. The message
 *   never holds a key.
 */
export function resolveTokens(options: TokensOptions): TokenSettings {
  checkObject('tokens', options)
  checkNames('"tokens" option', options, ['keys', 'issuer', 'audience', 'lifetimeSeconds'])
  const { keys, issuer, audience, lifetimeSeconds } = options
  checkText('issuer', issuer)
  checkText('audience', audience)
  if (lifetimeSeconds !== undefined) {
    const seconds = { min: 60, max: 31_536_000, unit: 'seconds' }
    checkInteger('tokens.lifetimeSeconds', lifetimeSeconds, seconds)
  }
  const list: unknown = Array.isArray(keys) ? keys : Reflect.get(Object(keys), 'keys')
  if (!Array.isArray(list) || list.length === 0) {
    throw new SessionOptionError('"tokens.keys" option must be an array of keys, or a JWK Set')
  }
  const resolved = new Map<string, ResolvedKey>()
  for (const [index, key] of list.entries()) {
    const one = resolveKey(`tokens.keys[${index}]`, key)
    if (resolved.has(one.kid)) {
      throw new SessionOptionError(`"tokens.keys[${index}].kid" option must be no other key's`)
    }
    resolved.set(one.kid, one)
  }
  const [first] = resolved.values()
  if (!first?.signingKey) {
    throw new SessionOptionError('"tokens.keys[0]" option must be able to sign: a private key')
  }
  const signer = { ...first, signingKey: first.signingKey }
  return { signer, keys: resolved, issuer, audience, lifetimeSeconds }
}

function checkText(name: string, value: unknown): void {
  // No token is good that says more: see `readClaims`.
  if (typeof value === 'string' && value !== '' && value.length <= maxNameLength) return
  throw new SessionOptionError(
    `"tokens.${name}" option must be text of 1 to ${maxNameLength} characters`,
  )
}

function resolveKey(label: string, key: unknown): ResolvedKey {
  checkObject(label, key)
  const kid: unknown = Reflect.get(key, 'kid')
  const alg: unknown = Reflect.get(key, 'alg')
  if (typeof kid !== 'string' || !kidForm.test(kid)) {
    throw new SessionOptionError(`"${label}.kid" option must be 1 to 64 of A-Z a-z 0-9 . _ -`)
  }
  checkOneOf(`${label}.alg`, alg, algorithms)
  if (alg === 'HS256') {
    const secret = secretOf(label, key)
    return { kid, alg, signingKey: secret, verifyingKey: secret }
  }
  const isPrivate = Reflect.get(key, 'd') !== undefined
  const signingKey = isPrivate ? importKey(label, key, createPrivateKey) : undefined
  const verifyingKey = signingKey
    ? createPublicKey(signingKey)
    : importKey(label, key, createPublicKey)
  checkStrength(label, alg, verifyingKey)
  return { kid, alg, signingKey, verifyingKey }
}

// RFC 7518 section 3.2: a key for HS256 has 256 bits or more.
function secretOf(label: string, key: object): KeyObject {
  const secret: unknown = Reflect.get(key, 'secret')
  const jwk: unknown = Reflect.get(key, 'k')
  let bytes: Uint8Array | undefined
  if (typeof secret === 'string') bytes = Buffer.from(secret)
  else if (secret instanceof Uint8Array) bytes = Uint8Array.from(secret)
  else if (typeof jwk === 'string') bytes = Buffer.from(jwk, 'base64url')
  if (bytes === undefined || bytes.length < 32) {
    throw new SessionOptionError(`"${label}" option must have a secret of 32 bytes or more`)
  }
  // RFC 8725 section 3.2: a public key as the secret of HS256 is the classic confusion.
  if (Buffer.from(bytes).includes('-----BEGIN ')) {
    throw new SessionOptionError(`"${label}" option must not have a PEM key as its secret`)
  }
  return createSecretKey(bytes)
}

type ImportKey = (input: { key: JsonWebKey; format: 'jwk' }) => KeyObject

function importKey(label: string, key: object, importer: ImportKey): KeyObject {
  try {
    return importer({ key: { ...key }, format: 'jwk' })
  } catch {
    // The reason could quote the key.
    throw new SessionOptionError(`"${label}" option must be a JWK of its algorithm`)
  }
}

function checkStrength(label: string, alg: TokenAlgorithm, key: KeyObject): void {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  const isRight =
    (alg === 'EdDSA' && type === 'ed25519') ||
    (alg === 'ES256' && type === 'ec' && details?.namedCurve === 'prime256v1') ||
    // RFC 7518 section 3.3: 2048 bits or more.
    (alg === 'RS256' && type === 'rsa' && (details?.modulusLength ?? 0) >= 2048)
  if (isRight) return
  throw new SessionOptionError(
    `"${label}" option must fit its algorithm: Ed25519 for EdDSA, P-256 for ES256, RSA of 2048 ` +
      'bits or more for RS256',
  )
}
