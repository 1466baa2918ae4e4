import { describe, expect, it, vi } from 'vitest'

import { describeBrowser } from '../../src/client/browser.ts'
import type { HeaderReader } from '../../src/client/description.ts'
import {
  androidDevices,
  appleDevices,
  bots,
  consolesAndTelevisions,
  desktopBrowsers,
  programs,
} from './browsers.ts'

const unknown = { appName: '', appVersion: '', deviceModel: '', platform: '', systemVersion: '' }

const blink = 'AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0'
const windowsChrome = `Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${blink} Safari/537.36`
const macChrome = `Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) ${blink} Safari/537.36`
const linuxChrome = `Mozilla/5.0 (X11; Linux x86_64) ${blink} Safari/537.36`
const androidChrome = `Mozilla/5.0 (Linux; Android 10; K) ${blink} Mobile Safari/537.36`

/** Headers by the part of their names that differs. */
interface Sent {
  readonly userAgent?: string
  readonly brands?: string
  readonly fullVersions?: string
  readonly platform?: string
  readonly platformVersion?: string
  readonly model?: string
}

function headers(sent: Sent): HeaderReader {
  const values = new Map([
    ['user-agent', sent.userAgent],
    ['sec-ch-ua', sent.brands],
    ['sec-ch-ua-full-version-list', sent.fullVersions],
    ['sec-ch-ua-mobile', '?0'],
    ['sec-ch-ua-platform', sent.platform],
    ['sec-ch-ua-platform-version', sent.platformVersion],
    ['sec-ch-ua-model', sent.model],
  ])
  return (name) => values.get(name) ?? ''
}

function describeOf(sent: Sent): string[] {
  const { appName, appVersion, deviceModel, platform, systemVersion } = describeBrowser(
    headers(sent),
  )
  return [appName, appVersion, deviceModel, platform, systemVersion]
}

describe('describeBrowser', () => {
  it.each(desktopBrowsers)('K1: recognizes %s by its User-Agent', (_, userAgent, expected) => {
    expect(describeOf({ userAgent })).toEqual(expected)
  })

  it.each(appleDevices)('K1: recognizes %s by its User-Agent', (_, userAgent, expected) => {
    expect(describeOf({ userAgent })).toEqual(expected)
  })

  it.each(androidDevices)(
    'K1: recognizes %s on Android and similar systems',
    (_, userAgent, expected) => {
      expect(describeOf({ userAgent })).toEqual(expected)
    },
  )

  it.each(consolesAndTelevisions)(
    'K1: recognizes %s by its User-Agent',
    (_, userAgent, expected) => {
      expect(describeOf({ userAgent })).toEqual(expected)
    },
  )

  it.each(bots)(
    'K1: recognizes %s, and not the browser that it imitates',
    (_, userAgent, expected) => {
      expect(describeOf({ userAgent })).toEqual(expected)
    },
  )

  it.each(programs)('K1: recognizes the program %s by its User-Agent', (_, userAgent, expected) => {
    expect(describeOf({ userAgent })).toEqual(expected)
  })

  it.each<readonly [string, Sent, readonly string[]]>([
    [
      'Chrome on Windows 11',
      {
        userAgent: windowsChrome,
        brands: '"Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24"',
        platform: '"Windows"',
        platformVersion: '"15.0.0"',
        model: '""',
      },
      ['Chrome', '131', '', 'Windows', '11'],
    ],
    [
      'Chrome on Windows 10',
      {
        userAgent: windowsChrome,
        brands: '"Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24"',
        platform: '"Windows"',
        platformVersion: '"10.0.0"',
      },
      ['Chrome', '131', '', 'Windows', '10'],
    ],
    [
      'the first Windows 11',
      { userAgent: windowsChrome, platform: '"Windows"', platformVersion: '"13.0.0"' },
      ['Chrome', '131', '', 'Windows', '11'],
    ],
    [
      'Windows 8.1',
      { userAgent: windowsChrome, platform: '"Windows"', platformVersion: '"0.3.0"' },
      ['Chrome', '131', '', 'Windows', '8.1'],
    ],
    [
      'Chrome on a Mac, with its version',
      {
        userAgent: macChrome,
        brands: '"Not A(Brand";v="8", "Chromium";v="131", "Google Chrome";v="131"',
        platform: '"macOS"',
        platformVersion: '"14.6.1"',
      },
      ['Chrome', '131', '', 'macOS', '14.6'],
    ],
    [
      'Chrome on a phone, with its model',
      {
        userAgent: androidChrome,
        brands: '"Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24"',
        platform: '"Android"',
        platformVersion: '"14.0.0"',
        model: '"Pixel 8 Pro"',
      },
      ['Chrome', '131', 'Pixel 8 Pro', 'Android', '14'],
    ],
    [
      'Chrome on ChromeOS',
      {
        userAgent: `Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) ${blink} Safari/537.36`,
        brands: '"Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24"',
        platform: '"Chrome OS"',
        platformVersion: '"16033.51.0"',
      },
      ['Chrome', '131', '', 'ChromeOS', '16033.51'],
    ],
    [
      'Chrome with only the platform',
      { userAgent: linuxChrome, platform: '"Linux"', platformVersion: '""' },
      ['Chrome', '131', '', 'Linux', ''],
    ],
    [
      'Chromium',
      {
        userAgent: linuxChrome,
        brands: '"Chromium";v="131", "Not_A Brand";v="24"',
        platform: '"Linux"',
      },
      ['Chromium', '131', '', 'Linux', ''],
    ],
    [
      'Brave',
      {
        userAgent: windowsChrome,
        brands: '"Brave";v="131", "Chromium";v="131", "Not_A Brand";v="24"',
        platform: '"Windows"',
      },
      ['Brave', '131', '', 'Windows', ''],
    ],
    [
      'Vivaldi, by the full list',
      {
        userAgent: windowsChrome,
        brands: '"Chromium";v="130", "Vivaldi";v="7.0", "Not?A_Brand";v="99"',
        fullVersions:
          '"Chromium";v="130.0.6723.137", "Vivaldi";v="7.0.3495.27", "Not?A_Brand";v="99.0.0.0"',
        platform: '"Windows"',
      },
      ['Vivaldi', '7', '', 'Windows', ''],
    ],
    [
      'Opera',
      {
        userAgent: `${macChrome} OPR/115.0.0.0`,
        brands: '"Opera";v="115", "Chromium";v="130", "Not?A_Brand";v="99"',
        platform: '"macOS"',
      },
      ['Opera', '115', '', 'macOS', ''],
    ],
    [
      'Opera GX, by its brand alone',
      {
        userAgent: `${windowsChrome} OPR/115.0.0.0`,
        brands: '"Opera GX";v="115", "Chromium";v="130", "Not?A_Brand";v="99"',
        platform: '"Windows"',
      },
      ['Opera GX', '115', '', 'Windows', ''],
    ],
    [
      'Edge',
      {
        userAgent: `${windowsChrome} Edg/131.0.0.0`,
        brands: '"Microsoft Edge";v="131", "Chromium";v="131", "Not_A Brand";v="24"',
        platform: '"Windows"',
        platformVersion: '"19.0.0"',
      },
      ['Edge', '131', '', 'Windows', '11'],
    ],
    [
      'Samsung Internet',
      {
        userAgent: androidChrome,
        brands: '"Samsung Internet";v="27.0", "Chromium";v="125", "Not.A/Brand";v="24"',
        platform: '"Android"',
        platformVersion: '"14"',
        model: '"SM-S928B"',
      },
      ['Samsung Internet', '27', 'SM-S928B', 'Android', '14'],
    ],
    [
      'DuckDuckGo on Windows, before the browser that it is built on',
      {
        userAgent: `${windowsChrome} Edg/131.0.0.0`,
        brands:
          '"Microsoft Edge WebView2";v="131", "DuckDuckGo";v="131", "Chromium";v="131", "Not_A Brand";v="24"',
        platform: '"Windows"',
      },
      ['DuckDuckGo', '131', '', 'Windows', ''],
    ],
    [
      'a page within an app',
      {
        userAgent: androidChrome,
        brands: '"Android WebView";v="131", "Chromium";v="131", "Not_A Brand";v="24"',
        platform: '"Android"',
      },
      ['Android WebView', '131', '', 'Android', ''],
    ],
    [
      'Edge on an Xbox, which says that it is Windows',
      {
        userAgent: `Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) ${blink} Safari/537.36 Edg/131.0.0.0`,
        brands: '"Microsoft Edge";v="131", "Chromium";v="131", "Not_A Brand";v="24"',
        platform: '"Windows"',
        platformVersion: '"10.0.0"',
      },
      ['Edge', '131', 'Xbox One', 'Xbox', ''],
    ],
    [
      'an app on Electron, by its User-Agent',
      {
        userAgent: `${windowsChrome} Electron/33.2.0`,
        brands: '"Chromium";v="130", "Not?A_Brand";v="99"',
        platform: '"Windows"',
      },
      ['Electron', '33.2', '', 'Windows', ''],
    ],
    [
      'a crawler, and not the browser that it imitates',
      {
        userAgent: `${androidChrome} (compatible; Googlebot/2.1; +http://www.google.com/bot.html)`,
        brands: '"Google Chrome";v="131", "Chromium";v="131"',
        platform: '"Android"',
        model: '"Nexus 5X"',
      },
      ['Googlebot', '2.1', '', '', ''],
    ],
    [
      'a phone whose User-Agent is of another platform',
      { userAgent: linuxChrome, platform: '"Android"', platformVersion: '"14.0.0"' },
      ['Chrome', '131', '', 'Android', '14'],
    ],
    [
      'a computer whose User-Agent is of a phone, as tools for testing pages send it',
      {
        userAgent: `Mozilla/5.0 (Linux; Android 12; SM-A515F) ${blink} Mobile Safari/537.36`,
        platform: '"Windows"',
      },
      ['Chrome', '131', '', 'Windows', ''],
    ],
    [
      'an older phone, where the hints tell the platform only',
      {
        userAgent: `Mozilla/5.0 (Linux; Android 12; SM-A515F) ${blink} Mobile Safari/537.36`,
        platform: '"Android"',
      },
      ['Chrome', '131', 'SM-A515F', 'Android', '12'],
    ],
    [
      'a browser that sends hints alone',
      {
        brands: '"Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24"',
        platform: '"Linux"',
      },
      ['Chrome', '131', '', 'Linux', ''],
    ],
  ])('K1: recognizes %s by Client Hints', (_, sent, expected) => {
    expect(describeOf(sent)).toEqual(expected)
  })

  it.each([
    '"Not(A:Brand";v="8"',
    '"Not_A Brand";v="24"',
    '" Not A;Brand";v="99"',
    '"Not/A)Brand";v="8"',
    '"Not?A_Brand";v="99"',
    '"Not.A/Brand";v="24"',
    '";Not A Brand";v="99"',
    '"\\\\Not;A\\"Brand";v="99"',
    '"(Not(A:Brand";v="8"',
  ])('K1: skips %s, which stands for no browser', (brand) => {
    const brands = `${brand}, "Chromium";v="131", "Google Chrome";v="131"`

    expect(describeBrowser(headers({ brands }))).toEqual({
      ...unknown,
      appName: 'Chrome',
      appVersion: '131',
    })
  })

  it('K1: learns nothing about a client without headers', () => {
    expect(describeBrowser(() => '')).toEqual(unknown)
  })

  it.each([
    ['one word of punctuation', '()'],
    ['a sentence', 'who wants to know this of me today?'],
    ['Mozilla alone', 'Mozilla/5.0'],
    ['Mozilla and a list', 'Mozilla/5.0 (compatible)'],
    ['Mozilla and an unknown product', 'Mozilla/5.0 Thing/1.0 (x'],
    ['markup', '<script>alert(1)</script>'],
    ['SQL', "' OR 1=1 --"],
    ['a format string', '%s%n%d'],
    ['an expression', '${jndi:ldap://x/y}'],
    ['__proto__', '__proto__/1.0'],
    ['blanks', '   '],
    ['controls', '\u001b]0;x\u0007\0'],
    ['lone surrogates', '\ud800\udc00\ud800'],
    ['opened lists', '('.repeat(1000)],
  ])('H1: learns nothing from the User-Agent of %s', (_, userAgent) => {
    expect(describeBrowser(headers({ userAgent }))).toEqual(unknown)
  })

  it.each([
    ['no quotes', 'Google Chrome;v=131'],
    ['one quote', '"Google Chrome'],
    ['a quote that is escaped', '"Google Chrome\\";v="131"'],
    ['an escape at the end', '"\\'],
    ['a version that is not text', '"Google Chrome";v=131'],
    ['a version without an end', '"Google Chrome";v="131'],
    ['a boolean', '?1'],
    ['bytes', ':R29vZ2xlIENocm9tZQ==:'],
    ['a dictionary', 'a=1, b=("x" "y");q=1'],
    ['quotes only', '"'.repeat(1000)],
    ['backslashes only', '\\'.repeat(1000)],
    ['nulls', '\0\0\0'],
  ])('H1: learns nothing from hints that are %s', (_, garbage) => {
    const description = describeBrowser(
      headers({
        brands: garbage,
        fullVersions: garbage,
        platform: garbage,
        platformVersion: garbage,
        model: garbage,
      }),
    )

    expect(description).toEqual(unknown)
  })

  it('K1: uses the short list of brands when the full one is malformed', () => {
    const sent = { brands: '"Brave";v="131"', fullVersions: '"Brave";v=131' }

    expect(describeOf(sent).slice(0, 2)).toEqual(['Brave', '131'])
  })

  it('K2: cleans the text of the hints, and cuts it to 64 bytes', () => {
    const dirty = `\u202ePixel\u200b\u001b 8${'😀'.repeat(30)}`

    const description = describeBrowser(
      headers({
        brands: `"${dirty}";v="131"`,
        platform: '"Android"',
        platformVersion: '"<b>14</b>"',
        model: `"${dirty}"`,
      }),
    )

    const clean = `Pixel 8${'😀'.repeat(14)}`
    expect(description).toEqual({
      appName: clean,
      appVersion: '131',
      deviceModel: clean,
      platform: 'Android',
      systemVersion: '',
    })
  })

  it('K2: keeps only the numbers of a version', () => {
    const userAgent = 'Shop/1.2.3<script>alert(1)</script>'

    expect(describeOf({ userAgent })).toEqual(['Shop', '1.2', '', '', ''])
    expect(describeOf({ userAgent: `Shop/${'9'.repeat(400)}.1` })[1]).toBe('999999999')
  })

  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
    'H1: treats %s as a name like any other',
    (name) => {
      const description = describeBrowser(
        headers({ userAgent: windowsChrome, brands: `"${name}";v="1"`, platform: `"${name}"` }),
      )

      expect(description).toMatchObject({ appName: name, platform: 'Windows' })
    },
  )

  it.each([
    ['letters', 'a'],
    ['blanks', ' '],
    ['opened lists', '('],
    ['digits and dots', 'Version/1.1.1.1'],
    ['versions that nearly match', 'Chrome/1_1._1'],
    ['slashes and blanks', 'a/ ('],
    ['Macs that are not', 'Macintosh FxiOS'],
    ['bots that are not', 'bota-'],
    ['slackbots', 'slackbot-'],
    ['brands that do not end', '"a\\"'],
    ['semicolons', ';Android;'],
  ])(
    'H1: runs its own patterns, and those of bowser, on the start of a megabyte of %s only',
    (_, part) => {
      const long = part.repeat(2 ** 20 / part.length)
      const spy = vi.spyOn(RegExp.prototype, 'exec')

      const description = describeBrowser(() => long)
      const ofStart = describeBrowser(() => long.slice(0, 1000))
      const lengths = spy.mock.calls.map(([text]) => text.length)
      spy.mockRestore()

      expect(description).toEqual(ofStart)
      // `test`, `match`, `replace` and `split` call `exec` when it is not the original one.
      expect(lengths.length).toBeGreaterThan(10)
      expect(Math.max(...lengths)).toBeLessThanOrEqual(1000)
    },
  )

  it('H1: reads only the first 512 characters of a User-Agent', () => {
    const pad = 'x'.repeat(500)

    expect(describeOf({ userAgent: `curl/8.5 ${pad} Googlebot/2.1` })[0]).toBe('curl')
    expect(describeOf({ userAgent: `curl/8.5 ${pad.slice(20)} Googlebot/2.1` })[0]).toBe(
      'Googlebot',
    )
  })

  it('H1: reads only the first 256 characters of a hint', () => {
    const platform = '"Android"'
    const model = '"Pixel 8"'

    expect(describeOf({ platform, model: model.padStart(256) })[2]).toBe('Pixel 8')
    expect(describeOf({ platform, model: model.padStart(257) })[2]).toBe('')
  })

  it('H1: never throws, whatever mixture the headers hold', () => {
    const parts = [
      'Mozilla/5.0',
      'Opera/9',
      ' (Macintosh; ',
      'Mac OS X 10_',
      ' (iPad; CPU OS _',
      ' like Mac OS X)',
      'Android ',
      ';K)',
      'Windows NT ',
      'Windows Phone',
      'Xbox)',
      'PlayStation 9',
      'Version/',
      'Safari/',
      'CriOS/',
      'bot/',
      '"',
      '\\',
      ';v="',
      ', ',
      '\0',
      '\ud800',
      '😀',
      '.._',
      '99999999999',
    ]
    let state = 1
    const random = (below: number): number => {
      // A generator of its own, so that every run has the same mixtures.
      state = (state * 48_271) % 2_147_483_647
      return state % below
    }

    for (let round = 0; round < 3000; round += 1) {
      const mixture = (): string =>
        Array.from({ length: 1 + random(12) }, () => parts[random(parts.length)]).join('')
      const description = describeBrowser(mixture)
      for (const text of Object.values(description)) {
        expect(text.isWellFormed()).toBe(true)
        expect(Buffer.byteLength(text)).toBeLessThanOrEqual(64)
      }
    }
  })
})
