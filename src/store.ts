export {
  lockTurnMs,
  maxOTPs,
  rotatedMemoryMs,
  type CommitOutcome,
  type CreateOutcome,
  type LoadOutcome,
  type LockOutcome,
  type NewOTP,
  type NewSession,
  type SessionCommit,
  type SessionLimit,
  type SessionLock,
  type SessionStore,
  type StorePolicy,
} from './store/session-store.ts'

export {
  changeSession,
  newSession,
  expiryOf,
  isRefreshDue,
  maxRevision,
  openingOf,
  refreshed,
  summaryOf,
  type SessionChange,
  type StoredOTP,
  type StoredSecret,
  type StoredSession,
} from './store/stored-session.ts'
export { askForLock, extendLock, type LockClaim, type LockState } from './store/lock-rules.ts'
export { endedBySignIn } from './store/session-limit.ts'
export { decodeSession, encodeSession } from './store/session-text.ts'

export { unknownClient, type ClientDescription } from './client/description.ts'
export type { ExpiryPolicy } from './store/expiry.ts'
export type { GrantChanges } from './privileges/grants.ts'
export type { RecordDraft, SessionRecord, SessionSummary, SessionType } from './store/record.ts'
export type { SessionCredential } from './cookie/cookie.ts'
export type { StorageLimits } from './storage/storage-value.ts'
export type { StorageChanges } from './storage/storage.ts'
