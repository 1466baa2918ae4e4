import { getParser } from 'bowser'

import type { ClientDescription } from './description.ts'
import type { ClientHints } from './hints.ts'

/** A client's device and operating system. */
export type SystemDescription = Pick<
  ClientDescription,
  'deviceModel' | 'platform' | 'systemVersion'
>

// Keyed by the names in bowser and in Client Hints. A map, since a client may send any name.
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

// Consoles name the system that theirs is built on, or one that bowser does not know.
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
  // The form that apps use; browsers have another one.
  ['iOS', /\biOS ([\d.]+)/],
]

const appleDevice = /\((iPhone|iPad|iPod)\b/
// The first form comes from browsers, the second from apps.
const appleSystem = /\bOS (\d+(?:_\d+)*) like Mac OS X|\biOS (\d+(?:\.\d+)*)/
const iosBrowser = /\b(?:FxiOS|CriOS|EdgiOS|OPiOS)\//
const firstIpados = 13
const firstFrozenSafari = 26

// Properties that may follow the Android version and are not a model.
const noModel = /^(?:K|U|wv|Mobile|Tablet|TV|rv:.*|Opera Mini\/.*|[a-z]{2}(?:[-_][a-z]{2})?)$/i
const modelEnd = / Build\b.*$/
const makerStart = /^(?:SAMSUNG|HUAWEI) /

/**
 * Finds a client's device and operating system. A console's name takes precedence, then Client
 * Hints, then the User-Agent, whose length the caller must limit.
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
  // A User-Agent that names another platform says nothing about this one.
  const same = platform === said.platform ? said : { deviceModel: '', systemVersion: '' }
  return {
    deviceModel: hints.model === '' ? same.deviceModel : hints.model,
    platform,
    systemVersion: versionOf(platform, hints.platformVersion) || same.systemVersion,
  }
}

// https://learn.microsoft.com/microsoft-edge/web-platform/how-to-detect-win11: 13 and up is
// Windows 11, 1 to 10 is Windows 10, and with 0 the minor number selects an older Windows.
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
  // An iOS browser that asks for the desktop site, as all do on an iPad, shows the platform by its
  // own name only. The version that it adds is not the system's.
  if (userAgent.includes('Macintosh') && iosBrowser.test(userAgent)) {
    return { deviceModel: 'iPad', platform: 'iPadOS', systemVersion: '' }
  }

  const { name = '', version = '', versionName = '' } = systemOf(userAgent)
  const platform = platformNames.get(name) ?? ''
  if (platform === 'Windows') {
    // Windows 10 and 11 both report `NT 10.0`.
    return { deviceModel: '', platform, systemVersion: version === 'NT 10.0' ? '' : versionName }
  }
  if (platform === 'macOS') {
    // All later versions report `10.15.7` too, or `10.15` in Firefox. The model stays unknown,
    // since an iPad also claims to be a Macintosh.
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
  // The iPad's system has been called iPadOS since version 13.
  const platform = deviceModel === 'iPad' && !(major < firstIpados) ? 'iPadOS' : 'iOS'
  // Safari carries the system's version; the system itself still reports 18 since version 26.
  const safari = Number.parseInt(/ Version\/(\d+)/.exec(userAgent)?.[1] ?? '', 10)
  const isFrozen = safari >= firstFrozenSafari && major < firstFrozenSafari
  return { deviceModel, platform, systemVersion: isFrozen ? '' : systemVersion }
}

function readAndroid(userAgent: string, systemVersion: string): SystemDescription {
  const platform = 'Android'
  const properties = (/\(([^)]*)/.exec(userAgent)?.[1] ?? '').split(';').map((text) => text.trim())
  const at = properties.findIndex((text) => text.startsWith('Android'))
  const next = at < 0 ? [] : properties.slice(at + 1)
  // Browsers based on Chromium report `Android 10; K` for every device.
  if (next[0] === 'K') return { deviceModel: '', platform, systemVersion: '' }
  const model = next.map((text) => text.replace(modelEnd, '')).find((text) => !noModel.test(text))
  return { deviceModel: model?.replace(makerStart, '') ?? '', platform, systemVersion }
}
