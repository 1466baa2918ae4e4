import { unknownClient } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import { clientTexts } from '../../src/core/client.ts'
import {
  decodeRecord,
  encodeChanges,
  encodeDraft,
  escapeText,
  storageField,
  storedSize,
} from '../../src/core/record.ts'
import type { RecordDraft, SessionRecord } from '../../src/core/record.ts'

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
  v: '1 web',
  b: '1763000000000',
  i: '3600000',
}

const instants = ['b', '1763000000000', 'l', '1763000000001', 'e', '1763000000002']

const awkwardTexts = [
  ['nothing', ''],
  ['quotes and backslashes', String.raw`"it's" \ \n \u0041 \\`],
  ['line breaks', 'a\nb\r\nc\u2028d\u2029\n'],
  ['all control characters', String.fromCodePoint(...Array(32).keys(), 127)],
  ['many scripts', 'žluťoučký 漢字 👩‍👩‍👧'],
  ['lone surrogates', '\uDC00a\uD800'],
  ['__proto__', '__proto__'],
  ['the name of a field', 'v'],
  ['prefixes of fields', 's:p:r:k:'],
] as const

// No two have the same text, and the packed texts are longer than all pieces together.
const fullClient: RecordDraft['client'] = {
  applicationId: 'com.example.shop',
  appName: 'Example Shop for Desktops',
  appVersion: '1.22.333',
  isOfficialApp: true,
  deviceModel: 'ThinkPad X1 Carbon Gen 12',
  platform: 'Windows',
  systemVersion: '11',
  machineName: 'kontor-04.intern.example.com',
  systemUserName: 'ann.novák',
  persistentID: '7c0f3c52-60a5-4a53-8e27-3f6d1f0a7b11'.padEnd(64, '*'),
  country: 'Česko',
  region: 'Hlavní město Praha',
}

/** The fields that a client is packed in. */
function packed(client: RecordDraft['client']): Record<string, string> {
  const lines = encodeDraft({ ...draft, client })
  const pairs = lines.flatMap((field, index) =>
    index % 2 === 0 && /^c\d?$/.test(field) ? [[field, lines[index + 1] ?? '']] : [],
  )
  return Object.fromEntries(pairs)
}

function decodeLines(lines: readonly string[], skipped?: number): SessionRecord | undefined {
  return decodeRecord(id, lines.join('\n'), skipped)
}

function clientOf(lines: Readonly<Record<string, string>>): SessionRecord['client'] | undefined {
  return decodeLines(Object.entries({ ...fields, ...lines }).flat())?.client
}

function decode(changes: Readonly<Record<string, string | undefined>> = {}): unknown {
  const changed = Object.entries({ ...fields, ...changes })
  return decodeLines(
    changed.flatMap(([field, value]) => (value === undefined ? [] : [field, value])),
  )
}

describe('encodeDraft', () => {
  it('writes field, value, field, value', () => {
    expect(encodeDraft(draft)).toEqual(
      [
        ['v', '1 web'],
        ['a', '2001:db8::1'],
        ['i', '3600000'],
        ['u', 'ann'],
        ['p:browse', ''],
        ['p:audit', ''],
        ['r:Clerk', ''],
        ['s:cart', '["tea"]'],
        ['s:n', '1'],
      ].flat(),
    )
  })

  it('writes no field for an address that is not known and for nobody as user', () => {
    const fieldsOfGuest = encodeDraft({ ...draft, ip: '', userName: '' })

    expect(fieldsOfGuest).not.toContain('a')
    expect(fieldsOfGuest).not.toContain('u')
  })
})

describe('encodeChanges', () => {
  it('T3: writes what changes and nothing else', () => {
    expect(encodeChanges({})).toEqual([])
    expect(encodeChanges({ idleTimeoutMs: 1 })).toEqual(['i', '1'])
    expect(encodeChanges({ userName: '' })).toEqual(['u', ''])
    expect(encodeChanges({ privileges: ['a'] })).toEqual(['p:a', ''])
    expect(encodeChanges({ roles: ['a'] })).toEqual(['r:a', ''])
    expect(encodeChanges({ storage: new Map([['a', '1']]) })).toEqual(['s:a', '1'])
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
    expect(decodeLines([...encodeDraft(draft), ...instants])).toEqual({
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

    const record = decodeLines([...encodeDraft(awkward), ...instants])

    expect(record).toMatchObject(awkward)
  })

  it('H1: gives back every code unit', () => {
    const text = String.fromCharCode(...Array(0x1_00_00).keys())
    const awkward = { ...draft, userName: text, storage: new Map([[text, JSON.stringify(text)]]) }

    const record = decodeLines([...encodeDraft(awkward), ...instants])

    expect(record?.userName === text).toBe(true)
    expect([...(record?.storage.keys() ?? [])][0] === text).toBe(true)
  })

  it('reads the fields in any order, and from where it is told to', () => {
    const encoded = [...encodeDraft(draft), ...instants]
    const pairs = Array.from({ length: encoded.length / 2 }, (_, index) =>
      encoded.slice(2 * index, 2 * index + 2),
    )

    const record = decodeLines(['1763000000003', '0', '-', ...pairs.toReversed().flat()], 3)

    expect(record).toMatchObject({
      ...draft,
      privileges: draft.privileges.toReversed(),
      endsAt: 1_763_000_000_002,
    })
  })

  it('ignores fields that it does not know', () => {
    const more = { 'k:abc': '0', n: '1', m: '2', later: 'x', ['__proto__']: 'x' }

    expect(decode({ ...more, constructor: 'x', toString: 'x' })).toEqual(decode())
  })

  it('S6: reads an empty user name as nobody', () => {
    expect(decode({ u: '' })).toEqual(decode())
  })

  it('T6: keeps storage apart from the fields of the session and from prototypes', () => {
    const record = decode({ 's:u': '"eve"', 's:__proto__': '{"a":1}' })

    expect(record).toMatchObject({
      userName: '',
      storage: new Map([
        ['u', '"eve"'],
        ['__proto__', '{"a":1}'],
      ]),
    })
    expect(Reflect.get({}, 'a')).toBeUndefined()
  })

  it.each([
    ['no version and no type', { v: undefined }],
    ['an empty version', { v: '' }],
    ['no version', { v: ' web' }],
    ['a type alone', { v: 'web' }],
    ['a later version', { v: '2 web' }],
    ['a version that only looks the same', { v: '1.0 web' }],
    ['a version that only begins the same', { v: '11 web' }],
    ['no type', { v: '1' }],
    ['an empty type', { v: '1 ' }],
    ['an unknown type', { v: '1 admin' }],
    ['a type in capitals', { v: '1 WEB' }],
    ['more than a type', { v: '1 web 2' }],
    ['more than one blank', { v: '1  web' }],
    ['no creation time', { b: undefined }],
    ['an empty creation time', { b: '' }],
    ['a creation time that is no number', { b: 'yesterday' }],
    ['no idle timeout', { i: undefined }],
    ['an empty idle timeout', { i: '' }],
    ['an idle timeout that is no number', { i: 'NaN' }],
    ['an empty end', { e: '' }],
    ['an end that is no number', { e: 'never' }],
    ['a sign-in that is no number', { l: '1763000000000ms' }],
    ['a user name with a broken escape', { u: String.raw`a\u12` }],
    ['a user name that ends in a backslash', { u: '\\' }],
    ['a user name with a quote and an escape', { u: String.raw`a"\n` }],
    ['a client with a broken escape', { c: String.raw`Firefox\x` }],
    ['a privilege with a broken escape', { [String.raw`p:\x`]: '' }],
    ['a role with a broken escape', { [String.raw`r:\x`]: '' }],
    ['a storage name with a broken escape', { [String.raw`s:\x`]: '1' }],
  ])('F6: refuses a record with %s', (_, changes) => {
    expect(decode(changes)).toBeUndefined()
  })

  it.each([
    ['nothing', []],
    ['an empty line', ['']],
    ['one line', ['v']],
    ['a field without a value', ['v', '1 web', 'b']],
    ['values and fields the wrong way round', ['1 web', 'v', '3600000', 'i']],
    ['text', 'the quick brown fox'.split(' ')],
    ['many empty lines', Array<string>(1001).fill('')],
  ])('F6: refuses %s', (_, lines) => {
    expect(decodeLines(lines)).toBeUndefined()
    expect(decodeLines(lines, 2)).toBeUndefined()
    expect(decodeLines(lines, 5000)).toBeUndefined()
  })

  it('F6: refuses a record that a line break in a value has put out of step', () => {
    const lines = [...encodeDraft(draft), ...instants]
    lines.splice(5, 1, '192.0.2.1', 'p:WebAdmin')

    expect(decodeLines(lines)).toBeUndefined()
  })
})

describe('a client', () => {
  it('T2: has no field when nothing is known of it', () => {
    expect(packed(unknownClient)).toEqual({})
    expect(clientOf({})).toEqual(unknownClient)
  })

  it('T2: is one field when it is short, what most have first, and nothing behind the last', () => {
    const client = { ...unknownClient, appName: 'Firefox', platform: 'Windows' }

    expect(packed(client)).toEqual({ c: 'Firefox\t\tWindows' })
  })

  it('T2: is given back with all its texts, and each alone', () => {
    expect(clientTexts).toHaveLength(11)
    expect(clientOf(packed(fullClient))).toEqual(fullClient)
    for (const name of clientTexts) {
      for (const isOfficialApp of [false, true]) {
        const client = { ...unknownClient, isOfficialApp, [name]: fullClient[name] }
        expect(clientOf(packed(client))).toEqual(client)
      }
    }
    const official = { ...unknownClient, isOfficialApp: true }
    expect(clientOf(packed(official))).toEqual(official)
  })

  it('T2: does not become an official app by its texts', () => {
    const texts = Object.fromEntries(clientTexts.map((name) => [name, '1']))
    const client = { ...unknownClient, ...texts, persistentID: '1\t1' }

    expect(clientOf(packed(client))).toEqual(client)
  })

  it.each([...awkwardTexts, ['TABs', '\ta\t\tb\t'], ['TABs only', '\t\t\t']] as const)(
    'H1: is given back with %s in every text, on one line',
    (_, text) => {
      const texts = Object.fromEntries(clientTexts.map((name) => [name, text]))
      const client = { ...unknownClient, ...texts, isOfficialApp: true }

      const lines = packed(client)

      expect(clientOf(lines)).toEqual(client)
      expect(Object.values(lines).filter((line) => /[\n\r\0]/.test(line))).toEqual([])
      for (const name of clientTexts) {
        const one = { ...unknownClient, [name]: text }
        expect(clientOf(packed(one))).toEqual(one)
      }
    },
  )

  it.each([
    ['ASCII', 'a'],
    ['two bytes', 'ž'],
    ['three bytes', '漢'],
    ['four bytes', '👩'],
    ['escapes', '"'],
    ['lone surrogates', '\uD83D'],
  ])('T2: is in pieces of 64 bytes at most, with no character of %s in two', (_, character) => {
    for (let length = 1; length <= 300; length++) {
      // So that the pieces end at every offset.
      const appName = 'x'.repeat(length % 5) + character.repeat(length)
      const client = { ...unknownClient, appName, region: 'end' }

      const lines = packed(client)

      const pieces = Object.values(lines)
      const names = ['c', 'c1', 'c2', 'c3'].slice(0, pieces.length)
      expect(Object.keys(lines)).toEqual(names)
      expect(pieces.map((piece) => Buffer.from(piece).toString())).toEqual(pieces)
      const sizes = pieces.slice(0, 3).map((piece) => Buffer.byteLength(piece))
      expect(Math.max(...sizes)).toBeLessThanOrEqual(64)
      // Full but for a character, unless it is the last one.
      const full = sizes.slice(0, pieces.length - 1)
      expect(Math.min(64, ...full)).toBeGreaterThan(60)
      expect(clientOf(lines)).toEqual(client)
    }
  })

  it('T2: has all that is too long in the fourth piece', () => {
    const client = { ...unknownClient, appName: 'x'.repeat(1000) }

    const sizes = Object.entries(packed(client)).map(([field, { length }]) => [field, length])

    expect(sizes).toEqual([
      ['c', 64],
      ['c1', 64],
      ['c2', 64],
      ['c3', 808],
    ])
  })

  it.each([
    ['empty', { c: '' }, {}],
    ['TABs only', { c: '\t'.repeat(11) }, {}],
    ['more TABs than there are texts', { c: `a${'\t'.repeat(30)}b` }, { appName: 'a' }],
    ['no 1 for an official app', { c: `a${'\t'.repeat(11)}0` }, { appName: 'a' }],
    ['without its first piece', { c1: 'a', c2: 'b', c3: 'c' }, {}],
    ['without a piece in the middle', { c: 'a', c2: 'b\tc' }, { appName: 'ab', appVersion: 'c' }],
    ['with a piece too many', { c: 'a', c4: 'b' }, { appName: 'a' }],
    ['with quotes', { c: '"a"' }, { appName: '"a"' }],
  ])('F6: is read as what is there of it when it is damaged: %s', (_, lines, known) => {
    expect(clientOf(lines)).toEqual({ ...unknownClient, ...known })
  })

  it('F6: makes a record that cannot be read of every escape that is cut or broken', () => {
    for (const c of [String.raw`\x`, '\\', String.raw`\u12`, 'a\t\\', String.raw`\n"`]) {
      expect(decode({ c })).toBeUndefined()
      expect(decode({ c: 'a', c3: c })).toBeUndefined()
    }
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

    expect(storageField('a\n"b"')).toBe(String.raw`s:a\n\"b\"`)
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
