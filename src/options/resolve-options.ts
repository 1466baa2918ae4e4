import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'

import type { Application } from '../client/describe-client.ts'
import { cleanText } from '../client/description.ts'
import { resolveCookie } from '../cookie/cookie.ts'
import type { CookieSettings } from '../cookie/cookie.ts'
import { resolveLegacyCookies } from '../cookie/legacy-cookies.ts'
import { SessionOptionError, SessionRolesError } from '../errors/errors.ts'
import {
  checkBoolean,
  checkFunction,
  checkInteger,
  checkMethods,
  checkNames,
  checkNumber,
  checkObject,
  checkOneOf,
} from '../errors/option-checks.ts'
import { parseRoles, parseRolesText, Roles } from '../privileges/roles.ts'
import type { StorageLimits } from '../storage/storage-value.ts'
import { maxIdleTimeout, minutesToMs } from '../store/expiry.ts'
import { MemoryStore } from '../store/memory-store.ts'
import { sessionTypes } from '../store/record.ts'
import { RedisStore } from '../store/redis-store.ts'
import type { SessionLimit, SessionStore } from '../store/session-store.ts'
import { resolveTokens } from '../tokens/keys.ts'
import type { TokensOptions, TokenSettings } from '../tokens/keys.ts'
import type { LegacyOptions, LegacySettings, SessionsOptions, SessionsSettings } from './options.ts'

const defaults = {
  prefix: 'sess:',
  type: 'web',
  ignorePermissions: false,
  idleTimeout: 60,
  minIdleTimeout: 60,
  absoluteTimeout: 43_200,
  refreshSeconds: 60,
  privilegedTypes: ['web', 'rest'],
  storeTimeoutMs: 1000,
  lockTimeoutMs: 5000,
  onStoreError: 'fail',
  serverCode: '',
  asyncContext: false,
} as const satisfies SessionsOptions

const defaultLimits: StorageLimits = { storageBytes: 262_144, storageKeys: 256 }

const optionNames: readonly (keyof SessionsOptions)[] = [
  'redis',
  'store',
  'prefix',
  'type',
  'roles',
  'ignorePermissions',
  'idleTimeout',
  'minIdleTimeout',
  'absoluteTimeout',
  'refreshSeconds',
  'cookie',
  'privilegedTypes',
  'storeTimeoutMs',
  'lockTimeoutMs',
  'onStoreError',
  'limits',
  'maxSessions',
  'applications',
  'locate',
  'describeClient',
  'tokens',
  'instanceName',
  'serverCode',
  'asyncContext',
  'countsAsActivity',
  'legacy',
]

const storeMethods: readonly (keyof SessionStore)[] = [
  'create',
  'load',
  'commit',
  'lock',
  'list',
  'destroy',
  'close',
]

/**
 * Checks options and fills in the defaults. The caller's object is neither kept nor changed.
 *
 * @param options What the app gave.
 * @throws {SessionOptionError} When an option is unknown, wrong or contradicts another.
 * @throws {SessionRolesError} When the roles file cannot be used.
 */
export function resolveOptions(options: SessionsOptions = {}): SessionsSettings {
  checkObject('options', options)
  checkNames('session()', options, optionNames)
  const given = Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as SessionsOptions
  const all = { ...defaults, ...given }

  checkOneOf('type', all.type, ['web', 'rest'])
  checkOneOf('onStoreError', all.onStoreError, ['fail', 'guest'])
  checkInteger('storeTimeoutMs', all.storeTimeoutMs, { min: 10, max: 60_000, unit: 'milliseconds' })
  checkInteger('lockTimeoutMs', all.lockTimeoutMs, { min: 1, max: 600_000, unit: 'milliseconds' })
  if (!Array.isArray(all.privilegedTypes)) {
    throw new SessionOptionError('"privilegedTypes" option must be an array')
  }
  for (const type of all.privilegedTypes) checkOneOf('privilegedTypes', type, sessionTypes)
  for (const name of ['countsAsActivity', 'locate', 'describeClient'] as const) {
    if (all[name] !== undefined) checkFunction(name, all[name])
  }

  const cookie = resolveCookie(all.cookie)
  return Object.freeze({
    ...resolveTimes(all),
    store: resolveStore(given),
    isDefaultStore: given.redis === undefined && given.store === undefined,
    type: all.type,
    roles: resolveRoles(all.roles, all.ignorePermissions),
    cookie,
    privilegedTypes: new Set(all.privilegedTypes),
    storeTimeoutMs: all.storeTimeoutMs,
    lockTimeoutMs: all.lockTimeoutMs,
    onStoreError: all.onStoreError,
    limits: resolveLimits(all.limits),
    maxSessions: resolveMaxSessions(all.maxSessions),
    applications: resolveApplications(all.applications),
    locate: all.locate,
    describeClient: all.describeClient,
    tokens: resolveTokensOption(all.tokens, all.absoluteTimeout),
    instanceName: resolveText('instanceName', all.instanceName ?? hostname()),
    serverCode: resolveText('serverCode', all.serverCode),
    asyncContext: resolveBoolean('asyncContext', all.asyncContext),
    countsAsActivity: all.countsAsActivity,
    legacy: resolveLegacy(all.legacy, cookie),
  })
}

type Times = Required<
  Pick<SessionsOptions, 'idleTimeout' | 'minIdleTimeout' | 'absoluteTimeout' | 'refreshSeconds'>
>

function resolveTimes({
  idleTimeout,
  minIdleTimeout,
  absoluteTimeout,
  refreshSeconds,
}: Times): Pick<
  SessionsSettings,
  'idleTimeoutMs' | 'minIdleTimeoutMs' | 'absoluteTimeoutMs' | 'refreshMs'
> {
  const minutes = { min: 0.001, max: maxIdleTimeout, unit: 'minutes' }
  checkNumber('idleTimeout', idleTimeout, minutes)
  checkNumber('minIdleTimeout', minIdleTimeout, minutes)
  checkNumber('absoluteTimeout', absoluteTimeout, { ...minutes, max: Infinity })
  checkNumber('refreshSeconds', refreshSeconds, { min: 0, max: 3600, unit: 'seconds' })
  if (idleTimeout < minIdleTimeout) {
    throw new SessionOptionError(
      `"idleTimeout" option must not be below "minIdleTimeout", ${minIdleTimeout} minutes: ` +
        'lower "minIdleTimeout" too',
    )
  }
  if (idleTimeout > absoluteTimeout) {
    throw new SessionOptionError('"idleTimeout" option must not exceed "absoluteTimeout"')
  }
  return {
    idleTimeoutMs: minutesToMs(idleTimeout),
    minIdleTimeoutMs: minutesToMs(minIdleTimeout),
    absoluteTimeoutMs: minutesToMs(absoluteTimeout),
    refreshMs: Math.ceil(refreshSeconds * 1000),
  }
}

function resolveStore({ redis, store, prefix }: SessionsOptions): SessionStore {
  if (redis !== undefined && store !== undefined) {
    throw new SessionOptionError('"redis" and "store" options exclude each other')
  }
  if (prefix !== undefined) {
    if (redis === undefined) throw new SessionOptionError('"prefix" option needs "redis"')
    if (typeof prefix !== 'string' || prefix === '' || /[{}]/.test(prefix)) {
      throw new SessionOptionError('"prefix" option must be text without braces, not empty')
    }
  }
  if (redis !== undefined) {
    checkMethods('redis', redis, ['get', 'getrange', 'eval', 'evalsha'])
    return new RedisStore(redis, { prefix: prefix ?? defaults.prefix })
  }
  if (store === undefined) return new MemoryStore()
  checkMethods('store', store, storeMethods)
  return store
}

function resolveRoles(roles: SessionsOptions['roles'], ignorePermissions: boolean): Roles {
  checkBoolean('ignorePermissions', ignorePermissions)
  if (roles === undefined) return Roles.open
  if (typeof roles !== 'string') {
    return parseRoles(roles, { name: 'the roles object', ignorePermissions })
  }
  let text: string
  try {
    text = readFileSync(roles, 'utf8')
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unknown reason'
    throw new SessionRolesError(roles, [{ path: '$', problem: `cannot be read: ${reason}` }])
  }
  return parseRolesText(text, { name: roles, ignorePermissions })
}

function resolveLimits(limits: Partial<StorageLimits> = {}): StorageLimits {
  checkObject('limits', limits)
  checkNames('"limits" option', limits, Object.keys(defaultLimits))
  const { storageBytes = defaultLimits.storageBytes, storageKeys = defaultLimits.storageKeys } =
    limits
  checkInteger('limits.storageBytes', storageBytes, { min: 1, max: 2 ** 28, unit: 'bytes' })
  checkInteger('limits.storageKeys', storageKeys, { min: 1, max: 65_536, unit: 'keys' })
  return { storageBytes, storageKeys }
}

function resolveMaxSessions(limit: SessionLimit | undefined): SessionLimit | undefined {
  if (limit === undefined) return undefined
  checkObject('maxSessions', limit)
  checkNames('"maxSessions" option', limit, ['perUser', 'onExceed'])
  const { perUser, onExceed } = limit
  checkInteger('maxSessions.perUser', perUser, { min: 1, max: 10_000, unit: 'sessions' })
  checkOneOf('maxSessions.onExceed', onExceed, ['terminateOldest', 'refuse'])
  return { perUser, onExceed }
}

function resolveApplications(
  applications: SessionsOptions['applications'] = {},
): SessionsSettings['applications'] {
  checkObject('applications', applications)
  const resolved = new Map<string, Required<Application>>()
  for (const [id, application] of Object.entries(applications)) {
    const label = `applications.${id}`
    if (id === '' || cleanText(id) !== id) {
      throw new SessionOptionError('"applications" option must have ids of 1 to 64 plain bytes')
    }
    checkObject(label, application)
    checkNames(`"${label}" option`, application, ['name', 'client', 'official'])
    const { name, client, official = false } = application
    if (typeof name !== 'string' || name === '' || cleanText(name) !== name) {
      throw new SessionOptionError(`"${label}.name" option must be text of 1 to 64 plain bytes`)
    }
    checkOneOf(`${label}.client`, client, ['web', 'desktop', 'other'])
    checkBoolean(`${label}.official`, official)
    resolved.set(id, { name, client, official })
  }
  return resolved
}

function resolveLegacy(
  legacy: LegacyOptions | undefined,
  cookie: CookieSettings,
): LegacySettings | undefined {
  if (legacy === undefined) return undefined
  checkObject('legacy', legacy)
  const names = ['read', 'cookieNames', 'cookieDomain', 'cookiePath']
  checkNames('"legacy" option', legacy, names)
  const { read } = legacy
  checkFunction('legacy.read', read)
  return { read, cookies: resolveLegacyCookies(legacy, cookie) }
}

function resolveTokensOption(
  tokens: TokensOptions | undefined,
  absoluteTimeout: number,
): TokenSettings | undefined {
  if (tokens === undefined) return undefined
  const settings = resolveTokens(tokens)
  if (absoluteTimeout === Infinity && settings.lifetimeSeconds === undefined) {
    throw new SessionOptionError(
      '"absoluteTimeout" option of Infinity needs "tokens.lifetimeSeconds"',
    )
  }
  return settings
}

function resolveText(label: string, text: unknown): string {
  if (typeof text === 'string') return text
  throw new SessionOptionError(`"${label}" option must be text`)
}

function resolveBoolean(label: string, value: unknown): boolean {
  checkBoolean(label, value)
  return value
}
