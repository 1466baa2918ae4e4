import { timeToLiveMs } from '../core/expiry.ts'
import type { GrantChanges } from '../core/grants.ts'
import type { SessionRecord, SessionSummary } from '../core/record.ts'
import type { SessionCredential } from '../core/secret.ts'
import { SessionOptionError } from '../errors.ts'
import type { RedisClient } from './redis/client.ts'
import { storeError } from './redis/failure.ts'
import { Fence } from './redis/fence.ts'
import { sessionKey } from './redis/keys.ts'
import { OwnedSessions } from './redis/owned-sessions.ts'
import { runScript } from './redis/script.ts'
import type { RunScript } from './redis/script.ts'
import { SessionHashes } from './redis/session-hashes.ts'
import { slotOf } from './redis/slot.ts'
import { Turn } from './redis/turn.ts'
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
 * Keeps sessions in Redis 6.2 or later, alone or as a Cluster: one hash each, expired by Redis
 * itself, and one sorted set for each user's.
 *
 * The client stays the app's: this store opens no connection and closes none.
 */
export class RedisStore implements SessionStore {
  readonly #hashes: SessionHashes
  readonly #owned: OwnedSessions
  readonly #fence: Fence
  readonly #nodeOf: (key: string) => string
  readonly #prefix: string
  readonly #isCluster: boolean

  /**
   * @throws {SessionOptionError} When the prefix is no text or has a brace, which would change the
   *   node that has the session.
   */
  constructor(redis: RedisClient, { prefix = 'sess:' }: RedisStoreOptions = {}) {
    if (typeof prefix !== 'string' || /[{}]/.test(prefix)) {
      throw new SessionOptionError('"prefix" option must be text without braces')
    }
    const run: RunScript = async (script, call, options) => {
      try {
        return await runScript(redis, script, call, options)
      } catch (error) {
        throw storeError(error)
      }
    }
    this.#isCluster = redis.isCluster ?? false
    this.#nodeOf = (key) => (this.#isCluster && redis.slots?.[slotOf(key)]?.[0]) || ''
    this.#fence = new Fence((...args) => runScript(redis, ...args), this.#nodeOf)
    this.#hashes = new SessionHashes(run, prefix, this.#fence, new Turn(redis))
    const users = new UserSessions(run, prefix)
    this.#owned = new OwnedSessions(this.#hashes, users, this.#isCluster)
    this.#prefix = prefix
  }

  async create(session: NewSession, policy: StorePolicy): Promise<CreateOutcome> {
    const { id } = session.credential
    const { userName, idleTimeoutMs } = session.draft
    const until = await this.#until(id, policy)
    return this.#owned.signIn<CreateOutcome>(
      { id, userName, timeToLiveMs: timeToLiveMs(idleTimeoutMs, policy.expiry) },
      policy,
      (isWhole) => this.#hashes.create(session, policy, { isWhole, until }),
    )
  }

  async load(
    credential: SessionCredential,
    policy: StorePolicy,
    isActivity: boolean,
  ): Promise<LoadOutcome | undefined> {
    const outcome = await this.#hashes.load(credential, policy, isActivity)
    if (outcome?.status === 'live' && outcome.refreshed) this.#owned.keep(outcome.record, policy)
    return outcome
  }

  async commit(
    credential: SessionCredential,
    commit: SessionCommit,
    policy: StorePolicy,
  ): Promise<CommitOutcome> {
    const { id } = credential
    const { grants, presentIdleTimeoutMs: idleTimeoutMs } = commit
    const until = await this.#until(id, policy)
    // Its user's index must live as long as the session may now.
    if (commit.idleTimeoutMs !== undefined) {
      this.#owned.keep({ ...commit, id, idleTimeoutMs }, policy)
    }
    const signIn = {
      id,
      userName: grants?.userName ?? '',
      timeToLiveMs: timeToLiveMs(idleTimeoutMs, policy.expiry),
    }
    return this.#owned.signIn<CommitOutcome>(signIn, policy, async (isWhole) => {
      const committed = await this.#hashes.commit(credential, commit, policy, { isWhole, until })
      // Another request may have changed it since this one was loaded.
      if (committed.idleTimeoutMs) {
        signIn.timeToLiveMs = timeToLiveMs(committed.idleTimeoutMs, policy.expiry)
      }
      return committed.outcome
    })
  }

  async touch(credential: SessionCredential, policy: StorePolicy): Promise<number | undefined> {
    const touched = await this.#hashes.touch(credential, policy)
    if (touched?.refreshed) this.#owned.keep({ id: credential.id, ...touched }, policy)
    return touched?.now
  }

  lock(credential: SessionCredential, lock: SessionLock): Promise<LockOutcome | undefined> {
    return this.#hashes.lock(credential, lock)
  }

  extendLock(id: string, lock: SessionLock): Promise<boolean> {
    return this.#hashes.extendLock(id, lock)
  }

  unlock(id: string, token: string): Promise<boolean> {
    return this.#hashes.extendLock(id, { token, leaseMs: 0 })
  }

  addOTP(
    credential: SessionCredential,
    otpHash: string,
    lifespanMs: number,
    policy: StorePolicy,
  ): Promise<boolean> {
    return this.#hashes.addOTP(credential, otpHash, lifespanMs, policy)
  }

  async redeemOTP(
    otp: SessionCredential,
    newSecretHash: string,
    policy: StorePolicy,
  ): ReturnType<SessionStore['redeemOTP']> {
    const outcome = await this.#hashes.redeemOTP(otp, newSecretHash, policy)
    if (outcome) this.#owned.keep(outcome.record, policy)
    return outcome
  }

  read(id: string): Promise<SessionRecord | undefined> {
    return this.#hashes.read(id)
  }

  async describe(id: string, policy: StorePolicy): Promise<SessionSummary | undefined> {
    const summary = await this.#hashes.describe(id, policy)
    return summary === 'unreadable' ? undefined : summary
  }

  list(userName: string, policy: StorePolicy): Promise<readonly SessionSummary[]> {
    return this.#owned.list(userName, policy)
  }

  grant(id: string, userName: string, grants: GrantChanges, policy: StorePolicy): Promise<boolean> {
    return this.#hashes.grant(id, userName, grants, policy)
  }

  destroy(id: string, userName?: string): Promise<boolean> {
    return this.#owned.destroy(id, userName)
  }

  destroyAll(userName: string, exceptId?: string): Promise<readonly string[]> {
    return this.#owned.destroyAll(userName, exceptId)
  }

  nodeOf(id?: string): string | undefined {
    if (!this.#isCluster) return ''
    return id === undefined ? undefined : this.#nodeOf(sessionKey(this.#prefix, id))
  }

  async close(): Promise<void> {
    // The client is the app's.
  }

  /**
   * When a write's caller stops waiting, by `performance.now()`. Sees to it that the write can
   * carry it: what is sent after a sign-in's first command must not wait.
   */
  async #until(id: string, policy: StorePolicy): Promise<number> {
    const until = performance.now() + policy.timeoutMs
    await this.#fence.ready({ session: sessionKey(this.#prefix, id) })
    return until
  }
}
