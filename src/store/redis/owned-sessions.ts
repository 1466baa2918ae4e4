import { timeToLiveMs } from '../../core/expiry.ts'
import type { SessionSummary } from '../../core/record.ts'
import type { CommitOutcome, CreateOutcome, StorePolicy } from '../session-store.ts'
import type { SessionHashes } from './session-hashes.ts'
import type { AddedSession, UserSession, UserSessions } from './user-sessions.ts'

/** A session that gets a user. */
export interface SignIn {
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

/** What is done to sessions and to the index of their user, which are on two nodes of a Cluster. */
export class OwnedSessions {
  readonly #hashes: SessionHashes
  readonly #users: UserSessions
  readonly #isCluster: boolean

  constructor(hashes: SessionHashes, users: UserSessions, isCluster: boolean) {
    this.#hashes = hashes
    this.#users = users
    this.#isCluster = isCluster
  }

  /** As `SessionStore.list`. */
  async list(userName: string, policy: StorePolicy): Promise<readonly SessionSummary[]> {
    const found = await this.#find(userName, await this.#users.entries(userName), policy)
    return found.flatMap(({ summary }) => summary ?? [])
  }

  /** As `SessionStore.destroy`. */
  async destroy(id: string, userName?: string): Promise<boolean> {
    const owner = await this.#hashes.destroy(id, userName)
    if (owner) inBackground(this.#users.remove(owner, [{ id, score: '' }]))
    return owner !== undefined
  }

  /** As `SessionStore.destroyAll`. */
  async destroyAll(userName: string, exceptId?: string): Promise<readonly string[]> {
    const entries = await this.#users.entries(userName)
    return this.#end(
      userName,
      entries.filter(({ id }) => id !== exceptId),
    )
  }

  /**
   * Adds a session to its user's index, then stores it: what is in one step for one session is in
   * two nodes here, and the index must never miss one. A write without a user is just done.
   */
  async signIn<Outcome extends CreateOutcome | CommitOutcome>(
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

  /** Repairs the index of a session's user, if it has one. */
  keep(
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
    const summary = added.wasThere ? await this.#hashes.describe(id, policy) : undefined
    if (summary !== 'unreadable' && summary?.userName === userName) return true
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
