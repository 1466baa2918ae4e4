import { LRUCache } from 'lru-cache'

import { isRefreshDue } from '../core/expiry.ts'
import type { GrantChanges } from '../core/grants.ts'
import type { SessionRecord, SessionSummary } from '../core/record.ts'
import type { SessionCredential } from '../core/secret.ts'
import { checkInteger } from '../option-checks.ts'
import type { Entry } from './memory-changes.ts'
import {
  changedGrants,
  changedSecrets,
  changedStorage,
  claim,
  copyOf,
  expiryOf,
  granted,
  holds,
  isOver,
  renewedAtOf,
} from './memory-changes.ts'
import { lockTurnMs, maxOTPs, renewedMemoryMs } from './session-store.ts'
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
  readonly capacity?: number
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
  /** Ids of each user's sessions, the first sign-in first. */
  readonly #users = new Map<string, Set<string>>()

  /** @throws {SessionOptionError} When `capacity` is not an integer from 1 to 2^24. */
  constructor({ capacity = 100_000 }: MemoryStoreOptions = {}) {
    checkInteger('capacity', capacity, { min: 1, max: 2 ** 24, unit: 'sessions' })
    this.#entries = new LRUCache({
      max: capacity,
      // Asked at each access, so that nothing is kept past its time; `Date` so that tests can move it.
      ttlResolution: 0,
      perf: { now: () => Date.now() },
      dispose: ({ record }, id, reason) => {
        if (reason !== 'set') this.#removeFromUser(record.userName, id)
      },
    })
  }

  async create(session: NewSession, policy: StorePolicy): Promise<CreateOutcome> {
    const { credential, draft, signsIn } = session
    if (this.#entries.has(credential.id)) return { status: 'exists' }
    if (isOver(draft.storage, new Map(), policy.limits)) return { status: 'tooLarge' }
    const now = Date.now()
    if (!this.#hasRoom(draft.userName, credential.id, policy)) return { status: 'refused' }
    const record: SessionRecord = {
      ...copyOf(draft),
      id: credential.id,
      createdAt: now,
      signedInAt: signsIn ? now : 0,
      endsAt: now + policy.expiry.absoluteTimeoutMs,
    }
    const { secretHash } = credential
    const secrets = new Map(secretHash === '' ? [] : [[secretHash, 0]])
    const expiresAt = expiryOf(record, now, policy)
    this.#put(credential.id, { record, activeAt: now, isPostponed: false, secrets, expiresAt })
    return { status: 'created', now, ...this.#signIn(draft.userName, credential.id, policy) }
  }

  async load(
    credential: SessionCredential,
    policy: StorePolicy,
    isActivity: boolean,
  ): Promise<LoadOutcome | undefined> {
    const now = Date.now()
    const entry = this.#entryOf(credential, now)
    if (!entry) return undefined
    if (renewedAtOf(entry, credential) !== 0) return { status: 'renewed' }
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
    const isRenewed = renewedAtOf(entry, credential) !== 0
    const joins = isRenewed && commit.asksFor === 'rights' && belongsTo(entry.record, commit)
    if (isRenewed && !joins && commit.asksFor) return { status: 'renewed' }
    const { lock } = commit
    if (lock && !holds(entry.lock, lock.token, now)) return { status: 'unlocked' }
    const storage = changedStorage(entry.record.storage, commit.storage)
    if (isOver(storage, entry.record.storage, policy.limits)) return { status: 'tooLarge' }
    const newUser = grants?.userName ?? ''
    if (!this.#hasRoom(newUser, credential.id, policy)) return { status: 'refused' }

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
      isPostponed: commit.postpones || entry.isPostponed,
      secrets: takesSecret
        ? changedSecrets(entry.secrets, newSecretHash, { now, keepsOthers: joins })
        : entry.secrets,
      ...(takesSecret && !joins && { otps: undefined }),
      ...(commit.idleTimeoutMs !== undefined && {
        activeAt: now,
        expiresAt: expiryOf(record, now, policy),
      }),
    })
    if (record.userName !== entry.record.userName) {
      this.#removeFromUser(entry.record.userName, credential.id)
    }
    if (isRenewed && !joins) return { status: 'merged', now }
    const ended = this.#signIn(newUser, credential.id, policy)
    return { status: 'committed', now, ...ended, ...(lock?.leaseMs && { record: copyOf(record) }) }
  }

  async touch(credential: SessionCredential, policy: StorePolicy): Promise<number | undefined> {
    const outcome = await this.load(credential, policy, true)
    return outcome?.status === 'live' ? outcome.now : undefined
  }

  async lock(credential: SessionCredential, lock: SessionLock): Promise<LockOutcome | undefined> {
    const { token } = lock
    const now = Date.now()
    const entry = this.#entryOf(credential, now)
    if (!entry || renewedAtOf(entry, credential) !== 0) return undefined
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

  async addOTP(
    credential: SessionCredential,
    otpHash: string,
    lifespanMs: number,
  ): Promise<boolean> {
    const now = Date.now()
    const entry = this.#entryOf(credential, now)
    if (!entry || renewedAtOf(entry, credential) !== 0) return false
    const live = [...(entry.otps ?? [])].filter(([, until]) => until > now)
    const kept = live.toSorted(([, one], [, other]) => other - one).slice(0, maxOTPs - 1)
    this.#put(credential.id, { ...entry, otps: new Map([...kept, [otpHash, now + lifespanMs]]) })
    return true
  }

  async redeemOTP(
    { id, secretHash: otpHash }: SessionCredential,
    newSecretHash: string,
    policy: StorePolicy,
  ): ReturnType<SessionStore['redeemOTP']> {
    const now = Date.now()
    const entry = this.#entries.get(id)
    const until = entry?.otps?.get(otpHash)
    const isGood = until !== undefined && now < until
    if (!entry || !isGood || now >= entry.record.endsAt) return undefined
    const otps = new Map(entry.otps)
    otps.delete(otpHash)
    this.#put(id, {
      ...entry,
      otps,
      secrets: new Map([...entry.secrets, [newSecretHash, 0]]),
      activeAt: now,
      isPostponed: false,
      expiresAt: expiryOf(entry.record, now, policy),
    })
    return { status: 'live', record: copyOf(entry.record), now, refreshed: true }
  }

  async read(id: string): Promise<SessionRecord | undefined> {
    const record = this.#peek(id)?.record
    return record && Date.now() < record.endsAt ? copyOf(record) : undefined
  }

  async describe(id: string): Promise<SessionSummary | undefined> {
    const now = Date.now()
    const entry = this.#peek(id)
    if (!entry || now >= entry.record.endsAt) return undefined
    const { record, activeAt, isPostponed } = entry
    const { privileges: _privileges, roles: _roles, storage: _storage, ...summary } = record
    return { ...summary, client: { ...record.client }, activeAt, isPostponed, now }
  }

  async list(userName: string): Promise<readonly SessionSummary[]> {
    const ids = [...(this.#users.get(userName) ?? [])]
    const summaries = await Promise.all(ids.map((id) => this.describe(id)))
    return summaries.flatMap((summary) => summary ?? [])
  }

  async grant(id: string, userName: string, grants: GrantChanges): Promise<boolean> {
    const entry = this.#entries.get(id)
    const isLive = entry !== undefined && Date.now() < entry.record.endsAt
    if (!isLive || entry.record.userName !== userName) return false
    const record = granted(entry.record, grants)
    this.#put(id, { ...entry, record })
    if (record.userName !== userName) this.#removeFromUser(userName, id)
    return true
  }

  async destroy(id: string, userName?: string): Promise<boolean> {
    // The cache would count one that has expired, too.
    const record = this.#entries.get(id)?.record
    if (!record || (userName !== undefined && record.userName !== userName)) return false
    this.#entries.delete(id)
    return Date.now() < record.endsAt
  }

  async destroyAll(userName: string, exceptId?: string): Promise<readonly string[]> {
    const ids = [...(this.#users.get(userName) ?? [])].filter((id) => id !== exceptId)
    const isEnded = await Promise.all(ids.map((id) => this.destroy(id, userName)))
    return ids.filter((_id, index) => isEnded[index])
  }

  async close(): Promise<void> {
    this.#entries.clear()
  }

  /** The live session of a secret that is good or was renewed away a moment ago. */
  #entryOf(credential: SessionCredential, now: number): Entry | undefined {
    const { id } = credential
    const entry = this.#entries.get(id)
    const renewedAt = entry && renewedAtOf(entry, credential)
    if (entry === undefined || renewedAt === undefined) return undefined
    if (renewedAt !== 0 && now - renewedAt > renewedMemoryMs) return undefined
    if (now < entry.record.endsAt) return entry
    this.#entries.delete(id)
    return undefined
  }

  #refresh(entry: Entry, now: number, policy: StorePolicy): boolean {
    const { record, expiresAt } = entry
    if (!entry.isPostponed && !isRefreshDue(expiresAt - now, record.idleTimeoutMs)) return false
    this.#put(record.id, {
      ...entry,
      activeAt: now,
      isPostponed: false,
      expiresAt: expiryOf(record, now, policy),
    })
    return true
  }

  /** Whether a user can have one more session, or needs none. */
  #hasRoom(userName: string, id: string, { maxSessions }: StorePolicy): boolean {
    if (userName === '' || maxSessions?.onExceed !== 'refuse') return true
    return this.#liveIds(userName).filter((other) => other !== id).length < maxSessions.perUser
  }

  /** Makes a stored session its user's last one. Answers those that ended for it. */
  #signIn(
    userName: string,
    id: string,
    { maxSessions }: StorePolicy,
  ): { readonly ended?: readonly string[] } {
    if (userName === '') return {}
    const ids = this.#users.get(userName) ?? new Set()
    ids.delete(id)
    this.#users.set(userName, ids.add(id))
    if (maxSessions?.onExceed !== 'terminateOldest' || ids.size <= maxSessions.perUser) return {}
    const ended = this.#liveIds(userName).slice(0, -maxSessions.perUser)
    for (const oldest of ended) this.#entries.delete(oldest)
    return ended.length > 0 ? { ended } : {}
  }

  #liveIds(userName: string): readonly string[] {
    const now = Date.now()
    return [...(this.#users.get(userName) ?? [])].filter((id) => {
      const entry = this.#peek(id)
      return entry !== undefined && now < entry.record.endsAt
    })
  }

  #removeFromUser(userName: string, id: string): void {
    const ids = this.#users.get(userName)
    ids?.delete(id)
    if (ids?.size === 0) this.#users.delete(userName)
  }

  /** A session that has not expired, without counting as use. */
  #peek(id: string): Entry | undefined {
    const entry = this.#entries.peek(id)
    // The cache keeps one that has expired until somebody uses it.
    if (!entry) this.#entries.delete(id)
    return entry
  }

  #put(id: string, entry: Entry): void {
    const ttl = Math.max(1, entry.expiresAt - Date.now())
    // 0 is for ever.
    this.#entries.set(id, entry, { ttl: ttl === Infinity ? 0 : ttl })
  }
}

function belongsTo(record: SessionRecord, { userName }: SessionCommit): boolean {
  return userName !== '' && record.userName === userName
}
