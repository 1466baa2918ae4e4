import { describe, expect, it, vi } from 'vitest'

import { clientCulture, clientUICulture, clientUtcOffset } from '../../src/client/culture.ts'
import type { HeaderReader } from '../../src/client/description.ts'

function headers(values: Readonly<Record<string, string>>): HeaderReader {
  const map = new Map(Object.entries(values))
  return (name) => map.get(name) ?? ''
}

describe('clientCulture', () => {
  it.each([
    ['a language', 'de', 'de'],
    ['a language and a country', 'de-CH', 'de-CH'],
    ['a script', 'zh-hant-tw', 'zh-Hant-TW'],
    ['a region by number', 'es-419', 'es-419'],
    ['a variant', 'de-DE-1996', 'de-DE-1996'],
    ['an extension', 'en-US-u-hc-h12', 'en-US-u-hc-h12'],
    ['any case', 'EN-us', 'en-US'],
    ['a tag that has a newer one', 'iw', 'he'],
  ])('K4: reads %s in its canonical form from X-Client-Culture', (_, tag, expected) => {
    expect(clientCulture(headers({ 'x-client-culture': tag }))).toBe(expected)
    expect(clientUICulture(headers({ 'x-client-ui-culture': tag }))).toBe(expected)
  })

  it.each([
    ['an underscore', 'en_US'],
    ['a blank', ' '],
    ['blanks in it', 'en US'],
    ['one letter', 'e'],
    ['nine letters', 'abcdefghi'],
    ['a quality value', 'en;q=0.5'],
    ['two tags', 'en,de'],
    ['a wildcard', '*'],
    ['a name', 'English'.repeat(2)],
    ['an empty part', 'en--US'],
    ['a part that ends nothing', 'en-'],
    ['a letter of another alphabet', 'еn'],
    ['a NUL', 'en\0'],
    ['a line break', 'en\n'],
    ['markup', '<script>'],
    ['__proto__', '__proto__'],
    ['a megabyte', `en-${'a'.repeat(2 ** 20)}`],
    ['more than 1 000 characters that were valid otherwise', `en-x${'-abcdefgh'.repeat(120)}`],
  ])('K4: reads %s as null, whatever Accept-Language says', (_, tag) => {
    const header = headers({
      'x-client-culture': tag,
      'x-client-ui-culture': tag,
      'accept-language': 'fr',
    })

    expect(clientCulture(header)).toBeNull()
    expect(clientUICulture(header)).toBeNull()
  })

  it.each([
    ['one range', 'de-CH', 'de-CH'],
    ['the first of equal ones', 'fr,de,en', 'fr'],
    ['the highest quality value', 'fr;q=0.5,de;q=0.9,en;q=0.8', 'de'],
    ['a missing quality value as 1', 'fr;q=0.999,de', 'de'],
    ['what a browser sends', 'de-CH,de;q=0.9,en-US;q=0.8,en;q=0.7', 'de-CH'],
    ['ties in their order', 'en;q=0.3,it;q=0.7,es;q=0.7', 'it'],
    ['blanks where they are allowed', ' fr ; q=0.1 ,\tde ;\tq=0.2 ', 'de'],
    ['a weight in upper case', 'fr;Q=0.1,de;Q=0.2', 'de'],
    ['three decimals', 'fr;q=0.001,de;q=0.002', 'de'],
    ['a weight that ends in a point', 'fr;q=0.,de;q=1.', 'de'],
    ['empty members of the list', ',,de,,', 'de'],
    ['not that of quality 0', 'fr;q=0,de;q=0.000,en;q=0.001', 'en'],
    ['not the wildcard', '*,de;q=0.1', 'de'],
    ['not a weight over 1', 'fr;q=1.5,de;q=0.1', 'de'],
    ['not a negative weight', 'fr;q=-1,de;q=0.1', 'de'],
    ['not four decimals', 'fr;q=0.9999,de;q=0.1', 'de'],
    ['not an unknown parameter', 'fr;level=1,de;q=0.1', 'de'],
    ['not two weights', 'fr;q=1;q=1,de;q=0.1', 'de'],
    ['not blanks in a weight', 'fr;q= 1,de;q=0.1', 'de'],
    ['the first valid language', 'en_US,english language,a,x-y,de;q=0.1', 'de'],
    ['the canonical form', 'ZH-hans-cn', 'zh-Hans-CN'],
  ])('K4: picks the culture from Accept-Language: %s', (_, ranges, expected) => {
    expect(clientCulture(headers({ 'accept-language': ranges }))).toBe(expected)
    expect(clientUICulture(headers({ 'accept-language': ranges }))).toBe(expected)
  })

  it.each([
    ['none', ''],
    ['only the wildcard', '*'],
    ['only ranges of quality 0', 'de;q=0,en;q=0.0'],
    ['only commas', ',,,,'],
    ['only semicolons', ';;;;q=1'],
    ['markup', '<img src=x onerror=alert(1)>'],
    ['controls', '\u001b[31m\0\r\n'],
    ['a lone surrogate', '\ud800'],
    ['names of prototypes', '__proto__,constructor,hasOwnProperty'],
    ['a range that takes more than 1 000 characters', `x-${'a'.repeat(1000)},de`],
    ['blanks before a weight without end', `de${' '.repeat(2000)};q=1`],
  ])('K4: reads %s in Accept-Language as null', (_, ranges) => {
    expect(clientCulture(headers({ 'accept-language': ranges }))).toBeNull()
  })

  it('K4: ignores the range that its limit of 1 000 characters cuts in two', () => {
    const start = '*,'.repeat(499)
    expect(start).toHaveLength(998)

    expect(clientCulture(headers({ 'accept-language': `${start}en` }))).toBe('en')
    expect(clientCulture(headers({ 'accept-language': `${start}en-US` }))).toBeNull()
    expect(clientCulture(headers({ 'accept-language': `de,${start}en-US` }))).toBe('de')
  })

  it('K4: looks up at most 200 canonical tags in a megabyte of ranges', () => {
    const canonical = vi.spyOn(Intl, 'getCanonicalLocales')

    expect(clientCulture(headers({ 'accept-language': 'en-a,'.repeat(2 ** 18) }))).toBeNull()

    expect(canonical.mock.calls.length).toBeGreaterThan(150)
    expect(canonical.mock.calls.length).toBeLessThanOrEqual(200)
    canonical.mockRestore()
  })

  it('K4: keeps the culture and the culture of the user interface apart', () => {
    const header = headers({
      'x-client-culture': 'de-CH',
      'x-client-ui-culture': 'fr-CH',
      'accept-language': 'en',
    })

    expect(clientCulture(header)).toBe('de-CH')
    expect(clientUICulture(header)).toBe('fr-CH')
    expect(clientUICulture(headers({ 'x-client-culture': 'de' }))).toBeNull()
    expect(clientCulture(headers({ 'x-client-ui-culture': 'de' }))).toBeNull()
  })
})

describe('clientUtcOffset', () => {
  it.each([
    ['+120', 120],
    ['120', 120],
    ['-300', -300],
    ['0', 0],
    ['+0', 0],
    ['-0', 0],
    ['+345', 345],
    ['-720', -720],
    ['+840', 840],
  ])('K4: reads %s as minutes east of UTC', (text, expected) => {
    // `toBe` distinguishes 0 from -0.
    expect(clientUtcOffset(headers({ 'x-client-utc-offset': text }))).toBe(expected)
  })

  it.each([
    ['nothing', ''],
    ['too far west', '-721'],
    ['too far east', '841'],
    ['a fraction', '330.5'],
    ['a time', '+02:00'],
    ['the form of ISO 8601', '+0200'],
    ['an exponent', '1e2'],
    ['a hexadecimal number', '0x78'],
    ['two signs', '+-120'],
    ['a sign alone', '-'],
    ['blanks', ' 120'],
    ['a line break', '120\n'],
    ['words', 'Europe/Zurich'],
    ['Infinity', 'Infinity'],
    ['digits of another alphabet', '१२०'],
    ['a long number', '1'.repeat(2 ** 20)],
    ['long zeros', `${'0'.repeat(1000)}120`],
  ])('K4: reads %s as null', (_, text) => {
    expect(clientUtcOffset(headers({ 'x-client-utc-offset': text }))).toBeNull()
  })
})
