import { createPublicKey, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { session, SessionRolesError } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished } from 'vitest'

import { resolveOptions } from '../../src/options/option-table.ts'
import {
  ed,
  errorOf,
  es,
  hs,
  jwkOf,
  publicOf,
  rs,
  secret,
  tokensOf,
  warningsOf,
} from '../support/options.ts'

/** A file that is gone after the test. */
function writeTemporary(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'koa-user-sessions-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'roles.json')
  writeFileSync(path, text)
  return path
}

function rolesErrorOf(roles: unknown, others: object = {}): SessionRolesError {
  try {
    Reflect.apply(session, undefined, [{ roles, ...others }])
  } catch (error) {
    if (error instanceof SessionRolesError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('the roles option', () => {
  it('R1: accepts a path', () => {
    const path = writeTemporary('\uFEFF{ "privileges": [{ "privilege": "browse" }] }')

    expect(resolveOptions({ roles: path }).roles.privilegeNamed('BROWSE')).toBe('browse')
    expect(resolveOptions({ roles: 'examples/roles.json' }).roles.roleNamed('admin')).toBe('Admin')
  })

  it('R2: reads the file once, at startup', () => {
    const path = writeTemporary('{ "privileges": [{ "privilege": "browse" }] }')
    const { roles } = resolveOptions({ roles: path })

    writeFileSync(path, 'broken')

    expect(roles.privilegeNamed('browse')).toBe('browse')
  })

  it.each<[string, () => string, RegExp]>([
    [
      'does not exist',
      () => join(tmpdir(), 'no-such-folder', 'roles.json'),
      /cannot be read: ENOENT/,
    ],
    ['is a folder', () => tmpdir(), /cannot be read: EISDIR/],
    ['is empty text', () => '', /cannot be read: ENOENT/],
    ['has a NUL', () => 'roles\0.json', /cannot be read: ERR_INVALID_ARG_VALUE/],
    ['is not JSON', () => writeTemporary('{ "privileges": ['), /\$: is malformed JSON/],
    ['is an empty file', () => writeTemporary(''), /\$: is malformed JSON/],
    ['is another JSON', () => writeTemporary('[]'), /\$: must be an object/],
    [
      'has an undeclared name',
      () => writeTemporary('{ "privileges": [{ "privilege": "a", "includes": ["S"] }] }'),
      /includes\[0\]/,
    ],
  ])('R2: refuses a path that %s, and names the path', (_, makePath, problem) => {
    const path = makePath()

    const error = rolesErrorOf(path)

    expect(error.code).toBe('ERR_SESSION_ROLES')
    expect(error.message).toContain(`${path} cannot be used:`)
    expect(error.message).toMatch(problem)
    expect(error.problems.length).toBeGreaterThan(0)
  })

  it.each([[null], [7], [true], [[]], [() => ({})], [{}], [{ privileges: 'browse' }]])(
    'R2: refuses %o in place of a roles file',
    (roles) => {
      const error = rolesErrorOf(roles)

      expect(error.code).toBe('ERR_SESSION_ROLES')
      expect(error.message).toContain('the roles object cannot be used:')
    },
  )

  it('R2: refuses what it does not enforce, unless told to ignore it', () => {
    const roles = { privileges: [], forceLogin: true }

    expect(rolesErrorOf(roles).problems).toMatchObject([{ path: '$.forceLogin' }])
    expect(rolesErrorOf(roles, { ignorePermissions: false }).code).toBe('ERR_SESSION_ROLES')
    expect(() => session({ roles, ignorePermissions: true })).not.toThrow()
  })
})

describe('the tokens option', () => {
  const pem = createPublicKey({ key: { ...publicOf(rs) }, format: 'jwk' }).export({
    format: 'pem',
    type: 'spki',
  })

  it.each<[string, unknown, RegExp]>([
    ['null', null, /^"tokens" option must be an object$/],
    ['true', true, /^"tokens" option must be an object$/],
    ['an array', [hs], /^"tokens" option must be an object$/],
    ['an unknown name', { ...tokensOf(hs), secret }, /^"tokens" option has no "secret": it takes /],
    [
      'an algorithm',
      { ...tokensOf(hs), algorithms: ['none'] },
      /has no "algorithms": it takes keys/,
    ],

    [
      'no issuer',
      { ...tokensOf(hs), issuer: undefined },
      /^"tokens.issuer" option must be text of 1/,
    ],
    [
      'an empty issuer',
      { ...tokensOf(hs), issuer: '' },
      /^"tokens.issuer" option must be text of 1/,
    ],
    [
      'a long issuer',
      { ...tokensOf(hs), issuer: 'x'.repeat(257) },
      /"tokens.issuer" option must be/,
    ],
    ['no audience', { ...tokensOf(hs), audience: undefined }, /^"tokens.audience" option must be/],
    [
      'an empty audience',
      { ...tokensOf(hs), audience: '' },
      /^"tokens.audience" option must be text/,
    ],
    [
      'two audiences',
      { ...tokensOf(hs), audience: ['a', 'b'] },
      /^"tokens.audience" option must be/,
    ],

    [
      'a short life',
      { ...tokensOf(hs), lifetimeSeconds: 59 },
      /lifetimeSeconds" option must be sec/,
    ],
    [
      'a long life',
      { ...tokensOf(hs), lifetimeSeconds: 31_536_001 },
      /lifetimeSeconds" option must/,
    ],
    [
      'half a second',
      { ...tokensOf(hs), lifetimeSeconds: 60.5 },
      /must be a whole number of seconds/,
    ],
    [
      'a life as text',
      { ...tokensOf(hs), lifetimeSeconds: '60' },
      /lifetimeSeconds" option must be/,
    ],
    [
      'no end',
      { ...tokensOf(hs), lifetimeSeconds: Infinity },
      /lifetimeSeconds" option must be sec/,
    ],

    ['no keys', tokensOf(), /^"tokens.keys" option must be an array of keys, or a JWK Set$/],
    [
      'an empty set',
      { ...tokensOf(), keys: { keys: [] } },
      /^"tokens.keys" option must be an array/,
    ],
    [
      'a key for keys',
      { ...tokensOf(), keys: hs },
      /^"tokens.keys" option must be an array of keys/,
    ],
    ['text for keys', { ...tokensOf(), keys: secret }, /^"tokens.keys" option must be an array/],
    ['null for keys', { ...tokensOf(), keys: null }, /^"tokens.keys" option must be an array/],
    [
      'text for a key',
      { ...tokensOf(), keys: [secret] },
      /^"tokens.keys\[0\]" option must be an obj/,
    ],
    [
      'null for a key',
      { ...tokensOf(), keys: [hs, null] },
      /^"tokens.keys\[1\]" option must be an/,
    ],

    [
      'no kid',
      tokensOf({ ...hs, kid: undefined }),
      /^"tokens.keys\[0\].kid" option must be 1 to 64/,
    ],
    ['an empty kid', tokensOf({ ...hs, kid: '' }), /\.kid" option must be 1 to 64 of A-Z a-z 0-9/],
    ['a number as kid', tokensOf({ ...hs, kid: 1 }), /\.kid" option must be 1 to 64/],
    ['a path as kid', tokensOf({ ...hs, kid: '../../dev/null' }), /\.kid" option must be 1 to 64/],
    ['a kid with a line break', tokensOf({ ...hs, kid: 'a\n' }), /\.kid" option must be 1 to 64/],
    ['a long kid', tokensOf({ ...hs, kid: 'a'.repeat(65) }), /\.kid" option must be 1 to 64/],
    [
      'a kid twice',
      tokensOf(hs, { ...ed, kid: 'hs' }),
      /^"tokens.keys\[1\].kid" option must be unique$/,
    ],

    [
      'no algorithm',
      tokensOf({ ...hs, alg: undefined }),
      /^"tokens.keys\[0\].alg" option must be one/,
    ],
    ['alg none', tokensOf({ ...hs, alg: 'none' }), /"HS256", "EdDSA", "ES256", "RS256"$/],
    ['alg hs256', tokensOf({ ...hs, alg: 'hs256' }), /\.alg" option must be one of/],
    ['alg HS512', tokensOf({ ...hs, alg: 'HS512' }), /\.alg" option must be one of/],
    ['an array of algorithms', tokensOf({ ...hs, alg: ['HS256'] }), /\.alg" option must be one of/],

    [
      'no secret',
      tokensOf({ ...hs, secret: undefined }),
      /must have a secret of at least 32 bytes$/,
    ],
    [
      'a short secret',
      tokensOf({ ...hs, secret: 'x'.repeat(31) }),
      /a secret of at least 32 bytes$/,
    ],
    ['few bytes', tokensOf({ ...hs, secret: randomBytes(31) }), /a secret of at least 32 bytes$/],
    ['a number as secret', tokensOf({ ...hs, secret: 2 ** 40 }), /a secret of at least 32 bytes$/],
    [
      'a short JWK',
      tokensOf({ kid: 'a', alg: 'HS256', kty: 'oct', k: 'QUJD' }),
      /at least 32 bytes$/,
    ],
    ['RSA for HS256', tokensOf({ ...rs, alg: 'HS256' }), /a secret of at least 32 bytes$/],
    ['PEM as secret', tokensOf({ ...hs, secret: pem }), /must not have a PEM key as its secret$/],
    [
      'PEM bytes',
      tokensOf({ ...hs, secret: Buffer.from(pem) }),
      /must not have a PEM key as its sec/,
    ],

    [
      'RSA of 1024',
      tokensOf({ ...rs, ...jwkOf('rsa', { modulusLength: 1024 }) }),
      /RSA of at least 2048 bits/,
    ],
    ['P-384', tokensOf({ ...es, ...jwkOf('ec', { namedCurve: 'P-384' }) }), /P-256 for ES256/],
    [
      'secp256k1',
      tokensOf({ ...es, ...jwkOf('ec', { namedCurve: 'secp256k1' }) }),
      /P-256 for ES256/,
    ],
    ['Ed448', tokensOf({ ...ed, ...jwkOf('ed448') }), /must fit its algorithm: Ed25519 for EdDSA/],
    [
      'X25519',
      tokensOf({ ...ed, ...jwkOf('x25519') }),
      /must fit its algorithm: Ed25519 for EdDSA/,
    ],
    ['RSA for ES256', tokensOf({ ...rs, alg: 'ES256' }), /must fit its algorithm/],
    ['EC for RS256', tokensOf({ ...es, alg: 'RS256' }), /must fit its algorithm/],
    ['EC for EdDSA', tokensOf({ ...es, alg: 'EdDSA' }), /must fit its algorithm/],
    [
      'oct for RS256',
      tokensOf({ kid: 'a', alg: 'RS256', kty: 'oct', k: secret }),
      /be a JWK for its al/,
    ],
    ['a secret for EdDSA', tokensOf({ ...hs, alg: 'EdDSA' }), /must be a JWK for its algorithm$/],
    ['a broken key', tokensOf({ ...ed, d: 'x' }), /must be a JWK for its algorithm$/],
    [
      'a public key first',
      tokensOf(publicOf(ed), hs),
      /^"tokens.keys\[0\]" option must be a private key or a secret$/,
    ],
  ])('X1: refuses tokens with %s', (_, tokens, message) => {
    const error = errorOf({ tokens })

    expect(error.code).toBe('ERR_SESSION_OPTION')
    expect(error.message).toMatch(message)
    expect(error.cause).toBeUndefined()
    for (const key of [secret, ed.d, es.d, rs.d, rs.n, 'BEGIN']) {
      expect(`${error.message}${error.stack}`).not.toContain(key)
    }
  })

  it('X1: requires a lifetime of tokens when sessions have no end', () => {
    expect(errorOf({ absoluteTimeout: Infinity, tokens: tokensOf(hs) }).message).toBe(
      '"absoluteTimeout" option of Infinity needs "tokens.lifetimeSeconds"',
    )
  })

  it('X1: signs with the first key, and verifies with all of them', () => {
    const tokens = resolveOptions({ tokens: tokensOf(es, hs, publicOf(ed)) }).tokens

    expect(tokens?.signer.kid).toBe('es')
    expect([...(tokens?.keys.keys() ?? [])]).toEqual(['es', 'hs', 'ed'])
    expect(tokens?.keys.get('es')?.verifyingKey.type).toBe('public')
    expect(tokens?.keys.get('ed')?.signingKey).toBeUndefined()
  })

  it('X1: does not keep the bytes of a secret, which the app may wipe', () => {
    const bytes = randomBytes(32)
    const tokens = resolveOptions({ tokens: tokensOf({ ...hs, secret: bytes }) }).tokens
    const before = Buffer.from(bytes).toString('base64url')
    bytes.fill(0)

    expect(tokens?.signer.signingKey.export({ format: 'jwk' }).k).toBe(before)
  })

  it('P7: warns once about tokens for sessions without privileges', async () => {
    const tokens = tokensOf(hs)

    expect(await warningsOf(() => session({ tokens }))).toEqual([
      'remote sessions have no privileges: to let them have some, set privilegedTypes: ' +
        '["web", "rest", "remote"]',
    ])
    expect(await warningsOf(() => session({ tokens, privilegedTypes: ['web', 'remote'] }))).toEqual(
      [],
    )
    expect(await warningsOf(() => session())).toEqual([])
  })
})
