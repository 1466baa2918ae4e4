// The limit on digits keeps a client from sending a version of a kilobyte.
const majorAndMinor = /^v?(\d{1,9})(?:[._](\d{1,9}))?/

/**
 * Cuts a version, whose numbers dots or underscores separate, to major and minor: `131.0.6778.86`
 * becomes `131`, `17_5_1` becomes `17.5`. Returns `''` when the text does not begin with a number.
 */
export function shortVersion(version: string): string {
  const [, major = '', minor = '0'] = majorAndMinor.exec(version) ?? []
  return Number(minor) === 0 ? major : `${major}.${minor}`
}
