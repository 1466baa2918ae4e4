// Numbers in base 36, as in a session's text.

/** The last instant that has a date. ECMA-262, "Time Values and Time Range". */
export const lastInstant = 8.64e15

/** Writes a number in base 36, 0 for a negative one, in at least this many digits. */
export function digits(number: number, length: number): string {
  return Math.max(0, Math.floor(number)).toString(36).padStart(length, '0')
}

/** Reads the number between two places of a text, `NaN` for anything else. */
export function valueIn(text: string, start: number, end: number): number {
  let value = start < end ? 0 : Number.NaN
  for (let index = start; index < end; index++) {
    const code = text.charCodeAt(index)
    if (code >= 0x30 && code <= 0x39) value = value * 36 + code - 0x30
    else if (code >= 0x61 && code <= 0x7a) value = value * 36 + code - 0x57
    else return Number.NaN
  }
  return value
}

/**
 * Reads the number between two places of a text.
 *
 * @throws {TypeError} When the text there is not a number.
 */
export function numberIn(text: string, start: number, end: number): number {
  const value = valueIn(text, start, end)
  if (!Number.isFinite(value)) throw new TypeError('not a number')
  return value
}

/**
 * Reads the instant between two places of a text: epoch milliseconds.
 *
 * @throws {TypeError} When the text there is not an instant.
 */
export function instantIn(text: string, start: number, end: number): number {
  const at = numberIn(text, start, end)
  if (at > lastInstant) throw new TypeError('not an instant')
  return at
}

/**
 * Reads the duration between two places of a text, in milliseconds: at most half of
 * {@link lastInstant}, so that it ends at a date, whatever the clock says.
 *
 * @throws {TypeError} When the text there is not a duration.
 */
export function durationIn(text: string, start: number, end: number): number {
  const ms = numberIn(text, start, end)
  if (ms > lastInstant / 2) throw new TypeError('not a duration')
  return ms
}
