import { createPublicKey, createSecretKey } from 'node:crypto'

import type { TokensOptions } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import { kidForm, resolveTokens } from '../../src/tokens/keys.ts'
import { audience, issuer, makeKey, tokensWith } from '../support/tokens.ts'

// Refused keys are in options.test.ts, as an app passes them.

function withSecret(secret: string): TokensOptions {
  return { keys: [{ kid: 'a', alg: 'HS256', secret }], issuer, audience }
}

describe('the keys of tokens', () => {
  it.each(['EdDSA', 'ES256', 'RS256'] as const)(
    'X1: sign in private and verify in public: %s',
    (alg) => {
      const key = makeKey(alg, 'a')
      const { signer, keys } = resolveTokens(tokensWith(key))
      const resolved = keys.get('a')

      expect(signer).toMatchObject({ kid: 'a', alg })
      expect(signer.signingKey.type).toBe('private')
      expect(resolved?.verifyingKey.type).toBe('public')
      expect(resolved?.verifyingKey.equals(key.publicKey!)).toBe(true)
    },
  )

  it('X1: accept a secret as text, as bytes and as a JWK for the same key', () => {
    const text = 'ä secret of more than 32 bytes, in UTF-8'
    const bytes = Buffer.from(text)
    const ways = [
      { secret: text },
      { secret: bytes },
      { secret: Uint8Array.from(bytes) },
      { kty: 'oct', k: bytes.toString('base64url') },
    ]

    for (const way of ways) {
      const option = { keys: [{ kid: 'a', alg: 'HS256' as const, ...way }], issuer, audience }
      const { signer } = resolveTokens(Reflect.apply(Object, undefined, [option]))
      expect(signer.verifyingKey.equals(createSecretKey(bytes))).toBe(true)
    }
  })

  it('X1: count bytes, not characters', () => {
    expect(() => resolveTokens(withSecret('ä'.repeat(16)))).not.toThrow()
    expect(() => resolveTokens(withSecret('ä'.repeat(15)))).toThrow(/at least 32 bytes/)
  })

  it('X1: are found in a JWK Set among other content', () => {
    const key = makeKey('EdDSA', 'a')
    const option = { ...key.option, use: 'sig', key_ops: ['sign'], ext: true }

    const { keys } = resolveTokens({ keys: { keys: [option] }, issuer, audience })

    expect(keys.get('a')?.alg).toBe('EdDSA')
  })

  it('X1: can have any name, including those of Object.prototype', () => {
    const odd = makeKey('HS256', '__proto__')

    const { keys } = resolveTokens(tokensWith(odd, makeKey('HS256', 'constructor')))

    expect([...keys.keys()]).toEqual(['__proto__', 'constructor'])
    expect(keys.get('toString')).toBeUndefined()
  })

  it('X1: do not follow later changes of the given object', () => {
    const key = makeKey('ES256', 'a')
    const option = { ...key.option }
    const { signer } = resolveTokens({ keys: [option], issuer, audience })

    Object.assign(option, { kid: 'b', alg: 'RS256', x: 'AA', d: 'AA' })

    expect(signer).toMatchObject({ kid: 'a', alg: 'ES256' })
    expect(createPublicKey(signer.signingKey).equals(key.publicKey!)).toBe(true)
  })

  it.each(['', ' ', 'a b', '../key', 'a/b', 'a\n', 'é', 'a'.repeat(65)])(
    'X1: cannot be named %j',
    (kid) => {
      expect(kidForm.test(kid)).toBe(false)
    },
  )
})
