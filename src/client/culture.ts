import type { HeaderReader } from './description.ts'

const maxLength = 1000
const minUtcOffset = -720
const maxUtcOffset = 840

// RFC 9110 section 12.4.2: `weight = OWS ";" OWS "q=" qvalue`, with at most three decimals and in
// any case. The range has the form of RFC 4647 section 2.1. `canonicalTag` decides whether it is a
// language tag; it runs only for the best ranges, because an invalid tag costs it microseconds.
const weightedRange =
  /^([a-z]{2,8}(?:-[a-z\d]{1,8})*)(?:[ \t]*;[ \t]*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?$/i
const wholeMinutes = /^[+-]?\d{1,3}$/

/**
 * Returns the culture in which the client formats dates and numbers, as a canonical BCP 47 tag such
 * as `de-CH`: `X-Client-Culture`, else the first acceptable range of `Accept-Language`. Returns
 * null when neither has a valid tag, or `X-Client-Culture` is present but invalid.
 */
export function clientCulture(header: HeaderReader): string | null {
  return cultureOf(header, 'x-client-culture')
}

/** Returns the culture of the client's texts, likewise: `X-Client-UI-Culture`, else that range. */
export function clientUICulture(header: HeaderReader): string | null {
  return cultureOf(header, 'x-client-ui-culture')
}

/** Returns `X-Client-UTC-Offset`, minutes east of UTC from -720 to 840, or null if not valid. */
export function clientUtcOffset(header: HeaderReader): number | null {
  const text = header('x-client-utc-offset')
  if (!wholeMinutes.test(text)) return null
  // Adding 0 turns -0 into 0.
  const minutes = Number(text) + 0
  return minutes >= minUtcOffset && minutes <= maxUtcOffset ? minutes : null
}

function cultureOf(header: HeaderReader, name: string): string | null {
  const own = header(name)
  if (own === '') return firstAcceptable(header('accept-language'))
  return own.length > maxLength ? null : canonicalTag(own)
}

// RFC 9110 section 12.5.4: the highest quality wins, then the earlier range. `*` names no language.
function firstAcceptable(acceptLanguage: string): string | null {
  const ranges = acceptLanguage.slice(0, maxLength).split(',')
  // The limit may have cut the last range in two.
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
