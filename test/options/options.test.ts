import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import type { JsonWebKey } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { runInNewContext } from 'node:vm'

import { Redis } from 'ioredis'
import {
  MemoryStore,
  RedisStore,
  session,
  SessionOptionError,
  SessionRolesError,
  Sessions,
} from 'koa-user-sessions'
import type { RedisClient, SessionsOptions, TokenKey, TokensOptions } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { resolveOptions } from '../../src/options/option-table.ts'
import { sessionKey } from '../../src/store/redis/keys.ts'
import { recordWarnings } from '../support/apps.ts'

const src = fileURLToPath(new URL('../../src', import.meta.url))
const id = '5f0c1c0e-7d3b-4a53-9d5a-3f6d1f0a7b11'

/** A Redis that notes what it is asked. */
function fakeRedis(): RedisClient & { readonly asked: unknown[] } {
  const asked: unknown[] = []
  const note = async (...values: unknown[]): Promise<string> => {
    asked.push(...values)
    return 'ended'
  }
  return { asked, get: note, getrange: note, eval: note, evalsha: note }
}

function redisWithout(method: string): object {
  const methods = ['get', 'getrange', 'eval', 'evalsha']
  return Object.fromEntries(
    methods.filter((name) => name !== method).map((name) => [name, vi.fn()]),
  )
}

/** What `session()` throws at once for options that the compiler has not seen. */
function errorOf(options: unknown): SessionOptionError {
  try {
    Reflect.apply(session, undefined, [options])
  } catch (error) {
    if (error instanceof SessionOptionError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

function storeWithout(method: string): object {
  const methods = ['create', 'load', 'commit', 'lock', 'list', 'destroy', 'close']
  return Object.fromEntries(
    methods.filter((name) => name !== method).map((name) => [name, vi.fn()]),
  )
}

function limit(parts: object): object {
  return { perUser: 5, onExceed: 'refuse', ...parts }
}

function application(parts: object = {}): object {
  return { name: 'Shop', client: 'web', ...parts }
}

/** A file that is gone after the test. */
function writeTemporary(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'koa-user-sessions-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'roles.json')
  writeFileSync(path, text)
  return path
}

const secret = randomBytes(32).toString('base64url')
const hs = { kid: 'hs', alg: 'HS256', secret } as const
const ed = { ...jwkOf('ed25519'), kid: 'ed', alg: 'EdDSA' } as const
const es = { ...jwkOf('ec', { namedCurve: 'P-256' }), kid: 'es', alg: 'ES256' } as const
const rs = { ...jwkOf('rsa', { modulusLength: 2048 }), kid: 'rs', alg: 'RS256' } as const

/** A new private key. */
function jwkOf(type: string, options: object = {}): JsonWebKey {
  const { privateKey } = Reflect.apply(generateKeyPairSync, undefined, [type, options])
  return privateKey.export({ format: 'jwk' })
}

/** What anybody may know of a key. */
function publicOf(key: object): TokenKey {
  const secrets = new Set(['d', 'p', 'q', 'dp', 'dq', 'qi'])
  return JSON.parse(JSON.stringify(key, (name, value) => (secrets.has(name) ? undefined : value)))
}

/** Tokens with these keys. */
function tokensOf(...keys: readonly object[]): TokensOptions {
  const tokens = { keys, issuer: 'https://shop.example', audience: 'api' }
  // What an app gives that the compiler has not seen.
  return Reflect.apply(Object, undefined, [tokens])
}

/** The properties of an interface in `src` with the defaults that their comments tell: none is none. */
function documented(file: string, name: string): Map<string, unknown> {
  const text = readFileSync(join(src, file), 'utf8')
  const body = text.split(`export interface ${name} {\n`, 2)[1]?.split('\n}\n', 1)[0] ?? ''
  const properties = body.matchAll(/(?:@default (.+)\n +\*\/\n|\*\/\n) {2}readonly (\w+)\??:/g)
  return new Map(
    Array.from(properties, ([, value, property = '']) => [
      property,
      value === undefined || value === 'none'
        ? undefined
        : (runInNewContext(`(${value})`) as unknown),
    ]),
  )
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

/** The warnings of this package while `make` runs. */
async function warningsOf(make: () => unknown): Promise<readonly string[]> {
  // Those of earlier tests may be on their way.
  await setImmediate()
  const { messages, stop } = recordWarnings()
  onTestFinished(stop)
  make()
  await setImmediate()
  return messages
}

function isRefused(options: unknown): boolean {
  try {
    Reflect.apply(session, undefined, [options])
    return false
  } catch {
    return true
  }
}

describe('options that are refused', () => {
  it.each<[unknown, RegExp]>([
    [null, /^"options" option must be an object$/],
    ['redis://localhost', /must be an object/],
    [7, /must be an object/],
    [true, /must be an object/],
    [[], /must be an object/],
    [() => ({}), /must be an object/],

    [{ redis: null }, /^"redis" option must have the methods get, getrange, eval, evalsha$/],
    [{ redis: 'redis://localhost' }, /"redis" option must have the methods/],
    [{ redis: {} }, /"redis" option must have the methods/],
    [{ redis: redisWithout('get') }, /"redis" option must have the methods/],
    [{ redis: redisWithout('getrange') }, /"redis" option must have the methods/],
    [{ redis: redisWithout('eval') }, /"redis" option must have the methods/],
    [{ redis: redisWithout('evalsha') }, /"redis" option must have the methods/],
    [{ redis: { ...redisWithout(''), get: true } }, /"redis" option must have the methods/],
    [{ redis: Redis }, /"redis" option must have the methods/],
    [{ redis: Promise.resolve(fakeRedis()) }, /"redis" option must have the methods/],

    [
      { store: null },
      /^"store" option must have the methods create, load, commit, lock, list, destroy, close$/,
    ],
    [{ store: 'memory' }, /"store" option must have the methods/],
    [{ store: MemoryStore }, /"store" option must have the methods/],
    [{ store: new Map() }, /"store" option must have the methods/],
    [{ store: storeWithout('create') }, /"store" option must have the methods/],
    [{ store: storeWithout('load') }, /"store" option must have the methods/],
    [{ store: storeWithout('commit') }, /"store" option must have the methods/],
    [{ store: storeWithout('lock') }, /"store" option must have the methods/],
    [{ store: storeWithout('list') }, /"store" option must have the methods/],
    [{ store: storeWithout('destroy') }, /"store" option must have the methods/],
    [{ store: storeWithout('close') }, /"store" option must have the methods/],
    [{ redis: fakeRedis(), store: new MemoryStore() }, /"redis" and "store" options exclude/],

    [{ maxSessions: 5 }, /"maxSessions" option must be an object/],
    [{ maxSessions: null }, /"maxSessions" option must be an object/],
    [{ maxSessions: {} }, /"maxSessions.perUser" option must/],
    [{ maxSessions: limit({ perUser: 0 }) }, /"maxSessions.perUser" option must/],
    [{ maxSessions: limit({ perUser: 1.5 }) }, /"maxSessions.perUser" option must/],
    [{ maxSessions: limit({ perUser: 10_001 }) }, /"maxSessions.perUser" option must/],
    [{ maxSessions: limit({ perUser: Infinity }) }, /"maxSessions.perUser" option must/],
    [{ maxSessions: limit({ perUser: '5' }) }, /"maxSessions.perUser" option must/],
    [{ maxSessions: limit({ onExceed: 'end' }) }, /"maxSessions.onExceed" option must/],
    [{ maxSessions: limit({ onExceed: undefined }) }, /"maxSessions.onExceed" option must/],
    [{ maxSessions: limit({ perDevice: 1 }) }, /"maxSessions" option/],

    [{ applications: [] }, /"applications" option must be an object/],
    [{ applications: { '': application() } }, /"applications" option must have ids/],
    [{ applications: { 'a\nb': application() } }, /"applications" option must have ids/],
    [{ applications: { ['x'.repeat(65)]: application() } }, /must have ids/],
    [{ applications: { shop: 'Shop' } }, /"applications.shop" option must be an object/],
    [{ applications: { shop: application({ name: '' }) } }, /"applications.shop.name" option/],
    [{ applications: { shop: application({ name: ' a' }) } }, /"applications.shop.name" option/],
    [{ applications: { shop: application({ name: 7 }) } }, /"applications.shop.name" option/],
    [{ applications: { shop: application({ client: 'app' }) } }, /"applications.shop.client"/],
    [{ applications: { shop: application({ official: 1 }) } }, /"applications.shop.official"/],
    [{ applications: { shop: application({ id: 'x' }) } }, /"applications.shop" option/],
    [{ locate: 'CH' }, /"locate" option must be a function/],
    [{ locate: null }, /"locate" option must be a function/],
    [{ describeClient: {} }, /"describeClient" option must be a function/],

    [
      { redis: fakeRedis(), prefix: '' },
      /^"prefix" option must be text without braces, not empty$/,
    ],
    [{ redis: fakeRedis(), prefix: 'a{b' }, /"prefix" option must be text without braces/],
    [{ redis: fakeRedis(), prefix: 'a}' }, /"prefix" option must be text without braces/],
    [{ redis: fakeRedis(), prefix: 7 }, /"prefix" option must be text without braces/],
    [{ redis: fakeRedis(), prefix: null }, /"prefix" option must be text without braces/],

    [{ type: 'remote' }, /^"type" option must be one of "web", "rest"$/],
    [{ type: 'Web' }, /"type" option must be one of/],
    [{ type: '' }, /"type" option must be one of/],
    [{ type: null }, /"type" option must be one of/],
    [{ type: ['web'] }, /"type" option must be one of/],

    [{ ignorePermissions: 'yes' }, /^"ignorePermissions" option must be one of true, false$/],
    [{ ignorePermissions: 1 }, /"ignorePermissions" option must be/],
    [{ ignorePermissions: null }, /"ignorePermissions" option must be/],

    [{ idleTimeout: '60' }, /^"idleTimeout" option must be minutes from \S+ to 525600$/],
    [{ idleTimeout: 0 }, /"idleTimeout" option must be minutes/],
    [{ idleTimeout: -60 }, /"idleTimeout" option must be minutes/],
    [{ idleTimeout: Number.NaN }, /"idleTimeout" option must be minutes/],
    [{ idleTimeout: Infinity }, /"idleTimeout" option must be minutes/],
    [{ idleTimeout: 525_601 }, /"idleTimeout" option must be minutes/],
    [{ idleTimeout: 60n }, /"idleTimeout" option must be minutes/],
    [{ idleTimeout: null }, /"idleTimeout" option must be minutes/],
    [
      { idleTimeout: 59 },
      /"idleTimeout" option must not be below "minIdleTimeout", 60 minutes: lower/,
    ],
    [{ minIdleTimeout: 61 }, /"idleTimeout" option must not be below "minIdleTimeout", 61 minutes/],
    [{ idleTimeout: 4, minIdleTimeout: 5 }, /must not be below "minIdleTimeout", 5 minutes/],

    [{ minIdleTimeout: '1' }, /^"minIdleTimeout" option must be minutes from \S+ to 525600$/],
    [{ minIdleTimeout: 0 }, /"minIdleTimeout" option must be minutes/],
    [{ minIdleTimeout: -1 }, /"minIdleTimeout" option must be minutes/],
    [{ minIdleTimeout: Number.NaN }, /"minIdleTimeout" option must be minutes/],
    [{ minIdleTimeout: Infinity }, /"minIdleTimeout" option must be minutes/],

    [
      { absoluteTimeout: '43200' },
      /^"absoluteTimeout" option must be minutes from \S+ to Infinity$/,
    ],
    [{ absoluteTimeout: 0 }, /"absoluteTimeout" option must be minutes/],
    [{ absoluteTimeout: -1 }, /"absoluteTimeout" option must be minutes/],
    [{ absoluteTimeout: Number.NaN }, /"absoluteTimeout" option must be minutes/],
    [{ absoluteTimeout: null }, /"absoluteTimeout" option must be minutes/],
    [{ absoluteTimeout: 59 }, /^"idleTimeout" option must not exceed "absoluteTimeout"$/],
    [{ idleTimeout: 43_201 }, /"idleTimeout" option must not exceed "absoluteTimeout"/],

    [{ refreshSeconds: '60' }, /^"refreshSeconds" option must be seconds from 0 to 3600$/],
    [{ refreshSeconds: -1 }, /"refreshSeconds" option must be seconds/],
    [{ refreshSeconds: 3601 }, /"refreshSeconds" option must be seconds/],
    [{ refreshSeconds: Number.NaN }, /"refreshSeconds" option must be seconds/],
    [{ refreshSeconds: Infinity }, /"refreshSeconds" option must be seconds/],

    [{ privilegedTypes: 'web' }, /^"privilegedTypes" option must be an array$/],
    [{ privilegedTypes: null }, /"privilegedTypes" option must be an array/],
    [{ privilegedTypes: new Set(['web']) }, /"privilegedTypes" option must be an array/],
    [
      { privilegedTypes: ['web', 'wbe'] },
      /^"privilegedTypes" option must be one of "web", "rest", "remote", "storedProcedure"$/,
    ],
    [{ privilegedTypes: [undefined] }, /"privilegedTypes" option must be one of/],

    [{ storeTimeoutMs: '1000' }, /^"storeTimeoutMs" option must be milliseconds from 10 to 60000$/],
    [{ storeTimeoutMs: 9 }, /"storeTimeoutMs" option must be milliseconds/],
    [{ storeTimeoutMs: 60_001 }, /"storeTimeoutMs" option must be milliseconds/],
    [{ storeTimeoutMs: 1000.5 }, /"storeTimeoutMs" option must be a whole number of milliseconds$/],
    [{ storeTimeoutMs: Number.NaN }, /"storeTimeoutMs" option must be milliseconds/],
    [{ storeTimeoutMs: Infinity }, /"storeTimeoutMs" option must be milliseconds/],

    [{ lockTimeoutMs: 0 }, /^"lockTimeoutMs" option must be milliseconds from 1 to 600000$/],
    [{ lockTimeoutMs: 1.5 }, /"lockTimeoutMs" option must be a whole number of milliseconds$/],
    [{ lockTimeoutMs: '5000' }, /"lockTimeoutMs" option must be milliseconds/],

    [{ onStoreError: 'throw' }, /^"onStoreError" option must be one of "fail", "guest"$/],
    [{ onStoreError: true }, /"onStoreError" option must be one of/],
    [{ onStoreError: null }, /"onStoreError" option must be one of/],
    [{ onStoreError: () => 'guest' }, /"onStoreError" option must be one of/],

    [{ limits: null }, /^"limits" option must be an object$/],
    [{ limits: 1000 }, /"limits" option must be an object/],
    [{ limits: [] }, /"limits" option must be an object/],
    [
      { limits: { storageBytes: 0 } },
      /^"limits.storageBytes" option must be bytes from 1 to 268435456$/,
    ],
    [{ limits: { storageBytes: 2 ** 28 + 1 } }, /"limits.storageBytes" option must be bytes/],
    [{ limits: { storageBytes: 1.5 } }, /"limits.storageBytes" option must be a whole number/],
    [{ limits: { storageBytes: '256kb' } }, /"limits.storageBytes" option must be bytes/],
    [{ limits: { storageBytes: Infinity } }, /"limits.storageBytes" option must be bytes/],
    [{ limits: { storageKeys: 0 } }, /^"limits.storageKeys" option must be keys from 1 to 65536$/],
    [{ limits: { storageKeys: 65_537 } }, /"limits.storageKeys" option must be keys/],
    [{ limits: { storageKeys: 1.5 } }, /"limits.storageKeys" option must be a whole number/],
    [{ limits: { storageKeys: Number.NaN } }, /"limits.storageKeys" option must be keys/],

    [{ instanceName: 7 }, /^"instanceName" option must be text$/],
    [{ instanceName: ['a'] }, /"instanceName" option must be text/],
    [{ serverCode: null }, /^"serverCode" option must be text$/],
    [{ serverCode: 7 }, /"serverCode" option must be text/],
    [{ asyncContext: 'yes' }, /^"asyncContext" option must be one of true, false$/],
    [{ asyncContext: null }, /"asyncContext" option must be one of/],

    [{ countsAsActivity: true }, /^"countsAsActivity" option must be a function$/],
    [{ countsAsActivity: '/poll' }, /"countsAsActivity" option must be a function/],
    [{ countsAsActivity: null }, /"countsAsActivity" option must be a function/],
  ])('§7: refuses %o', (options, message) => {
    const error = errorOf(options)

    expect(error.code).toBe('ERR_SESSION_OPTION')
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toMatch(message)
  })

  it.each<[unknown, RegExp]>([
    [null, /^"cookie" option must be an object$/],
    ['session', /"cookie" option must be an object/],
    [[], /"cookie" option must be an object/],

    [{ name: '' }, /^"cookie.name" option must be a token of 1 to 64 characters$/],
    [{ name: 'a b' }, /"cookie.name" option must be a token/],
    [{ name: 'a=b' }, /"cookie.name" option must be a token/],
    [{ name: 'a;b' }, /"cookie.name" option must be a token/],
    [{ name: 'a\r\nb' }, /"cookie.name" option must be a token/],
    [{ name: 'sid\n' }, /"cookie.name" option must be a token/],
    [{ name: 'é' }, /"cookie.name" option must be a token/],
    [{ name: 'x'.repeat(65) }, /"cookie.name" option must be a token/],
    [{ name: 7 }, /"cookie.name" option must be a token/],
    [{ name: null }, /"cookie.name" option must be a token/],
    [{ name: '__Host-session' }, /^"cookie.name" option must not have a prefix: it is added$/],
    [{ name: '__secure-session' }, /"cookie.name" option must not have a prefix/],
    [{ name: '__Http-session' }, /"cookie.name" option must not have a prefix/],
    [{ name: '__HOST-HTTP-session' }, /"cookie.name" option must not have a prefix/],

    [{ sameSite: 'Lax' }, /^"cookie.sameSite" option must be one of "lax", "strict", "none"$/],
    [{ sameSite: true }, /"cookie.sameSite" option must be one of/],
    [{ sameSite: null }, /"cookie.sameSite" option must be one of/],
    [{ sameSite: 'none' }, /^"cookie.sameSite" option "none" needs "cookie.secure": true$/],
    [{ sameSite: 'none', secure: 'auto' }, /"none" needs "cookie.secure": true/],
    [{ sameSite: 'none', secure: false }, /"none" needs "cookie.secure": true/],

    [{ secure: 'yes' }, /^"cookie.secure" option must be one of "auto", true, false$/],
    [{ secure: 1 }, /"cookie.secure" option must be one of/],
    [{ secure: null }, /"cookie.secure" option must be one of/],

    [{ domain: '' }, /^"cookie.domain" option must be a host name$/],
    [{ domain: 'https://shop.example' }, /"cookie.domain" option must be a host name/],
    [{ domain: 'shop.example/path' }, /"cookie.domain" option must be a host name/],
    [{ domain: 'shop.example:443' }, /"cookie.domain" option must be a host name/],
    [{ domain: 'shop.example; Secure' }, /"cookie.domain" option must be a host name/],
    [{ domain: 'shop.example\n' }, /"cookie.domain" option must be a host name/],
    [{ domain: '-shop.example' }, /"cookie.domain" option must be a host name/],
    [{ domain: true }, /"cookie.domain" option must be a host name/],
    [{ domain: null }, /"cookie.domain" option must be a host name/],

    [{ path: '' }, /^"cookie.path" option must start with "\/"/],
    [{ path: 'shop' }, /"cookie.path" option must start with/],
    [{ path: '/a;b' }, /"cookie.path" option must start with/],
    [{ path: '/a\r\nX: y' }, /"cookie.path" option must start with/],
    [{ path: '/a\n' }, /"cookie.path" option must start with/],
    [{ path: null }, /"cookie.path" option must start with/],

    [{ partitioned: 1 }, /^"cookie.partitioned" option must be one of true, false$/],
    [{ partitioned: true }, /^"cookie.partitioned" option needs "cookie.secure": true$/],
    [{ partitioned: true, secure: 'auto' }, /"cookie.partitioned" option needs/],
    [{ priority: 'High' }, /^"cookie.priority" option must be one of "low", "medium", "high"$/],
    [{ priority: null }, /"cookie.priority" option must be one of/],
    [{ persistent: 'no' }, /^"cookie.persistent" option must be one of true, false$/],
    [{ persistent: 0 }, /"cookie.persistent" option must be one of/],
  ])('C3: refuses the cookie %o', (cookie, message) => {
    const error = errorOf({ cookie })

    expect(error.code).toBe('ERR_SESSION_OPTION')
    expect(error.message).toMatch(message)
  })

  it.each([
    [
      'a misspelt one',
      '{ "idletimeout": 60 }',
      'session() has no "idletimeout": it takes redis, store,',
    ],
    [
      'one of another package',
      '{ "secret": "x" }',
      'session() has no "secret": it takes redis, store,',
    ],
    [
      'one that is undefined',
      '{ "maxAge": null }',
      'session() has no "maxAge": it takes redis, store,',
    ],
    ['__proto__', '{ "__proto__": {} }', 'session() has no "__proto__": it takes redis, store,'],
    ['constructor', '{ "constructor": {} }', 'session() has no "constructor": it takes redis,'],
    ['a long one', `{ "${'x'.repeat(100)}": 1 }`, `session() has no "${'x'.repeat(64)}": it takes`],
    ['one with a line break', '{ "a\\nb": 1 }', 'session() has no "a\\nb": it takes redis, store,'],
    [
      'a cookie option',
      '{ "cookie": { "htttpOnly": true } }',
      '"cookie" option has no "htttpOnly": it',
    ],
    [
      'httpOnly, which is no choice',
      '{ "cookie": { "httpOnly": false } }',
      'has no "httpOnly": it takes name, sameSite,',
    ],
    [
      'a limit',
      '{ "limits": { "bytes": 1 } }',
      '"limits" option has no "bytes": it takes storageBytes, storageKeys',
    ],
  ])('§7: refuses an unknown name, %s, and lists the known ones', (_, json, message) => {
    expect(errorOf(JSON.parse(json)).message).toContain(message)
  })

  it('§7: lists all names that there are, and the interface has no others', () => {
    const listed = /it takes (.*)$/.exec(errorOf({ unknown: 1 }).message)?.[1]?.split(', ') ?? []
    const cookies = /it takes (.*)$/.exec(errorOf({ cookie: { unknown: 1 } }).message)?.[1]

    expect(listed.toSorted()).toEqual(
      [...documented('options/options.ts', 'SessionsOptions').keys()].toSorted(),
    )
    expect(cookies?.split(', ').toSorted()).toEqual(
      [...documented('cookie/cookie-options.ts', 'CookieOptions').keys()].toSorted(),
    )
  })

  it('S4: refuses an idle timeout below the floor, and says to lower the floor', () => {
    expect(errorOf({ idleTimeout: 30 }).message).toBe(
      '"idleTimeout" option must not be below "minIdleTimeout", 60 minutes: ' +
        'lower "minIdleTimeout" too',
    )
    expect(() => session({ idleTimeout: 30, minIdleTimeout: 30 })).not.toThrow()
  })

  it('§7: throws for Sessions as for session()', () => {
    expect(() => new Sessions({ idleTimeout: 1 })).toThrow(SessionOptionError)
    expect(() => session(new Sessions())).not.toThrow()
  })

  it('H2: does not repeat a value that was given', () => {
    const url = 'redis://:S3CRET@localhost'

    expect(errorOf({ redis: url }).message).not.toContain('S3CRET')
    expect(errorOf({ store: url }).message).not.toContain('S3CRET')
    expect(errorOf({ type: url }).message).not.toContain('S3CRET')
  })
})

describe('options that are taken', () => {
  it.each<[string, SessionsOptions]>([
    ['nothing', {}],
    ['the longest idle timeout', { idleTimeout: 525_600, absoluteTimeout: Infinity }],
    ['an idle timeout that is as long as the session', { idleTimeout: 90, absoluteTimeout: 90 }],
    ['an idle timeout at a lower floor', { idleTimeout: 0.5, minIdleTimeout: 0.5 }],
    ['a very short idle timeout', { idleTimeout: 0.001, minIdleTimeout: 0.001 }],
    ['no refreshing', { refreshSeconds: 0 }],
    ['rare refreshing', { refreshSeconds: 3600 }],
    ['the shortest deadline', { storeTimeoutMs: 10 }],
    ['the longest deadline', { storeTimeoutMs: 60_000 }],
    ['no privileges', { privilegedTypes: [] }],
    ['privileges twice', { privilegedTypes: ['web', 'web'] }],
    ['the smallest limits', { limits: { storageBytes: 1, storageKeys: 1 } }],
    ['the largest limits', { limits: { storageBytes: 2 ** 28, storageKeys: 65_536 } }],
    ['one limit', { limits: { storageKeys: 10 } }],
    ['an empty cookie option', { cookie: {} }],
    ['a cookie for other sites', { cookie: { sameSite: 'none', secure: true, partitioned: true } }],
    ['a cookie for HTTP', { cookie: { secure: false } }],
    [
      'a cookie for subdomains',
      { cookie: { domain: 'shop.example', path: '/shop', priority: 'high' } },
    ],
    ['a domain with a dot', { cookie: { domain: '.shop.example' } }],
    ['an odd cookie name', { cookie: { name: "!#$%&'*+-.^_`|~0aZ" } }],
    ['a Redis with a prefix', { redis: fakeRedis(), prefix: 'app:sess:' }],
    ['a store of a kind of its own', { store: new MemoryStore() }],
    ['one session for each user', { maxSessions: { perUser: 1, onExceed: 'refuse' } }],
    ['many sessions', { maxSessions: { perUser: 10_000, onExceed: 'terminateOldest' } }],
    ['no applications', { applications: {} }],
    ['an application', { applications: { 'com.shop': { name: 'Shop', client: 'other' } } }],
    ['other functions', { locate: () => null, describeClient: () => undefined }],
    ['names of the server', { instanceName: '', serverCode: 'a', asyncContext: true }],
    ['a secret as text', { tokens: tokensOf(hs) }],
    ['a secret as bytes', { tokens: tokensOf({ ...hs, secret: randomBytes(32) }) }],
    ['a secret as a JWK', { tokens: tokensOf({ kid: 'k', alg: 'HS256', kty: 'oct', k: secret }) }],
    ['keys of all algorithms', { tokens: tokensOf(ed, es, rs, hs) }],
    ['a JWK Set', { tokens: { ...tokensOf(), keys: { keys: [es, rs] } } }],
    ['public keys after the first', { tokens: tokensOf(hs, publicOf(ed), publicOf(es)) }],
    ['a key by the longest name', { tokens: tokensOf({ ...hs, kid: 'aZ09._-'.repeat(9) }) }],
    ['tokens for a minute', { tokens: { ...tokensOf(hs), lifetimeSeconds: 60 } }],
    ['tokens for a year', { tokens: { ...tokensOf(hs), lifetimeSeconds: 31_536_000 } }],
    [
      'tokens that end where sessions do not',
      { absoluteTimeout: Infinity, tokens: { ...tokensOf(hs), lifetimeSeconds: 3600 } },
    ],
    ['a function', { countsAsActivity: (ctx) => ctx.path !== '/poll' }],
  ])('§7: takes %s', (_, options) => {
    expect(() => session(options)).not.toThrow()
  })

  it('§7: takes both clients of ioredis', () => {
    const redis = new Redis({ lazyConnect: true })
    onTestFinished(() => redis.disconnect())

    const settings = resolveOptions({ redis })

    expect(settings.store).toBeInstanceOf(RedisStore)
    expect(settings.isDefaultStore).toBe(false)
  })

  it('§7: takes undefined for an option that is not given', () => {
    const names = [...documented('options/options.ts', 'SessionsOptions').keys()]
    const cookieNames = [...documented('cookie/cookie-options.ts', 'CookieOptions').keys()]
    const nothing = Object.fromEntries(names.map((name) => [name, undefined]))
    const nothingNested = {
      cookie: Object.fromEntries(cookieNames.map((name) => [name, undefined])),
      limits: { storageBytes: undefined, storageKeys: undefined },
    }
    const { store, ...defaults } = resolveOptions()

    expect(resolveOptions(nothing)).toEqual({ ...defaults, store: expect.any(MemoryStore) })
    expect(Reflect.apply(resolveOptions, undefined, [nothingNested])).toEqual({
      ...defaults,
      store: expect.any(MemoryStore),
    })
    expect(store).toBeInstanceOf(MemoryStore)
  })

  it('§7: turns minutes and seconds into milliseconds', () => {
    const settings = resolveOptions({
      idleTimeout: 64.4,
      minIdleTimeout: 0.5,
      absoluteTimeout: 100.1,
      refreshSeconds: 1.5,
    })

    expect(settings).toMatchObject({
      idleTimeoutMs: 3_864_000,
      minIdleTimeoutMs: 30_000,
      policy: { expiry: { absoluteTimeoutMs: 6_006_000, refreshMs: 1500 } },
    })
    expect(resolveOptions({ absoluteTimeout: Infinity }).policy.expiry.absoluteTimeoutMs).toBe(
      Infinity,
    )
  })

  it('§7: takes a prefix without redis, which may be there in production alone', () => {
    expect(resolveOptions({ prefix: 'app:', redis: undefined }).store).toBeInstanceOf(MemoryStore)
  })

  it('§7: uses the prefix for the keys in Redis', async () => {
    const redis = fakeRedis()
    const { store } = resolveOptions({ redis, prefix: 'app:' })

    await store.destroy(id)

    expect(redis.asked).toContain(sessionKey('app:', id))
  })

  it('§7: neither keeps nor changes what it was given', () => {
    const options = {
      privilegedTypes: ['web' as 'rest' | 'web'],
      limits: { storageKeys: 10 },
      cookie: { name: 'sid' },
      roles: { privileges: [{ privilege: 'browse' }] },
    }
    const before = structuredClone(options)

    const settings = resolveOptions(options)
    expect(options).toEqual(before)
    options.privilegedTypes.push('rest')
    options.limits.storageKeys = 1
    options.cookie.name = 'other'
    options.roles.privileges[0]!.privilege = 'WebAdmin'
    options.roles.privileges.push({ privilege: 'audit' })

    expect([...settings.privilegedTypes]).toEqual(['web'])
    expect(settings.limits.storageKeys).toBe(10)
    expect(settings.cookie.plainName).toBe('sid')
    expect(settings.roles.privilegeNamed('browse')).toBe('browse')
    expect(settings.roles.privilegeNamed('WebAdmin')).toBeUndefined()
    expect(settings.roles.privilegeNamed('audit')).toBeUndefined()
  })

  it('§7: takes options that are frozen, or have no prototype', () => {
    const cookie = Object.freeze({ name: 'sid' })
    const options = Object.freeze(Object.assign(Object.create(null), { cookie, idleTimeout: 90 }))

    expect(resolveOptions(options)).toMatchObject({
      idleTimeoutMs: 5_400_000,
      cookie: { plainName: 'sid', secureName: '__Host-sid' },
    })
  })

  it('§7: answers settings that are frozen', () => {
    expect(Object.isFrozen(resolveOptions())).toBe(true)
  })
})

describe('defaults', () => {
  it('§7: has the defaults that the comments tell', async () => {
    const redis = fakeRedis()
    const settings = resolveOptions({ redis })
    await settings.store.destroy(id)
    const keyEnd = sessionKey('', id)
    const told = documented('options/options.ts', 'SessionsOptions')

    expect(Object.fromEntries(told)).toEqual({
      redis: undefined,
      store: undefined,
      prefix: String(redis.asked.find((value) => String(value).includes(keyEnd))).replace(
        keyEnd,
        '',
      ),
      type: settings.type,
      roles: undefined,
      ignorePermissions: !isRefused({ roles: { privileges: [], forceLogin: true } }),
      idleTimeout: settings.idleTimeoutMs / 60_000,
      minIdleTimeout: settings.minIdleTimeoutMs / 60_000,
      absoluteTimeout: settings.policy.expiry.absoluteTimeoutMs / 60_000,
      refreshSeconds: settings.policy.expiry.refreshMs / 1000,
      cookie: undefined,
      privilegedTypes: [...settings.privilegedTypes],
      storeTimeoutMs: settings.storeTimeoutMs,
      lockTimeoutMs: settings.lockTimeoutMs,
      onStoreError: settings.onStoreError,
      limits: undefined,
      maxSessions: settings.maxSessions,
      applications: undefined,
      locate: expect.any(Function),
      describeClient: undefined,
      tokens: settings.tokens,
      instanceName: undefined,
      serverCode: settings.serverCode,
      asyncContext: settings.asyncContext,
      countsAsActivity: expect.any(Function),
    })
    expect(settings.applications).toEqual(new Map())
    expect(settings.locate).toBeUndefined()
    expect(settings.countsAsActivity).toBeUndefined()
    expect(settings.locate).toBeUndefined()
    expect(settings.instanceName).toBe(hostname())
  })

  it('§7: has the defaults that the comments tell of the cookie', () => {
    const { cookie } = resolveOptions()

    expect(Object.fromEntries(documented('cookie/cookie-options.ts', 'CookieOptions'))).toEqual({
      name: cookie.plainName,
      sameSite: cookie.attributes.sameSite,
      secure: cookie.secure,
      domain: cookie.attributes.domain,
      path: cookie.attributes.path,
      partitioned: 'partitioned' in cookie.attributes,
      priority: cookie.attributes.priority,
      persistent: cookie.persistent,
    })
  })

  it('§7: has the defaults that the comments tell of the limits', () => {
    expect(Object.fromEntries(documented('storage/storage-value.ts', 'StorageLimits'))).toEqual(
      resolveOptions().limits,
    )
  })

  it('§7: has these defaults', () => {
    expect(resolveOptions()).toMatchObject({
      isDefaultStore: true,
      type: 'web',
      idleTimeoutMs: 3_600_000,
      minIdleTimeoutMs: 3_600_000,
      policy: { expiry: { absoluteTimeoutMs: 2_592_000_000, refreshMs: 60_000 } },
      privilegedTypes: new Set(['web', 'rest']),
      storeTimeoutMs: 1000,
      lockTimeoutMs: 5000,
      onStoreError: 'fail',
      limits: { storageBytes: 262_144, storageKeys: 256 },
      maxSessions: undefined,
      applications: new Map(),
      locate: undefined,
      describeClient: undefined,
      cookie: {
        secure: 'auto',
        persistent: true,
        secureName: '__Host-session',
        plainName: 'session',
        attributes: { path: '/', sameSite: 'lax', httpOnly: true },
      },
    })
    expect(resolveOptions().roles.isOpen).toBe(true)
  })
})

describe('the roles option', () => {
  it('R1: takes a path', () => {
    const path = writeTemporary('\uFEFF{ "privileges": [{ "privilege": "browse" }] }')

    expect(resolveOptions({ roles: path }).roles.privilegeNamed('BROWSE')).toBe('browse')
    expect(resolveOptions({ roles: 'examples/roles.json' }).roles.roleNamed('admin')).toBe('Admin')
  })

  it('R2: reads the file once, at the start', () => {
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
    ['is no JSON', () => writeTemporary('{ "privileges": ['), /\$: is malformed JSON/],
    ['is an empty file', () => writeTemporary(''), /\$: is malformed JSON/],
    ['is another JSON', () => writeTemporary('[]'), /\$: must be an object/],
    [
      'has an undeclared name',
      () => writeTemporary('{ "privileges": [{ "privilege": "a", "includes": ["S"] }] }'),
      /includes\[0\]/,
    ],
  ])('R2: refuses a path that %s, with the path', (_, makePath, problem) => {
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

  it('R2: refuses what it does not enforce, unless the app says that it knows', () => {
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

  it('X1: asks for a lifetime of tokens where sessions have no end', () => {
    expect(errorOf({ absoluteTimeout: Infinity, tokens: tokensOf(hs) }).message).toBe(
      '"absoluteTimeout" option of Infinity needs "tokens.lifetimeSeconds"',
    )
  })

  it('X1: signs with the first key and keeps all of them to verify', () => {
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

  it('P7: warns once of tokens for sessions without privileges', async () => {
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

describe('the memory default', () => {
  it('§7: warns once in production', async () => {
    vi.stubEnv('NODE_ENV', 'production')
    onTestFinished(() => {
      vi.unstubAllEnvs()
    })

    expect(await warningsOf(() => session(new Sessions()))).toEqual([
      'sessions are kept in memory, where they end with this process and no other process sees ' +
        'them: give session() a "redis" client',
    ])
    expect(await warningsOf(() => session())).toHaveLength(1)
  })

  it('§7: does not warn in production of a store that the app has chosen', async () => {
    vi.stubEnv('NODE_ENV', 'production')
    onTestFinished(() => {
      vi.unstubAllEnvs()
    })

    expect(await warningsOf(() => session({ store: new MemoryStore() }))).toEqual([])
    expect(await warningsOf(() => session({ redis: fakeRedis() }))).toEqual([])
  })

  it.each(['development', 'test', '', undefined])(
    '§7: does not warn when NODE_ENV is %o',
    async (env) => {
      vi.stubEnv('NODE_ENV', env)
      onTestFinished(() => {
        vi.unstubAllEnvs()
      })

      expect(await warningsOf(() => session())).toEqual([])
    },
  )
})
