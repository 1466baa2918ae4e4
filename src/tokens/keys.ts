import {
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto'

import { SessionOptionError } from '../errors/errors.ts'
import {
  checkInteger,
  checkNames,
  checkObject,
  checkOneOf,
  namesOf,
} from '../errors/option-checks.ts'
import { maxNameLength } from './claims.ts'

/** The algorithm that signs tokens. */
export type TokenAlgorithm = 'HS256' | 'EdDSA' | 'ES256' | 'RS256'

/** A secret key for `HS256`, as text or bytes. */
export interface SecretTokenKey {
  /** The id by which tokens name the key: 1 to 64 letters, digits, `.`, `_` and `-`. */
  readonly kid: string
  /** HMAC with SHA-256 (RFC 7518 section 3.2). */
  readonly alg: 'HS256'
  /** At least 32 random bytes, or text of at least 32 bytes in UTF-8. */
  readonly secret: string | Uint8Array
}

/** A key as a JWK (RFC 7517). A private key signs and verifies, a public key verifies. */
export interface JsonWebTokenKey extends JsonWebKey {
  /** As in {@link SecretTokenKey}. */
  readonly kid: string
  /** The only algorithm for the key: a token that names another one is refused. */
  readonly alg: TokenAlgorithm
}

/** A key that signs or verifies tokens. */
export type TokenKey = SecretTokenKey | JsonWebTokenKey

/** Options for the bearer tokens of clients other than browsers. */
export interface TokensOptions {
  /**
   * The keys, or a JWK Set. The first key signs, all keys verify, each with its own algorithm only.
   * To rotate keys, append the new key in every process, then move it to the front, and keep the
   * old keys until their tokens have expired.
   */
  readonly keys: readonly TokenKey[] | { readonly keys: readonly TokenKey[] }
  /** Who issues the tokens, such as `https://shop.example`. From 1 to 256 characters. */
  readonly issuer: string
  /** Who accepts the tokens, such as `https://api.shop.example`. From 1 to 256 characters. */
  readonly audience: string
  /**
   * The longest lifetime of a token, from 60 to 31 536 000 seconds. By default until its session
   * ends. Required when `absoluteTimeout` is `Infinity`.
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

const tokensNames = namesOf<TokensOptions>({
  keys: true,
  issuer: true,
  audience: true,
  lifetimeSeconds: true,
})

/** The form of a `kid`. In a token, a `kid` is text from a client. */
export const kidForm: RegExp = /^[\w.-]{1,64}$/

/**
 * Checks the options for tokens, and imports the keys.
 *
 * @throws {SessionOptionError} When an option is missing or wrong, or a key is too weak. The
 *   message never contains a key.
 */
export function resolveTokens(options: TokensOptions): TokenSettings {
  checkObject('tokens', options)
  checkNames('"tokens" option', options, tokensNames)
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
      throw new SessionOptionError(`"tokens.keys[${index}].kid" option must be unique`)
    }
    resolved.set(one.kid, one)
  }
  const [first] = resolved.values()
  if (!first?.signingKey) {
    throw new SessionOptionError('"tokens.keys[0]" option must be a private key or a secret')
  }
  const signer = { ...first, signingKey: first.signingKey }
  return { signer, keys: resolved, issuer, audience, lifetimeSeconds }
}

function checkText(name: string, value: unknown): void {
  // `readClaims` refuses a token with a longer text.
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

// RFC 7518 section 3.2: a key for HS256 has at least 256 bits.
function secretOf(label: string, key: object): KeyObject {
  const secret: unknown = Reflect.get(key, 'secret')
  const jwk: unknown = Reflect.get(key, 'k')
  let bytes: Uint8Array | undefined
  if (typeof secret === 'string') bytes = Buffer.from(secret)
  else if (secret instanceof Uint8Array) bytes = Uint8Array.from(secret)
  else if (typeof jwk === 'string') bytes = Buffer.from(jwk, 'base64url')
  if (bytes === undefined || bytes.length < 32) {
    throw new SessionOptionError(`"${label}" option must have a secret of at least 32 bytes`)
  }
  // RFC 8725 section 3.2: a public key as the secret for HS256 is the classic attack.
  if (Buffer.from(bytes).includes('-----BEGIN ')) {
    throw new SessionOptionError(`"${label}" option must not have a PEM key as its secret`)
  }
  return createSecretKey(bytes)
}

function importKey(
  label: string,
  key: object,
  importer: typeof createPrivateKey | typeof createPublicKey,
): KeyObject {
  try {
    return importer({ key: { ...key }, format: 'jwk' })
  } catch {
    // Without a cause, which could quote the key.
    throw new SessionOptionError(`"${label}" option must be a JWK for its algorithm`)
  }
}

function checkStrength(label: string, alg: TokenAlgorithm, key: KeyObject): void {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  const isRight =
    (alg === 'EdDSA' && type === 'ed25519') ||
    (alg === 'ES256' && type === 'ec' && details?.namedCurve === 'prime256v1') ||
    // RFC 7518 section 3.3: at least 2048 bits.
    (alg === 'RS256' && type === 'rsa' && (details?.modulusLength ?? 0) >= 2048)
  if (isRight) return
  throw new SessionOptionError(
    `"${label}" option must fit its algorithm: Ed25519 for EdDSA, P-256 for ES256, RSA of at ` +
      'least 2048 bits for RS256',
  )
}
