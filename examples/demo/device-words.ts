import { BlockList, isIPv6 } from 'node:net'

import type { ActiveSession } from 'koa-user-sessions'

/** A session of a list. */
export interface Device extends ActiveSession {
  /** Known of clients that are no browsers. */
  readonly machineName?: string
}

/** A session's app and device, for people: `Safari 17 on iPhone`. */
export function deviceOf(session: Device): string {
  // Of our own apps the whole version is worth knowing, and people tell them apart by the machine.
  const { appVersion, isOfficialApp, machineName = '' } = session
  const version = isOfficialApp ? appVersion : firstNumber(appVersion)
  const app = [session.appName, version].filter(Boolean).join(' ')
  const system = [session.platform, firstNumber(session.systemVersion)].filter(Boolean).join(' ')
  const device = [session.deviceModel || system, machineName].filter(Boolean).join(', ')
  if (app === '' && device === '') return 'An unknown device'
  if (device === '') return app
  return `${app || 'An unknown app'} on ${device}`
}

/** Each session's words, by its id. Where two are the same, the later sign-in gets a number. */
export function devicesOf(sessions: readonly Device[]): ReadonlyMap<string, string> {
  const seen = new Map<string, number>()
  // By id within one second, so that a number stays with its session.
  const oldestFirst = sessions.toSorted(
    (one, other) => one.dateCreated - other.dateCreated || (one.id < other.id ? -1 : 1),
  )
  return new Map(
    oldestFirst.map((session) => {
      const words = deviceOf(session)
      const count = (seen.get(words) ?? 0) + 1
      seen.set(words, count)
      return [session.id, count === 1 ? words : `${words} (${count})`]
    }),
  )
}

/** What kind of thing it is, as far as its system tells. */
export function kindOf({ platform, deviceModel }: ActiveSession): 'phone' | 'computer' {
  return /android|ios|iphone|ipad/i.test(`${platform} ${deviceModel}`) ? 'phone' : 'computer'
}

/** Where a session was last seen: `Germany`, `this machine`. */
export function placeOfClient({ ip, country, region }: ActiveSession): string {
  if (isIn(thisMachine, ip)) return 'this machine'
  if (isIn(privateNetworks, ip)) return 'a private network'
  if (country === '') return 'an unknown place'
  return region === '' ? nameOfCountry(country) : `${region}, ${nameOfCountry(country)}`
}

const thisMachine = new BlockList()
thisMachine.addSubnet('127.0.0.0', 8, 'ipv4')
thisMachine.addAddress('::1', 'ipv6')

// RFC 1918, RFC 3927, RFC 4193 and RFC 4291 section 2.5.6.
const privateNetworks = new BlockList()
privateNetworks.addSubnet('10.0.0.0', 8, 'ipv4')
privateNetworks.addSubnet('172.16.0.0', 12, 'ipv4')
privateNetworks.addSubnet('192.168.0.0', 16, 'ipv4')
privateNetworks.addSubnet('169.254.0.0', 16, 'ipv4')
privateNetworks.addSubnet('fc00::', 7, 'ipv6')
privateNetworks.addSubnet('fe80::', 10, 'ipv6')

function isIn(list: BlockList, ip: string): boolean {
  return list.check(ip, isIPv6(ip) ? 'ipv6' : 'ipv4')
}

const countries = new Intl.DisplayNames('en', { type: 'region' })

function nameOfCountry(country: string): string {
  // Anything else than a code is a name already.
  return /^[a-z]{2}$/i.test(country) ? (countries.of(country) ?? country) : country
}

function firstNumber(version: string): string {
  return /\d+/.exec(version)?.[0] ?? ''
}
