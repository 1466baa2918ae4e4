import './koa/context.ts'

export { session, type SessionContext } from './koa/session.ts'

export { requirePrivilege } from './koa/require-privilege.ts'
export { requireUser } from './koa/require-user.ts'
export type { GuardOptions } from './koa/guard.ts'
export { requireSameOrigin, type SameOriginOptions } from './koa/require-same-origin.ts'

export { Sessions } from './manager/sessions.ts'
export type { LegacyOptions, LegacySession, SessionsOptions } from './options/options.ts'
export type { OpenedSession, OpenInput, RemoteClient } from './manager/open-session.ts'
export type {
  JsonWebTokenKey,
  SecretTokenKey,
  TokenAlgorithm,
  TokenKey,
  TokensOptions,
} from './tokens/keys.ts'
export type { Actor, TokenClaims } from './tokens/claims.ts'
export type { CookieOptions } from './cookie/cookie-options.ts'
export type { LegacyCookieOptions } from './cookie/legacy-cookies.ts'
export type {
  SessionEndReason,
  SessionEventName,
  SessionEvents,
  SessionRefusalCode,
} from './events/events.ts'
export type { StoreOperation } from './store/session-store.ts'
export type { StoreCall } from './store/store-call.ts'

export type { NestedTokenInput } from './session/nested-token.ts'
export type { Session, SessionCallback } from './session/session.ts'
export type { ActiveSession, SessionActivity, SessionInfo } from './session/session-info.ts'
export type {
  Application,
  ClientKind,
  ClientLocation,
  RequestContext,
} from './client/describe-client.ts'
export type { ClientDescription } from './client/description.ts'
export type { SessionStorage, StorageOf } from './storage/storage-type.ts'
export type { StorageLimits } from './storage/storage-value.ts'
export type {
  GrantInput,
  PrivilegeName,
  Privileges,
  PrivilegeSettings,
} from './privileges/privileges.ts'
export { defineRoles, type PrivilegesOf } from './privileges/define-roles.ts'
export type { RolesFile, RolesFilePrivilege, RolesFileRole } from './privileges/roles.ts'

export { MemoryStore, type MemoryStoreOptions } from './store/memory-store.ts'
export { RedisStore, type RedisStoreOptions } from './store/redis-store.ts'
export {
  recommendedClusterOptions,
  recommendedRedisOptions,
  recommendedSentinelOptions,
} from './store/redis/recommended.ts'
export type { RedisClient } from './store/redis/client.ts'
export type { SessionLimit, SessionStore } from './store/session-store.ts'
export type { SessionType } from './store/record.ts'

export {
  SessionCrossSiteError,
  SessionEndedError,
  SessionError,
  SessionGuestError,
  SessionHeadersSentError,
  SessionLimitError,
  SessionLockTimeoutError,
  SessionNotMountedError,
  SessionOptionError,
  SessionPrivilegeError,
  SessionPrivilegeUnknownError,
  SessionRolesError,
  SessionStoreError,
  SessionTokenError,
  StorageKeyError,
  StorageSizeError,
  StorageValueError,
  type ErrorHeaders,
  type RolesProblem,
  type SessionErrorCode,
} from './errors/errors.ts'
