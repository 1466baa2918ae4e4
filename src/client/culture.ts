import type { HeaderReader } from './description.ts'

const maxLength = 1000
const minUtcOffset = -720
const maxUtcOffset = 840

// RFC 9110 section 12.4.2: `weight = OWS ";" OWS "q=" qvalue`, where a qvalue has at most three
// decimals; ABNF has no case. The range has the form of RFC 4647 section 2.1; whether it is a
// language tag is left to `canonicalTag`, which is asked seldom, as a refusal costs microseconds.
const weightedRange =
  /^([a-z]{2,8}(?:-[a-z\d]{1,8})*)(?:[ \t]*;[ \t]*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?$/i
const wholeMinutes = /^[+-]?\d{1,3}$/

/**
 * The culture of this request, by which dates and numbers are formatted: `X-Client-Culture`, else
 * the first acceptable of `Accept-Language`.
 *
 * @param header Reads the request's headers.
 * @returns A canonical BCP 47 tag such as `de-CH`, or null when there is none that is valid. An
 *   `X-Client-Culture` that is not valid gives null, whatever `Accept-Language` says.
 */
export function clientCulture(header: HeaderReader): string | null {
  return cultureOf(header, 'x-client-culture')
}

/**
 * The culture of this request's user interface, by which its texts are chosen:
 * `X-Client-UI-Culture`, else the first acceptable of `Accept-Language`.
 *
 * @param header Reads the request's headers.
 * @returns A canonical BCP 47 tag such as `de-CH`, or null when there is none that is valid.
 */
export function clientUICulture(header: HeaderReader): string | null {
  return cultureOf(header, 'x-client-ui-culture')
}

/**
 * How far the client's clock is from UTC, from `X-Client-UTC-Offset`.
 *
 * @param header Reads the request's headers.
 * @returns Minutes east of UTC, from -720 to 840: 120 is UTC+02:00. Null when the header is missing
 *   or anything else.
 */
export function clientUtcOffset(header: HeaderReader): number | null {
  const text = header('x-client-utc-offset')
  if (!wholeMinutes.test(text)) return null
  // Adding 0 makes 0 of -0.
  const minutes = Number(text) + 0
  return minutes >= minUtcOffset && minutes <= maxUtcOffset ? minutes : null
}

function cultureOf(header: HeaderReader, name: string): string | null {
  const own = header(name)
  if (own === '') return firstAcceptable(header('accept-language'))
  return own.length > maxLength ? null : canonicalTag(own)
}

/**
 * RFC 9110 section 12.5.4: the highest quality value first, and of equal ones the first. `*` names
 * no language.
 */
function firstAcceptable(acceptLanguage: string): string | null {
  const ranges = acceptLanguage.slice(0, maxLength).split(',')
  // What the limit may have cut in two is not what the client said.
  if (acceptLanguage.length > maxLength) ranges.pop()
  const acceptable = ranges
    .map((range) => weightedRange.exec(range.trim()))
    .map((match) => ({ tag: match?.[1] ?? '', quality: Number(match?.[2] ?? 1) }))
    .filter(({ tag, quality }) => tag !== '' && quality > 0)
    .toSorted((a, b) => b.quality - a.quality)

  for (const { tag } of acceptable) {
    const canonical = canonicalTag(tag)
    if (canonical !== null) return canonical
  }
  return null
}

function canonicalTag(tag: string): string | null {
  try {
    return Intl.getCanonicalLocales(tag)[0] ?? null
  } catch {
    return null
  }
}
