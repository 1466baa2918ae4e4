import { randomBytes, randomUUID } from 'node:crypto'

import { Random } from '../scenarios/workers.ts'
import { audience, encode, hmac, issuer, makeKey, signed } from '../support/tokens.ts'
import type { TestKey } from '../support/tokens.ts'

const sessionType = 'session+jwt'
const nestedType = 'nested-session+jwt'

/** The claims of a good token of a session, made now. */
export function goodClaims(): Record<string, unknown> {
  const now = Math.floor(Date.now() / 1000)
  return {
    sub: 'ann',
    sid: randomUUID(),
    client_id: 'cli',
    exp: now + 3600,
    iss: issuer,
    aud: audience,
    jti: randomBytes(24).toString('base64url'),
    iat: now,
  }
}

/** The claims of a good nested token. */
export function goodNestedClaims(): Record<string, unknown> {
  const { client_id: _, ...claims } = goodClaims()
  return { ...claims, act: { sub: 'ann' }, gen: 0, privileges: ['browse'], roles: [] }
}

/**
 * Tokens that must never be accepted, by name: those of the security notes, each made for real.
 *
 * @param key The key that the server signs with.
 * @param other Another key of the server, of another algorithm.
 */
export function forgeries(key: TestKey, other: TestKey): ReadonlyMap<string, string> {
  const header = { alg: key.alg, kid: key.kid, typ: sessionType }
  const nested = { ...header, typ: nestedType }
  const claims = goodClaims()
  const good = signed(key, header, claims)
  const [head = '', body = '', signature = ''] = good.split('.')
  const now = Math.floor(Date.now() / 1000)
  const foreign = makeKey(key.alg, key.kid)
  const as = (changes: object): string => signed(key, { ...header, ...changes }, claims)
  const say = (changes: object): string => signed(key, header, { ...claims, ...changes })
  const without = (name: string): string =>
    signed(key, header, Object.fromEntries(Object.entries(claims).filter(([one]) => one !== name)))
  const nest = (changes: object): string =>
    signed(key, nested, { ...goodNestedClaims(), ...changes })
  const unsigned = (alg: string): string => `${encode({ ...header, alg })}.${body}.`
  const json = JSON.stringify(claims)
  const bytes = Buffer.from(signature, 'base64url')
  const flipped = Buffer.from(bytes)
  flipped[0]! ^= 1

  const tokens: Record<string, string> = {
    // The algorithm.
    'alg none, no signature': unsigned('none'),
    'alg nOnE, no signature': unsigned('nOnE'),
    'alg NONE, the good signature': `${encode({ ...header, alg: 'NONE' })}.${body}.${signature}`,
    'alg none, signed': as({ alg: 'none' }),
    'alg empty': as({ alg: '' }),
    'alg null': as({ alg: null }),
    'alg as an array': as({ alg: [key.alg] }),
    'alg missing': signed(key, { kid: key.kid, typ: sessionType }, claims),
    'alg in lower case': as({ alg: key.alg.toLowerCase() }),
    "alg of another key, this one's kid": as({ alg: other.alg }),
    'alg HS512': as({ alg: 'HS512' }),
    'alg PS256': as({ alg: 'PS256' }),
    'HS256 with an empty secret': signed(
      { sign: (text) => hmac('', text) },
      { ...header, alg: 'HS256' },
      claims,
    ),
    'HS256 with the kid as the secret': signed(
      { sign: (text) => hmac(key.kid, text) },
      { ...header, alg: 'HS256' },
      claims,
    ),

    // The signature.
    'no signature': `${head}.${body}.`,
    'no third part': `${head}.${body}`,
    'one part': head,
    'four parts': `${good}.${signature}`,
    'five parts': `${good}.${head}.${body}`,
    'a flipped bit in the signature': `${head}.${body}.${flipped.toString('base64url')}`,
    'a cut signature': `${head}.${body}.${bytes.subarray(1).toString('base64url')}`,
    'a longer signature': `${head}.${body}.${Buffer.concat([bytes, bytes]).toString('base64url')}`,
    'a signature of zeros': `${head}.${body}.${Buffer.alloc(bytes.length).toString('base64url')}`,
    'the signature of another token': `${head}.${encode({ ...claims, sub: 'bob' })}.${signature}`,
    'the signature of other claims of the same id': `${head}.${encode({ ...claims, exp: now + 9999 })}.${signature}`,
    'a foreign key under this kid': signed(foreign, header, claims),
    'another key of the server under this kid': signed(other, header, claims),
    'this key under the kid of another one': signed(
      key,
      { ...header, kid: other.kid, alg: other.alg },
      claims,
    ),

    // Other spellings of the good one.
    'a trailing line feed': `${good}\n`,
    'a leading blank': ` ${good}`,
    'a blank within': `${head}. ${body}.${signature}`,
    'padding after the signature': `${good}=`,
    'padding twice': `${good}==`,
    'padding in the header': `${head}=.${body}.${signature}`,
    'a percent sign': good.replace('.', '%2e'),
    'quotes around': `"${good}"`,
    'a NUL at the end': `${good}\0`,
    'full-width dots': good.replaceAll('.', '．'),
    'spare bits in the last character': withSpareBits(good),
    '+ and / in place of - and _': `${head}.${body}.${bytes.toString('base64')}`,
    'JSON serialization': JSON.stringify({ protected: head, payload: body, signature }),
    'general JSON serialization': JSON.stringify({
      payload: body,
      signatures: [{ protected: head, signature }],
    }),
    'the scheme again': `Bearer ${good}`,
    nothing: '',
    'the word undefined': 'undefined',
    'three dots': '...',
    'a megabyte': `${head}.${'A'.repeat(1_000_000)}.${signature}`,
    'more than 8 KB, signed': say({ client_id: 'cli', note: 'x'.repeat(8192) }),

    // The header.
    'a kid that is not known': as({ kid: 'other' }),
    'a kid that is a path': as({ kid: '../../dev/null' }),
    'a kid with SQL': as({ kid: "x' UNION SELECT 'key" }),
    'a kid of __proto__': as({ kid: '__proto__' }),
    'a kid of constructor': as({ kid: 'constructor' }),
    'an empty kid': as({ kid: '' }),
    'a kid as an array': as({ kid: [key.kid] }),
    'a kid as a number': as({ kid: 0 }),
    'no kid': signed(key, { alg: key.alg, typ: sessionType }, claims),
    'jku with a key of its own': signed(
      foreign,
      { ...header, jku: 'https://evil.example/jwks.json' },
      claims,
    ),
    'jku with the good key': as({ jku: 'https://evil.example/jwks.json' }),
    x5u: as({ x5u: 'https://evil.example/x5u' }),
    'jwk with a key of its own': signed(
      foreign,
      { ...header, jwk: foreign.publicKey?.export({ format: 'jwk' }) ?? { kty: 'oct', k: 'AA' } },
      claims,
    ),
    'jwk with the good key': as({ jwk: other.publicKey?.export({ format: 'jwk' }) ?? {} }),
    'crit of something unknown': as({ crit: ['exp'], exp: now }),
    'crit that is empty': as({ crit: [] }),
    'b64 false': as({ b64: false, crit: ['b64'] }),
    'b64 false without crit': as({ b64: false }),
    'b64 true': as({ b64: true, crit: ['b64'] }),
    zip: as({ zip: 'DEF' }),
    cty: as({ cty: 'JWT' }),
    'typ JWT': as({ typ: 'JWT' }),
    'typ of an access token': as({ typ: 'at+jwt' }),
    'typ with application/': as({ typ: `application/${sessionType}` }),
    'typ in capitals': as({ typ: sessionType.toUpperCase() }),
    'typ as an array': as({ typ: [sessionType] }),
    'no typ': signed(key, { alg: key.alg, kid: key.kid }, claims),
    'typ nested, claims of a session': as({ typ: nestedType }),
    'typ session, claims of a nested one': signed(key, header, goodNestedClaims()),
    'a header that is an array': signed(key, [header], claims),
    'a header that is null': signed(key, 'null', claims),
    'a header that is text': signed(key, '"alg"', claims),
    'a header that is not JSON': signed(key, '{alg:', claims),
    'alg twice in the header': signed(
      key,
      JSON.stringify(header).replace('{', '{"alg":"none",'),
      claims,
    ),
    '__proto__ with alg and kid in the header': signed(
      key,
      `{"__proto__":${JSON.stringify({ alg: key.alg, kid: key.kid })},"typ":"${sessionType}"}`,
      claims,
    ),

    // The claims.
    ...Object.fromEntries(
      ['iss', 'aud', 'sub', 'sid', 'jti', 'iat', 'exp'].map((name) => [
        `no ${name}`,
        without(name),
      ]),
    ),
    ...Object.fromEntries(
      ['iss', 'aud', 'sub', 'sid', 'jti', 'iat', 'exp'].map((name) => [
        `${name} null`,
        say({ [name]: null }),
      ]),
    ),
    'exp past': say({ exp: now - 6 }),
    'exp as text': say({ exp: String(now + 3600) }),
    'exp Infinity': signed(key, header, json.replace(/"exp":\d+/, '"exp":1e999')),
    'exp with a fraction': say({ exp: now + 3600.5 }),
    'exp as an object': say({ exp: { valueOf: now } }),
    'iat in the future': say({ iat: now + 60 }),
    'iat as text': say({ iat: String(now) }),
    'nbf in the future': say({ nbf: now + 60 }),
    'nbf as text': say({ nbf: 'now' }),
    'iss of another issuer': say({ iss: 'https://evil.example' }),
    'iss with a slash more': say({ iss: `${issuer}/` }),
    'iss as an array': say({ iss: [issuer] }),
    'aud of another audience': say({ aud: 'https://other.example' }),
    'aud as an array': say({ aud: [audience] }),
    'aud as an array with others': say({ aud: ['https://other.example', audience] }),
    'sub as an object': say({ sub: { name: 'ann' } }),
    'sub as an array': say({ sub: ['ann'] }),
    'sub empty': say({ sub: '' }),
    'sub too long': say({ sub: 'x'.repeat(257) }),
    'sid that is not an id': say({ sid: '../other' }),
    'sid in capitals': say({ sid: String(claims['sid']).toUpperCase() }),
    'sid with a brace': say({ sid: '{user}' }),
    'sid as an array': say({ sid: [claims['sid']] }),
    'jti too short': say({ jti: 'a' }),
    'jti too long': say({ jti: 'a'.repeat(65) }),
    'jti as a number': say({ jti: 7 }),
    'jti with a line break': say({ jti: `${'a'.repeat(32)}\n` }),
    'client_id as an object': say({ client_id: {} }),
    'act in a session token': say({ act: { sub: 'bob' } }),
    'act null in a session token': say({ act: null }),
    '__proto__ with the claims': signed(key, header, `{"__proto__":${json}}`),
    '__proto__ with one claim': signed(
      key,
      header,
      json.replace('"sub":"ann"', '"__proto__":{"sub":"ann"}'),
    ),
    'sub twice': signed(key, header, json.replace('{', '{"sub":"bob",')),
    'exp twice': signed(key, header, json.replace('{', `{"exp":${now - 60},`)),
    'claims with blanks': signed(key, header, JSON.stringify(claims, null, 1)),
    'claims that are an array': signed(key, header, [claims]),
    'claims that are null': signed(key, header, 'null'),
    'claims that are not JSON': signed(key, header, '{'),
    'claims that are empty': signed(key, header, {}),
    'claims with a byte order mark': signed(key, header, `\uFEFF${json}`),
    'claims that are not UTF-8': `${encode(header)}.${Buffer.from([0xff, 0xfe]).toString('base64url')}.${signature}`,

    // Nested ones.
    'nested without act': nest({ act: undefined }),
    'nested with act null': nest({ act: null }),
    'nested with act as text': nest({ act: 'ann' }),
    'nested with act as an array': nest({ act: [{ sub: 'ann' }] }),
    'nested with an act without sub': nest({ act: {} }),
    'nested with a sub as an object': nest({ act: { sub: {} } }),
    'nested four deep': nest({ act: JSON.parse(deepAct(3)) }),
    'nested 300 deep': nest({ act: JSON.parse(deepAct(300)) }),
    'nested 10 000 deep': signed(
      key,
      nested,
      JSON.stringify(goodNestedClaims()).replace('{"sub":"ann"}', deepAct(10_000)),
    ),
    'nested without privileges': nest({ privileges: undefined }),
    'nested without roles': nest({ roles: undefined }),
    'nested with privileges as text': nest({ privileges: 'WebAdmin' }),
    'nested with a privilege as an array': nest({ privileges: [['WebAdmin']] }),
    'nested with an empty privilege': nest({ privileges: [''] }),
    'nested with too many roles': nest({
      roles: Array.from({ length: 65 }, (_, index) => `${index}`),
    }),
    'nested with a culture as an array': nest({ culture: ['de'] }),
    'nested with an empty culture': nest({ ui_culture: '' }),
    'nested with an offset as text': nest({ utc_offset: '60' }),
    'nested with the claims of a session': signed(key, nested, claims),
    'nested for JWT': signed(key, { ...nested, typ: 'JWT' }, goodNestedClaims()),
  }
  for (const format of ['pem', 'der', 'jwk'] as const) {
    const secret = key.publicKey && publicTexts(key.publicKey)[format]
    if (secret === undefined) continue
    const sign = (text: string): Buffer => hmac(secret, text)
    tokens[`HS256 with the public key as ${format}`] = signed(
      { sign },
      { ...header, alg: 'HS256' },
      claims,
    )
    tokens[`HS256 with the public key as ${format}, under the kid of a secret`] = signed(
      { sign },
      { ...header, alg: 'HS256', kid: other.kid },
      claims,
    )
    tokens[`${key.alg} with the public key as ${format}`] = signed({ sign }, header, claims)
  }
  return new Map(Object.entries(tokens))
}

function publicTexts(key: NonNullable<TestKey['publicKey']>): {
  readonly pem: string
  readonly der: Buffer
  readonly jwk: string
} {
  return {
    pem: String(key.export({ format: 'pem', type: 'spki' })),
    der: key.export({ format: 'der', type: 'spki' }),
    jwk: JSON.stringify(key.export({ format: 'jwk' })),
  }
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/**
 * Another spelling of a token: decoders ignore the unused bits of the last character.
 *
 * @param token A compact JWS, whose signature is of 32, 64 or 256 bytes: not divisible by three.
 */
export function withSpareBits(token: string): string {
  return token.slice(0, -1) + alphabet[alphabet.indexOf(token.at(-1)!) ^ 1]
}

/**
 * A token with one character replaced, removed or inserted.
 *
 * @param token A good one.
 * @param seed Decides which.
 */
export function mutated(token: string, seed: number): string {
  const random = new Random(seed)
  const at = Math.floor(random.next() * token.length)
  const characters = `${alphabet}.=+/ \n\0é`
  const kind = random.next()
  const present = kind < 0.8 ? token[at] : undefined
  const others = Array.from(characters).filter((one) => one !== present)
  const put = kind > 0.9 ? '' : others[Math.floor(random.next() * others.length)]!
  const result = token.slice(0, at) + put + token.slice(kind > 0.8 && kind <= 0.9 ? at : at + 1)
  return result === token ? `${token}x` : result
}

function deepAct(depth: number): string {
  return `${'{"sub":"a","act":'.repeat(depth)}{"sub":"a"}${'}'.repeat(depth)}`
}
