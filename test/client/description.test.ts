import { describe, expect, it } from 'vitest'

import { cleanText, completeClient, unknownClient } from '../../src/client/description.ts'

const escape = '\u001b'

describe('cleanText', () => {
  it.each([
    ['ordinary text', 'Pixel 8 Pro', 'Pixel 8 Pro'],
    ['nothing', '', ''],
    ['only blanks', ' \u00a0\u3000 ', ''],
    ['letters of any alphabet', 'Zoë 山田 Дарья', 'Zoë 山田 Дарья'],
    ['an emoji', 'Ann 📱', 'Ann 📱'],
  ])('K2: keeps all that is visible of %s', (_, text, expected) => {
    expect(cleanText(text)).toBe(expected)
  })

  it.each([
    ['a NUL', 'a\0b', 'ab'],
    ['an escape sequence', `${escape}[31mred${escape}[0m`, '[31mred[0m'],
    ['a C1 control', 'a\u009bb', 'ab'],
    ['DEL', 'a\u007fb', 'ab'],
    ['the Arabic letter mark', 'a\u061cb', 'ab'],
    ['a left-to-right mark', 'a\u200eb', 'ab'],
    ['a right-to-left mark', 'a\u200fb', 'ab'],
    ['bidi embeddings and overrides', '\u202aa\u202bb\u202cc\u202dd\u202ee', 'abcde'],
    ['bidi isolates', '\u2066a\u2067b\u2068c\u2069d', 'abcd'],
    ['zero-width characters', 'a\u200bb\u200cc\u200dd\u2060e', 'abcde'],
    ['a byte order mark', '\ufeffab\ufeff', 'ab'],
    ['separators of lines and paragraphs', 'a\u2028b\u2029c', 'abc'],
    ['a soft hyphen', 'a\u00adb', 'ab'],
    ['an invisible tag', 'a\u{e0041}b', 'ab'],
    ['a high surrogate alone', 'a\ud83db', 'ab'],
    ['a low surrogate alone', 'a\ude00b', 'ab'],
    ['surrogates in the wrong order', 'a\ude00\ud83db', 'ab'],
  ])('K2: removes %s', (_, text, expected) => {
    expect(cleanText(text)).toBe(expected)
  })

  it.each([
    ['line breaks and tabs', 'a\r\nSet-Cookie:\tb\v\fc', 'a Set-Cookie: b c'],
    ['several blanks', 'a  \u00a0 b', 'a b'],
    ['blanks that were apart', 'a \u200b b', 'a b'],
    ['blanks at its ends', '  a b  ', 'a b'],
    ['blanks after what is removed', '\u200b a \ufeff', 'a'],
  ])('K2: reduces each run of %s to one blank or none', (_, text, expected) => {
    expect(cleanText(text)).toBe(expected)
  })

  it.each([
    ['64 bytes', 'a'.repeat(64), 'a'.repeat(64)],
    ['65 bytes', 'a'.repeat(65), 'a'.repeat(64)],
    ['letters of two bytes', 'é'.repeat(40), 'é'.repeat(32)],
    ['letters of three bytes', '山'.repeat(40), '山'.repeat(21)],
    ['an emoji that ends at the cut', `${'a'.repeat(60)}😀b`, `${'a'.repeat(60)}😀`],
    ['an emoji across the cut', `${'a'.repeat(61)}😀`, 'a'.repeat(61)],
    ['a short letter behind one that was cut', `${'a'.repeat(61)}😀b`, 'a'.repeat(61)],
    ['a blank at the cut', `${'a'.repeat(63)} b`, 'a'.repeat(63)],
  ])('K2: cuts to 64 bytes, between characters: %s', (_, text, expected) => {
    expect(cleanText(text)).toBe(expected)
  })

  it.each([
    ['letters', 'a'],
    ['blanks', ' '],
    ['zero-width characters', '\u200b'],
    ['lone surrogates', '\ud800'],
    ['line breaks', '\r\n'],
    ['blanks and letters', ' \t a'],
  ])('K2: reads only the start of a megabyte of %s', (_, part) => {
    const long = part.repeat(2 ** 20 / part.length)

    const cleaned = cleanText(`${long}end`)

    // A limit on what is read, so that no pattern can be slow on the rest.
    expect(cleaned).toBe(cleanText(long.slice(0, 2000)))
    expect(Buffer.byteLength(cleaned)).toBeLessThanOrEqual(64)
  })

  it('K2: leaves text that it has cleaned as it is', () => {
    const characters = [
      'a',
      ' ',
      'é',
      '山',
      '😀',
      '\ud800',
      '\udc00',
      '\u200d',
      '\u202e',
      '\t',
      '\0',
    ]

    for (let seed = 1; seed <= 2000; seed += 1) {
      const text = Array.from(
        { length: 80 },
        (_, at) => characters[(seed * (at + 7) * (at + 13)) % characters.length],
      ).join('')
      const once = cleanText(text)
      expect(cleanText(once)).toBe(once)
      expect(once.isWellFormed()).toBe(true)
      expect(Buffer.byteLength(once)).toBeLessThanOrEqual(64)
    }
  })
})

describe('completeClient', () => {
  const known = completeClient({
    applicationId: 'till',
    appName: 'Till',
    appVersion: '2.1',
    isOfficialApp: true,
    deviceModel: 'iPad',
    platform: 'iPadOS',
    systemVersion: '17.5',
    machineName: 'till-3',
    systemUserName: 'ann',
    country: 'CH',
    region: 'Zürich',
  })

  it('K1: returns the unknown client when nothing is given', () => {
    expect(completeClient({})).toEqual(unknownClient)
    expect(Object.values(unknownClient).filter(Boolean)).toEqual([])
    expect(Object.keys(unknownClient)).toEqual(Object.keys(known))
  })

  it.each([null, undefined])(
    'K1: treats %s as nothing given, as a callback may return it',
    (given) => {
      expect(completeClient(given, known)).toEqual(known)
    },
  )

  it('K1: adds what is given to what is known', () => {
    expect(completeClient({ appName: 'Shop', isOfficialApp: false }, known)).toEqual({
      ...known,
      appName: 'Shop',
      isOfficialApp: false,
    })
  })

  it('K1: treats an empty text as given, and undefined as not given', () => {
    const given: object = { region: '', country: undefined }

    expect(completeClient(given, known)).toEqual({ ...known, region: '' })
  })

  it('K1: returns a new object, and changes no existing one', () => {
    const given = Object.freeze({ appName: ' Shop ' })

    const client = completeClient(given)

    expect(client.appName).toBe('Shop')
    expect(client).not.toBe(unknownClient)
    expect(unknownClient.appName).toBe('')
    expect(Object.isFrozen(unknownClient)).toBe(true)
  })

  it('K2: cleans every text, including the known ones', () => {
    const names = Object.keys(unknownClient).filter((name) => name !== 'isOfficialApp')
    const dirty = Object.fromEntries(names.map((name) => [name, ` a\u202e\n${'b'.repeat(99)}`]))
    const clean = Object.fromEntries(names.map((name) => [name, `a ${'b'.repeat(62)}`]))

    expect(completeClient(dirty)).toEqual({ ...clean, isOfficialApp: false })
    expect(completeClient({}, { ...unknownClient, ...dirty })).toEqual({
      ...clean,
      isOfficialApp: false,
    })
  })

  it.each([
    ['a number', 1],
    ['null', null],
    ['an array', ['Till']],
    ['an object', { toString: () => 'Till' }],
    ['a String', Object('Till')],
    ['a symbol', Symbol('Till')],
    ['a function', () => 'Till'],
    ['a bigint', 1n],
  ])('K1: ignores %s, which is neither a text nor true or false', (_, value) => {
    const names = Object.keys(unknownClient)
    const given: object = Object.fromEntries(names.map((name) => [name, value]))

    expect(completeClient(given, known)).toEqual(known)
  })

  it('K1: ignores a text in place of a boolean, and a boolean in place of a text', () => {
    const given: object = { isOfficialApp: 'true', appName: true }

    expect(completeClient(given, known)).toEqual(known)
  })

  it('H1: ignores names that it does not know, and leaves every prototype alone', () => {
    const given: object = JSON.parse(
      '{"__proto__":{"appName":"x","polluted":"x"},"constructor":"x","ip":"x","appName":"Shop"}',
    )

    const client = completeClient(given)

    expect(client).toEqual({ ...unknownClient, appName: 'Shop' })
    expect(Object.getPrototypeOf(client)).toBe(Object.prototype)
    expect({}).not.toHaveProperty('polluted')
  })
})
