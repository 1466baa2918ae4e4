import type { SessionCredential } from '../cookie/cookie.ts'
import { SessionOptionError } from '../errors/errors.ts'
import { isAboutLock } from './lock-rules.ts'
import type { SessionSummary } from './record.ts'
import { inBackground } from './redis/background.ts'
import type { RedisClient } from './redis/client.ts'
import { RedisConnection, type RedisClock } from './redis/connection.ts'
import { lockKeys, sessionKey } from './redis/keys.ts'
import { commitSession } from './redis/scripts/commit-session.ts'
import { createSession } from './redis/scripts/create-session.ts'
import { destroySession } from './redis/scripts/destroy-session.ts'
import { lockSession } from './redis/scripts/lock-session.ts'
import { refreshSession } from './redis/scripts/refresh-session.ts'
import {
  SessionWriter,
  type HowToWrite,
  indexArgs,
  noChange,
  remainingMs,
} from './redis/session-writer.ts'
import type { IndexEntry } from './redis/user-index.ts'
import { UserSessions, type Ended, type Written } from './redis/user-sessions.ts'
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
import {
  encodeActivity,
  decodeSession,
  encodeSession,
  lastInstant,
  revisionOf,
} from './session-text.ts'
import { escapeText } from './storage-texts.ts'
import {
  newSession,
  isRefreshDue,
  openingOf,
  refreshed,
  summaryOf,
  Seen,
  timeToLiveMs,
  type StoredSession,
} from './stored-session.ts'

/** Options of `RedisStore`. */
export interface RedisStoreOptions {
  /**
   * The start of all keys. Apps with the same prefix share their sessions. Text without braces.
   *
   * @default 'sess:'
   */
  readonly prefix?: string | undefined
}

// Beyond this, other requests refresh a head that keeps changing.
const maxRefreshes = 3

/**
 * Keeps sessions in Redis 6.2 or later, alone or as a Cluster: one string for each session, which
 * Redis itself expires, and one sorted set for each user's sessions. `store/redis/keys.ts`
 * documents both.
 *
 * The store applies a change to the session as last seen. Redis stores the result if the session is
 * still the same; otherwise the store applies the change again.
 *
 * The client stays the app's: this store opens and closes no connection.
 */
export class RedisStore implements SessionStore {
  readonly #connection: RedisConnection
  /** The start of all keys: the option of that name. */
  readonly prefix: string
  readonly #users: UserSessions
  readonly #writer: SessionWriter
  /** One Redis is one server: only a Cluster has several. */
  readonly nodeOf?: (id?: string) => string | undefined

  /**
   * @throws {SessionOptionError} When the prefix is not text or has a brace, which would change the
   *   key's node.
   */
  constructor(redis: RedisClient, { prefix = 'sess:' }: RedisStoreOptions = {}) {
    if (typeof prefix !== 'string' || /[{}]/.test(prefix)) {
      throw new SessionOptionError('"prefix" option must be text without braces')
    }
    this.#connection = new RedisConnection(redis)
    this.prefix = prefix
    this.#writer = new SessionWriter(this.#connection, prefix)
    if (redis.isCluster) {
      this.nodeOf = (id) =>
        id === undefined ? undefined : this.#connection.nodeOf(sessionKey(prefix, id))
    }
    this.#users = new UserSessions(this.#connection, prefix, {
      describe: (id) => this.#describe(id),
      end: (id, userName) => this.#end(id, userName),
    })
  }

  async create(session: NewSession, policy: StorePolicy): Promise<CreateOutcome> {
    const { id } = session.credential
    const { userName, idleTimeoutMs } = session.draft
    const until = performance.now() + policy.timeoutMs
    const write = (index?: IndexEntry): Promise<Written<CreateOutcome>> =>
      this.#create(session, { policy, until, index })
    if (userName === '') return (await write()).outcome
    const signIn = { id, userName, timeToLiveMs: timeToLiveMs(idleTimeoutMs, policy.expiry) }
    return this.#users.signIn<CreateOutcome>(signIn, policy, write)
  }

  async load(
    credential: SessionCredential,
    policy: StorePolicy,
    isActivity: boolean,
  ): Promise<LoadOutcome | undefined> {
    const key = sessionKey(this.prefix, credential.id)
    const { clock, text } = await this.#read(key, this.#connection.get(key))
    if (text === undefined) return undefined
    const session = decodeSession(credential.id, text)
    if (!session) return { status: 'unreadable' }
    const { now } = clock
    const opening = openingOf(session, credential, now)
    if (!opening) return undefined
    if (opening === 'rotated') return { status: 'rotated' }
    const { record, activeAt, isPostponed } = session
    const isDue = isActivity && isRefreshDue(session, now, policy.expiry)
    const seen = new Seen(isDue ? refreshed(session, now) : session, text)
    const isLonger = isDue && record.idleTimeoutMs < Infinity
    if (isDue) inBackground(this.#refresh(key, session, { clock, policy }))
    if (isLonger) this.#users.keep(record, policy)
    return { status: 'live', record, seen, now, activeAt, isPostponed, refreshed: isLonger }
  }

  async commit(
    credential: SessionCredential,
    commit: SessionCommit,
    policy: StorePolicy,
  ): Promise<CommitOutcome> {
    const { id } = credential
    // The deadline counts from here, whatever must be read first.
    const until = performance.now() + policy.timeoutMs
    if (commit.lock && isAboutLock(commit)) return this.#extendLock(id, commit.lock)
    const seen = Seen.in(commit.seen, id)
    const session = seen?.session ?? (await this.#writer.readHead(id))
    if (!session) return { status: 'ended' }
    const { record } = session
    const idleTimeoutMs = commit.idleTimeoutMs ?? record.idleTimeoutMs
    // The user's index must live as long as the session may now.
    if (commit.idleTimeoutMs !== undefined) {
      this.#users.keep({ id, userName: record.userName, idleTimeoutMs }, policy)
    }
    const write = (index?: IndexEntry): Promise<Written<CommitOutcome>> =>
      this.#writer.commit(credential, seen ?? { session, text: '' }, {
        commit,
        policy,
        until,
        index,
      })
    const userName = commit.ownedBy === undefined ? (commit.grants?.userName ?? '') : ''
    if (userName !== '') {
      const signIn = { id, userName, timeToLiveMs: timeToLiveMs(idleTimeoutMs, policy.expiry) }
      return this.#users.signIn<CommitOutcome>(signIn, policy, write)
    }
    const { outcome } = await write()
    // Joining counts as activity.
    if (commit.redeemsOTP !== undefined && outcome.status === 'committed') {
      this.#users.keep(record, policy)
    }
    return outcome
  }

  async lock(credential: SessionCredential, lock: SessionLock): Promise<LockOutcome | undefined> {
    const { id } = credential
    const session = sessionKey(this.prefix, id)
    const { token, leaseMs } = lock
    const locked = await this.#connection.run(lockSession, {
      keys: { session, ...lockKeys(session) },
      args: { token, leaseMs },
    })
    if (locked.status === 'ended') return undefined
    const { status, now } = locked
    const stored = decodeSession(id, locked.text)
    if (!stored || openingOf(stored, credential, now) !== 'good') {
      if (status === 'locked') await this.#extendLock(id, { token, leaseMs: 0 })
      return undefined
    }
    if (status === 'busy') return { status }
    return { status: 'locked', record: stored.record, seen: new Seen(stored), now }
  }

  list(userName: string): Promise<readonly SessionSummary[]> {
    return this.#users.list(userName)
  }

  async destroy(id: string, userName?: string): Promise<boolean> {
    const ended = await this.#end(id, userName)
    if (ended?.userName) this.#users.ended(ended.userName, id)
    return ended?.isLive ?? false
  }

  async close(): Promise<void> {
    // The client is the app's.
  }

  async #create(
    session: NewSession,
    { policy, until, index }: HowToWrite,
  ): Promise<Written<CreateOutcome>> {
    const key = sessionKey(this.prefix, session.credential.id)
    return this.#connection.inTime(key, until, async (clock) => {
      const { now } = clock
      const stored = newSession(session, now, policy)
      if (!stored) return { outcome: { status: 'tooLarge' } }
      const created = await this.#connection.run(createSession, {
        keys: { session: key, ...(index && { userSessions: index.userSessions }) },
        args: {
          untilMs: clock.at(until),
          timeToLiveMs: remainingMs(stored, now, policy),
          ...indexArgs(index),
        },
        rest: [encodeSession(stored)],
      })
      if (created.status === 'late') return created
      if (created.status === 'exists') return { outcome: created }
      clock.note(created.now)
      return { outcome: { status: 'created', now, seen: new Seen(stored) }, index: created }
    })
  }

  /** Extends or releases a lock, without looking at the session. */
  async #extendLock(id: string, { token, leaseMs }: SessionLock): Promise<CommitOutcome> {
    const session = sessionKey(this.prefix, id)
    const written = await this.#connection.run(commitSession, {
      keys: { session, lock: lockKeys(session).lock },
      // It changes nothing that could be too late.
      args: { ...noChange, untilMs: lastInstant, lockToken: token, leaseMs },
    })
    if (written.status === 'committed') return { status: 'committed', now: written.now }
    return { status: written.status === 'ended' ? 'ended' : 'unlocked' }
  }

  /** Describes a live session. Returns `'unreadable'` when it may be one of a later version. */
  async #describe(id: string): Promise<SessionSummary | 'unreadable' | undefined> {
    const key = sessionKey(this.prefix, id)
    const { clock, text } = await this.#read(key, this.#connection.getHead(key))
    if (text === undefined) return undefined
    const session = decodeSession(id, text)
    if (!session) return 'unreadable'
    const { now } = clock
    return now < session.record.endsAt ? summaryOf(session, now) : undefined
  }

  /** Ends a session, or only the given user's. Returns `undefined` when there is none. */
  async #end(id: string, userName: string | undefined): Promise<Ended | undefined> {
    const session = sessionKey(this.prefix, id)
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

  /** Records activity in the background. */
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
          activity: encodeActivity(active),
          timeToLiveMs: remainingMs(active, now, policy),
        },
      })
      if (outcome !== 'changed' || tries === maxRefreshes) return
      // The idle timeout may have changed.
      const changed = await this.#writer.readHead(session.record.id)
      if (!changed) return
      session = changed
    }
  }

  /** Awaits a text that is being read, and Redis' time where that is unknown. */
  async #read(
    key: string,
    reading: Promise<string | undefined>,
  ): Promise<{ readonly clock: RedisClock; readonly text: string | undefined }> {
    const clock = this.#connection.clockOf(key)
    const asking = this.#connection.askTime(key, clock)
    if (asking) await Promise.all([asking, reading])
    return { clock, text: await reading }
  }
}
