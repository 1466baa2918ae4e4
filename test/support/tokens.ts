import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import type { JsonWebKey, KeyObject } from 'node:crypto'

import type { JWK } from 'jose'
import type { TokenAlgorithm, TokenKey, TokensOptions } from 'koa-user-sessions'

/** A key in the form of the option, and what a test needs to sign by hand. */
export interface TestKey {
  readonly kid: string
  readonly alg: TokenAlgorithm
  /** For the option. */
  readonly option: TokenKey
  /** What verifies it, for `jose`. */
  readonly jwk: JWK
  /** The public part; `undefined` for a secret. */
  readonly publicKey: KeyObject | undefined
  /** The signature of some text. */
  readonly sign: (text: string) => Buffer
}

export const issuer = 'https://shop.example'
export const audience = 'https://api.shop.example'

/**
 * A new key.
 *
 * @param alg Its algorithm.
 * @param kid The algorithm's name by default.
 */
export function makeKey(alg: TokenAlgorithm, kid: string = alg): TestKey {
  if (alg === 'HS256') {
    const secret = randomBytes(32)
    const option = { kid, alg, secret: Uint8Array.from(secret) } as const
    const jwk = { kty: 'oct', alg, k: secret.toString('base64url') }
    return { kid, alg, option, jwk, publicKey: undefined, sign: (text) => hmac(secret, text) }
  }
  const { privateKey, publicKey } = pairFor(alg)
  const jwk: JsonWebKey = privateKey.export({ format: 'jwk' })
  return {
    kid,
    alg,
    option: { ...jwk, kid, alg },
    jwk: { kty: '', ...publicKey.export({ format: 'jwk' }), alg },
    publicKey,
    sign: (text) => {
      const digest = alg === 'EdDSA' ? null : 'sha256'
      return sign(digest, Buffer.from(text), { key: privateKey, dsaEncoding: 'ieee-p1363' })
    },
  }
}

function pairFor(alg: TokenAlgorithm): { privateKey: KeyObject; publicKey: KeyObject } {
  if (alg === 'EdDSA') return generateKeyPairSync('ed25519')
  if (alg === 'ES256') return generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return generateKeyPairSync('rsa', { modulusLength: 2048 })
}

/**
 * An HMAC with SHA-256.
 *
 * @param secret Anything, even a public key as text.
 * @param text What is signed.
 */
export function hmac(secret: Buffer | string, text: string): Buffer {
  return createHmac('sha256', secret).update(text).digest()
}

/**
 * The option.
 *
 * @param keys The first one signs.
 */
export function tokensWith(...keys: readonly TestKey[]): TokensOptions {
  return { keys: keys.map(({ option }) => option), issuer, audience }
}

/**
 * Some JSON in base64url.
 *
 * @param value Text is treated as JSON already.
 */
export function encode(value: unknown): string {
  const json = typeof value === 'string' ? value : JSON.stringify(value)
  return Buffer.from(json).toString('base64url')
}

/**
 * The content of a part of a token.
 *
 * @param token A compact JWS.
 * @param index 0 for the header, 1 for the claims.
 */
export function decode(token: string, index: 0 | 1): Record<string, unknown> {
  return JSON.parse(Buffer.from(token.split('.')[index] ?? '', 'base64url').toString())
}

/**
 * Signs any content by hand.
 *
 * @param key Signs.
 * @param header The token's header; text is treated as JSON.
 * @param claims Like `header`.
 */
export function signed(key: Pick<TestKey, 'sign'>, header: unknown, claims: unknown): string {
  const text = `${encode(header)}.${encode(claims)}`
  return `${text}.${key.sign(text).toString('base64url')}`
}
