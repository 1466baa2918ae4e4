/**
 * What a session in memory is, and what changes make of it. Nothing that was there before is
 * changed.
 *
 * @module
 */

import { timeToLiveMs } from '../core/expiry.ts'
import { nothingGranted } from '../core/grants.ts'
import type { GrantChanges } from '../core/grants.ts'
import { storedSize } from '../core/record.ts'
import type { RecordDraft, SessionRecord } from '../core/record.ts'
import type { SessionCredential } from '../core/secret.ts'
import type { StorageLimits } from '../core/storage-value.ts'
import type { StorageChanges } from '../core/storage.ts'
import { renewedMemoryMs } from './session-store.ts'
import type { SessionLock, StorePolicy } from './session-store.ts'

/** Never changed once it is in the cache: a change puts another one in its place. */
export interface Entry {
  readonly record: SessionRecord
  /** The last activity. */
  readonly activeAt: number
  readonly isPostponed: boolean
  /** When it was renewed away by the hash of the secret; 0 while it is good. */
  readonly secrets: ReadonlyMap<string, number>
  /** Until when, by the hash of a one-time token. */
  readonly otps?: ReadonlyMap<string, number> | undefined
  readonly expiresAt: number
  /** Who holds the lock. */
  readonly lock?: Claim | undefined
  /** Who was refused it first. */
  readonly lockNext?: Claim | undefined
}

/** A claim to a lock. */
export interface Claim {
  readonly token: string
  readonly until: number
}

/** When the secret of a caller was renewed away; 0 while it is good, and for one that is trusted. */
export function renewedAtOf(entry: Entry, { secretHash }: SessionCredential): number | undefined {
  return secretHash === '' ? 0 : entry.secrets.get(secretHash)
}

export function claim({ token, leaseMs }: SessionLock, now: number): Claim {
  return { token, until: now + leaseMs }
}

export function holds(lock: Claim | undefined, token: string, now: number): boolean {
  return lock !== undefined && lock.token === token && lock.until > now
}

export function expiryOf(record: SessionRecord, now: number, policy: StorePolicy): number {
  return now + timeToLiveMs(record.idleTimeoutMs, policy.expiry)
}

/** So that nobody outside has a list or a map that is in the cache. */
export function copyOf<T extends RecordDraft>(record: T): T {
  return {
    ...record,
    client: { ...record.client },
    privileges: [...record.privileges],
    roles: [...record.roles],
    storage: new Map(record.storage),
  }
}

/** Storage after changes. */
export function changedStorage(
  stored: ReadonlyMap<string, string>,
  changes: StorageChanges | undefined,
): ReadonlyMap<string, string> {
  if (!changes) return stored
  const changed = new Map(stored)
  for (const [name, json] of changes.set) changed.set(name, json)
  for (const name of changes.removed) changed.delete(name)
  return changed
}

/** A record after changed grants, by a request; a sign-in counts its times anew. */
export function changedGrants(
  record: SessionRecord,
  grants: GrantChanges | undefined,
  now: number,
  policy: StorePolicy,
): SessionRecord {
  if (!grants) return record
  return {
    ...granted(record, grants),
    ...(grants.signsIn && { signedInAt: now, endsAt: now + policy.expiry.absoluteTimeoutMs }),
  }
}

/** A record after changed grants. */
export function granted(record: SessionRecord, grants: GrantChanges): SessionRecord {
  const before = grants.clears ? nothingGranted : record
  return {
    ...record,
    userName: grants.userName ?? before.userName,
    privileges: [...new Set([...before.privileges, ...grants.privileges])],
    roles: [...new Set([...before.roles, ...grants.roles])],
  }
}

/** Secrets after a new one: the others are renewed away, or stay beside it. */
export function changedSecrets(
  secrets: ReadonlyMap<string, number>,
  newSecretHash: string,
  { now, keepsOthers }: { readonly now: number; readonly keepsOthers: boolean },
): ReadonlyMap<string, number> {
  const changed = new Map<string, number>()
  for (const [hash, renewedAt] of secrets) {
    if (renewedAt === 0) changed.set(hash, keepsOthers ? 0 : now)
    else if (now - renewedAt <= renewedMemoryMs) changed.set(hash, renewedAt)
  }
  return changed.set(newSecretHash, 0)
}

/** Whether storage is over a limit and growing: one that is over already may shrink. */
export function isOver(
  storage: ReadonlyMap<string, string>,
  before: ReadonlyMap<string, string>,
  { storageBytes, storageKeys }: StorageLimits,
): boolean {
  if (storage === before) return false
  const bytes = storedSize(storage)
  return (
    (storage.size > storageKeys && storage.size > before.size) ||
    (bytes > storageBytes && bytes > storedSize(before))
  )
}
