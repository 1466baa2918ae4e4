import { readFileSync } from 'node:fs'

import { resolveCookie } from './carrier/cookie.ts'
import type { CookieOptions, CookieSettings } from './carrier/cookie.ts'
import { cleanText } from './core/client.ts'
import type { ClientDescription, KnownOfClient } from './core/client.ts'
import { maxIdleTimeout, minutesToMs } from './core/expiry.ts'
import type { SessionType } from './core/record.ts'
import { parseRoles, parseRolesText, Roles } from './core/roles.ts'
import type { RolesFile } from './core/roles.ts'
import type { ClientKind } from './core/session-info.ts'
import type { StorageLimits } from './core/storage-value.ts'
import { SessionOptionError, SessionRolesError } from './errors.ts'
import {
  checkBoolean,
  checkFunction,
  checkInteger,
  checkMethods,
  checkNames,
  checkNumber,
  checkObject,
  checkOneOf,
} from './option-checks.ts'
import { MemoryStore } from './store/memory-store.ts'
import { RedisStore } from './store/redis-store.ts'
import type { RedisClient } from './store/redis/client.ts'
import type { SessionLimit, SessionStore } from './store/session-store.ts'

/** What callbacks among the options get of a request: Koa's context has all of it. */
export interface RequestContext {
  readonly path: string
  readonly method: string
  readonly query: Readonly<Record<string, string | string[] | undefined>>
  get(header: string): string
}

/** Options of `session()` and `Sessions`. Checked once, at start-up; unknown names are refused. */
export interface SessionsOptions {
  /**
   * An ioredis client, `Redis` or `Cluster`: where the sessions are kept. It stays the app's;
   * nobody closes it here. Without `redis` and `store` the sessions are kept in memory.
   */
  readonly redis?: RedisClient
  /** A store of another kind, in place of `redis`. */
  readonly store?: SessionStore
  /**
   * What the keys in Redis start with. One per app: apps that share it share their sessions.
   *
   * @default 'sess:'
   */
  readonly prefix?: string
  /**
   * What sessions carried by a cookie are called: `web` for browsers, `rest` for an HTTP API.
   *
   * @default 'web'
   */
  readonly type?: SessionType
  /**
   * The roles file: a path, read once at start-up, or its content. Without one every privilege name
   * counts as declared and there are no roles.
   */
  readonly roles?: string | RolesFile
  /**
   * Accepts a roles file with permissions, `restrictedByDefault` or `forceLogin`, none of which is
   * enforced.
   *
   * @default false
   */
  readonly ignorePermissions?: boolean
  /**
   * Minutes without a request after which a session ends. From `minIdleTimeout` to 525 600.
   *
   * @default 60
   */
  readonly idleTimeout?: number
  /**
   * Minutes; lower values that a session is given at run time are raised to it. Above 0.
   *
   * @default 60
   */
  readonly minIdleTimeout?: number
  /**
   * Minutes from creation, and anew from each sign-in, after which a session ends however busy it
   * is. Not below `idleTimeout`; `Infinity` for none.
   *
   * @default 43_200
   */
  readonly absoluteTimeout?: number
  /**
   * Seconds that a session may outlive its idle timeout, so that most requests write nothing: a
   * session in use is refreshed once in this time. From 0 to 3600.
   *
   * @default 60
   */
  readonly refreshSeconds?: number
  /** The session cookie. */
  readonly cookie?: CookieOptions
  /**
   * The types of session that can have privileges.
   *
   * @default ['web', 'rest']
   */
  readonly privilegedTypes?: readonly SessionType[]
  /**
   * Milliseconds within which the store must answer each call. From 10 to 60 000.
   *
   * @default 1000
   */
  readonly storeTimeoutMs?: number
  /**
   * Milliseconds that `use()` waits for its turn. From 1 to 600 000.
   *
   * @default 5000
   */
  readonly lockTimeoutMs?: number
  /**
   * What a request gets whose session could not be loaded: `fail` answers 503 when something
   * touches `ctx.session`; `guest` gives a guest, whose changes answer 503.
   *
   * @default 'fail'
   */
  readonly onStoreError?: 'fail' | 'guest'
  /** The most that one session may store. */
  readonly limits?: Partial<StorageLimits>
  /**
   * How many live sessions one user may have. Kept at each sign-in, however many run side by side
   * on however many processes.
   *
   * @default none
   */
  readonly maxSessions?: SessionLimit
  /**
   * What each application is, by the id that its sessions have: its name, what kind of client it
   * is, and whether it is one of the app's own.
   */
  readonly applications?: Readonly<Record<string, Application>>
  /**
   * Where an IP address is, such as by a database on this machine. Asked once, when a session is
   * stored first. What it throws leaves the place unknown.
   *
   * @default () => null
   */
  readonly locate?: (
    ip: string,
  ) => Location | null | undefined | Promise<Location | null | undefined>
  /**
   * Adds to what a request's headers tell of a browser, or replaces it. Asked once, when a session
   * is stored first. What it throws adds nothing.
   */
  readonly describeClient?: (
    ctx: RequestContext,
    client: ClientDescription,
  ) => ClientAddition | Promise<ClientAddition>
  /**
   * Whether a request keeps its session alive, such as not for polling. Called once for each
   * request with a session cookie.
   *
   * @default () => true
   */
  readonly countsAsActivity?: (ctx: RequestContext) => boolean
}

/** What one application is. */
export interface Application {
  /** What lists of sessions call it. */
  readonly name: string
  /** What kind of client it is. */
  readonly client: ClientKind
  /**
   * Whether it is one of the app's own.
   *
   * @default false
   */
  readonly official?: boolean
}

/** Where an address is; what is not known may be left out. */
export interface Location {
  /** Such as `CH`. */
  readonly country?: string | undefined
  /** A part of the country, such as `Zürich`. */
  readonly region?: string | undefined
}

/** What `describeClient` answers: what it knows, or nothing. */
export type ClientAddition = KnownOfClient | null | undefined | void

/** Checked and complete {@link SessionsOptions}. */
export interface SessionsSettings {
  readonly store: SessionStore
  /** Whether the store is the embedded default, which nobody asked for. */
  readonly isDefaultStore: boolean
  readonly type: SessionType
  readonly roles: Roles
  readonly idleTimeoutMs: number
  readonly minIdleTimeoutMs: number
  readonly absoluteTimeoutMs: number
  readonly refreshMs: number
  readonly cookie: CookieSettings
  readonly privilegedTypes: ReadonlySet<SessionType>
  readonly storeTimeoutMs: number
  readonly lockTimeoutMs: number
  readonly onStoreError: 'fail' | 'guest'
  readonly limits: StorageLimits
  readonly maxSessions: SessionLimit | undefined
  readonly applications: ReadonlyMap<string, Required<Application>>
  readonly locate: SessionsOptions['locate']
  readonly describeClient: SessionsOptions['describeClient']
  readonly countsAsActivity: ((ctx: RequestContext) => boolean) | undefined
}

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
  'countsAsActivity',
]

const storeMethods: readonly (keyof SessionStore)[] = [
  'create',
  'load',
  'commit',
  'touch',
  'lock',
  'extendLock',
  'unlock',
  'read',
  'describe',
  'list',
  'grant',
  'destroy',
  'destroyAll',
  'close',
]

const sessionTypes: readonly SessionType[] = ['web', 'rest']

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

  checkOneOf('type', all.type, sessionTypes)
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

  return Object.freeze({
    ...resolveTimes(all),
    store: resolveStore(given),
    isDefaultStore: given.redis === undefined && given.store === undefined,
    type: all.type,
    roles: resolveRoles(all.roles, all.ignorePermissions),
    cookie: resolveCookie(all.cookie),
    privilegedTypes: new Set(all.privilegedTypes),
    storeTimeoutMs: all.storeTimeoutMs,
    lockTimeoutMs: all.lockTimeoutMs,
    onStoreError: all.onStoreError,
    limits: resolveLimits(all.limits),
    maxSessions: resolveMaxSessions(all.maxSessions),
    applications: resolveApplications(all.applications),
    locate: all.locate,
    describeClient: all.describeClient,
    countsAsActivity: all.countsAsActivity,
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
    checkMethods('redis', redis, ['eval', 'evalsha'])
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
