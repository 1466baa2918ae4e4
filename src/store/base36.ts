/**
 * Numbers in base 36, as a session's text has them.
 *
 * @module
 */

// ECMA-262, "Time Values and Time Range": later ones have no date.
export const lastInstant = 8.64e15

/**
 * A number in base 36.
 *
 * @param number The number; below 0 it counts as 0.
 * @param length The least number of digits.
 */
export function digits(number: number, length: number): string {
  return Math.max(0, Math.floor(number)).toString(36).padStart(length, '0')
}

/**
 * The number at a place of a text.
 *
 * @returns `NaN` where there is none.
 */
export function valueIn(text: string, start: number, end: number): number {
  let value = start < end ? 0 : Number.NaN
  for (let index = start; index < end; index++) {
    const code = text.charCodeAt(index)
    // 0 to 9, then a to z.
    if (code >= 0x30 && code <= 0x39) value = value * 36 + code - 0x30
    else if (code >= 0x61 && code <= 0x7a) value = value * 36 + code - 0x57
    else return Number.NaN
  }
  return value
}

/**
 * The number at a place of a text.
 *
 * @throws {TypeError} When there is none.
 */
export function numberIn(text: string, start: number, end: number): number {
  const value = valueIn(text, start, end)
  if (!Number.isFinite(value)) throw new TypeError('not a number')
  return value
}

/**
 * The instant at a place of a text: epoch milliseconds.
 *
 * @throws {TypeError} When there is none.
 */
export function instantIn(text: string, start: number, end: number): number {
  const at = numberIn(text, start, end)
  if (at > lastInstant) throw new TypeError('not an instant')
  return at
}

/**
 * The duration at a place of a text, in milliseconds: half of all time at most, so that there is a
 * date after any instant that a clock tells.
 *
 * @throws {TypeError} When there is none.
 */
export function durationIn(text: string, start: number, end: number): number {
  const ms = numberIn(text, start, end)
  if (ms > lastInstant / 2) throw new TypeError('not a duration')
  return ms
}
