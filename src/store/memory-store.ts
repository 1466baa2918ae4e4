import { LRUCache } from 'lru-cache'

import type { SessionCredential } from '../cookie/cookie.ts'
import { checkInteger } from '../errors/option-checks.ts'
import { askForLock, extendLock, isAboutLock, type LockState } from './lock-rules.ts'
import type { SessionSummary } from './record.ts'
import { endedBySignIn } from './session-limit.ts'
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
import { decodeSession, encodeSession } from './session-text.ts'
import {
  changeSession,
  newSession,
  expiryOf,
  isRefreshDue,
  openingOf,
  refreshed,
  summaryOf,
  type StoredSession,
} from './stored-session.ts'

// Kept from load time, because apps may fake timers in their tests.
const later = setImmediate
let turn: Promise<void> | undefined

/**
 * Waits for the end of this turn of the event loop, together with other callers. A process that
 * does the same step for many requests in a row does each in less time.
 */
function endOfTurn(): Promise<void> {
  turn ??= new Promise((resolve) => {
    later(() => {
      turn = undefined
      resolve()
    })
  })
  return turn
}

/** Options of `MemoryStore`. */
export interface MemoryStoreOptions {
  /**
   * The most sessions, beyond which the least recently used one ends. An integer from 1 to 2^24,
   * which is the most that a `Map` holds.
   *
   * @default 100_000
   */
  readonly capacity?: number
}

/** A session in memory. Immutable: a change replaces it. */
interface Entry {
  readonly text: string
  readonly userName: string
  readonly lock: LockState
}

/**
 * Keeps sessions in memory until the process ends, for demos, tests and single-process apps.
 *
 * Holds each session as the same text as Redis, so that requests share no objects. Has no timer: an
 * expired session is removed on access, or when the capacity is needed.
 */
export class MemoryStore implements SessionStore {
  readonly #entries: LRUCache<string, Entry>
  /** The ids of each user's sessions, in the order of their sign-ins. */
  readonly #users = new Map<string, Set<string>>()

  /** @throws {SessionOptionError} When `capacity` is not an integer from 1 to 2^24. */
  constructor({ capacity = 100_000 }: MemoryStoreOptions = {}) {
    checkInteger('capacity', capacity, { min: 1, max: 2 ** 24, unit: 'sessions' })
    this.#entries = new LRUCache({
      max: capacity,
      // Checks at each access, so that no session outlives its time. Tests can fake `Date`.
      ttlResolution: 0,
      perf: { now: () => Date.now() },
      dispose: ({ userName }, id, reason) => {
        if (reason !== 'set') this.#removeFromUser(userName, id)
      },
    })
  }

  async create(session: NewSession, policy: StorePolicy): Promise<CreateOutcome> {
    const { id } = session.credential
    const { userName } = session.draft
    const now = Date.now()
    if (this.#entries.has(id)) return { status: 'exists' }
    const stored = newSession(session, now, policy)
    if (!stored) return { status: 'tooLarge' }
    const ended = this.#endedBySignIn(userName, id, policy)
    if (!ended) return { status: 'refused' }
    this.#put(stored, {}, { now, policy })
    this.#signIn(userName, id, ended)
    return { status: 'created', now, ...(ended.length > 0 && { ended }) }
  }

  async load(
    credential: SessionCredential,
    policy: StorePolicy,
    isActivity: boolean,
  ): Promise<LoadOutcome | undefined> {
    await endOfTurn()
    const now = Date.now()
    const entry = this.#entries.get(credential.id)
    const session = entry && decodeSession(credential.id, entry.text)
    const opening = session && openingOf(session, credential, now)
    if (!session || !opening) return undefined
    if (opening === 'rotated') return { status: 'rotated' }
    const isDue = isActivity && isRefreshDue(session, now, policy.expiry)
    if (isDue) this.#put(refreshed(session, now), entry.lock, { now, policy })
    const { record, activeAt, isPostponed } = session
    const isLonger = isDue && record.idleTimeoutMs < Infinity
    return { status: 'live', record, now, activeAt, isPostponed, refreshed: isLonger }
  }

  async commit(
    credential: SessionCredential,
    commit: SessionCommit,
    policy: StorePolicy,
  ): Promise<CommitOutcome> {
    await endOfTurn()
    const { id } = credential
    const now = Date.now()
    const entry = this.#entries.get(id)
    const before = entry && decodeSession(id, entry.text)
    if (!before) return { status: 'ended' }
    const change = changeSession(before, credential, commit, { now, policy })
    if (change.status === 'ended' || change.status === 'rotated') return change
    const lock = commit.lock ? extendLock(entry.lock, commit.lock, now) : entry.lock
    if (!lock) return { status: 'unlocked' }
    if (change.status === 'tooLarge') return change
    const newUser = commit.ownedBy === undefined ? (commit.grants?.userName ?? '') : ''
    const ended = this.#endedBySignIn(newUser, id, policy)
    if (!ended) return { status: 'refused' }

    const { session, status } = change
    this.#put(session, lock, { now, policy })
    const { record } = session
    if (record.userName !== before.record.userName) {
      this.#removeFromUser(before.record.userName, id)
    }
    if (status === 'merged') return { status, now }
    const isExtended = Boolean(commit.lock?.leaseMs) && !isAboutLock(commit)
    const tells = commit.redeemsOTP !== undefined || isExtended
    this.#signIn(newUser, id, ended)
    return { status, now, ...(tells && { record }), ...(ended.length > 0 && { ended }) }
  }

  async lock(credential: SessionCredential, lock: SessionLock): Promise<LockOutcome | undefined> {
    const now = Date.now()
    const { id } = credential
    const entry = this.#entries.get(id)
    const session = entry && decodeSession(id, entry.text)
    if (!session || openingOf(session, credential, now) !== 'good') return undefined
    const { isLocked, state } = askForLock(entry.lock, lock, now)
    this.#entries.set(id, { ...entry, lock: state }, { noUpdateTTL: true })
    return isLocked ? { status: 'locked', record: session.record, now } : { status: 'busy' }
  }

  async list(userName: string): Promise<readonly SessionSummary[]> {
    const now = Date.now()
    return this.#liveOf(userName).map((session) => summaryOf(session, now))
  }

  async destroy(id: string, userName?: string): Promise<boolean> {
    // `delete` alone would also count an expired session.
    const entry = this.#entries.get(id)
    if (!entry || (userName !== undefined && entry.userName !== userName)) return false
    this.#entries.delete(id)
    const session = decodeSession(id, entry.text)
    return session !== undefined && Date.now() < session.record.endsAt
  }

  async close(): Promise<void> {
    this.#entries.clear()
  }

  #endedBySignIn(
    userName: string,
    id: string,
    { maxSessions }: StorePolicy,
  ): readonly string[] | undefined {
    // Most users are far below the limit, so their sessions need not be read.
    if (!maxSessions || (this.#users.get(userName)?.size ?? 0) < maxSessions.perUser) return []
    const ids = this.#liveOf(userName).map(({ record }) => record.id)
    return endedBySignIn(id, ids, maxSessions)
  }

  /** Makes a stored session its user's latest, and ends others for it. */
  #signIn(userName: string, id: string, ended: readonly string[]): void {
    if (userName === '') return
    const ids = this.#users.get(userName) ?? new Set()
    ids.delete(id)
    this.#users.set(userName, ids.add(id))
    for (const oldest of ended) this.#entries.delete(oldest)
  }

  /** Returns a user's live sessions in the order of their sign-ins, without counting as use. */
  #liveOf(userName: string): readonly StoredSession[] {
    const now = Date.now()
    return [...(this.#users.get(userName) ?? [])].flatMap((id) => {
      const entry = this.#entries.peek(id)
      // `peek` leaves expired sessions in the cache.
      if (!entry) this.#entries.delete(id)
      const session = entry && decodeSession(id, entry.text)
      // The id may by now belong to another user's session.
      const isOwn = session?.record.userName === userName
      return isOwn && now < session.record.endsAt ? session : []
    })
  }

  #removeFromUser(userName: string, id: string): void {
    const ids = this.#users.get(userName)
    ids?.delete(id)
    if (ids?.size === 0) this.#users.delete(userName)
  }

  #put(
    session: StoredSession,
    lock: LockState,
    { now, policy }: { readonly now: number; readonly policy: StorePolicy },
  ): void {
    const { id, userName } = session.record
    const ttl = Math.max(1, expiryOf(session, policy.expiry) - now)
    // To the cache, 0 means without end.
    const options = { ttl: ttl === Infinity ? 0 : ttl }
    this.#entries.set(id, { text: encodeSession(session), userName, lock }, options)
  }
}
