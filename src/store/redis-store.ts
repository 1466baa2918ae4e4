import type { SessionCredential } from '../cookie/cookie.ts'
import { SessionOptionError } from '../errors/errors.ts'
import { timeToLiveMs } from './expiry.ts'
import { isAboutLock } from './lock-rules.ts'
import type { SessionSummary } from './record.ts'
import type { RedisClient } from './redis/client.ts'
import { RedisConnection } from './redis/connection.ts'
import { sessionKey } from './redis/keys.ts'
import { OwnedSessions } from './redis/owned-sessions.ts'
import { Seen } from './redis/seen.ts'
import { SessionTexts } from './redis/session-texts.ts'
import { UserSessions } from './redis/user-sessions.ts'
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

/** Options of a {@link RedisStore}. */
export interface RedisStoreOptions {
  /**
   * What all keys start with. One per app: apps that share it share their sessions. Text without
   * braces.
   *
   * @default 'sess:'
   */
  readonly prefix?: string
}

/**
 * Keeps sessions in Redis 6.2 or later, alone or as a Cluster: one string for each, expired by
 * Redis itself, and one sorted set for each user's. `store/redis/keys.ts` documents both.
 *
 * The client stays the app's: this store opens no connection and closes none.
 */
export class RedisStore implements SessionStore {
  readonly #connection: RedisConnection
  readonly #texts: SessionTexts
  readonly #owned: OwnedSessions
  readonly #prefix: string

  /**
   * @throws {SessionOptionError} When the prefix is no text or has a brace, which would change the
   *   node that has the session.
   */
  constructor(redis: RedisClient, { prefix = 'sess:' }: RedisStoreOptions = {}) {
    if (typeof prefix !== 'string' || /[{}]/.test(prefix)) {
      throw new SessionOptionError('"prefix" option must be text without braces')
    }
    const connection = new RedisConnection(redis)
    const users = new UserSessions(connection, prefix)
    this.#connection = connection
    this.#texts = new SessionTexts(connection, prefix)
    this.#owned = new OwnedSessions(this.#texts, users, connection.isCluster)
    this.#prefix = prefix
  }

  create(session: NewSession, policy: StorePolicy): Promise<CreateOutcome> {
    const { id } = session.credential
    const { userName, idleTimeoutMs } = session.draft
    const until = performance.now() + policy.timeoutMs
    const lifeMs = timeToLiveMs(idleTimeoutMs, policy.expiry)
    return this.#owned.signIn<CreateOutcome>(
      { id, userName, timeToLiveMs: lifeMs },
      policy,
      (index) => this.#texts.create(session, { policy, until, index }),
    )
  }

  load(
    credential: SessionCredential,
    policy: StorePolicy,
    isActivity: boolean,
  ): Promise<LoadOutcome | undefined> {
    return this.#texts.load(credential, { policy, isActivity }, ({ record }) =>
      this.#owned.keep(record, policy),
    )
  }

  async commit(
    credential: SessionCredential,
    commit: SessionCommit,
    policy: StorePolicy,
  ): Promise<CommitOutcome> {
    const { id } = credential
    // It counts from here, whatever must be read first.
    const until = performance.now() + policy.timeoutMs
    if (isAboutLock(commit)) return this.#texts.extendLock(id, commit.lock)
    const seen = await this.#texts.seen(id, commit.seen)
    if (!seen) return { status: 'ended' }
    const { record } = Seen.sessionOf(seen)
    const idleTimeoutMs = commit.idleTimeoutMs ?? record.idleTimeoutMs
    // Its user's index must live as long as the session may now.
    if (commit.idleTimeoutMs !== undefined) {
      this.#owned.keep({ id, userName: record.userName, idleTimeoutMs }, policy)
    }
    const userName = commit.ownedBy === undefined ? (commit.grants?.userName ?? '') : ''
    const lifeMs = timeToLiveMs(idleTimeoutMs, policy.expiry)
    const outcome = await this.#owned.signIn<CommitOutcome>(
      { id, userName, timeToLiveMs: lifeMs },
      policy,
      (index) => this.#texts.commit(credential, seen, { commit, policy, until, index }),
    )
    // It counts as activity.
    if (commit.redeemsOTP !== undefined && outcome.status === 'committed') {
      this.#owned.keep(record, policy)
    }
    return outcome
  }

  lock(credential: SessionCredential, lock: SessionLock): Promise<LockOutcome | undefined> {
    return this.#texts.lock(credential, lock)
  }

  list(userName: string): Promise<readonly SessionSummary[]> {
    return this.#owned.list(userName)
  }

  destroy(id: string, userName?: string): Promise<boolean> {
    return this.#owned.destroy(id, userName)
  }

  nodeOf(id?: string): string | undefined {
    if (!this.#connection.isCluster) return ''
    return id === undefined ? undefined : this.#connection.nodeOf(sessionKey(this.#prefix, id))
  }

  async close(): Promise<void> {
    // The client is the app's.
  }
}
