import { LRUCache } from 'lru-cache'

import { isRefreshDue, timeToLiveMs } from '../core/expiry.ts'
import { nothingGranted } from '../core/grants.ts'
import type { GrantChanges } from '../core/grants.ts'
import { storedSize } from '../core/record.ts'
import type { RecordDraft, SessionRecord } from '../core/record.ts'
import type { SessionCredential } from '../core/secret.ts'
import type { StorageLimits } from '../core/storage-value.ts'
import type { StorageChanges } from '../core/storage.ts'
import { checkInteger } from '../option-checks.ts'
import { lockTurnMs, renewedMemoryMs } from './session-store.ts'
import type {
  CommitOutcome,
  CreateOutcome,
  LoadOutcome,
  LockOutcome,
  NewSession,
  SessionCommit,
  SessionLock,
  SessionStore,
  StorePolicy,
} from './session-store.ts'

/** Options of a {@link MemoryStore}. */
export interface MemoryStoreOptions {
  /**
   * The most sessions that are kept; one more ends the one that was used longest ago. A positive
   * integer, at most 2^24, as many as a `Map` holds.
   *
   * @default 100_000
   */
  readonly maxSessions?: number
}

/** Never changed once it is in the cache: a change puts another one in its place. */
interface Entry {
  readonly record: SessionRecord
  /** When it was renewed away by the hash of the secret; 0 while it is good. */
  readonly secrets: ReadonlyMap<string, number>
  readonly expiresAt: number
  /** Who holds the lock. */
  readonly lock?: Claim | undefined
  /** Who was refused it first. */
  readonly lockNext?: Claim | undefined
}

interface Claim {
  readonly token: string
  readonly until: number
}

/**
 * Keeps sessions in the memory of this process: for demos, tests and apps of one process. Sessions
 * end with the process.
 *
 * Holds text only, as Redis does, so that no object is shared between requests. Expired sessions go
 * when they are asked for or when the cap needs their place; there is no timer.
 */
export class MemoryStore implements SessionStore {
  readonly #entries: LRUCache<string, Entry>

  /** @throws {SessionOptionError} When `maxSessions` is not an integer from 1 to 2^24. */
  constructor({ maxSessions = 100_000 }: MemoryStoreOptions = {}) {
    checkInteger('maxSessions', maxSessions, { min: 1, max: 2 ** 24, unit: 'sessions' })
    this.#entries = new LRUCache({
      max: maxSessions,
      // Asked at each access, so that nothing is kept past its time; `Date` so that tests can move it.
      ttlResolution: 0,
      perf: { now: () => Date.now() },
    })
  }

  async create(session: NewSession, policy: StorePolicy): Promise<CreateOutcome> {
    const { credential, draft, signsIn } = session
    if (this.#entries.has(credential.id)) return { status: 'exists' }
    if (isOver(draft.storage, new Map(), policy.limits)) return { status: 'tooLarge' }
    const now = Date.now()
    const record: SessionRecord = {
      ...copyOf(draft),
      id: credential.id,
      createdAt: now,
      signedInAt: signsIn ? now : 0,
      endsAt: now + policy.expiry.absoluteTimeoutMs,
    }
    const secrets = new Map([[credential.secretHash, 0]])
    this.#put(credential.id, { record, secrets, expiresAt: expiryOf(record, now, policy) })
    return { status: 'created', now }
  }

  async load(
    credential: SessionCredential,
    policy: StorePolicy,
    isActivity: boolean,
  ): Promise<LoadOutcome | undefined> {
    const now = Date.now()
    const entry = this.#entryOf(credential, now)
    if (!entry) return undefined
    if (entry.secrets.get(credential.secretHash) !== 0) return { status: 'renewed' }
    const refreshed = isActivity && this.#refresh(entry, now, policy)
    return { status: 'live', record: copyOf(entry.record), now, refreshed }
  }

  async commit(
    credential: SessionCredential,
    commit: SessionCommit,
    policy: StorePolicy,
  ): Promise<CommitOutcome> {
    const now = Date.now()
    const entry = this.#entryOf(credential, now)
    if (!entry) return { status: 'ended' }
    const { grants, newSecretHash } = commit
    const isRenewed = entry.secrets.get(credential.secretHash) !== 0
    const joins = isRenewed && commit.asksFor === 'rights' && belongsTo(entry.record, commit)
    if (isRenewed && !joins && commit.asksFor) return { status: 'renewed' }
    const { lock } = commit
    if (lock && !holds(entry.lock, lock.token, now)) return { status: 'unlocked' }
    const storage = changedStorage(entry.record.storage, commit.storage)
    if (isOver(storage, entry.record.storage, policy.limits)) return { status: 'tooLarge' }

    const record = {
      ...changedGrants(entry.record, grants, now, policy),
      storage,
      idleTimeoutMs: commit.idleTimeoutMs ?? entry.record.idleTimeoutMs,
    }
    const takesSecret = newSecretHash !== undefined && (!isRenewed || joins)
    this.#put(credential.id, {
      ...entry,
      ...(lock && { lock: lock.leaseMs === 0 ? undefined : claim(lock, now) }),
      record,
      secrets: takesSecret
        ? changedSecrets(entry.secrets, newSecretHash, { now, keepsOthers: joins })
        : entry.secrets,
      expiresAt:
        commit.idleTimeoutMs === undefined ? entry.expiresAt : expiryOf(record, now, policy),
    })
    if (isRenewed && !joins) return { status: 'merged', now }
    return { status: 'committed', now, ...(lock?.leaseMs && { record: copyOf(record) }) }
  }

  async touch(credential: SessionCredential, policy: StorePolicy): Promise<number | undefined> {
    const outcome = await this.load(credential, policy, true)
    return outcome?.status === 'live' ? outcome.now : undefined
  }

  async lock(credential: SessionCredential, lock: SessionLock): Promise<LockOutcome | undefined> {
    const { token } = lock
    const now = Date.now()
    const entry = this.#entryOf(credential, now)
    if (!entry || entry.secrets.get(credential.secretHash) !== 0) return undefined
    const holder = entry.lock && entry.lock.until > now ? entry.lock.token : undefined
    const next = entry.lockNext && entry.lockNext.until > now ? entry.lockNext.token : undefined
    if ((holder ?? next ?? token) !== token) {
      const lockNext = { token, until: now + lockTurnMs }
      if ((next ?? token) === token) this.#put(credential.id, { ...entry, lockNext })
      return { status: 'busy' }
    }
    this.#put(credential.id, {
      ...entry,
      lock: claim(lock, now),
      lockNext: next === token ? undefined : entry.lockNext,
    })
    return { status: 'locked', record: copyOf(entry.record), now }
  }

  async extendLock(id: string, lock: SessionLock): Promise<boolean> {
    const now = Date.now()
    const entry = this.#entries.get(id)
    if (!entry || !holds(entry.lock, lock.token, now)) return false
    this.#put(id, { ...entry, lock: lock.leaseMs === 0 ? undefined : claim(lock, now) })
    return true
  }

  unlock(id: string, token: string): Promise<boolean> {
    return this.extendLock(id, { token, leaseMs: 0 })
  }

  async read(id: string): Promise<SessionRecord | undefined> {
    const record = this.#entries.get(id)?.record
    return record && Date.now() < record.endsAt ? copyOf(record) : undefined
  }

  async destroy(id: string): Promise<boolean> {
    // The cache would count one that has expired, too.
    const isThere = this.#entries.has(id)
    this.#entries.delete(id)
    return isThere
  }

  async close(): Promise<void> {
    this.#entries.clear()
  }

  /** The live session of a secret that is good or was renewed away a moment ago. */
  #entryOf({ id, secretHash }: SessionCredential, now: number): Entry | undefined {
    const entry = this.#entries.get(id)
    const renewedAt = entry?.secrets.get(secretHash)
    if (entry === undefined || renewedAt === undefined) return undefined
    if (renewedAt !== 0 && now - renewedAt > renewedMemoryMs) return undefined
    if (now < entry.record.endsAt) return entry
    this.#entries.delete(id)
    return undefined
  }

  #refresh(entry: Entry, now: number, policy: StorePolicy): boolean {
    const { record, expiresAt } = entry
    if (!isRefreshDue(expiresAt - now, record.idleTimeoutMs)) return false
    this.#put(record.id, { ...entry, expiresAt: expiryOf(record, now, policy) })
    return true
  }

  #put(id: string, entry: Entry): void {
    this.#entries.set(id, entry, { ttl: Math.max(1, entry.expiresAt - Date.now()) })
  }
}

/** So that nobody outside has a list or a map that is in the cache. */
function copyOf<T extends RecordDraft>(record: T): T {
  return {
    ...record,
    privileges: [...record.privileges],
    roles: [...record.roles],
    storage: new Map(record.storage),
  }
}

function claim({ token, leaseMs }: SessionLock, now: number): Claim {
  return { token, until: now + leaseMs }
}

function holds(lock: Claim | undefined, token: string, now: number): boolean {
  return lock !== undefined && lock.token === token && lock.until > now
}

function expiryOf(record: SessionRecord, now: number, policy: StorePolicy): number {
  return now + timeToLiveMs(record.idleTimeoutMs, policy.expiry)
}

function belongsTo(record: SessionRecord, { userName }: SessionCommit): boolean {
  return userName !== '' && record.userName === userName
}

function changedStorage(
  stored: ReadonlyMap<string, string>,
  changes: StorageChanges | undefined,
): ReadonlyMap<string, string> {
  if (!changes) return stored
  const changed = new Map(stored)
  for (const [name, json] of changes.set) changed.set(name, json)
  for (const name of changes.removed) changed.delete(name)
  return changed
}

function changedGrants(
  record: SessionRecord,
  grants: GrantChanges | undefined,
  now: number,
  policy: StorePolicy,
): SessionRecord {
  if (!grants) return record
  const before = grants.clears ? nothingGranted : record
  return {
    ...record,
    userName: grants.userName ?? before.userName,
    privileges: [...new Set([...before.privileges, ...grants.privileges])],
    roles: [...new Set([...before.roles, ...grants.roles])],
    ...(grants.signsIn && { signedInAt: now, endsAt: now + policy.expiry.absoluteTimeoutMs }),
  }
}

function changedSecrets(
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
function isOver(
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
