import { getParser } from 'bowser'

import type { ClientDescription } from './description.ts'
import type { ClientHints } from './hints.ts'

/** The device and operating system of a client. */
export type SystemDescription = Pick<
  ClientDescription,
  'deviceModel' | 'platform' | 'systemVersion'
>

/** By the names that bowser and Client Hints have. A map, because clients name what they like. */
const platformNames: ReadonlyMap<string, string> = new Map([
  ['Windows', 'Windows'],
  ['macOS', 'macOS'],
  ['iOS', 'iOS'],
  ['Android', 'Android'],
  ['Linux', 'Linux'],
  ['Fuchsia', 'Fuchsia'],
  ['Chrome OS', 'ChromeOS'],
  ['Chromium OS', 'ChromeOS'],
  ['WebOS', 'webOS'],
  ['Windows Phone', 'Windows Phone'],
  ['HarmonyOS', 'HarmonyOS'],
  ['Tizen', 'Tizen'],
  ['Roku', 'Roku'],
  ['BlackBerry', 'BlackBerry'],
])

// Consoles carry the name of the system that they are made of, or one that bowser does not know.
const consoles: readonly (readonly [platform: string, pattern: RegExp])[] = [
  ['Xbox', /\b(Xbox (?:One|Series [SX]))\b/],
  ['Xbox', /\b(Xbox)[;)]/],
  ['PlayStation', /\b(PlayStation (?:\d|Vita|Portable))(?:[/ ]([\d.]+))?/],
  ['Nintendo', /\b(Nintendo (?:Switch(?: 2)?|3DS|WiiU))\b/],
]

const otherPlatforms: readonly (readonly [platform: string, pattern: RegExp])[] = [
  ['KaiOS', /\bKAIOS\/([\d.]+)/],
  ['FreeBSD', /\bFreeBSD\b()/],
  ['OpenBSD', /\bOpenBSD\b()/],
  // Apps say so, browsers have another form.
  ['iOS', /\biOS ([\d.]+)/],
]

const appleDevice = /\((iPhone|iPad|iPod)\b/
// The first form is a browser's, the second an app's.
const appleSystem = /\bOS (\d+(?:_\d+)*) like Mac OS X|\biOS (\d+(?:\.\d+)*)/
const iosBrowser = /\b(?:FxiOS|CriOS|EdgiOS|OPiOS)\//
const firstIpados = 13
const firstFrozenSafari = 26

// What follows the version of Android in the list of the system's properties, and is no model.
const noModel = /^(?:K|U|wv|Mobile|Tablet|TV|rv:.*|Opera Mini\/.*|[a-z]{2}(?:[-_][a-z]{2})?)$/i
const modelEnd = / Build\b.*$/
const makerStart = /^(?:SAMSUNG|HUAWEI) /

/**
 * Finds the device and the operating system. A console's own name goes before all else, then what
 * Client Hints say, then the User-Agent.
 *
 * @param userAgent Of limited length.
 * @param hints Of the same request.
 */
export function readSystem(userAgent: string, hints: ClientHints): SystemDescription {
  for (const [platform, pattern] of consoles) {
    const match = pattern.exec(userAgent)
    if (match === null) continue
    return { deviceModel: match[1] ?? '', platform, systemVersion: match[2] ?? '' }
  }

  const said = readUserAgent(userAgent)
  const platform = platformNames.get(hints.platform)
  if (platform === undefined) return said
  // The User-Agent of another platform tells nothing of this one.
  const same = platform === said.platform ? said : { deviceModel: '', systemVersion: '' }
  return {
    deviceModel: hints.model === '' ? same.deviceModel : hints.model,
    platform,
    systemVersion: versionOf(platform, hints.platformVersion) || same.systemVersion,
  }
}

// https://learn.microsoft.com/microsoft-edge/web-platform/how-to-detect-win11: 13 and up is
// Windows 11, 1 to 10 is Windows 10, and of 0 the minor number tells the older ones.
function versionOf(platform: string, version: string): string {
  if (platform !== 'Windows') return version
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major >= 13) return '11'
  if (major >= 1) return '10'
  return ['', '7', '8', '8.1'][minor] ?? ''
}

function readUserAgent(userAgent: string): SystemDescription {
  const [, device] = appleDevice.exec(userAgent) ?? []
  if (device !== undefined) return readAppleDevice(userAgent, device)
  for (const [platform, pattern] of otherPlatforms) {
    const match = pattern.exec(userAgent)
    if (match === null) continue
    return { deviceModel: '', platform, systemVersion: match[1] ?? '' }
  }
  // Browsers for iOS that ask for the desktop site, as all do on an iPad, say where they are by
  // their own names only; the version that they add is not the system's.
  if (userAgent.includes('Macintosh') && iosBrowser.test(userAgent)) {
    return { deviceModel: 'iPad', platform: 'iPadOS', systemVersion: '' }
  }

  const { name = '', version = '', versionName = '' } = systemOf(userAgent)
  const platform = platformNames.get(name) ?? ''
  if (platform === 'Windows') {
    // Windows 11 says `NT 10.0` too, so that this is either.
    return { deviceModel: '', platform, systemVersion: version === 'NT 10.0' ? '' : versionName }
  }
  if (platform === 'macOS') {
    // All later versions say `10.15.7` too, or `10.15` in Firefox. No model either: it may be an
    // iPad, which says that it is a Macintosh.
    const isFrozen = version === '10.15.7' || version === '10.15'
    return { deviceModel: '', platform, systemVersion: isFrozen ? '' : version }
  }
  return platform === 'Android'
    ? readAndroid(userAgent, version)
    : { deviceModel: '', platform, systemVersion: version }
}

function systemOf(userAgent: string): { name?: string; version?: string; versionName?: string } {
  return userAgent === '' ? {} : getParser(userAgent, true).getOS()
}

function readAppleDevice(userAgent: string, deviceModel: string): SystemDescription {
  const [, ofBrowser, ofApp = ''] = appleSystem.exec(userAgent) ?? []
  const systemVersion = ofBrowser ?? ofApp
  const major = Number.parseInt(systemVersion, 10)
  // The iPad's system has a name of its own since version 13.
  const platform = deviceModel === 'iPad' && !(major < firstIpados) ? 'iPadOS' : 'iOS'
  // Safari has the system's version. Since 26 the system says 18 all the same.
  const safari = Number.parseInt(/ Version\/(\d+)/.exec(userAgent)?.[1] ?? '', 10)
  const isFrozen = safari >= firstFrozenSafari && major < firstFrozenSafari
  return { deviceModel, platform, systemVersion: isFrozen ? '' : systemVersion }
}

function readAndroid(userAgent: string, systemVersion: string): SystemDescription {
  const platform = 'Android'
  const properties = (/\(([^)]*)/.exec(userAgent)?.[1] ?? '').split(';').map((text) => text.trim())
  const at = properties.findIndex((text) => text.startsWith('Android'))
  const next = at < 0 ? [] : properties.slice(at + 1)
  // Chrome and its kin say `Android 10; K` for every device.
  if (next[0] === 'K') return { deviceModel: '', platform, systemVersion: '' }
  const model = next.map((text) => text.replace(modelEnd, '')).find((text) => !noModel.test(text))
  return { deviceModel: model?.replace(makerStart, '') ?? '', platform, systemVersion }
}
