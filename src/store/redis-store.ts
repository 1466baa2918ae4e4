import { timeToLiveMs } from '../core/expiry.ts'
import type { GrantChanges } from '../core/grants.ts'
import type { SessionRecord, SessionSummary } from '../core/record.ts'
import type { SessionCredential } from '../core/secret.ts'
import { SessionOptionError, SessionStoreError } from '../errors.ts'
import type { RedisClient } from './redis/client.ts'
import { Fence } from './redis/fence.ts'
import { runScript } from './redis/script.ts'
import type { RunScript } from './redis/script.ts'
import { SessionHashes } from './redis/session-hashes.ts'
import { UserSessions } from './redis/user-sessions.ts'
import type { AddedSession, UserSession } from './redis/user-sessions.ts'
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

/** A session that gets a user. */
interface SignIn {
  readonly id: string
  readonly userName: string
  readonly timeToLiveMs: number
}

/** An entry of a user's index and what there is of its session, if it is the user's. */
interface Found {
  readonly entry: UserSession
  readonly summary: SessionSummary | undefined
}

// From so many entries on, sign-ins also look for those of sessions that have ended.
const manyEntries = 32

/**
 * Keeps sessions in Redis 6.2 or later, alone or as a Cluster: one hash each, expired by Redis
 * itself, and one sorted set for each user's.
 *
 * The client stays the app's: this store opens no connection and closes none.
 */
export class RedisStore implements SessionStore {
  readonly #hashes: SessionHashes
  readonly #users: UserSessions
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
        fence.noteError(error)
        throw new SessionStoreError(`Redis failed: ${reasonOf(error)}`)
      }
    }
    const fence = new Fence(run)
    this.#hashes = new SessionHashes(run, prefix, fence)
    this.#users = new UserSessions(run, prefix)
    this.#isCluster = redis.isCluster ?? false
  }

  create(session: NewSession, policy: StorePolicy): Promise<CreateOutcome> {
    const { id } = session.credential
    const { userName, idleTimeoutMs } = session.draft
    const until = performance.now() + policy.timeoutMs
    return this.#signIn<CreateOutcome>(
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
    if (outcome?.status === 'live' && outcome.refreshed) this.#keep(outcome.record, policy)
    return outcome
  }

  commit(
    credential: SessionCredential,
    commit: SessionCommit,
    policy: StorePolicy,
  ): Promise<CommitOutcome> {
    const { id } = credential
    const { grants, presentIdleTimeoutMs: idleTimeoutMs } = commit
    const until = performance.now() + policy.timeoutMs
    // Its user's index must live as long as the session may now.
    if (commit.idleTimeoutMs !== undefined) this.#keep({ ...commit, id, idleTimeoutMs }, policy)
    const signIn = {
      id,
      userName: grants?.userName ?? '',
      timeToLiveMs: timeToLiveMs(idleTimeoutMs, policy.expiry),
    }
    return this.#signIn<CommitOutcome>(signIn, policy, async (isWhole) => {
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
    if (touched?.refreshed) this.#keep({ id: credential.id, ...touched }, policy)
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

  addOTP(credential: SessionCredential, otpHash: string, lifespanMs: number): Promise<boolean> {
    return this.#hashes.addOTP(credential, otpHash, lifespanMs)
  }

  async redeemOTP(
    otp: SessionCredential,
    newSecretHash: string,
    policy: StorePolicy,
  ): ReturnType<SessionStore['redeemOTP']> {
    const outcome = await this.#hashes.redeemOTP(otp, newSecretHash, policy)
    if (outcome) this.#keep(outcome.record, policy)
    return outcome
  }

  read(id: string): Promise<SessionRecord | undefined> {
    return this.#hashes.read(id)
  }

  async describe(id: string, policy: StorePolicy): Promise<SessionSummary | undefined> {
    const summary = await this.#hashes.describe(id, policy)
    return summary === 'unreadable' ? undefined : summary
  }

  async list(userName: string, policy: StorePolicy): Promise<readonly SessionSummary[]> {
    const found = await this.#find(userName, await this.#users.entries(userName), policy)
    return found.flatMap(({ summary }) => summary ?? [])
  }

  grant(id: string, userName: string, grants: GrantChanges): Promise<boolean> {
    return this.#hashes.grant(id, userName, grants)
  }

  async destroy(id: string, userName?: string): Promise<boolean> {
    const owner = await this.#hashes.destroy(id, userName)
    if (owner) inBackground(this.#users.remove(owner, [{ id, score: '' }]))
    return owner !== undefined
  }

  async destroyAll(userName: string, exceptId?: string): Promise<readonly string[]> {
    const entries = await this.#users.entries(userName)
    return this.#end(
      userName,
      entries.filter(({ id }) => id !== exceptId),
    )
  }

  async close(): Promise<void> {
    // The client is the app's.
  }

  /**
   * Adds a session to its user's index, then stores it: what is in one step for one session is in
   * two nodes here, and the index must never miss one. A write without a user is just done.
   */
  async #signIn<Outcome extends CreateOutcome | CommitOutcome>(
    signIn: SignIn,
    policy: StorePolicy,
    write: (isWhole: boolean) => Promise<Outcome>,
  ): Promise<Outcome | { readonly status: 'refused' }> {
    const { id, userName } = signIn
    if (userName === '') return write(false)
    const { perUser, onExceed } = policy.maxSessions ?? {}
    const refuses = onExceed === 'refuse'
    const adding = this.#users.add(userName, id, signIn.timeToLiveMs, refuses ? perUser : undefined)
    if (refuses && !(await this.#hasRoom(signIn, await adding, policy))) {
      return { status: 'refused' }
    }
    // One connection keeps the order of what is sent.
    if (this.#isCluster) await adding
    const terminates = onExceed === 'terminateOldest'
    const writing = write(terminates)
    const [added, outcome, entries] = await Promise.all([
      this.#addedOrEnded(signIn, adding, writing),
      writing,
      // After the write, so that of two parallel sign-ins the later one sees both.
      terminates && !this.#isCluster ? this.#users.entries(userName) : undefined,
    ])
    if (!isStored(outcome)) {
      if (!added.wasThere) inBackground(this.#users.remove(userName, [{ id, score: added.score }]))
      return outcome
    }
    inBackground(this.#users.confirm(userName, id, added.score, signIn.timeToLiveMs))
    if (!terminates) {
      this.#tidy(userName, added, policy)
      return outcome
    }
    const ended = await this.#endOldest(
      userName,
      entries ?? (await this.#users.entries(userName)),
      policy,
    )
    return ended.length > 0 ? { ...outcome, ended } : outcome
  }

  /**
   * Waits until a session is in its user's index. One that got there not is ended again if it was
   * stored all the same: its cookie is still nobody's.
   */
  async #addedOrEnded(
    { id, userName }: SignIn,
    adding: Promise<AddedSession>,
    writing: Promise<CreateOutcome | CommitOutcome>,
  ): Promise<AddedSession> {
    try {
      return await adding
    } catch (error) {
      const [written] = await Promise.allSettled([writing])
      if (written.status === 'fulfilled' && isStored(written.value)) {
        await this.#hashes.destroy(id, userName)
      }
      throw error
    }
  }

  /** Whether one more session may sign in. Takes it out of the index again if not. */
  async #hasRoom(
    { id, userName }: SignIn,
    added: AddedSession,
    policy: StorePolicy,
  ): Promise<boolean> {
    const perUser = policy.maxSessions?.perUser ?? Infinity
    if (added.others.length < perUser) return true
    const found = await this.#find(userName, added.others, policy)
    // Those that were added before this one come before it, arrived or not.
    const taken = found.filter(({ entry, summary }) => entry.isPending || summary !== undefined)
    if (taken.length < perUser) return true
    if (added.wasThere && (await this.describe(id, policy))?.userName === userName) return true
    if (!added.wasThere) await this.#users.remove(userName, [{ id, score: added.score }])
    return false
  }

  /**
   * Ends the user's sessions over the limit, those that were signed in first. Each sign-in does so
   * after it is stored and before it is answered, so that the last of many parallel ones sees all.
   */
  async #endOldest(
    userName: string,
    entries: readonly UserSession[],
    policy: StorePolicy,
  ): Promise<readonly string[]> {
    const perUser = policy.maxSessions?.perUser ?? Infinity
    if (entries.length <= perUser) return []
    const found = await this.#find(userName, entries, policy)
    const live = found.filter(({ summary }) => summary !== undefined)
    return this.#end(
      userName,
      live.slice(0, Math.max(0, live.length - perUser)).map(({ entry }) => entry),
    )
  }

  /** Ends sessions of a user. Answers those that it has ended, by id. */
  async #end(userName: string, entries: readonly UserSession[]): Promise<readonly string[]> {
    const owners = await Promise.all(entries.map(({ id }) => this.#hashes.destroy(id, userName)))
    const ended = entries.filter((_entry, index) => owners[index] !== undefined)
    const gone = entries.filter(({ isPending }, index) => owners[index] !== undefined || !isPending)
    inBackground(this.#users.remove(userName, gone))
    return ended.map(({ id }) => id)
  }

  /** Looks up the sessions of a user's entries, and removes entries of sessions that are not. */
  async #find(
    userName: string,
    entries: readonly UserSession[],
    policy: StorePolicy,
  ): Promise<readonly Found[]> {
    const summaries = await Promise.all(entries.map(({ id }) => this.#hashes.describe(id, policy)))
    const found = entries.map((entry, index) => {
      const summary = summaries[index]
      const isOwn = summary !== 'unreadable' && summary?.userName === userName
      return { entry, summary: isOwn ? summary : undefined }
    })
    // Those of a later version are for the processes that can read them.
    const stale = found.filter(
      ({ entry, summary }, index) =>
        !summary && !entry.isPending && summaries[index] !== 'unreadable',
    )
    inBackground(
      this.#users.remove(
        userName,
        stale.map(({ entry }) => entry),
      ),
    )
    return found
  }

  /** Looks through a long index now and then, at a cost of two reads a sign-in in the mean. */
  #tidy(userName: string, { count }: AddedSession, policy: StorePolicy): void {
    if (count >= manyEntries && Math.random() < 2 / count) inBackground(this.list(userName, policy))
  }

  /** Repairs the index of a session's user, if it has one. */
  #keep(
    session: {
      readonly id: string
      readonly userName: string
      readonly idleTimeoutMs: number
      readonly signedInAt?: number
    },
    policy: StorePolicy,
  ): void {
    const { id, userName, signedInAt, idleTimeoutMs } = session
    if (userName === '') return
    const lifeMs = timeToLiveMs(idleTimeoutMs, policy.expiry)
    inBackground(this.#users.keep(userName, id, signedInAt, lifeMs))
  }
}

function isStored<Outcome extends CreateOutcome | CommitOutcome>(
  outcome: Outcome,
): outcome is Extract<Outcome, { readonly status: 'created' | 'committed' }> {
  return outcome.status === 'created' || outcome.status === 'committed'
}

/** Lets work go on that nobody waits for: what it leaves undone is made up for by the next one. */
function inBackground(work: Promise<unknown>): void {
  work.catch(() => undefined)
}

/**
 * What may be told of an error. An error of ioredis has the arguments of its command, stored data
 * among them, and Redis' text can quote them: of a reply only the code is safe, such as
 * `READONLY`.
 */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown reason'
  if (error.name !== 'ReplyError') return error.message
  return /^[A-Z]{2,}/.exec(error.message)?.[0] ?? 'an error reply'
}
