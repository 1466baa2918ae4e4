import { describe, expect, it } from 'vitest'

import { depthOf, maxActors, readClaims } from '../../src/tokens/claims.ts'
import type { Actor } from '../../src/tokens/claims.ts'

const sid = '3b241101-e2bb-4255-8caf-4136c566a962'
const common = {
  iss: 'https://shop.example',
  aud: 'api',
  sub: 'ann',
  sid,
  jti: 'a'.repeat(32),
  iat: 1_700_000_000,
  exp: 1_700_003_600,
}
const nested = { ...common, act: { sub: 'bob' }, gen: 2, privileges: ['browse'], roles: ['Clerk'] }

function actors(depth: number): Actor {
  return depth === 1 ? { sub: 'one' } : { sub: `${depth}`, act: actors(depth - 1) }
}

describe('readClaims', () => {
  it('X1: reads a token of a session, and freezes the result', () => {
    const claims = readClaims({ ...common, client_id: 'cli' }, false)

    expect(claims).toEqual({ ...common, client_id: 'cli' })
    expect(Object.isFrozen(claims)).toBe(true)
  })

  it('X3: reads a nested token, and freezes all of it', () => {
    const full = { ...nested, culture: 'de-CH', ui_culture: 'en', utc_offset: -90 }
    const claims = readClaims(full, true)

    expect(claims).toEqual(full)
    for (const part of [claims, claims?.act, claims?.privileges, claims?.roles]) {
      expect(Object.isFrozen(part)).toBe(true)
    }
    expect(claims?.privileges).not.toBe(full.privileges)
  })

  it('X1: drops unknown claims', () => {
    const json = '{"__proto__":{"isAdmin":true},"scope":"all"}'
    const others: object = JSON.parse(json)
    const claims = readClaims({ ...nested, ...others, constructor: 'x' }, true)
    const act = readClaims({ ...nested, act: { sub: 'bob', iss: 'x' } }, true)?.act

    expect(claims).toEqual(nested)
    expect(Reflect.get(claims ?? {}, 'isAdmin')).toBeUndefined()
    expect(act).toEqual({ sub: 'bob' })
  })

  it('X1: drops the rights in a token of a session', () => {
    const { act: _, ...others } = nested

    expect(readClaims(others, false)).toEqual(common)
  })

  it.each(['iss', 'aud', 'sub', 'sid', 'jti', 'iat', 'exp'])('X1: requires %s', (name) => {
    for (const value of [undefined, null, '', {}, [], ['x'], true, Number.NaN, Infinity, 1.5]) {
      expect(readClaims({ ...common, [name]: value }, false)).toBeUndefined()
      expect(readClaims({ ...nested, [name]: value }, true)).toBeUndefined()
    }
  })

  it.each<[string, unknown]>([
    ['sub', 'x'.repeat(257)],
    ['sid', sid.toUpperCase()],
    ['sid', `${sid}\n`],
    ['sid', `{${sid}}`],
    ['jti', 'a'.repeat(21)],
    ['jti', 'a'.repeat(65)],
    ['jti', `${'a'.repeat(31)}/`],
    ['iat', '1700000000'],
    ['exp', 2 ** 53],
    ['client_id', ''],
    ['client_id', 7],
    ['act', { sub: 'bob' }],
    ['act', null],
    ['act', 0],
  ])('X1: refuses a token of a session with %s %j', (name, value) => {
    expect(readClaims({ ...common, [name]: value }, false)).toBeUndefined()
  })

  it.each<[string, unknown]>([
    ['act', undefined],
    ['act', null],
    ['act', 'bob'],
    ['act', []],
    ['act', {}],
    ['act', { sub: 7 }],
    ['act', { sub: 'x'.repeat(257) }],
    ['act', { sub: 'bob', act: null }],
    ['act', { sub: 'bob', act: {} }],
    ['act', actors(maxActors + 1)],
    ['privileges', undefined],
    ['privileges', 'browse'],
    ['privileges', { 0: 'browse', length: 1 }],
    ['privileges', ['']],
    ['privileges', [['browse']]],
    ['privileges', ['x'.repeat(257)]],
    ['privileges', Array.from({ length: 65 }, (_, index) => `${index}`)],
    ['roles', undefined],
    ['roles', [null]],
    ['culture', ''],
    ['culture', ['de']],
    ['ui_culture', 7],
    ['utc_offset', '60'],
    ['utc_offset', 1.5],
  ])('X3: refuses a nested token with %s %j', (name, value) => {
    expect(readClaims({ ...nested, [name]: value }, true)).toBeUndefined()
  })

  it('X3: accepts as many actors and names as allowed, and a guest as actor', () => {
    const names = Array.from({ length: 64 }, (_, index) => `${index}`.repeat(100))
    const full = { ...nested, act: actors(maxActors), privileges: names, roles: [] }

    expect(readClaims(full, true)).toEqual(full)
    expect(readClaims({ ...nested, act: { sub: '' } }, true)?.act).toEqual({ sub: '' })
  })

  it('X3: stops at the third actor of an endless chain', () => {
    const act: { sub: string; act?: unknown } = { sub: 'bob' }
    act.act = act

    expect(readClaims({ ...nested, act }, true)).toBeUndefined()
  })
})

describe('depthOf', () => {
  it('X3: counts the actors', () => {
    expect([undefined, actors(1), actors(2), actors(3)].map(depthOf)).toEqual([0, 1, 2, 3])
  })
})
