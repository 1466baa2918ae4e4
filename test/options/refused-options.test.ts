import { Redis } from 'ioredis'
import { MemoryStore, session, SessionOptionError, Sessions } from 'koa-user-sessions'
import { describe, expect, it, vi } from 'vitest'

import { application, documented, errorOf, fakeRedis, limit } from '../support/options.ts'

function redisWithout(method: string): object {
  const methods = ['get', 'getrange', 'eval', 'evalsha']
  return Object.fromEntries(
    methods.filter((name) => name !== method).map((name) => [name, vi.fn()]),
  )
}

function storeWithout(method: string): object {
  const methods = ['create', 'load', 'commit', 'lock', 'list', 'destroy', 'close']
  return Object.fromEntries(
    methods.filter((name) => name !== method).map((name) => [name, vi.fn()]),
  )
}

describe('refused options', () => {
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
      'httpOnly, which is not an option',
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

  it('§7: lists all existing names, and the interface has no others', () => {
    const listed = /it takes (.*)$/.exec(errorOf({ unknown: 1 }).message)?.[1]?.split(', ') ?? []
    const cookies = /it takes (.*)$/.exec(errorOf({ cookie: { unknown: 1 } }).message)?.[1]

    expect(listed.toSorted()).toEqual(
      [...documented('options/options.ts', 'SessionsOptions').keys()].toSorted(),
    )
    expect(cookies?.split(', ').toSorted()).toEqual(
      [...documented('cookie/cookie-options.ts', 'CookieOptions').keys()].toSorted(),
    )
  })

  it('S4: refuses an idle timeout below the floor, and suggests lowering the floor', () => {
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

  it('H2: does not repeat a given value', () => {
    const url = 'redis://:S3CRET@localhost'

    expect(errorOf({ redis: url }).message).not.toContain('S3CRET')
    expect(errorOf({ store: url }).message).not.toContain('S3CRET')
    expect(errorOf({ type: url }).message).not.toContain('S3CRET')
  })
})
