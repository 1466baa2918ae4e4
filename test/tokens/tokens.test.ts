import { inspect } from 'node:util'
import { serialize } from 'node:v8'

import * as jose from 'jose'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { resolveTokens } from '../../src/tokens/keys.ts'
import { Tokens } from '../../src/tokens/tokens.ts'
import { audience, decode, issuer, makeKey, signed, tokensWith } from '../support/tokens.ts'
import type { TestKey } from '../support/tokens.ts'
import { forgeries, goodClaims, goodNestedClaims, mutated, withSpareBits } from './forgeries.ts'

// One key of each algorithm for all tests: those for RS256 take long to make.
const keys = {
  HS256: makeKey('HS256'),
  EdDSA: makeKey('EdDSA'),
  ES256: makeKey('ES256'),
  RS256: makeKey('RS256'),
}
const algorithms = ['HS256', 'EdDSA', 'ES256', 'RS256'] as const
const sid = '3b241101-e2bb-4255-8caf-4136c566a962'

const reached = vi.hoisted(() => ({ jose: 0 }))
vi.mock('jose', async (load) => {
  const original = await load<typeof jose>()
  return {
    ...original,
    jwtVerify: (...given: Parameters<typeof original.jwtVerify>) => {
      reached.jose++
      return original.jwtVerify(...given)
    },
  }
})

function tokensOf(...given: readonly TestKey[]): Tokens {
  return new Tokens(resolveTokens(tokensWith(...given)))
}

function headerOf({ alg, kid }: TestKey, typ = 'session+jwt'): object {
  return { alg, kid, typ }
}

/** Which of the tokens are accepted. */
async function accepted(tokens: Tokens, given: ReadonlyMap<string, string>): Promise<string[]> {
  const names: string[] = []
  for (const [name, text] of given) if (await tokens.verify(text)) names.push(name)
  return names
}

async function issue(tokens: Tokens, claims: object = {}): Promise<string> {
  return tokens.issue({ sub: 'ann', sid, exp: tokens.expiry(Infinity, 3600), ...claims }, false)
}

describe('a good token', () => {
  it.each(algorithms)('X1: contains what is promised, signed with %s', async (alg) => {
    const key = keys[alg]
    const tokens = tokensOf(key)
    const before = Math.floor(Date.now() / 1000)

    const text = await tokens.issue(
      { sub: 'ann', sid, client_id: 'cli', exp: before + 3600 },
      false,
    )
    const verified = await tokens.verify(text)

    expect(decode(text, 0)).toEqual({ alg, kid: alg, typ: 'session+jwt' })
    expect(verified).toEqual({
      isNested: false,
      claims: {
        sub: 'ann',
        sid,
        client_id: 'cli',
        iss: issuer,
        aud: audience,
        exp: before + 3600,
        iat: expect.toSatisfy((iat: number) => iat >= before && iat <= before + 5),
        jti: expect.stringMatching(/^[\w-]{32}$/),
      },
    })
    expect(Object.isFrozen(verified?.claims)).toBe(true)
  })

  it.each(algorithms)('X1: can be verified by jose with the key alone: %s', async (alg) => {
    const key = keys[alg]
    const text = await issue(tokensOf(key))
    const options = { algorithms: [alg], issuer, audience, typ: 'session+jwt' }
    const verifyingKey = key.publicKey ?? (await jose.importJWK(key.jwk))

    const { payload } = await jose.jwtVerify(text, verifyingKey, options)

    expect(payload.sub).toBe('ann')
  })

  it('X1: differs each time', async () => {
    const tokens = tokensOf(keys.HS256)
    const texts = await Promise.all(Array.from({ length: 100 }, () => issue(tokens)))

    expect(new Set(texts.map((text) => decode(text, 1)['jti'])).size).toBe(100)
  })

  it.each(algorithms)('X1: is accepted when made by hand, even a nested one: %s', async (alg) => {
    const key = keys[alg]
    const tokens = tokensOf(key)
    const one = signed(key, headerOf(key), goodClaims())
    const nested = signed(key, headerOf(key, 'nested-session+jwt'), goodNestedClaims())

    expect(await tokens.verify(one)).toMatchObject({ isNested: false })
    expect(await tokens.verify(nested)).toMatchObject({ isNested: true })
  })

  it('X1: is accepted with unknown claims, which are dropped', async () => {
    const key = keys.HS256
    const json = JSON.stringify({ ...goodClaims(), admin: true })
    const text = signed(key, headerOf(key), json.replace('{', '{"__proto__":{"polluted":true},'))

    const verified = await tokensOf(key).verify(text)

    expect(verified?.claims).not.toHaveProperty('admin')
    expect(Reflect.get(verified?.claims ?? {}, 'polluted')).toBeUndefined()
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
  })

  it.each([
    ['a long user name', { sub: 'x'.repeat(257) }],
    ['a long application', { client_id: 'x'.repeat(257) }],
    ['no id of a session', { sid: 'x' }],
    ['an infinite end', { exp: Infinity }],
  ])('X1: is not created when it would be refused: %s', async (_, claims) => {
    await expect(issue(tokensOf(keys.HS256), claims)).rejects.toThrow(TypeError)
  })
})

describe('forged, malformed and stale tokens', () => {
  it.each(algorithms)('X1: are refused: %s', async (alg) => {
    const key = keys[alg]
    const other = alg === 'HS256' ? keys.EdDSA : keys.HS256
    const tokens = tokensOf(key, other)
    const given = forgeries(key, other)

    expect(await accepted(tokens, given)).toEqual([])
    expect(given.size).toBeGreaterThanOrEqual(alg === 'HS256' ? 140 : 149)
  })

  it.each(algorithms)('X1: are refused after the good one was accepted: %s', async (alg) => {
    const key = keys[alg]
    const other = alg === 'HS256' ? keys.EdDSA : keys.HS256
    const tokens = tokensOf(key, other)
    const good = await issue(tokens)
    expect(await tokens.verify(good)).toBeDefined()

    expect(await tokens.verify(withSpareBits(good))).toBeUndefined()
    expect(await tokens.verify(`${good}=`)).toBeUndefined()
    expect(await tokens.verify(`${good}\n`)).toBeUndefined()
    expect(await tokens.verify(good)).toBeDefined()
  })

  it.each(algorithms)('X1: include 2 000 mutations of a good one: %s', async (alg) => {
    const tokens = tokensOf(keys[alg])
    const good = await issue(tokens)
    await tokens.verify(good)
    const seeds = Array.from({ length: 2000 }, (_, seed) => seed)
    const given = new Map(seeds.map((seed) => [String(seed), mutated(good, seed)]))

    expect([...given.values()]).not.toContain(good)
    expect(await accepted(tokens, given)).toEqual([])
    expect(await tokens.verify(good)).toBeDefined()
  })

  it('X1: are refused by their length before they are parsed', async () => {
    const tokens = tokensOf(keys.HS256)
    const [head = '', body = '', signature = ''] = (await issue(tokens)).split('.')
    const parse = vi.spyOn(JSON, 'parse')
    onTestFinished(() => parse.mockRestore())
    reached.jose = 0

    for (const megabyte of [
      `${head}.${'A'.repeat(1_000_000)}.${signature}`,
      `${'A'.repeat(1_000_000)}.${body}.${signature}`,
      `${head}.${body}.${'A'.repeat(1_000_000)}`,
      '.'.repeat(1_000_000),
      `${head}.${body}.${signature}${' '.repeat(8192)}`,
    ]) {
      expect(await tokens.verify(megabyte)).toBeUndefined()
    }

    expect(parse).not.toHaveBeenCalled()
    expect(reached.jose).toBe(0)
    await tokens.verify(await issue(tokens))
    expect(parse).toHaveBeenCalled()
    expect(reached.jose).toBe(1)
  })

  it('X1: include those of another issuer or another audience with the same key', async () => {
    const key = keys.HS256
    const mine = tokensOf(key)
    const theirs = new Tokens(resolveTokens({ ...tokensWith(key), issuer: 'https://b.example' }))
    const elsewhere = new Tokens(resolveTokens({ ...tokensWith(key), audience: 'b' }))

    expect(await mine.verify(await issue(theirs))).toBeUndefined()
    expect(await mine.verify(await issue(elsewhere))).toBeUndefined()
    expect(await theirs.verify(await issue(theirs))).toBeDefined()
  })

  it('X1: get a tolerance of 5 seconds for clocks that differ', async () => {
    const key = keys.HS256
    const tokens = tokensOf(key)
    vi.useFakeTimers({ toFake: ['Date'], now: 1_900_000_000_000 })
    onTestFinished(() => void vi.useRealTimers())
    const now = 1_900_000_000
    const say = (changes: object): string =>
      signed(key, headerOf(key), { ...goodClaims(), ...changes })

    expect(await tokens.verify(say({ exp: now - 4 }))).toBeDefined()
    expect(await tokens.verify(say({ exp: now - 5 }))).toBeUndefined()
    expect(await tokens.verify(say({ iat: now + 5 }))).toBeDefined()
    expect(await tokens.verify(say({ iat: now + 6 }))).toBeUndefined()
  })
})

describe('the keys', () => {
  it('X1: keep verifying after a new one signs, until they are removed', async () => {
    const [old, next] = [makeKey('ES256', '2026-01'), makeKey('ES256', '2026-02')]
    const before = await issue(tokensOf(old))
    const during = tokensOf(next, old)
    const after = tokensOf(next)

    expect(await during.verify(before)).toBeDefined()
    expect(decode(await issue(during), 0)['kid']).toBe('2026-02')
    expect(await after.verify(before)).toBeUndefined()
    expect(await after.verify(await issue(during))).toBeDefined()
  })

  it('X1: verify without signing when they are public', async () => {
    const ed = makeKey('EdDSA', 'theirs')
    const option = { ...ed.publicKey?.export({ format: 'jwk' }), kid: ed.kid, alg: ed.alg }
    const both = new Tokens(resolveTokens({ keys: [keys.HS256.option, option], issuer, audience }))

    expect(await both.verify(await issue(tokensOf(ed)))).toBeDefined()
    expect(decode(await issue(both), 0)['kid']).toBe('HS256')
  })
})

describe('the memory of verified tokens', () => {
  it('X1: saves the verification of the signature the second time', async () => {
    const tokens = tokensOf(keys.RS256)
    const good = await issue(tokens)
    reached.jose = 0

    const first = await tokens.verify(good)
    const second = await tokens.verify(good)

    expect(second).toEqual(first)
    expect(reached.jose).toBe(1)
  })

  it('X1: never mistakes the id of a token for its signature', async () => {
    const key = keys.EdDSA
    const tokens = tokensOf(key)
    const claims = goodClaims()
    const good = signed(key, headerOf(key), claims)
    await tokens.verify(good)
    const foreign = makeKey('EdDSA', 'EdDSA')

    expect(await tokens.verify(signed(foreign, headerOf(key), claims))).toBeUndefined()
    const other = { ...claims, sub: 'bob' }
    expect(await tokens.verify(signed(foreign, headerOf(key), other))).toBeUndefined()
    expect((await tokens.verify(good))?.claims.sub).toBe('ann')
  })

  it('X1: lasts no longer than the token', async () => {
    const key = keys.HS256
    const tokens = tokensOf(key)
    vi.useFakeTimers({ toFake: ['Date'], now: 1_900_000_000_000 })
    onTestFinished(() => void vi.useRealTimers())
    const good = await issue(tokens)
    expect(await tokens.verify(good)).toBeDefined()

    vi.setSystemTime(1_900_000_000_000 + 3_604_000)
    expect(await tokens.verify(good)).toBeDefined()
    vi.setSystemTime(1_900_000_000_000 + 3_605_000)
    expect(await tokens.verify(good)).toBeUndefined()
  })

  it('X1: is bounded, and forgets the least recently used token', async () => {
    const key = keys.HS256
    const tokens = tokensOf(key)
    const [first = '', second = '', ...others] = Array.from({ length: 10_001 }, () =>
      signed(key, headerOf(key), goodClaims()),
    )
    await tokens.verify(first)
    await tokens.verify(second)
    for (const one of others.slice(0, -1)) await tokens.verify(one)
    await tokens.verify(first)
    await tokens.verify(others.at(-1) ?? '')
    reached.jose = 0

    await tokens.verify(first)
    expect(reached.jose).toBe(0)
    await tokens.verify(second)
    expect(reached.jose).toBe(1)
  })

  it('H2: holds neither the text nor the signature of a token', async () => {
    const { LRUCache } = await import('lru-cache')
    const remember = vi.spyOn(LRUCache.prototype, 'set')
    onTestFinished(() => remember.mockRestore())
    const tokens = tokensOf(keys.ES256)
    const good = await issue(tokens)
    await tokens.verify(good)

    const kept = remember.mock.calls
    const [head = '', body = '', signature = ''] = good.split('.')
    const seen = inspect([tokens, kept], { depth: Infinity, showHidden: true })
    const bytes = serialize(kept).toString('latin1')

    expect(remember).toHaveBeenCalledTimes(1)
    expect(seen).toContain(String(decode(good, 1)['jti']))
    for (const part of [head, body, signature]) {
      expect(seen).not.toContain(part)
      expect(bytes).not.toContain(part)
    }
    expect(bytes).not.toContain(Buffer.from(signature, 'base64url').toString('latin1'))
  })
})
