import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { storedSize } from '../../src/store/storage-texts.ts'
import { StorageTexts } from '../../src/store/storage-texts.ts'
import { awkwardTexts } from './contract-parts.ts'

const names = [
  ...awkwardTexts.map(([, text]) => text),
  'a',
  'b',
  'aa',
  'ab',
  '',
  '\n',
  '\t',
  'a\t1',
  '\na',
  'é',
  '漢',
  '"',
  '\\',
  '\\n',
  '\\t',
]
const name = fc.oneof(
  fc.constantFrom(...names),
  fc.string({ maxLength: 4 }),
  fc.integer({ min: 0, max: 60 }).map((number) => `key ${number}`),
)
// Values that look like entries, and like the ends of others.
const json = fc.oneof(
  fc.json(),
  fc.constantFrom(...names, '\na\t1', '\nb\t2\n').map((text) => JSON.stringify(text)),
)
const entries = fc.array(fc.tuple(name, json), { maxLength: 60 })

describe('StorageTexts', () => {
  it('T3: holds for each name a line break, the name, a TAB and the JSON', () => {
    const storage = StorageTexts.from(
      new Map([
        ['cart', '["tea"]'],
        ['a\n\t"', '1'],
        ['', '""'],
      ]),
    )

    expect(storage.text).toBe(`\ncart\t["tea"]\n${String.raw`a\n\t\"`}\t1\n\t""`)
    expect(storage.size).toBe(3)
  })

  it('T3: reads and changes like a Map', () => {
    fc.assert(
      fc.property(entries, entries, fc.array(name, { maxLength: 60 }), (first, set, removed) => {
        const model = new Map(first)
        const storage = StorageTexts.from(new Map(model))
        const gone = removed.filter((one) => !new Map(set).has(one))

        const changed = storage.changed({ set: new Map(set), removed: gone })

        expectSame(storage, model)
        for (const [one, value] of set) model.set(one, value)
        for (const one of gone) model.delete(one)
        expectSame(changed, model)
        // As the script in Redis keeps them.
        expectSame(new StorageTexts(changed.text, changed.size), model)
      }),
      { numRuns: 500 },
    )
  })

  it('T3: changes many names as it changes each one alone', () => {
    fc.assert(
      fc.property(
        entries,
        fc.uniqueArray(name, { minLength: 40, maxLength: 80 }),
        (first, some) => {
          const before = StorageTexts.from(new Map(first))
          const set = new Map(some.slice(20).map((one) => [one, '"new"']))
          const removed = some.slice(0, 20)

          const atOnce = before.changed({ set, removed })
          let oneByOne = before
          for (const entry of set) {
            oneByOne = oneByOne.changed({ set: new Map([entry]), removed: [] })
          }
          for (const one of removed) {
            oneByOne = oneByOne.changed({ set: new Map(), removed: [one] })
          }

          expect(atOnce.text).toBe(oneByOne.text)
          expect(atOnce.size).toBe(oneByOne.size)
        },
      ),
      { numRuns: 200 },
    )
  })

  it('T7: changes 65 536 names in seconds, not in minutes', () => {
    const all = new Map(Array.from({ length: 65_536 }, (_, index) => [`key ${index}`, '1']))
    const storage = StorageTexts.from(all)
    const set = new Map([...all.keys()].map((one) => [one, '22']))
    const start = performance.now()

    const changed = storage.changed({ set, removed: [] })
    const emptied = changed.changed({ set: new Map(), removed: [...all.keys()] })

    expect([changed.size, changed.get('key 65535'), emptied.text]).toEqual([65_536, '22', ''])
    expect(performance.now() - start).toBeLessThan(5000)
  })

  it('T3: keeps the order of the names, and appends new ones', () => {
    const storage = StorageTexts.from(new Map(Object.entries({ b: '1', a: '2', c: '3' })))

    const changed = storage.changed({
      set: new Map(Object.entries({ d: '4', a: '5' })),
      removed: ['b'],
    })

    expect([...changed]).toEqual(Object.entries({ a: '5', c: '3', d: '4' }))
    expect([...storage.keys()]).toEqual(['b', 'a', 'c'])
  })

  it('T3: returns the same object when nothing changes', () => {
    const storage = StorageTexts.from(new Map([['a', '1']]))

    expect(storage.changed({ set: new Map(), removed: [] })).toBe(storage)
    expect(storage.changed({ set: new Map(), removed: ['b'] })).toBe(storage)
    expect(StorageTexts.from(storage)).toBe(storage)
  })

  it('T7: counts the bytes of names and values as they are stored', () => {
    fc.assert(
      fc.property(entries, (all) => {
        const storage = new Map(all)

        expect(StorageTexts.from(storage).bytes).toBe(storedSize(storage))
      }),
    )
  })

  it('H1: finds a name only when an entry begins with all of it', () => {
    const value = JSON.stringify('\neve\t1')
    const storage = StorageTexts.from(new Map([['user', value]]))

    expect(
      ['eve', 'ser', 'use', 'user\t', '', '\nuser', value].map((one) => storage.has(one)),
    ).toEqual(Array(7).fill(false))
    expect(storage.get('user')).toBe(value)
  })

  it('T6: treats names of prototypes as plain names, and finds none by default', () => {
    const storage = StorageTexts.from(new Map([['__proto__', '{"a":1}']]))

    expect(storage.get('__proto__')).toBe('{"a":1}')
    expect([storage.get('constructor'), storage.get('toString')]).toEqual([undefined, undefined])
    expect(Reflect.get({}, 'a')).toBeUndefined()
  })

  it('iterates like a Map', () => {
    const storage = StorageTexts.from(new Map([['a', '1']]))
    const seen: unknown[] = []
    const self = {}

    storage.forEach(function note(this: unknown, ...args) {
      seen.push(this, ...args)
    }, self)

    expect(seen).toEqual([self, '1', 'a', storage])
    expect([...storage.values(), ...storage.entries()]).toEqual(['1', ['a', '1']])
  })
})

describe('damaged entries', () => {
  it.each([
    ['no TAB', '\na', []],
    ['no name and no TAB', '\n', []],
    ['a broken escape', '\n\\x\t1', []],
    ['two of one name', '\na\t1\na\t2', [['a', '1']]],
    ['one that is good among others', '\n\n\\u12\t1\na\t1\nb', [['a', '1']]],
    ['more TABs', '\na\t1\t2', [['a', '1\t2']]],
    ['no line break at first', 'a\t1\nb\t2', [['b', '2']]],
  ])('F6: reads the good part of %s', (_, text, all) => {
    const storage = new StorageTexts(text, 1)
    const asked = new StorageTexts(text, 1)

    expect([...storage].filter(([one]) => one === 'a' || one === 'b')).toEqual(all)
    for (const [one = '', value] of all) expect(asked.get(one)).toBe(value)
  })

  it('F6: reads the first of two entries of one name, whatever the method', () => {
    const text = '\na\t1\na\t2'
    const [one, other] = [new StorageTexts(text, 2), new StorageTexts(text, 2)]

    expect([one.get('a'), [...other.values()]]).toEqual(['1', ['1']])
  })
})

function expectSame(storage: StorageTexts, model: ReadonlyMap<string, string>): void {
  // Read one by one first: later all of them are known.
  const fresh = new StorageTexts(storage.text, storage.size)
  for (const one of [...model.keys(), ...names]) {
    expect(fresh.get(one)).toBe(model.get(one))
    expect(fresh.has(one)).toBe(model.has(one))
  }
  expect(storage.size).toBe(model.size)
  expect([...storage]).toEqual([...model])
  expect(storage.get('a')).toBe(model.get('a'))
  expect(storage.has('a')).toBe(model.has('a'))
}
