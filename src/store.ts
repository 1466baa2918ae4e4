export { lockTurnMs, maxOTPs, renewedMemoryMs } from './store/session-store.ts'
export type {
  CommitOutcome,
  CreateOutcome,
  LoadOutcome,
  LockOutcome,
  NewOTP,
  NewSession,
  SessionCommit,
  SessionLimit,
  SessionLock,
  SessionStore,
  StorePolicy,
} from './store/session-store.ts'

export {
  changeSession,
  createSession,
  expiryOf,
  isRefreshDue,
  maxRevision,
  openingOf,
  refreshed,
  summaryOf,
} from './store/stored-session.ts'
export type {
  SessionChange,
  StoredOTP,
  StoredSecret,
  StoredSession,
} from './store/stored-session.ts'
export { askForLock, extendLock } from './store/lock-rules.ts'
export type { LockClaim, LockState } from './store/lock-rules.ts'
export { endedBySignIn } from './store/session-limit.ts'
export { decodeSession, encodeSession } from './store/session-text.ts'

export { unknownClient } from './core/client.ts'
export type { ClientDescription } from './core/client.ts'
export type { ExpiryPolicy } from './core/expiry.ts'
export type { GrantChanges } from './core/grants.ts'
export type { RecordDraft, SessionRecord, SessionSummary, SessionType } from './core/record.ts'
export type { SessionCredential } from './core/secret.ts'
export type { StorageLimits } from './core/storage-value.ts'
export type { StorageChanges } from './core/storage.ts'
