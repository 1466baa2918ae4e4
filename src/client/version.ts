// Digits are counted, so that nobody's version is a kilobyte long.
const majorAndMinor = /^v?(\d{1,9})(?:[._](\d{1,9}))?/

/**
 * A version cut to what people call it: `131.0.6778.86` is `131`, `17_5_1` is `17.5`.
 *
 * @param version Numbers with dots or underscores between them; what follows is ignored.
 * @returns `''` when it does not begin with a number.
 */
export function shortVersion(version: string): string {
  const [, major = '', minor = '0'] = majorAndMinor.exec(version) ?? []
  return Number(minor) === 0 ? major : `${major}.${minor}`
}
