import './koa.ts'

export { session } from './middleware/session.ts'
export type { SessionContext } from './middleware/session.ts'

export { requirePrivilege } from './middleware/require-privilege.ts'
export { requireUser } from './middleware/require-user.ts'
export type { GuardOptions } from './middleware/guard.ts'
export { requireSameOrigin } from './middleware/require-same-origin.ts'
export type { SameOriginOptions } from './middleware/require-same-origin.ts'

export { Sessions } from './sessions.ts'
export type {
  Application,
  ClientAddition,
  ClientLocation,
  LegacyOptions,
  LegacySession,
  RequestContext,
  SessionsOptions,
} from './options.ts'
export type { OpenedSession, OpenInput, RemoteClient } from './open-session.ts'
export type {
  JsonWebTokenKey,
  SecretTokenKey,
  TokenAlgorithm,
  TokenKey,
  TokensOptions,
} from './token/keys.ts'
export type { Actor, TokenClaims } from './core/token-claims.ts'
export type { CookieOptions } from './carrier/cookie.ts'
export type { LegacyCookieOptions } from './carrier/legacy-cookies.ts'
export type {
  SessionEndReason,
  SessionEventName,
  SessionEvents,
  SessionRefusalCode,
} from './events.ts'
export type { StoreCall, StoreOperation } from './store/store-call.ts'

export type { NestedTokenInput, PassportEntry, Session, SessionCallback } from './core/session.ts'
export type {
  ActiveSession,
  ClientKind,
  SessionActivity,
  SessionInfo,
} from './core/session-info.ts'
export { unknownClient } from './core/client.ts'
export type { ClientDescription, KnownOfClient } from './core/client.ts'
export type { SessionStorage, StorageOf } from './core/storage-type.ts'
export type { StorageLimits } from './core/storage-value.ts'
export type { GrantInput, PrivilegeName, Privileges, PrivilegeSettings } from './core/privileges.ts'
export { defineRoles } from './core/define-roles.ts'
export type { PrivilegesOf } from './core/define-roles.ts'
export type { RolesFile, RolesFilePrivilege, RolesFileRole } from './core/roles.ts'

export { MemoryStore } from './store/memory-store.ts'
export type { MemoryStoreOptions } from './store/memory-store.ts'
export { RedisStore } from './store/redis-store.ts'
export type { RedisStoreOptions } from './store/redis-store.ts'
export {
  recommendedClusterOptions,
  recommendedRedisOptions,
  recommendedSentinelOptions,
} from './store/redis/recommended.ts'
export type {
  RecommendedClusterOptions,
  RecommendedRedisOptions,
  RecommendedSentinelOptions,
} from './store/redis/recommended.ts'
export type { RedisClient } from './store/redis/client.ts'
export { lockTurnMs, maxOTPs, renewedMemoryMs } from './store/session-store.ts'
export type {
  CommitOutcome,
  CreateOutcome,
  LoadOutcome,
  LockOutcome,
  NewSession,
  SessionCommit,
  SessionLimit,
  SessionLock,
  SessionStore,
  StorePolicy,
} from './store/session-store.ts'
export type { ExpiryPolicy } from './core/expiry.ts'
export type { GrantChanges } from './core/grants.ts'
export type { RecordDraft, SessionRecord, SessionSummary, SessionType } from './core/record.ts'
export type { SessionCredential } from './core/secret.ts'
export type { StorageChanges } from './core/storage.ts'

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
} from './errors.ts'
export type { ErrorHeaders, RolesProblem, SessionErrorCode } from './errors.ts'
