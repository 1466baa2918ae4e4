import type { SessionCredential } from '../../cookie/cookie.ts'
import { SessionStoreError } from '../../errors/errors.ts'
import { escapeText } from '../record.ts'
import type { SessionSummary } from '../record.ts'
import type {
  CommitOutcome,
  CreateOutcome,
  LoadOutcome,
  LockOutcome,
  NewSession,
  SessionCommit,
  SessionLock,
  StorePolicy,
} from '../session-store.ts'
import { activityOf, decodeSession, encodeSession, revisionOf } from '../session-text.ts'
import {
  changeSession,
  createSession as newStoredSession,
  isRefreshDue,
  openingOf,
  refreshed,
  summaryOf,
} from '../stored-session.ts'
import type { StoredSession } from '../stored-session.ts'
import { inBackground } from './background.ts'
import { ChangeTurns } from './change-turns.ts'
import type { ChangeTurn } from './change-turns.ts'
import type { RedisClock } from './clock.ts'
import {
  commitCall,
  indexArgs,
  instantOf,
  lastInstant,
  noChange,
  replaceCall,
  timeToLive,
} from './commit-call.ts'
import type { IndexEntry, IndexReply } from './commit-call.ts'
import type { RedisConnection } from './connection.ts'
import { lockKeys, sessionKey } from './keys.ts'
import { commitSession } from './scripts/commit-session.ts'
import { createSession } from './scripts/create-session.ts'
import { destroySession } from './scripts/destroy-session.ts'
import { lockSession } from './scripts/lock-session.ts'
import { refreshSession } from './scripts/refresh-session.ts'
import { replaceValue } from './scripts/replace-value.ts'
import { Seen } from './seen.ts'

/** What a write has come to, and what became of the index, if it was told of one. */
export interface Written<Outcome> {
  readonly outcome: Outcome
  readonly index?: IndexReply
}

/** What a session was that has ended. */
export interface Ended {
  /** `''` for nobody's. */
  readonly userName: string
  /** False when it was past its absolute end, or could not be read. */
  readonly isLive: boolean
}

/** How something is written. */
interface HowToWrite {
  readonly policy: StorePolicy
  /** When the caller stops waiting, as `performance.now()` tells it. */
  readonly until: number
  readonly index?: IndexEntry | undefined
}

/** What is committed, and how. */
interface CommitCall extends HowToWrite {
  readonly commit: SessionCommit
}

interface Late {
  readonly status: 'late'
  readonly now: number
}

// A head that changes more often while one request is read is refreshed by the others.
const maxRefreshes = 3

/**
 * The texts of the sessions. A change is worked out here, from the head that was seen last, and
 * written if the head is still that one; otherwise it is worked out anew.
 */
export class SessionTexts {
  readonly #connection: RedisConnection
  readonly #prefix: string
  readonly #turns = new ChangeTurns()

  /**
   * @param connection Where they are.
   * @param prefix What all keys start with.
   */
  constructor(connection: RedisConnection, prefix: string) {
    this.#connection = connection
    this.#prefix = prefix
  }

  /** As `SessionStore.create`. */
  async create(
    session: NewSession,
    { policy, until, index }: HowToWrite,
  ): Promise<Written<CreateOutcome>> {
    const { credential } = session
    const key = this.#key(credential.id)
    return this.#inTime(key, until, async (clock) => {
      const { now } = clock
      const stored = newStoredSession(session, now, policy)
      if (!stored) return { outcome: { status: 'tooLarge' } }
      const created = await this.#connection.run(createSession, {
        keys: { session: key, ...(index && { userSessions: index.userSessions }) },
        args: {
          untilMs: instantOf(clock, until),
          timeToLiveMs: timeToLive(stored, now, policy),
          ...indexArgs(index),
        },
        rest: [encodeSession(stored)],
      })
      if (created.status === 'late') return created
      if (created.status === 'exists') return { outcome: created }
      clock.note(created.now)
      const seen = new Seen(stored)
      return { outcome: { status: 'created', now, seen }, index: created }
    })
  }

  /**
   * As `SessionStore.load`.
   *
   * @param onRefresh Told of a session whose time to live is written anew.
   */
  async load(
    credential: SessionCredential,
    { policy, isActivity }: { readonly policy: StorePolicy; readonly isActivity: boolean },
    onRefresh: (session: StoredSession) => void,
  ): Promise<LoadOutcome | undefined> {
    const key = this.#key(credential.id)
    const clock = this.#connection.clockOf(key)
    const asking = this.#connection.askTime(key, clock)
    const reading = this.#connection.get(key)
    if (asking) await Promise.all([asking, reading])
    const text = await reading
    if (text === undefined) return undefined
    const session = decodeSession(credential.id, text)
    if (!session) return { status: 'unreadable' }
    const { now } = clock
    const opening = openingOf(session, credential, now)
    if (!opening) return undefined
    if (opening === 'renewed') return { status: 'renewed' }
    const { record, activeAt, isPostponed } = session
    const isDue = isActivity && isRefreshDue(session, now, policy.expiry)
    const seen = new Seen(isDue ? refreshed(session, now) : session, text)
    const isLonger = isDue && record.idleTimeoutMs < Infinity
    if (isDue) inBackground(this.#refresh(key, session, { clock, policy }))
    if (isLonger) onRefresh(session)
    return { status: 'live', record, seen, now, activeAt, isPostponed, refreshed: isLonger }
  }

  /**
   * A session without its storage, as its request has seen it or else as it is.
   *
   * @param id The session's id.
   * @param seen What an outcome had.
   * @returns `undefined` when there is no session that can be read.
   */
  async seen(id: string, seen: unknown): Promise<Seen | undefined> {
    const known = Seen.in(seen, id)
    if (known) return known
    const session = await this.#readHead(id)
    return session && new Seen(session)
  }

  /**
   * As `SessionStore.commit`.
   *
   * @param seen The session as {@link seen} has it.
   */
  async commit(
    credential: SessionCredential,
    seen: Seen,
    { commit, policy, until, index }: CommitCall,
  ): Promise<Written<CommitOutcome>> {
    const { id } = credential
    const key = this.#key(id)
    // The entries are merged by the script, which knows those of now.
    const headCommit = { ...commit, storage: undefined }
    let before: StoredSession | undefined = Seen.sessionOf(seen)
    let after: StoredSession | undefined
    let turn: ChangeTurn | undefined
    let isFresh = false
    const committing = this.#inTime<Written<CommitOutcome>>(key, until, async (clock) => {
      const { now } = clock
      if (!before) return { outcome: { status: 'ended' } }
      const change = changeSession(before, credential, headCommit, { now, policy })
      if (!('session' in change)) {
        if (isFresh) return { outcome: change }
        // What was seen may not hold any more.
        before = await this.#readHead(id)
        isFresh = true
        return undefined
      }
      const replacing = isFresh ? undefined : replaceCall(seen, { key, clock, commit, until })
      const replaced = replacing && (await this.#connection.run(replaceValue, replacing))
      if (replaced?.status === 'late') return replaced
      if (replaced?.status === 'committed') {
        clock.note(replaced.now)
        return { outcome: { status: change.status, now, seen } }
      }
      const call = { key, clock, before, session: change.session, commit, policy, index, until }
      const written = await this.#connection.run(commitSession, commitCall(call))
      if (written.status === 'late') return written
      if (written.status === 'unlocked' && !isFresh) {
        // The secret may have lost its session before it has lost the lock.
        before = await this.#readHead(id)
        isFresh = true
        return undefined
      }
      if (written.status === 'changed') {
        before = decodeSession(id, written.head)
        isFresh = true
        if (!turn) {
          turn = this.#turns.take(key)
          before = (await turn.previous) ?? before
        }
        return undefined
      }
      if (written.status !== 'committed') return { outcome: { status: written.status } }
      clock.note(written.now)
      after = change.session
      const next = new Seen(after)
      if (change.status === 'merged') {
        return { outcome: { status: 'merged', now, seen: next } }
      }
      const record = written.text === '' ? undefined : decodeSession(id, written.text)?.record
      const outcome = { status: 'committed', now, seen: next, ...(record && { record }) } as const
      return { outcome, index: written }
    })
    try {
      return await committing
    } finally {
      turn?.end(after)
    }
  }

  /** As `SessionStore.lock`. */
  async lock(credential: SessionCredential, lock: SessionLock): Promise<LockOutcome | undefined> {
    const { id } = credential
    const session = this.#key(id)
    const { token, leaseMs } = lock
    const locked = await this.#connection.run(lockSession, {
      keys: { session, ...lockKeys(session) },
      args: { token, leaseMs },
    })
    if (locked.status === 'ended') return undefined
    const { status, now } = locked
    const stored = decodeSession(id, locked.text)
    if (!stored || openingOf(stored, credential, now) !== 'good') {
      if (status === 'locked') await this.extendLock(id, { token, leaseMs: 0 })
      return undefined
    }
    if (status === 'busy') return { status }
    return { status: 'locked', record: stored.record, seen: new Seen(stored), now }
  }

  /**
   * Extends a lock or gives it back.
   *
   * @returns Nothing of the session, which is not looked at.
   */
  async extendLock(id: string, { token, leaseMs }: SessionLock): Promise<CommitOutcome> {
    const session = this.#key(id)
    const written = await this.#connection.run(commitSession, {
      keys: { session, lock: lockKeys(session).lock },
      // It changes nothing that could come too late.
      args: { ...noChange, untilMs: lastInstant, lockToken: token, leaseMs },
    })
    if (written.status === 'committed') return { status: 'committed', now: written.now }
    return { status: written.status === 'ended' ? 'ended' : 'unlocked' }
  }

  /**
   * Describes a session.
   *
   * @returns `undefined` when there is no live session, `'unreadable'` when there may be one, of a
   *   later version.
   */
  async describe(id: string): Promise<SessionSummary | 'unreadable' | undefined> {
    const key = this.#key(id)
    const clock = this.#connection.clockOf(key)
    const asking = this.#connection.askTime(key, clock)
    const reading = this.#connection.getHead(key)
    if (asking) await Promise.all([asking, reading])
    const head = await reading
    if (head === undefined) return undefined
    const session = decodeSession(id, head)
    if (!session) return 'unreadable'
    const { now } = clock
    return now < session.record.endsAt ? summaryOf(session, now) : undefined
  }

  /**
   * Ends a session.
   *
   * @param userName Whose it must be; anybody's when `undefined`.
   * @returns Whose it was, and whether it was live; `undefined` when nothing has ended.
   */
  async destroy(id: string, userName: string | undefined): Promise<Ended | undefined> {
    const session = this.#key(id)
    const destroyed = await this.#connection.run(destroySession, {
      keys: { session, ...lockKeys(session) },
      args: { isOwned: userName === undefined ? '' : 1, userName: escapeText(userName ?? '') },
    })
    if (destroyed.status === 'ended') return undefined
    const record = decodeSession(id, destroyed.head)?.record
    return {
      userName: record?.userName ?? '',
      isLive: record !== undefined && destroyed.now < record.endsAt,
    }
  }

  /** Counts as activity. Whoever has the session by then need not wait. */
  async #refresh(
    key: string,
    seen: StoredSession,
    { clock, policy }: { readonly clock: RedisClock; readonly policy: StorePolicy },
  ): Promise<void> {
    let session = seen
    for (let tries = 1; ; tries++) {
      const { now } = clock
      const active = refreshed(session, now)
      const outcome = await this.#connection.run(refreshSession, {
        keys: { session: key },
        args: {
          revision: revisionOf(session),
          activity: activityOf(active),
          timeToLiveMs: timeToLive(active, now, policy),
        },
      })
      if (outcome !== 'changed' || tries === maxRefreshes) return
      // Its idle timeout may be another one now.
      const changed = await this.#readHead(session.record.id)
      if (!changed) return
      session = changed
    }
  }

  /** Tries a write, again where Redis' clock or the head was another one, until its caller gives up. */
  async #inTime<T extends object>(
    key: string,
    until: number,
    attempt: (clock: RedisClock) => Promise<T | Late | undefined>,
  ): Promise<T> {
    const clock = this.#connection.clockOf(key)
    const asking = this.#connection.askTime(key, clock)
    if (asking) await asking
    for (;;) {
      const result = await attempt(clock)
      if (result && !isLate(result)) return result
      // The refusal has told what Redis' clock says now.
      if (result) clock.set(result.now)
      if (performance.now() >= until) throw new SessionStoreError('Redis answered too late')
    }
  }

  async #readHead(id: string): Promise<StoredSession | undefined> {
    const head = await this.#connection.getHead(this.#key(id))
    return head === undefined ? undefined : decodeSession(id, head)
  }

  #key(id: string): string {
    return sessionKey(this.#prefix, id)
  }
}

function isLate(result: object): result is Late {
  return 'status' in result && result.status === 'late'
}
