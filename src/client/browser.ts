import { getParser } from 'bowser'
import { LRUCache } from 'lru-cache'

import {
  cleanText,
  unknownClient,
  type ClientDescription,
  type HeaderReader,
} from './description.ts'
import { hintHeaders, readClientHints, type Brand, type ClientHints } from './hints.ts'
import { readSystem } from './system.ts'
import { shortVersion } from './version.ts'

const maxLength = 512
const headerNames = ['user-agent', ...hintHeaders]

/** The part of a client's description that a request's headers reveal. */
export type BrowserDescription = Pick<
  ClientDescription,
  'appName' | 'appVersion' | 'deviceModel' | 'platform' | 'systemVersion'
>

// There are far fewer browsers than sessions. An entry takes 2 KB at most.
const known = new LRUCache<string, ClientDescription>({ max: 500 })

/**
 * Describes a request's client by {@link describeBrowser}, from the first 512 characters of each
 * header. Returns the same frozen object for the same headers while it is among the last 500 used.
 */
export function browserOf(header: HeaderReader): ClientDescription {
  const texts = headerNames.map((name) => header(name).slice(0, maxLength))
  // A header cannot contain a line break.
  const key = texts.join('\n')
  const client = known.get(key)
  if (client) return client
  const byName = new Map(headerNames.map((name, index) => [name, texts[index] ?? '']))
  const read = describeBrowser((name) => byName.get(name) ?? '')
  const described = Object.freeze({ ...unknownClient, ...read })
  known.set(key, described)
  return described
}

const unknownApp: Brand = { name: '', version: '' }

// `bot` must end a word, but not the phone brand Cubot. A name is the part before the slash.
const botName =
  /(?<!cu)bot(?![a-z])|crawler|spider|slurp|^(?:facebook|meta-)external|^facebookcatalog|^meta-web|^ia_archiver|-user$|^(?:google(?:other|-)|mediapartners-|apis-|feedfetcher-)|-lighthouse$|^bingpreview/i
const productName = /^[a-z][\w.-]*$/i
const productEnds = /[\s;,()[\]+]+/

// Apps that bowser does not know, or for which it reports the version of something else.
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

// A browser's User-Agent begins with one of these two names, any other program's with its own.
const browserStart = /^(?:Mozilla|Opera)\//
const programStart = /^([a-z][\w.+-]*(?: [a-z][\w.+-]*){0,3}?)(?:[/ ]v?(\d[\d.]*)|[/;]| \(|$)/i

// Keyed by the names in bowser and in brands. A map, since a client may send any name.
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

// Brands of an engine: a browser built on one may add a brand of its own.
const commonBrands: ReadonlySet<string> = new Set([
  'Chromium',
  'Google Chrome',
  'Android WebView',
  'Microsoft Edge WebView2',
])

/**
 * Describes a browser, or another HTTP client, by its User-Agent and Client Hints, and never
 * throws. All texts are clean, versions are cut to major and minor, and values that browsers freeze
 * count as unknown. A crawler gets only `appName` and `appVersion`: the rest is the browser that it
 * plays.
 *
 * Two clients look like others: Safari on an iPad that asks for desktop sites reads as Safari on
 * `macOS`, and a browser that does not name itself, such as Brave without Client Hints, reads as
 * the browser that it is built on.
 */
export function describeBrowser(header: HeaderReader): BrowserDescription {
  const userAgent = header('user-agent').slice(0, maxLength)
  const bot = findBot(userAgent)
  const hints = readClientHints(header)
  const app = bot ?? findApp(userAgent, hints)
  const system = bot ? unknownClient : readSystem(userAgent, hints)
  return {
    appName: cleanText(commonNames.get(app.name) ?? app.name),
    appVersion: shortVersion(app.version),
    deviceModel: cleanText(system.deviceModel),
    platform: cleanText(system.platform),
    systemVersion: shortVersion(system.systemVersion),
  }
}

function findBot(userAgent: string): Brand | undefined {
  for (const product of userAgent.split(productEnds)) {
    const [name = '', version = ''] = product.split('/')
    if (productName.test(name) && botName.test(name)) return { name, version }
  }
  return undefined
}

function findApp(userAgent: string, { brands }: ClientHints): Brand {
  const named = brands.find(({ name }) => !commonBrands.has(name))
  if (named !== undefined) return named

  const app = findNamedApp(userAgent)
  // Chromium, Chrome and a browser embedded in an app share one User-Agent: only brands differ.
  if (app.name !== 'Chrome' && app.name !== '') return app
  return brands.find(({ name }) => name !== 'Chromium') ?? brands[0] ?? app
}

function findNamedApp(userAgent: string): Brand {
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

  // `true` makes bowser parse lazily: only the browser, not the system and the device too.
  const { name = '', version = '' } = getParser(userAgent, true).getBrowser()
  // An unknown browser gets the text before some slash as its name, which then begins so.
  if (name.startsWith('Mozilla')) return unknownApp
  // An app's embedded web view has Safari's engine, but does not carry its name.
  if (name === 'Safari' && !userAgent.includes(' Safari/')) return unknownApp
  return { name, version }
}
