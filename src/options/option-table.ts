import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'

import type { Application } from '../client/describe-client.ts'
import { cleanText } from '../client/description.ts'
import { resolveCookie } from '../cookie/cookie-options.ts'
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
  namesOf,
} from '../errors/option-checks.ts'
import { parseRoles, parseRolesText, Roles } from '../privileges/roles.ts'
import type { StorageLimits } from '../storage/storage-value.ts'
import { storeOperations } from '../store/deadline-store.ts'
import { maxIdleTimeout, minutesToMs } from '../store/expiry.ts'
import { MemoryStore } from '../store/memory-store.ts'
import { sessionTypes } from '../store/record.ts'
import { RedisStore } from '../store/redis-store.ts'
import type { SessionLimit } from '../store/session-store.ts'
import { resolveTokens } from '../tokens/keys.ts'
import type { CheckedOptions, SessionsOptions, SessionsSettings, LegacyOptions } from './options.ts'

/**
 * One row for each option: its default, and how the app's value is checked and converted. A row may
 * read the app's other options.
 */
const optionTable: {
  readonly [Name in keyof SessionsOptions]-?: (
    given: SessionsOptions[Name],
    options: SessionsOptions,
  ) => CheckedOptions[Name]
} = {
  redis: (redis) => {
    if (redis !== undefined) checkMethods('redis', redis, ['get', 'getrange', 'eval', 'evalsha'])
    return redis
  },
  store: (store, { redis, prefix }) => {
    if (redis !== undefined && store !== undefined) {
      throw new SessionOptionError('"redis" and "store" options exclude each other')
    }
    if (redis !== undefined) return new RedisStore(redis, prefix === undefined ? {} : { prefix })
    if (store === undefined) return new MemoryStore()
    checkMethods('store', store, [...storeOperations, 'close'])
    return store
  },
  prefix: (given, { store }) => {
    const usual = store instanceof RedisStore ? store.prefix : 'sess:'
    const prefix = given === undefined ? usual : given
    if (typeof prefix === 'string' && prefix !== '' && !/[{}]/.test(prefix)) return prefix
    throw new SessionOptionError('"prefix" option must be text without braces, not empty')
  },
  type: (type = 'web') => checkedOneOf('type', type, ['web', 'rest']),
  roles: (roles, { ignorePermissions = false }) => readRoles(roles, ignorePermissions),
  ignorePermissions: (ignores = false) => checkedOneOf('ignorePermissions', ignores, [true, false]),
  idleTimeout: (minutes = 60) => checkedMinutes('idleTimeout', minutes, maxIdleTimeout),
  minIdleTimeout: (minutes = 60) => checkedMinutes('minIdleTimeout', minutes, maxIdleTimeout),
  absoluteTimeout: (minutes = 43_200) => checkedMinutes('absoluteTimeout', minutes, Infinity),
  refreshSeconds: (seconds = 60) => {
    checkNumber('refreshSeconds', seconds, { min: 0, max: 3600, unit: 'seconds' })
    return seconds
  },
  cookie: (cookie) => resolveCookie(cookie),
  privilegedTypes: (types = ['web', 'rest']) => {
    if (!Array.isArray(types)) {
      throw new SessionOptionError('"privilegedTypes" option must be an array')
    }
    for (const type of types) checkOneOf('privilegedTypes', type, sessionTypes)
    return new Set(types)
  },
  storeTimeoutMs: (ms = 1000) => checkedMs('storeTimeoutMs', ms, { min: 10, max: 60_000 }),
  lockTimeoutMs: (ms = 5000) => checkedMs('lockTimeoutMs', ms, { min: 1, max: 600_000 }),
  onStoreError: (choice = 'fail') => checkedOneOf('onStoreError', choice, ['fail', 'guest']),
  limits: (limits = {}) => {
    checkObject('limits', limits)
    const names = namesOf<StorageLimits>({ storageBytes: true, storageKeys: true })
    checkNames('"limits" option', limits, names)
    const { storageBytes = 262_144, storageKeys = 256 } = limits
    checkInteger('limits.storageBytes', storageBytes, { min: 1, max: 2 ** 28, unit: 'bytes' })
    checkInteger('limits.storageKeys', storageKeys, { min: 1, max: 65_536, unit: 'keys' })
    return { storageBytes, storageKeys }
  },
  maxSessions: (limit) => {
    if (limit === undefined) return undefined
    checkObject('maxSessions', limit)
    const names = namesOf<SessionLimit>({ perUser: true, onExceed: true })
    checkNames('"maxSessions" option', limit, names)
    const { perUser, onExceed } = limit
    checkInteger('maxSessions.perUser', perUser, { min: 1, max: 10_000, unit: 'sessions' })
    checkOneOf('maxSessions.onExceed', onExceed, ['terminateOldest', 'refuse'])
    return { perUser, onExceed }
  },
  applications: (applications = {}) => readApplications(applications),
  locate: (locate) => checkedFunction('locate', locate),
  describeClient: (describe) => checkedFunction('describeClient', describe),
  tokens: (tokens) => (tokens === undefined ? undefined : resolveTokens(tokens)),
  instanceName: (name = hostname()) => checkedText('instanceName', name),
  serverCode: (code = '') => checkedText('serverCode', code),
  asyncContext: (isOn = false) => checkedOneOf('asyncContext', isOn, [true, false]),
  countsAsActivity: (counts) => checkedFunction('countsAsActivity', counts),
  legacy: (legacy, { cookie }) => {
    if (legacy === undefined) return undefined
    checkObject('legacy', legacy)
    const names = namesOf<LegacyOptions>({
      read: true,
      cookieNames: true,
      cookieDomain: true,
      cookiePath: true,
    })
    checkNames('"legacy" option', legacy, names)
    checkFunction('legacy.read', legacy.read)
    return { read: legacy.read, cookies: resolveLegacyCookies(legacy, resolveCookie(cookie)) }
  },
}

/**
 * Checks options and fills in the defaults. Neither keeps nor changes the app's object.
 *
 * @throws {SessionOptionError} When an option is unknown, wrong or contradicts another.
 * @throws {SessionRolesError} When the roles file cannot be used.
 */
export function resolveOptions(given: SessionsOptions = {}): SessionsSettings {
  checkObject('options', given)
  checkNames('session()', given, Object.keys(optionTable))
  const options: SessionsOptions = { ...given }
  const checked = Object.fromEntries(
    Object.entries(optionTable).map(([name, read]) => [
      name,
      Reflect.apply(read, undefined, [Reflect.get(options, name), options]),
    ]),
  ) as CheckedOptions
  checkTogether(checked)
  const { redis, ignorePermissions: _ignores, ...more } = checked
  const { idleTimeout, minIdleTimeout, absoluteTimeout, refreshSeconds, ...others } = more
  const { limits, maxSessions, storeTimeoutMs, ...settings } = others
  const expiry = {
    absoluteTimeoutMs: minutesToMs(absoluteTimeout),
    refreshMs: Math.ceil(refreshSeconds * 1000),
  }
  return Object.freeze({
    ...settings,
    isDefaultStore: redis === undefined && options.store === undefined,
    policy: { expiry, limits, maxSessions, timeoutMs: storeTimeoutMs },
    idleTimeoutMs: minutesToMs(idleTimeout),
    minIdleTimeoutMs: minutesToMs(minIdleTimeout),
  })
}

/** Refuses options that contradict each other. */
function checkTogether({
  idleTimeout,
  minIdleTimeout,
  absoluteTimeout,
  tokens,
}: CheckedOptions): void {
  if (idleTimeout < minIdleTimeout) {
    throw new SessionOptionError(
      `"idleTimeout" option must not be below "minIdleTimeout", ${minIdleTimeout} minutes: ` +
        'lower "minIdleTimeout" too',
    )
  }
  if (idleTimeout > absoluteTimeout) {
    throw new SessionOptionError('"idleTimeout" option must not exceed "absoluteTimeout"')
  }
  if (tokens && absoluteTimeout === Infinity && tokens.lifetimeSeconds === undefined) {
    throw new SessionOptionError(
      '"absoluteTimeout" option of Infinity needs "tokens.lifetimeSeconds"',
    )
  }
}

function readRoles(roles: SessionsOptions['roles'], ignorePermissions: boolean): Roles {
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

function readApplications(
  applications: NonNullable<SessionsOptions['applications']>,
): CheckedOptions['applications'] {
  checkObject('applications', applications)
  const known = new Map<string, Required<Application>>()
  for (const [id, application] of Object.entries(applications)) {
    const label = `applications.${id}`
    if (id === '' || cleanText(id) !== id) {
      throw new SessionOptionError('"applications" option must have ids of 1 to 64 plain bytes')
    }
    checkObject(label, application)
    checkNames(
      `"${label}" option`,
      application,
      namesOf<Application>({ name: true, client: true, official: true }),
    )
    const { name, client, official = false } = application
    if (typeof name !== 'string' || name === '' || cleanText(name) !== name) {
      throw new SessionOptionError(`"${label}.name" option must be text of 1 to 64 plain bytes`)
    }
    checkOneOf(`${label}.client`, client, ['web', 'desktop', 'other'])
    checkBoolean(`${label}.official`, official)
    known.set(id, { name, client, official })
  }
  return known
}

function checkedMinutes(name: string, minutes: number, max: number): number {
  checkNumber(name, minutes, { min: 0.001, max, unit: 'minutes' })
  return minutes
}

function checkedMs(name: string, ms: number, range: { min: number; max: number }): number {
  checkInteger(name, ms, { ...range, unit: 'milliseconds' })
  return ms
}

function checkedOneOf<T>(name: string, value: T, allowed: readonly T[]): T {
  checkOneOf(name, value, allowed)
  return value
}

function checkedFunction<T>(name: string, value: T): T {
  if (value !== undefined) checkFunction(name, value)
  return value
}

function checkedText(name: string, text: string): string {
  if (typeof text === 'string') return text
  throw new SessionOptionError(`"${name}" option must be text`)
}
