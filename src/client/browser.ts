import { getParser } from 'bowser'
import { LRUCache } from 'lru-cache'

import { cleanText, unknownClient } from './description.ts'
import type { ClientDescription, HeaderReader } from './description.ts'
import { hintHeaders, readClientHints } from './hints.ts'
import type { Brand, ClientHints } from './hints.ts'
import { readSystem } from './system.ts'
import { shortVersion } from './version.ts'

const maxLength = 512
const headerNames = ['user-agent', ...hintHeaders]

/** What the headers of a request tell of its client. */
export type BrowserDescription = Pick<
  ClientDescription,
  'appName' | 'appVersion' | 'deviceModel' | 'platform' | 'systemVersion'
>

// There are far fewer browsers than sessions. Each takes 2 KB at most.
const known = new LRUCache<string, ClientDescription>({ max: 500 })

/**
 * The description of a request's client, as {@link describeBrowser} makes it: the same frozen object
 * for the same headers, for as long as these are among the last 500.
 *
 * @param header Reads the request's headers. Of each the first 512 characters count.
 */
export function browserOf(header: HeaderReader): ClientDescription {
  const texts = headerNames.map((name) => header(name).slice(0, maxLength))
  // No header has a line break.
  const key = texts.join('\n')
  const client = known.get(key)
  if (client) return client
  const byName = new Map(headerNames.map((name, index) => [name, texts[index] ?? '']))
  const read = describeBrowser((name) => byName.get(name) ?? '')
  const described = Object.freeze({ ...unknownClient, ...read })
  known.set(key, described)
  return described
}

interface App {
  readonly name: string
  readonly version: string
}

const unknownApp: App = { name: '', version: '' }

// `bot` ends a word, and is not the end of a make of phones. A name is the part before a slash.
const botName =
  /(?<!cu)bot(?![a-z])|crawler|spider|slurp|^(?:facebook|meta-)external|^facebookcatalog|^meta-web|^ia_archiver|-user$|^(?:google(?:other|-)|mediapartners-|apis-|feedfetcher-)|-lighthouse$|^bingpreview/i
const productName = /^[a-z][\w.-]*$/i
const productEnds = /[\s;,()[\]+]+/

// What bowser does not know, or gives the version of something else of.
const apps: readonly (readonly [name: string, pattern: RegExp])[] = [
  ['UC Browser', /\bUCBrowser\/([\d.]+)/],
  ['Opera Mini', /\bOpera Mini\/([\d.]+)/],
  ['Facebook', /\bFBAV\/([\d.]+)/],
  ['Instagram', /\bInstagram ([\d.]+)/],
  ['DuckDuckGo', /\b(?:DuckDuckGo|Ddg)\/([\d.]+)/],
  ['HeadlessChrome', /\bHeadlessChrome\/([\d.]+)/],
  ['PowerShell', /\b(?:Windows)?PowerShell\/([\d.]+)/],
  ['NintendoBrowser', /\bNintendoBrowser\/([\d.]+)/],
  ['PlayStation', /\bPlayStation\b()/],
]

// Programs that are no browsers begin with their own name, browsers with one of these two.
const browserStart = /^(?:Mozilla|Opera)\//
const programStart = /^([a-z][\w.+-]*(?: [a-z][\w.+-]*){0,3}?)(?:[/ ]v?(\d[\d.]*)|[/;]| \(|$)/i

/** By the names that bowser and brands have. A map, because clients name what they like. */
const commonNames: ReadonlyMap<string, string> = new Map([
  ['Google Chrome', 'Chrome'],
  ['Microsoft Edge', 'Edge'],
  ['Samsung Internet for Android', 'Samsung Internet'],
  ['YaBrowser', 'Yandex Browser'],
  ['Yandex', 'Yandex Browser'],
  ['Whale', 'NAVER Whale'],
  ['NAVER Whale Browser', 'NAVER Whale'],
  ['Miui', 'MIUI Browser'],
  ['WebOS Browser', 'webOS'],
])

/** Brands that tell what a browser is made of; whoever is made of it may have a name of its own. */
const commonBrands: ReadonlySet<string> = new Set([
  'Chromium',
  'Google Chrome',
  'Android WebView',
  'Microsoft Edge WebView2',
])

/**
 * Describes a browser, or another program that speaks HTTP, by its User-Agent and Client Hints.
 *
 * Versions are cut to major and minor, and what a browser sends to hide the truth counts as not
 * known. Two things cannot be told apart: Safari on an iPad that asks for desktop sites reads as
 * one on `macOS`, and a browser that says nothing of itself, as Brave without Client Hints, reads
 * as the one that it takes after.
 *
 * @param header Reads the request's headers; whatever they are, it does not throw.
 * @returns Clean texts. A crawler has only `appName` and `appVersion`: what else it says of itself
 *   is the browser that it plays.
 */
export function describeBrowser(header: HeaderReader): BrowserDescription {
  const userAgent = header('user-agent').slice(0, maxLength)
  const bot = findBot(userAgent)
  const hints = readClientHints(header)
  const app = bot ?? findApp(userAgent, hints)
  const system =
    bot === undefined
      ? readSystem(userAgent, hints)
      : { deviceModel: '', platform: '', systemVersion: '' }
  return {
    appName: cleanText(commonNames.get(app.name) ?? app.name),
    appVersion: shortVersion(app.version),
    deviceModel: cleanText(system.deviceModel),
    platform: cleanText(system.platform),
    systemVersion: shortVersion(system.systemVersion),
  }
}

function findBot(userAgent: string): App | undefined {
  for (const product of userAgent.split(productEnds)) {
    const [name = '', version = ''] = product.split('/')
    if (productName.test(name) && botName.test(name)) return { name, version }
  }
  return undefined
}

function findApp(userAgent: string, { brands }: ClientHints): App {
  const named = brands.find(({ name }) => !commonBrands.has(name))
  if (named !== undefined) return named

  const app = findNamedApp(userAgent)
  // Chromium and Chrome have the same User-Agent; so has each browser in another one's window.
  const isChrome = app.name === 'Chrome' || app.name === ''
  return (isChrome ? leastCommon(brands) : undefined) ?? app
}

function leastCommon(brands: readonly Brand[]): Brand | undefined {
  return brands.find(({ name }) => name !== 'Chromium') ?? brands[0]
}

function findNamedApp(userAgent: string): App {
  for (const [name, pattern] of apps) {
    const match = pattern.exec(userAgent)
    if (match !== null) return { name, version: match[1] ?? '' }
  }
  if (!browserStart.test(userAgent)) {
    const [, name = '', version = ''] = programStart.exec(userAgent) ?? []
    return { name, version }
  }
  if (/; wv\)/.test(userAgent)) {
    return { name: 'Android WebView', version: /\bChrome\/([\d.]+)/.exec(userAgent)?.[1] ?? '' }
  }

  // Only what is asked for is parsed: without `true` bowser would look for all that it knows.
  const { name = '', version = '' } = getParser(userAgent, true).getBrowser()
  // What bowser does not know it names after the text up to some slash, which starts so.
  if (name.startsWith('Mozilla')) return unknownApp
  // An app that shows a page within itself has the engine of Safari, but not its name.
  if (name === 'Safari' && !userAgent.includes(' Safari/')) return unknownApp
  return { name, version }
}
