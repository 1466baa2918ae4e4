const maxBytes = 64
// Enough for any name along with the characters that are removed, and cheap for a megabyte of text.
const maxLength = 1000

const breaks = /[\t\n\v\f\r]/g
// Control characters, format characters (such as bidi controls, zero-width characters and the byte
// order mark), lone surrogates, and line and paragraph separators.
const unseen = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu
const blanks = /\s+/g

/** Returns a request's header by its lower-case name, or `''` when it is missing. */
export type HeaderReader = (name: string) => string

/**
 * Describes a session's client, with `''` for unknown texts. The client itself makes these claims:
 * good enough to tell a user's devices apart, never a basis for access.
 */
export interface ClientDescription {
  /** The application's id in the option `applications`. Remote clients only. */
  readonly applicationId: string
  /** Name of the application or browser, such as `Firefox`. */
  readonly appName: string
  /** Version of the application or browser, such as `131` or `17.5`. */
  readonly appVersion: string
  /** Whether the option `applications` declares the application official. */
  readonly isOfficialApp: boolean
  /** Model of the device, such as `Pixel 8` or `iPhone`. Desktop computers have none. */
  readonly deviceModel: string
  /** Name of the operating system, such as `Windows`. */
  readonly platform: string
  /** Version of the operating system, such as `11` or `17.5`. */
  readonly systemVersion: string
  /** The machine's name. Remote clients only. */
  readonly machineName: string
  /** Name of the operating system's user. Remote clients only. */
  readonly systemUserName: string
  /** The installation's own id, which identifies one device over time. Remote clients only. */
  readonly persistentID: string
  /** The country of the client's IP address, in the form in which `locate` returns it. */
  readonly country: string
  /** The part of that country, as `locate` returns it. */
  readonly region: string
}

/** Any properties of a client's description. */
export type KnownOfClient = {
  readonly [Name in keyof ClientDescription]?: ClientDescription[Name] | undefined
}

/** The description of a client about which nothing is known. Frozen. */
export const unknownClient: ClientDescription = Object.freeze({
  applicationId: '',
  appName: '',
  appVersion: '',
  isOfficialApp: false,
  deviceModel: '',
  platform: '',
  systemVersion: '',
  machineName: '',
  systemUserName: '',
  persistentID: '',
  country: '',
  region: '',
})

/** The names of a description's texts. */
export const clientTexts: readonly Exclude<keyof ClientDescription, 'isOfficialApp'>[] = [
  'applicationId',
  'appName',
  'appVersion',
  'deviceModel',
  'platform',
  'systemVersion',
  'machineName',
  'systemUserName',
  'persistentID',
  'country',
  'region',
]

/**
 * Cleans text from a client for the store: removes characters that would hide or reorder the text
 * where it is shown, joins its lines, trims and collapses blanks, and cuts it to 64 bytes of UTF-8.
 * That fits any name, and keeps a client from filling the store. Reads the first 1,000 characters.
 */
export function cleanText(text: string): string {
  const seen = text.slice(0, maxLength).replace(breaks, ' ').replace(unseen, '')
  return cut(seen.replace(blanks, ' ').trim()).trimEnd()
}

function cut(text: string): string {
  let bytes = 0
  let end = 0
  for (const character of text) {
    bytes += Buffer.byteLength(character)
    if (bytes > maxBytes) break
    end += character.length
  }
  return text.slice(0, end)
}

/**
 * Returns a new description: the base with the given properties, of which `''` counts too. Takes
 * only the names of a `ClientDescription`, ignores values of a wrong type and cleans texts, since
 * they may come from a remote client or an app's callback. For a remote client, the caller selects
 * the properties that it may claim: it must not declare itself official.
 */
export function completeClient(
  given: KnownOfClient | null | undefined,
  base: ClientDescription = unknownClient,
): ClientDescription {
  const client = { ...unknownClient }
  for (const source of [base, given ?? {}]) {
    for (const name of clientTexts) {
      const value: unknown = source[name]
      if (typeof value === 'string') client[name] = cleanText(value)
    }
    const isOfficialApp: unknown = source.isOfficialApp
    if (typeof isOfficialApp === 'boolean') client.isOfficialApp = isOfficialApp
  }
  return client
}
