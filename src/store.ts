export { lockTurnMs, maxOTPs, rotatedMemoryMs } from './store/session-store.ts'
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
  newSession,
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

export { unknownClient } from './client/description.ts'
export type { ClientDescription } from './client/description.ts'
export type { ExpiryPolicy } from './store/expiry.ts'
export type { GrantChanges } from './privileges/grants.ts'
export type { RecordDraft, SessionRecord, SessionSummary, SessionType } from './store/record.ts'
export type { SessionCredential } from './cookie/cookie.ts'
export type { StorageLimits } from './storage/storage-value.ts'
export type { StorageChanges } from './storage/storage.ts'
