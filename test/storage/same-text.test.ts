import { assert, boolean, constant, double, object, property, string } from 'fast-check'
import { describe, expect, it } from 'vitest'

import { isSameText } from '../../src/storage/same-text.ts'
import { encodeStorageValue } from '../../src/storage/storage-value.ts'

const objects = object({
  maxDepth: 4,
  values: [
    string({ unit: 'binary' }),
    double({ noNaN: true, noDefaultInfinity: true }),
    boolean(),
    constant(null),
  ],
})

function encoded(value: unknown): string {
  return encodeStorageValue('name', value, Infinity)
}

function isTaken(value: unknown): boolean {
  try {
    encoded(value)
    return true
  } catch {
    return false
  }
}

describe('isSameText', () => {
  it('T1: is true for the value of a text, and for what the text parses to', () => {
    assert(
      property(objects.filter(isTaken), (value) => {
        const json = encoded(value)
        expect(isSameText(value, json)).toBe(true)
        expect(isSameText(JSON.parse(json), json)).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })

  it('T1: is never true when the text would differ', () => {
    assert(
      property(objects.filter(isTaken), objects.filter(isTaken), (one, other) => {
        expect(isSameText(one, encoded(other))).toBe(encoded(one) === encoded(other))
      }),
      { numRuns: 2000 },
    )
  })

  it.each([
    ['a text that is longer', { a: 'tea' }, { a: 'teas' }],
    ['a text that is shorter', { a: 'teas' }, { a: 'tea' }],
    ['a backslash and an n for a line break', { a: 'x\ny' }, { a: String.raw`x\ny` }],
    ['a quote', { a: 'x' }, { a: '"x' }],
    ['another number', { a: 1 }, { a: 11 }],
    ['a number as text', { a: 1 }, { a: '1' }],
    ['null for nothing', { a: null }, {}],
    ['one more name', { a: 1 }, { a: 1, b: 2 }],
    ['another order of names', { a: 1, b: 2 }, { b: 2, a: 1 }],
    ['one more item', [1, 2], [1, 2, 3]],
    ['a nested change', { a: [{ b: 1 }] }, { a: [{ b: 2 }] }],
    ['an array for an object', { a: [] }, { a: {} }],
  ])('T1: detects %s', (_, before, after) => {
    expect(isSameText(before, encoded(before))).toBe(true)
    expect(isSameText(after, encoded(before))).toBe(false)
  })

  it.each([
    ['a function', { a: 1, f: () => 1 }],
    ['a symbol as a name', { a: 1, [Symbol('s')]: 1 }],
    ['a Map', Object.assign(new Map(), { a: 1 })],
    ['a class', Object.assign(new URLSearchParams(), { a: 1 })],
    [
      'a getter that throws',
      Object.defineProperty({}, 'a', {
        enumerable: true,
        get: () => {
          throw new Error('no')
        },
      }),
    ],
  ])('T5: is false for %s, which JSON cannot hold', (_, value) => {
    expect(isSameText(value, '{"a":1}')).toBe(false)
  })

  it.each([
    ['a hole', Object.assign(Array(2), { 0: 1 }), '[1,null]'],
    ['an array with a name', Object.assign([1], { index: 0 }), '[1]'],
    ['NaN', [Number.NaN], '[null]'],
    ['a value that refers back to itself', circular(), '{"a":{"a":{}}}'],
  ])('T5: is false for %s', (_, value, json) => {
    expect(isSameText(value, json)).toBe(false)
  })

  it('T5: treats undefined properties as omitted, as the text does', () => {
    expect(isSameText({ a: 1, b: undefined }, '{"a":1}')).toBe(true)
  })
})

function circular(): object {
  const value: Record<string, unknown> = {}
  value['a'] = value
  return value
}
