import { describe, expect, it } from 'vitest'

import { escapeText, storedSize, unescapeText } from '../../src/store/storage-texts.ts'

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

describe('escapeText', () => {
  it.each(awkwardTexts)('H1: keeps %s exactly, as the inside of a JSON string', (_, text) => {
    expect(JSON.parse(`"${escapeText(text)}"`)).toBe(text)
    expect(unescapeText(escapeText(text))).toBe(text)
  })

  it('H1: keeps every code unit, on one line of valid UTF-8', () => {
    const text = String.fromCharCode(...Array(0x1_00_00).keys())

    const escaped = escapeText(text)

    expect(unescapeText(escaped) === text).toBe(true)
    expect(escaped).not.toMatch(/[\n\r\t\0]/)
    expect(Buffer.from(escaped).toString() === escaped).toBe(true)
  })

  it('H1: escapes different texts differently', () => {
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

    expect(escapeText('a\n"b"')).toBe(String.raw`a\n\"b\"`)
    expect(new Set(names.map(escapeText)).size).toBe(names.length)
  })

  it('leaves plain text as it is', () => {
    expect(escapeText("Ann O'Neil ž 漢 👩")).toBe("Ann O'Neil ž 漢 👩")
  })
})

describe('unescapeText', () => {
  it.each([String.raw`\x`, '\\', String.raw`a\u12`, String.raw`a"\n`, '\n\\'])(
    'F6: throws for the broken escape %j',
    (text) => {
      expect(() => unescapeText(text)).toThrow(SyntaxError)
    },
  )

  it('leaves text without an escape as it is', () => {
    for (const text of ['', 'ann', 'a"b', 'a\nb']) expect(unescapeText(text)).toBe(text)
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
