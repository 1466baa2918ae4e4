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
   * An ioredis client, `Redis` or `Cluster`: where the sessions are kept. It stays the app's;
   * nobody closes it here. Without `redis` and `store` the sessions are kept in memory.
   */
  readonly redis?: RedisClient | undefined
  /** A store of another kind, in place of `redis`. */
  readonly store?: SessionStore | undefined
  /**
   * What the keys in Redis start with. One per app: apps that share it share their sessions. Text
   * without braces, not empty.
   *
   * @default 'sess:'
   */
  readonly prefix?: string | undefined
  /**
   * What sessions carried by a cookie are called: `web` for browsers, `rest` for an HTTP API.
   *
   * @default 'web'
   */
  readonly type?: 'web' | 'rest' | undefined
  /**
   * The roles file: a path, read once at start-up, or its content. Without one every privilege name
   * counts as declared and there are no roles.
   */
  readonly roles?: string | RolesFile | undefined
  /**
   * Accepts a roles file with permissions, `restrictedByDefault` or `forceLogin`, none of which is
   * enforced.
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
   * Minutes; lower values that a session is given at run time are raised to it. From 0.001 to 525 600.
   *
   * @default 60
   */
  readonly minIdleTimeout?: number | undefined
  /**
   * Minutes from creation, and anew from each sign-in, after which a session ends however busy it
   * is. Not below `idleTimeout`; `Infinity` for none.
   *
   * @default 43_200
   */
  readonly absoluteTimeout?: number | undefined
  /**
   * Seconds that a session may outlive its idle timeout, so that most requests write nothing: a
   * session in use is refreshed once in this time. From 0 to 3600.
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
   * Milliseconds within which the store must answer each call. From 10 to 60 000.
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
   * What a request gets whose session could not be loaded: `fail` answers 503 when something
   * touches `ctx.session`; `guest` gives a guest, whose changes answer 503.
   *
   * @default 'fail'
   */
  readonly onStoreError?: 'fail' | 'guest' | undefined
  /** The most that one session may store. */
  readonly limits?: Partial<StorageLimits> | undefined
  /**
   * How many live sessions one user may have. Kept at each sign-in, however many run side by side
   * on however many processes. Without it, as many as they like.
   */
  readonly maxSessions?: SessionLimit | undefined
  /**
   * What each application is, by the id that its sessions have: its name, what kind of client it
   * is, and whether it is one of the app's own.
   */
  readonly applications?: Readonly<Record<string, Application>> | undefined
  /**
   * Where an IP address is, such as by a database on this machine. Asked once, when a session is
   * stored first. What it throws leaves the place unknown.
   *
   * @default () => null
   */
  readonly locate?:
    | ((
        ip: string,
      ) => ClientLocation | null | undefined | Promise<ClientLocation | null | undefined>)
    | undefined
  /**
   * Adds to what a request's headers tell of a browser, or replaces it. Asked once, when a session
   * is stored first. What it throws adds nothing.
   */
  readonly describeClient?:
    | ((ctx: RequestContext, client: ClientDescription) => ClientAddition | Promise<ClientAddition>)
    | undefined
  /**
   * Lets clients that are no browsers in, by `Authorization: Bearer` with a signed token. Without
   * it that header is ignored.
   */
  readonly tokens?: TokensOptions | undefined
  /**
   * What this server is called: `session.instanceName` of every session. By default the host's
   * name.
   */
  readonly instanceName?: string | undefined
  /**
   * A code of the server: `session.serverCode` of every session.
   *
   * @default ''
   */
  readonly serverCode?: string | undefined
  /**
   * Whether `sessions.current` is the running request's session everywhere in its code. It takes an
   * `AsyncLocalStorage` around every request.
   *
   * @default false
   */
  readonly asyncContext?: boolean | undefined
  /**
   * Whether a request keeps its session alive, such as not for polling. Called once for each
   * request with a session cookie.
   *
   * @default () => true
   */
  readonly countsAsActivity?: ((ctx: RequestContext) => boolean) | undefined
  /** Carries the sessions of another package over, so that moving to this one signs nobody out. */
  readonly legacy?: LegacyOptions | undefined
}

/** How the sessions of another package are carried over. */
export interface LegacyOptions extends LegacyCookieOptions {
  /**
   * Reads a client's session of another package. Asked before the handlers, for a request that has
   * one of `cookieNames`, no bearer token, and nothing that opens a session here. What it answers
   * goes into a new session, stored at the end of the request as if the request had changed it; the
   * old cookies are expired then, and nobody asks again.
   *
   * The cookie is anybody's text: check its signature and its date. What this throws, and an answer
   * that takes longer than `storeTimeoutMs`, counts as a store that fails. An answer that a session
   * cannot hold is left out as a whole, with one process warning.
   *
   * @param ctx Koa's context. Leave its `session` alone: this comes before it.
   * @returns `null` for no session.
   */
  readonly read: (
    ctx: Context,
  ) => LegacySession | null | undefined | Promise<LegacySession | null | undefined>
}

/** What a client had in a session of another package. */
export interface LegacySession extends PrivilegeSettings {
  /** By name; JSON. The limits of storage count. */
  readonly storage?: Readonly<Record<string, unknown>>
}

/** Checked {@link LegacyOptions}. */
export interface LegacySettings {
  readonly read: LegacyOptions['read']
  readonly cookies: LegacyCookies
}

/**
 * What options are kept as that are not kept as they were given. An option that is not here has a
 * default, and is kept in the form and the unit in which the app gives it.
 */
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

/** Checked {@link SessionsOptions}, each by its name. */
export type CheckedOptions = {
  readonly [Name in keyof SessionsOptions]-?: Name extends keyof ConvertedOptions
    ? ConvertedOptions[Name]
    : Exclude<SessionsOptions[Name], undefined>
}

/** Checked and complete {@link SessionsOptions}, and what follows from them. */
export interface SessionsSettings extends CheckedOptions {
  /** Whether the store is the embedded default, which the app has not asked for. */
  readonly isDefaultStore: boolean
  /** What the store is told with each call. */
  readonly policy: StorePolicy
  readonly idleTimeoutMs: number
  readonly minIdleTimeoutMs: number
}
