import { createHash } from 'node:crypto'

import { describe, expect, it } from 'vitest'

import { newSecret, newSessionId, parseCookieValue } from '../../src/cookie/cookie.ts'

const base64url = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const wellFormed = newSecret(newSessionId()).value

describe('newSessionId', () => {
  it('S1: is a UUID', () => {
    expect(newSessionId()).toMatch(
      /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/,
    )
  })

  it('S1: is never the same twice among 100 000', { timeout: 30_000 }, () => {
    const ids = new Set(Array.from({ length: 100_000 }, newSessionId))

    expect(ids.size).toBe(100_000)
  })
})

describe('newSecret', () => {
  it('C1: has 64 characters of base64url: the 16 bytes of the id and 32 of the secret', () => {
    const id = newSessionId()

    const { value } = newSecret(id)

    const bytes = Buffer.from(value, 'base64url')
    expect(value).toMatch(/^[\w-]{64}$/)
    expect(bytes).toHaveLength(48)
    expect(bytes.toString('hex', 0, 16)).toBe(id.replaceAll('-', ''))
  })

  it('C1: comes with the SHA-256 of the secret, which does not depend on the id', () => {
    const { value, secretHash } = newSecret(newSessionId())

    const secret = Buffer.from(value, 'base64url').subarray(16)
    expect(secretHash).toBe(createHash('sha256').update(secret).digest('base64url'))
    expect(secretHash).toMatch(/^[\w-]{43}$/)
  })

  it.each([
    ['00000000-0000-0000-0000-000000000000', /^A{21}/],
    ['ffffffff-ffff-ffff-ffff-ffffffffffff', /^_{21}/],
  ])('C1: has the same length for the id %s', (id, start) => {
    const { value } = newSecret(id)

    expect(value).toHaveLength(64)
    expect(value).toMatch(start)
    expect(parseCookieValue(value)?.id).toBe(id)
  })

  it('C1: is never the same twice among 100 000 for one id', { timeout: 30_000 }, () => {
    const id = newSessionId()
    const secrets = Array.from({ length: 100_000 }, () => newSecret(id))

    expect(new Set(secrets.map(({ value }) => value)).size).toBe(100_000)
    expect(new Set(secrets.map(({ secretHash }) => secretHash)).size).toBe(100_000)
  })

  it('C1: has 256 random bits, each set in half of 10 000 secrets', () => {
    const id = newSessionId()
    const counts = Array.from({ length: 256 }, () => 0)

    for (let index = 0; index < 10_000; index += 1) {
      const secret = Buffer.from(newSecret(id).value, 'base64url').subarray(16)
      for (let bit = 0; bit < 256; bit += 1) {
        counts[bit] = (counts[bit] ?? 0) + (((secret[bit >> 3] ?? 0) >> (bit & 7)) & 1)
      }
    }

    // Seven standard deviations: by chance once in more than a billion runs.
    expect(Math.min(...counts)).toBeGreaterThan(4650)
    expect(Math.max(...counts)).toBeLessThan(5350)
  })
})

describe('parseCookieValue', () => {
  it('C1: reads back what newSecret returned', () => {
    const id = newSessionId()
    const { value, secretHash } = newSecret(id)

    expect(parseCookieValue(value)).toEqual({ id, secretHash })
  })

  it('C1: accepts one spelling of a value only: every changed character changes the meaning', () => {
    const { id, secretHash } = readOf(wellFormed)

    for (let at = 0; at < 64; at += 1) {
      for (const character of base64url.replace(wellFormed[at] ?? '', '')) {
        const other = readOf(wellFormed.slice(0, at) + character + wellFormed.slice(at + 1))
        expect(other.id === id && other.secretHash === secretHash).toBe(false)
      }
    }
  })

  it.each([
    ['nothing', ''],
    ['one character too few', wellFormed.slice(1)],
    ['one character too many', `${wellFormed}A`],
    ['padding', `${wellFormed.slice(0, 62)}==`],
    ['padding after it', `${wellFormed}=`],
    ['the alphabet of base64', `${wellFormed.slice(0, 62)}+/`],
    ['a line break after it', `${wellFormed}\n`],
    ['a line break in it', `${wellFormed.slice(0, 63)}\n`],
    ['blanks around it', ` ${wellFormed} `],
    ['quotes around it', `"${wellFormed}"`],
    ['two of them', `${wellFormed}${wellFormed}`],
    ['an escape of its first character', `%41${wellFormed.slice(1)}`],
    ['a NUL', `${wellFormed.slice(0, 63)}\0`],
    ['a letter of another alphabet', `${wellFormed.slice(0, 63)}\u0430`],
    ['a full-width letter', `${wellFormed.slice(0, 63)}\uFF21`],
    ['a lone surrogate', `${wellFormed.slice(0, 63)}\uD800`],
    ['a UUID', newSessionId()],
    ['a megabyte', 'A'.repeat(2 ** 20)],
    ['JSON', JSON.stringify({ id: newSessionId() }).padEnd(64, ' ')],
    ['__proto__', '__proto__'],
    ['a key of Redis', 'sess:{5f0c1c0e-7d3b-4a53-9d5a-3f6d1f0a7b11}'.padEnd(64, '*')],
  ])('H1: refuses a value that is %s', (_, value) => {
    expect(parseCookieValue(value)).toBeUndefined()
  })
})

function readOf(value: string): { readonly id: string; readonly secretHash: string } {
  const credential = parseCookieValue(value)
  if (credential === undefined) throw new Error('not well-formed')
  return credential
}
