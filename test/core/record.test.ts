import { unknownClient } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import {
  decodeRecord,
  encodeChanges,
  encodeDraft,
  escapeText,
  storageField,
  storedSize,
} from '../../src/core/record.ts'
import type { RecordDraft } from '../../src/core/record.ts'

const id = '5f0c1c0e-7d3b-4a53-9d5a-3f6d1f0a7b11'

const draft: RecordDraft = {
  type: 'web',
  ip: '2001:db8::1',
  client: unknownClient,
  idleTimeoutMs: 3_600_000,
  userName: 'ann',
  privileges: ['browse', 'audit'],
  roles: ['Clerk'],
  storage: new Map([
    ['cart', '["tea"]'],
    ['n', '1'],
  ]),
}

const fields: Readonly<Record<string, string>> = {
  v: '1',
  type: 'web',
  createdAt: '1763000000000',
  idleTimeoutMs: '3600000',
}

const instants = [
  'createdAt',
  '1763000000000',
  'signedInAt',
  '1763000000001',
  'endsAt',
  '1763000000002',
]

const awkwardTexts = [
  ['nothing', ''],
  ['quotes and backslashes', String.raw`"it's" \ \n \u0041 \\`],
  ['line breaks', 'a\nb\r\nc\u2028d\u2029\n'],
  ['all control characters', String.fromCodePoint(...Array(32).keys(), 127)],
  ['many scripts', 'žluťoučký 漢字 👩‍👩‍👧'],
  ['lone surrogates', '\uDC00a\uD800'],
  ['__proto__', '__proto__'],
  ['the name of a field', 'v'],
  ['prefixes of fields', 'storage:privilege:role:secret:'],
] as const

function decode(changes: Readonly<Record<string, string | undefined>> = {}): unknown {
  const changed = Object.entries({ ...fields, ...changes })
  return decodeRecord(
    id,
    changed.flatMap(([field, value]) => (value === undefined ? [] : [field, value])),
  )
}

describe('encodeDraft', () => {
  it('writes field, value, field, value', () => {
    expect(encodeDraft(draft)).toEqual(
      [
        ['v', '1'],
        ['type', 'web'],
        ['ip', '2001:db8::1'],
        ['idleTimeoutMs', '3600000'],
        ['userName', 'ann'],
        ['privilege:browse', ''],
        ['privilege:audit', ''],
        ['role:Clerk', ''],
        ['storage:cart', '["tea"]'],
        ['storage:n', '1'],
      ].flat(),
    )
  })

  it('writes no field for an address that is not known and for nobody as user', () => {
    const fieldsOfGuest = encodeDraft({ ...draft, ip: '', userName: '' })

    expect(fieldsOfGuest).not.toContain('ip')
    expect(fieldsOfGuest).not.toContain('userName')
  })
})

describe('encodeChanges', () => {
  it('T3: writes what changes and nothing else', () => {
    expect(encodeChanges({})).toEqual([])
    expect(encodeChanges({ idleTimeoutMs: 1 })).toEqual(['idleTimeoutMs', '1'])
    expect(encodeChanges({ userName: '' })).toEqual(['userName', ''])
    expect(encodeChanges({ privileges: ['a'] })).toEqual(['privilege:a', ''])
    expect(encodeChanges({ roles: ['a'] })).toEqual(['role:a', ''])
    expect(encodeChanges({ storage: new Map([['a', '1']]) })).toEqual(['storage:a', '1'])
  })

  it.each(awkwardTexts)('H1: puts %s on one line that UTF-8 can hold', (_, text) => {
    const encoded = encodeChanges({
      userName: text,
      privileges: [text],
      roles: [text],
      storage: new Map([[text, JSON.stringify(text)]]),
    })

    expect(encoded.filter((line) => /[\n\r\0]/.test(line))).toEqual([])
    expect(encoded.map((line) => Buffer.from(line).toString())).toEqual(encoded)
  })
})

describe('decodeRecord', () => {
  it('T2: gives back what was encoded, with the instants that the store has added', () => {
    expect(decodeRecord(id, [...encodeDraft(draft), ...instants])).toEqual({
      ...draft,
      id,
      createdAt: 1_763_000_000_000,
      signedInAt: 1_763_000_000_001,
      endsAt: 1_763_000_000_002,
    })
  })

  it('T2: gives back a guest that has nothing', () => {
    expect(decode()).toEqual({
      id,
      type: 'web',
      createdAt: 1_763_000_000_000,
      signedInAt: 0,
      endsAt: Infinity,
      idleTimeoutMs: 3_600_000,
      userName: '',
      privileges: [],
      roles: [],
      ip: '',
      client: unknownClient,
      storage: new Map(),
    })
  })

  it.each(awkwardTexts)('H1: gives back %s in every name and value', (_, text) => {
    const awkward: RecordDraft = {
      ...draft,
      type: 'rest',
      userName: text,
      privileges: [text, `${text}!`],
      roles: [text],
      storage: new Map([
        [text, JSON.stringify(text)],
        [`${text}!`, '1'],
      ]),
    }

    const record = decodeRecord(id, [...encodeDraft(awkward), ...instants])

    expect(record).toMatchObject(awkward)
  })

  it('H1: gives back every code unit', () => {
    const text = String.fromCharCode(...Array(0x1_00_00).keys())
    const awkward = { ...draft, userName: text, storage: new Map([[text, JSON.stringify(text)]]) }

    const record = decodeRecord(id, [...encodeDraft(awkward), ...instants])

    expect(record?.userName === text).toBe(true)
    expect([...(record?.storage.keys() ?? [])][0] === text).toBe(true)
  })

  it('reads the fields in any order, and from where it is told to', () => {
    const encoded = [...encodeDraft(draft), ...instants]
    const pairs = Array.from({ length: encoded.length / 2 }, (_, index) =>
      encoded.slice(2 * index, 2 * index + 2),
    )

    const record = decodeRecord(id, ['1763000000003', '0', '-', ...pairs.toReversed().flat()], 3)

    expect(record).toMatchObject({
      ...draft,
      privileges: draft.privileges.toReversed(),
      endsAt: 1_763_000_000_002,
    })
  })

  it('ignores fields that it does not know', () => {
    const more = { 'secret:abc': '0', keys: '1', bytes: '2', later: 'x', ['__proto__']: 'x' }

    expect(decode({ ...more, constructor: 'x', toString: 'x' })).toEqual(decode())
  })

  it('S6: reads an empty user name as nobody', () => {
    expect(decode({ userName: '' })).toEqual(decode())
  })

  it('T6: keeps storage apart from the fields of the session and from prototypes', () => {
    const record = decode({ 'storage:userName': '"eve"', 'storage:__proto__': '{"a":1}' })

    expect(record).toMatchObject({
      userName: '',
      storage: new Map([
        ['userName', '"eve"'],
        ['__proto__', '{"a":1}'],
      ]),
    })
    expect(Reflect.get({}, 'a')).toBeUndefined()
  })

  it.each([
    ['no version', { v: undefined }],
    ['an empty version', { v: '' }],
    ['a later version', { v: '2' }],
    ['a version that only looks the same', { v: '1.0' }],
    ['no type', { type: undefined }],
    ['an unknown type', { type: 'admin' }],
    ['a type in capitals', { type: 'WEB' }],
    ['no creation time', { createdAt: undefined }],
    ['an empty creation time', { createdAt: '' }],
    ['a creation time that is no number', { createdAt: 'yesterday' }],
    ['no idle timeout', { idleTimeoutMs: undefined }],
    ['an empty idle timeout', { idleTimeoutMs: '' }],
    ['an idle timeout that is no number', { idleTimeoutMs: 'NaN' }],
    ['an empty end', { endsAt: '' }],
    ['an end that is no number', { endsAt: 'never' }],
    ['a sign-in that is no number', { signedInAt: '1763000000000ms' }],
    ['a user name with a broken escape', { userName: String.raw`a\u12` }],
    ['a user name that ends in a backslash', { userName: '\\' }],
    ['a user name with a quote and an escape', { userName: String.raw`a"\n` }],
    ['a privilege with a broken escape', { [String.raw`privilege:\x`]: '' }],
    ['a role with a broken escape', { [String.raw`role:\x`]: '' }],
    ['a storage name with a broken escape', { [String.raw`storage:\x`]: '1' }],
  ])('F6: refuses a record with %s', (_, changes) => {
    expect(decode(changes)).toBeUndefined()
  })

  it.each([
    ['nothing', []],
    ['an empty line', ['']],
    ['one line', ['v']],
    ['a field without a value', ['v', '1', 'type']],
    ['values and fields the wrong way round', ['1', 'v', 'web', 'type']],
    ['text', 'the quick brown fox'.split(' ')],
    ['many empty lines', Array<string>(1001).fill('')],
  ])('F6: refuses %s', (_, lines) => {
    expect(decodeRecord(id, lines)).toBeUndefined()
    expect(decodeRecord(id, lines, 2)).toBeUndefined()
    expect(decodeRecord(id, lines, 5000)).toBeUndefined()
  })

  it('F6: refuses a record that a line break in a value has put out of step', () => {
    const lines = [...encodeDraft(draft), ...instants]
    lines.splice(5, 1, '192.0.2.1', 'privilege:WebAdmin')

    expect(decodeRecord(id, lines)).toBeUndefined()
  })
})

describe('storageField', () => {
  it('T3: has one field for each name', () => {
    const names = [
      'a',
      'A',
      '',
      'a\nb',
      String.raw`a\nb`,
      '\uD800',
      String.raw`\ud800`,
      'é',
      'e\u0301',
    ]

    expect(storageField('a\n"b"')).toBe(String.raw`storage:a\n\"b\"`)
    expect(new Set(names.map(storageField)).size).toBe(names.length)
  })
})

describe('escapeText', () => {
  it.each(awkwardTexts)('keeps %s exactly, as the inside of a JSON string', (_, text) => {
    expect(JSON.parse(`"${escapeText(text)}"`)).toBe(text)
  })

  it('leaves plain text as it is', () => {
    expect(escapeText("Ann O'Neil ž 漢 👩")).toBe("Ann O'Neil ž 漢 👩")
  })
})

describe('storedSize', () => {
  it.each([
    ['nothing', {}, 0],
    ['a name and a value', { cart: '[1]' }, 7],
    ['several', { a: '1', bb: '22' }, 6],
    ['UTF-8', { é: '"漢"' }, 7],
    ['a name as it is stored, escaped', { 'a\n"': '1' }, 6],
    ['a lone surrogate, six bytes of escape', { '\uD800': '1' }, 7],
    ['an empty name', { '': '""' }, 2],
  ])('T7: counts %s', (_, storage, bytes) => {
    expect(storedSize(new Map(Object.entries(storage)))).toBe(bytes)
  })
})
