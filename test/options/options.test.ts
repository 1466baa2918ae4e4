import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { Redis } from 'ioredis'
import { MemoryStore, RedisStore, session, Sessions } from 'koa-user-sessions'
import type { SessionsOptions } from 'koa-user-sessions'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { resolveOptions } from '../../src/options/option-table.ts'
import { sessionKey } from '../../src/store/redis/keys.ts'
import {
  documented,
  ed,
  es,
  fakeRedis,
  hs,
  id,
  publicOf,
  rs,
  secret,
  tokensOf,
  warningsOf,
} from '../support/options.ts'

function isRefused(options: unknown): boolean {
  try {
    Reflect.apply(session, undefined, [options])
    return false
  } catch {
    return true
  }
}

describe('accepted options', () => {
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
  ])('§7: accepts %s', (_, options) => {
    expect(() => session(options)).not.toThrow()
  })

  it('§7: accepts both clients of ioredis', () => {
    const redis = new Redis({ lazyConnect: true })
    onTestFinished(() => redis.disconnect())

    const settings = resolveOptions({ redis })

    expect(settings.store).toBeInstanceOf(RedisStore)
    expect(settings.isDefaultStore).toBe(false)
  })

  it('§7: accepts undefined for a missing option', () => {
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

  it('§7: converts minutes and seconds to milliseconds', () => {
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

  it('§7: reads every setting outside of src/options, so that no option is without effect', () => {
    const src = fileURLToPath(new URL('../../src', import.meta.url))
    const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
    const code = files
      .filter((file) => file.endsWith('.ts') && !file.startsWith('options'))
      .map((file) =>
        readFileSync(join(src, file), 'utf8').replaceAll(/\/\*.*?\*\/|\/\/[^\n]*/gs, ''),
      )
      .join('\n')

    const unread = Object.keys(resolveOptions()).filter(
      (name) => !new RegExp(`\\b${name}\\b`).test(code),
    )

    expect(unread).toEqual([])
  })

  it('§7: accepts a prefix without redis, which may be set in production only', () => {
    expect(resolveOptions({ prefix: 'app:', redis: undefined }).store).toBeInstanceOf(MemoryStore)
  })

  it('§7: uses the prefix for the keys in Redis', async () => {
    const redis = fakeRedis()
    const { store } = resolveOptions({ redis, prefix: 'app:' })

    await store.destroy(id)

    expect(redis.asked).toContain(sessionKey('app:', id))
  })

  it('§7: neither keeps nor changes the given object', () => {
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
    expect(settings.policy.limits.storageKeys).toBe(10)
    expect(settings.cookie.plainName).toBe('sid')
    expect(settings.roles.privilegeNamed('browse')).toBe('browse')
    expect(settings.roles.privilegeNamed('WebAdmin')).toBeUndefined()
    expect(settings.roles.privilegeNamed('audit')).toBeUndefined()
  })

  it('§7: accepts options that are frozen or have no prototype', () => {
    const cookie = Object.freeze({ name: 'sid' })
    const options = Object.freeze(Object.assign(Object.create(null), { cookie, idleTimeout: 90 }))

    expect(resolveOptions(options)).toMatchObject({
      idleTimeoutMs: 5_400_000,
      cookie: { plainName: 'sid', secureName: '__Host-sid' },
    })
  })

  it('§7: returns frozen settings', () => {
    expect(Object.isFrozen(resolveOptions())).toBe(true)
  })
})

describe('defaults', () => {
  it('§7: has the defaults that the comments state', async () => {
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
      storeTimeoutMs: settings.policy.timeoutMs,
      lockTimeoutMs: settings.lockTimeoutMs,
      onStoreError: settings.onStoreError,
      limits: undefined,
      maxSessions: settings.policy.maxSessions,
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

  it('§7: has the defaults that the comments state for the cookie', () => {
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

  it('§7: has the defaults that the comments state for the limits', () => {
    expect(Object.fromEntries(documented('storage/storage-value.ts', 'StorageLimits'))).toEqual(
      resolveOptions().policy.limits,
    )
  })

  it('§7: has these defaults', () => {
    expect(resolveOptions()).toMatchObject({
      isDefaultStore: true,
      type: 'web',
      idleTimeoutMs: 3_600_000,
      minIdleTimeoutMs: 3_600_000,
      policy: {
        expiry: { absoluteTimeoutMs: 2_592_000_000, refreshMs: 60_000 },
        limits: { storageBytes: 262_144, storageKeys: 256 },
        maxSessions: undefined,
        timeoutMs: 1000,
      },
      privilegedTypes: new Set(['web', 'rest']),
      lockTimeoutMs: 5000,
      onStoreError: 'fail',
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

  it('§7: does not warn in production about a store that the app has chosen', async () => {
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
