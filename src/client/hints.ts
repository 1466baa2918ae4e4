import type { HeaderReader } from './description.ts'

const maxLength = 256

// RFC 8941 section 3.3.3: quoted, with a backslash before a quote or a backslash. The alternatives
// share no character, so the pattern never backtracks.
const quotedText = /^"((?:[^"\\]|\\["\\])*)"/
const brandMembers = /"((?:[^"\\]|\\["\\])*)"[ \t]*;[ \t]*v="([^"\\]*)"/g
const escapes = /\\(["\\])/g

// A meaningless brand, such as `Not(A:Brand` or ` Not;A"Brand`, keeps servers from relying on the
// form of the list: Client Hints specification, section "GREASE-like brands".
const meaninglessBrand = /not[^a-z]*a[^a-z]*brand/i

/** The Client Hints headers that {@link readClientHints} reads. */
export const hintHeaders: readonly string[] = [
  'sec-ch-ua-full-version-list',
  'sec-ch-ua',
  'sec-ch-ua-platform',
  'sec-ch-ua-platform-version',
  'sec-ch-ua-model',
]

/** The name and version of a browser or program, such as `Opera` and `115.0.5322.77`. */
export interface Brand {
  readonly name: string
  readonly version: string
}

/** The Client Hints of a request: `''` or empty where a header is missing. */
export interface ClientHints {
  readonly brands: readonly Brand[]
  /** Such as `Windows`, `macOS` or `Android`. */
  readonly platform: string
  readonly platformVersion: string
  /** Such as `Pixel 8`. */
  readonly model: string
}

/**
 * Reads the well-formed Client Hints in the first 256 characters of each header. Browsers send full
 * versions, the model and the platform's version only after a response with `Accept-CH`.
 */
export function readClientHints(header: HeaderReader): ClientHints {
  const full = brandsOf(header('sec-ch-ua-full-version-list'))
  return {
    brands: full.length > 0 ? full : brandsOf(header('sec-ch-ua')),
    platform: textOf(header('sec-ch-ua-platform')),
    platformVersion: textOf(header('sec-ch-ua-platform-version')),
    model: textOf(header('sec-ch-ua-model')),
  }
}

function brandsOf(list: string): Brand[] {
  return [...list.slice(0, maxLength).matchAll(brandMembers)]
    .map(([, name = '', version = '']) => ({ name: unescaped(name), version }))
    .filter(({ name }) => !meaninglessBrand.test(name))
}

function textOf(value: string): string {
  return unescaped(quotedText.exec(value.slice(0, maxLength).trim())?.[1] ?? '')
}

function unescaped(text: string): string {
  return text.replace(escapes, '$1')
}
