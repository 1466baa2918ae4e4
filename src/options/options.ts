import type { Context } from 'koa'

import type {
  Application,
  ClientAddition,
  ClientLocation,
  RequestContext,
} from '../client/describe-client.ts'
import type { ClientDescription } from '../client/description.ts'
import type { CookieOptions, CookieSettings } from '../cookie/cookie-options.ts'
import type { LegacyCookieOptions, LegacyCookies } from '../cookie/legacy-cookies.ts'
import type { PrivilegeSettings } from '../privileges/privileges.ts'
import type { Roles, RolesFile } from '../privileges/roles.ts'
import type { StorageLimits } from '../storage/storage-value.ts'
import type { SessionType } from '../store/record.ts'
import type { RedisClient } from '../store/redis/client.ts'
import type { SessionLimit, SessionStore, StorePolicy } from '../store/session-store.ts'
import type { TokensOptions, TokenSettings } from '../tokens/keys.ts'

/** Options of `session()` and `Sessions`. Checked once, at start-up; unknown names are refused. */
export interface SessionsOptions {
  /**
   * An ioredis client, `Redis` or `Cluster`, for the sessions. It stays the app's: this package
   * never closes it. Without `redis` and `store`, sessions are kept in memory.
   */
  readonly redis?: RedisClient | undefined
  /** Another store, instead of `redis`. */
  readonly store?: SessionStore | undefined
  /**
   * The start of all keys in Redis. Apps with the same prefix share their sessions. Text without
   * braces, not empty.
   *
   * @default 'sess:'
   */
  readonly prefix?: string | undefined
  /**
   * The type of sessions with a cookie: `web` for browsers, `rest` for an HTTP API.
   *
   * @default 'web'
   */
  readonly type?: 'web' | 'rest' | undefined
  /**
   * The roles file: a path, read once at start-up, or its content. Without it, every privilege name
   * counts as declared, and there are no roles.
   */
  readonly roles?: string | RolesFile | undefined
  /**
   * Accepts a roles file with permissions, `restrictedByDefault` or `forceLogin`, which this
   * package does not enforce.
   *
   * @default false
   */
  readonly ignorePermissions?: boolean | undefined
  /**
   * Minutes without a request after which a session ends. From `minIdleTimeout` to 525 600.
   *
   * @default 60
   */
  readonly idleTimeout?: number | undefined
  /**
   * Minutes, from 0.001 to 525 600. Lower idle timeouts at run time are raised to it.
   *
   * @default 60
   */
  readonly minIdleTimeout?: number | undefined
  /**
   * Minutes from creation, and again from each sign-in, after which a session ends even if it is in
   * use. At least `idleTimeout`; `Infinity` for no limit.
   *
   * @default 43_200
   */
  readonly absoluteTimeout?: number | undefined
  /**
   * Seconds by which a session may outlive its idle timeout. A session in use is refreshed once in
   * this time, so that most requests write nothing. From 0 to 3600.
   *
   * @default 60
   */
  readonly refreshSeconds?: number | undefined
  /** The session cookie. */
  readonly cookie?: CookieOptions | undefined
  /**
   * The types of session that can have privileges.
   *
   * @default ['web', 'rest']
   */
  readonly privilegedTypes?: readonly SessionType[] | undefined
  /**
   * Milliseconds that a call of the store may take. From 10 to 60 000.
   *
   * @default 1000
   */
  readonly storeTimeoutMs?: number | undefined
  /**
   * Milliseconds that `use()` waits for its turn. From 1 to 600 000.
   *
   * @default 5000
   */
  readonly lockTimeoutMs?: number | undefined
  /**
   * What becomes of a request whose session cannot be loaded. With `fail`, reading `ctx.session`
   * fails with 503. With `guest`, the request gets a guest, whose changes fail with 503.
   *
   * @default 'fail'
   */
  readonly onStoreError?: 'fail' | 'guest' | undefined
  /** The limits for the storage of one session. */
  readonly limits?: Partial<StorageLimits> | undefined
  /**
   * The limit on the live sessions of one user, enforced at each sign-in, even for parallel
   * sign-ins in several processes. Without it, there is no limit.
   */
  readonly maxSessions?: SessionLimit | undefined
  /**
   * The known applications by the id that their sessions have: name, kind of client, and whether
   * the application is one of the app's own.
   */
  readonly applications?: Readonly<Record<string, Application>> | undefined
  /**
   * Returns the location of an IP address, for example from a local database. Called once, when a
   * session is first stored. If it throws, the location stays unknown.
   *
   * @default () => null
   */
  readonly locate?:
    | ((
        ip: string,
      ) => ClientLocation | null | undefined | Promise<ClientLocation | null | undefined>)
    | undefined
  /**
   * Adds to, or replaces, what a request's headers say about a browser. Called once, when a session
   * is first stored. If it throws, it adds nothing.
   */
  readonly describeClient?:
    | ((ctx: RequestContext, client: ClientDescription) => ClientAddition | Promise<ClientAddition>)
    | undefined
  /**
   * Admits clients that are not browsers by a signed token in `Authorization: Bearer`. Without it,
   * that header is ignored.
   */
  readonly tokens?: TokensOptions | undefined
  /** The name of this server, as `session.instanceName`. By default the host's name. */
  readonly instanceName?: string | undefined
  /**
   * A code of this server, as `session.serverCode`.
   *
   * @default ''
   */
  readonly serverCode?: string | undefined
  /**
   * Whether `sessions.current` is the running request's session everywhere in its code. Costs an
   * `AsyncLocalStorage` around every request.
   *
   * @default false
   */
  readonly asyncContext?: boolean | undefined
  /**
   * Returns whether a request keeps its session alive, for example false for polling. Called once
   * for each request with a session cookie.
   *
   * @default () => true
   */
  readonly countsAsActivity?: ((ctx: RequestContext) => boolean) | undefined
  /** Carries over the sessions of another package, so that moving to this one signs no user out. */
  readonly legacy?: LegacyOptions | undefined
}

/** How to carry over the sessions of another package. */
export interface LegacyOptions extends LegacyCookieOptions {
  /**
   * Reads a client's session of another package. Called before the handlers, for a request that has
   * one of `cookieNames`, no bearer token, and nothing that opens a session here. The result goes
   * into a new session, which the end of the request stores like its own changes; the old cookies
   * are then expired, so that this is not called again.
   *
   * The cookie is untrusted: check its signature and its date. An error, or a result after
   * `storeTimeoutMs`, counts as a failure of the store. A result that a session cannot hold is
   * ignored as a whole, with one process warning.
   *
   * @param ctx Koa's context. Do not use its `session`, which does not exist yet.
   * @returns `null` for no session.
   */
  readonly read: (
    ctx: Context,
  ) => LegacySession | null | undefined | Promise<LegacySession | null | undefined>
}

/** A client's session of another package. */
export interface LegacySession extends PrivilegeSettings {
  /** JSON values by name, within the limits of storage. */
  readonly storage?: Readonly<Record<string, unknown>>
}

/** Checked {@link LegacyOptions}. */
export interface LegacySettings {
  readonly read: LegacyOptions['read']
  readonly cookies: LegacyCookies
}

/** The options that are converted or have no default. All others are kept as the app gives them. */
interface ConvertedOptions {
  readonly redis: RedisClient | undefined
  readonly store: SessionStore
  readonly roles: Roles
  readonly cookie: CookieSettings
  readonly privilegedTypes: ReadonlySet<SessionType>
  readonly limits: StorageLimits
  readonly maxSessions: SessionLimit | undefined
  readonly applications: ReadonlyMap<string, Required<Application>>
  readonly locate: SessionsOptions['locate']
  readonly describeClient: SessionsOptions['describeClient']
  readonly tokens: TokenSettings | undefined
  readonly countsAsActivity: ((ctx: RequestContext) => boolean) | undefined
  readonly legacy: LegacySettings | undefined
}

/** Checked {@link SessionsOptions} by name. */
export type CheckedOptions = {
  readonly [Name in keyof SessionsOptions]-?: Name extends keyof ConvertedOptions
    ? ConvertedOptions[Name]
    : Exclude<SessionsOptions[Name], undefined>
}

/** Options whose values {@link SessionsSettings} has in another form only. */
type DerivedOption =
  | 'redis'
  | 'ignorePermissions'
  | 'idleTimeout'
  | 'minIdleTimeout'
  | 'absoluteTimeout'
  | 'refreshSeconds'
  | 'limits'
  | 'maxSessions'
  | 'storeTimeoutMs'

/** Checked and complete {@link SessionsOptions}, with derived values. */
export interface SessionsSettings extends Omit<CheckedOptions, DerivedOption> {
  /** Whether the app gave neither `redis` nor `store`. */
  readonly isDefaultStore: boolean
  /** What each call passes to the store. */
  readonly policy: StorePolicy
  readonly idleTimeoutMs: number
  readonly minIdleTimeoutMs: number
}
