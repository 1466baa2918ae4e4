const maxBytes = 64
// Enough for any name with room for what is taken out of it, and little for a megabyte of text.
const maxLength = 1000

const breaks = /[\t\n\v\f\r]/g
// Control and format characters (the bidi controls, zero-width characters and the byte order mark
// are among the latter), lone surrogates, and the separators of lines and paragraphs.
const unseen = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu
const blanks = /\s+/g

/** Reads a request's header by its lower-case name. Answers `''` when it is missing. */
export type HeaderReader = (name: string) => string

/**
 * Who the client of a session is. What is not known is `''`, so every text may be shown as it is.
 * All of it is what the client says of itself: good enough to tell one's devices apart, never a
 * ground for a right.
 */
export interface ClientDescription {
  /** The application's id, by which `applications` knows it. Known of remote clients only. */
  readonly applicationId: string
  /** Name of the application or browser, such as `Firefox`. */
  readonly appName: string
  /** Version of the application or browser, such as `131` or `17.5`. */
  readonly appVersion: string
  /** Whether `applications` calls the application official. */
  readonly isOfficialApp: boolean
  /** Model of the device, such as `Pixel 8` or `iPhone`. Desktop computers have none. */
  readonly deviceModel: string
  /** Name of the operating system, such as `Windows`. */
  readonly platform: string
  /** Version of the operating system, such as `11` or `17.5`. */
  readonly systemVersion: string
  /** The machine's name. Known of remote clients only. */
  readonly machineName: string
  /** Name of the operating system's user. Known of remote clients only. */
  readonly systemUserName: string
  /** The installation's own id, by which one device is known over time. Remote clients only. */
  readonly persistentID: string
  /** Where the client's address is: a country, in the form in which `locate` names it. */
  readonly country: string
  /** Where the client's address is: a part of the country, as `locate` names it. */
  readonly region: string
}

/** Some of a description. */
export type KnownOfClient = {
  readonly [Name in keyof ClientDescription]?: ClientDescription[Name] | undefined
}

/** A client of which nothing is known. */
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

/** The texts of a description, by name. */
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
 * What may be stored of text that a client sent: without the characters that would hide or reorder
 * it where it is shown, in one line, with single blanks, none at either end, and at most 64 bytes
 * of UTF-8.
 *
 * That is room for any name, and keeps what a client says of itself from filling the store.
 *
 * @param text Anything. Only the first 1,000 characters are looked at.
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
 * Completes a description by another one. Only the names of a `ClientDescription` are taken, values
 * of a wrong type are ignored, and texts are cleaned: what is given may come from a remote client
 * or from a callback of the app.
 *
 * @param given What is said of the client. `''` counts as said; a name that is missing does not. Of
 *   what a remote client sent, the caller picks the names that the client may say: it cannot call
 *   itself official.
 * @param base What is known without it.
 * @returns A new description.
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
