import type { SessionSummary } from '../record.ts'
import type { CommitOutcome, CreateOutcome, StorePolicy } from '../session-store.ts'
import { timeToLiveMs } from '../stored-session.ts'
import { inBackground } from './background.ts'
import type { RedisConnection } from './connection.ts'
import {
  entriesOf,
  UserIndex,
  type AddedEntry,
  type IndexEntry,
  type IndexReply,
  type SignIn,
  type UserEntry,
} from './user-index.ts'

/** The outcome of a write, and the index afterwards, if the write included it. */
export interface Written<Outcome> {
  readonly outcome: Outcome
  readonly index?: IndexReply
}

/** A session that has ended. */
export interface Ended {
  readonly userName: string
  /** False when the session was past its absolute end, or could not be read. */
  readonly isLive: boolean
}

/** Access to the sessions themselves, which a Cluster may keep on other nodes than the index. */
interface SessionAccess {
  /** Returns `'unreadable'` for a session of a later version. */
  readonly describe: (id: string) => Promise<SessionSummary | 'unreadable' | undefined>
  /** Ends a session if it is the user's; returns `undefined` when none has ended. */
  readonly end: (id: string, userName: string) => Promise<Ended | undefined>
}

/** An entry, and its session if that is live and the user's. */
interface Found {
  readonly entry: UserEntry
  readonly summary: SessionSummary | undefined
}

type Outcome = CreateOutcome | CommitOutcome

// Sign-ins also check an index of this size for entries of ended sessions.
const manyEntries = 32

/** The sessions of each user: the list, the limit, and their index. */
export class UserSessions {
  readonly #index: UserIndex
  readonly #sessions: SessionAccess
  readonly #isCluster: boolean
  /** Entries of sessions that ended in this turn of the event loop, by user. */
  readonly #ended = new Map<string, { readonly id: string; readonly score: string }[]>()

  constructor(connection: RedisConnection, prefix: string, sessions: SessionAccess) {
    this.#index = new UserIndex(connection, prefix)
    this.#sessions = sessions
    this.#isCluster = connection.isCluster
  }

  async list(userName: string): Promise<readonly SessionSummary[]> {
    const found = await this.#find(userName, await this.#index.entries(userName))
    return found.flatMap(({ summary }) => summary ?? [])
  }

  /**
   * Stores a session and makes it its user's, in one step where one server has both. `write` writes
   * the session and, if given, the entry.
   */
  async signIn<Result extends Outcome>(
    signIn: SignIn,
    policy: StorePolicy,
    write: (index?: IndexEntry) => Promise<Written<Result>>,
  ): Promise<Result | { readonly status: 'refused' }> {
    const { maxSessions } = policy
    if (this.#isCluster || maxSessions?.onExceed === 'refuse') {
      return this.#signInByStep(signIn, policy, async () => (await write()).outcome)
    }
    const { outcome, index } = await write(this.#index.entryFor(signIn, maxSessions?.perUser))
    if (!isStored(outcome)) return outcome
    const { count = 0, now = 0, others = [] } = index ?? {}
    return this.#endOldest(
      signIn.userName,
      { outcome, count, others: entriesOf(others, now) },
      policy,
    )
  }

  /** Repairs the index after a refresh, in the background. */
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
    inBackground(this.#index.keep({ id, userName, timeToLiveMs: lifeMs }, signedInAt))
  }

  /** Removes an ended session's entry, together with others of this turn of the event loop. */
  ended(userName: string, id: string): void {
    const entry = { id, score: '' }
    const others = this.#ended.get(userName)
    if (others) {
      others.push(entry)
      return
    }
    const entries = [entry]
    this.#ended.set(userName, entries)
    setImmediate(() => {
      this.#ended.delete(userName)
      inBackground(this.#index.remove(userName, entries))
    })
  }

  /** Adds a pending entry, then stores the session: the index must never miss a session. */
  async #signInByStep<Result extends Outcome>(
    signIn: SignIn,
    policy: StorePolicy,
    write: () => Promise<Result>,
  ): Promise<Result | { readonly status: 'refused' }> {
    const { id, userName } = signIn
    const { perUser, onExceed } = policy.maxSessions ?? {}
    const refuses = onExceed === 'refuse'
    const added = await this.#index.add(signIn, refuses ? perUser : undefined)
    if (refuses && !(await this.#hasRoom(signIn, added, policy))) return { status: 'refused' }
    const outcome = await write()
    if (!isStored(outcome)) {
      if (added.isNew) inBackground(this.#index.remove(userName, [{ id, score: added.score }]))
      return outcome
    }
    inBackground(this.#index.confirm(signIn, added.score))
    return this.#endOldest(userName, { outcome, count: added.count, others: [] }, policy)
  }

  /**
   * Ends the sessions over the limit, those with the oldest sign-ins, before the new sign-in
   * returns: the last one of parallel sign-ins sees all of them.
   *
   * @param signedIn `count` is the number of the user's entries. `others` are all but the new, last
   *   one; empty if they were not returned.
   */
  async #endOldest<Result extends Outcome>(
    userName: string,
    signedIn: {
      readonly outcome: Result
      readonly count: number
      readonly others: readonly UserEntry[]
    },
    { maxSessions }: StorePolicy,
  ): Promise<Result> {
    const { outcome, count, others } = signedIn
    const perUser = maxSessions?.onExceed === 'terminateOldest' ? maxSessions.perUser : Infinity
    if (count <= perUser) {
      // Checks a long index now and then, at a mean cost of two reads for each sign-in.
      if (count >= manyEntries && Math.random() < 2 / count) inBackground(this.list(userName))
      return outcome
    }
    const isTold = others.length > 0
    const found = await this.#find(userName, isTold ? others : await this.#index.entries(userName))
    const live = found.filter(({ summary }) => summary !== undefined)
    const excess = live.length + (isTold ? 1 : 0) - perUser
    const oldest = live.slice(0, Math.max(0, excess)).map(({ entry }) => entry)
    const ended = await this.#end(userName, oldest)
    return ended.length > 0 ? { ...outcome, ended } : outcome
  }

  /** Returns whether one more session may sign in; if not, removes its entry. */
  async #hasRoom(
    { id, userName }: SignIn,
    added: AddedEntry,
    policy: StorePolicy,
  ): Promise<boolean> {
    const perUser = policy.maxSessions?.perUser ?? Infinity
    if (added.others.length < perUser) return true
    const found = await this.#find(userName, added.others)
    // Entries that were added earlier count, stored or not.
    const taken = found.filter(({ entry, summary }) => entry.isPending || summary !== undefined)
    if (taken.length < perUser) return true
    const summary = added.isNew ? undefined : await this.#sessions.describe(id)
    if (summary !== 'unreadable' && summary?.userName === userName) return true
    if (added.isNew) await this.#index.remove(userName, [{ id, score: added.score }])
    return false
  }

  /** Ends sessions of a user. Returns the ids of those that it ended. */
  async #end(userName: string, entries: readonly UserEntry[]): Promise<readonly string[]> {
    const all = await Promise.all(entries.map(({ id }) => this.#sessions.end(id, userName)))
    const isGone = ({ isPending }: UserEntry, index: number): boolean =>
      all[index] !== undefined || !isPending
    inBackground(this.#index.remove(userName, entries.filter(isGone)))
    return entries.filter((_entry, index) => all[index]?.isLive).map(({ id }) => id)
  }

  /** Finds the sessions of a user's entries, and removes entries without one. */
  async #find(userName: string, entries: readonly UserEntry[]): Promise<readonly Found[]> {
    const summaries = await Promise.all(entries.map(({ id }) => this.#sessions.describe(id)))
    const found = entries.map((entry, index) => {
      const summary = summaries[index]
      const isOwn = summary !== 'unreadable' && summary?.userName === userName
      return { entry, summary: isOwn ? summary : undefined }
    })
    // A process of a later version can read the sessions of unreadable entries.
    const stale = entries.filter(
      ({ isPending }, index) =>
        !found[index]?.summary && !isPending && summaries[index] !== 'unreadable',
    )
    inBackground(this.#index.remove(userName, stale))
    return found
  }
}

function isStored<Result extends Outcome>(
  outcome: Result,
): outcome is Extract<Result, { readonly status: 'created' | 'committed' }> {
  return outcome.status === 'created' || outcome.status === 'committed'
}
