import { timeToLiveMs } from '../expiry.ts'
import type { SessionSummary } from '../record.ts'
import type { CommitOutcome, CreateOutcome, StorePolicy } from '../session-store.ts'
import { inBackground } from './background.ts'
import type { IndexEntry } from './commit-call.ts'
import type { SessionTexts, Written } from './session-texts.ts'
import { entriesOf } from './user-sessions.ts'
import type { AddedSession, SignIn, UserSession, UserSessions } from './user-sessions.ts'

/** An entry of a user's index and what there is of its session, if it is the user's. */
interface Found {
  readonly entry: UserSession
  readonly summary: SessionSummary | undefined
}

/** A sign-in that was stored. */
interface SignedIn<Outcome> {
  readonly outcome: Outcome
  /** How many sessions the user has then. */
  readonly count: number
  /** Those but this one, the first sign-in first, if they were told; this one is the last then. */
  readonly others: readonly UserSession[]
}

type Outcome = CreateOutcome | CommitOutcome

// From so many entries on, sign-ins also look for those of sessions that have ended.
const manyEntries = 32

/** What is done to sessions and to the index of their user, which are on two nodes of a Cluster. */
export class OwnedSessions {
  readonly #texts: SessionTexts
  readonly #users: UserSessions
  readonly #isCluster: boolean
  /** Entries of sessions that have ended in this turn of the event loop, by their user. */
  readonly #ended = new Map<string, { readonly id: string; readonly score: string }[]>()

  constructor(texts: SessionTexts, users: UserSessions, isCluster: boolean) {
    this.#texts = texts
    this.#users = users
    this.#isCluster = isCluster
  }

  /** As `SessionStore.list`. */
  async list(userName: string): Promise<readonly SessionSummary[]> {
    const found = await this.#find(userName, await this.#users.entries(userName))
    return found.flatMap(({ summary }) => summary ?? [])
  }

  /** As `SessionStore.destroy`. */
  async destroy(id: string, userName?: string): Promise<boolean> {
    const ended = await this.#texts.destroy(id, userName)
    if (ended?.userName) this.#removeSoon(ended.userName, id)
    return ended?.isLive ?? false
  }

  /**
   * Stores a session and puts it among its user's: as one step where the two are on one server. A
   * write without a user is just done.
   *
   * @param write Writes the session and, if it is told of one, its entry.
   */
  async signIn<Result extends Outcome>(
    signIn: SignIn,
    policy: StorePolicy,
    write: (index?: IndexEntry) => Promise<Written<Result>>,
  ): Promise<Result | { readonly status: 'refused' }> {
    const { userName } = signIn
    if (userName === '') return (await write()).outcome
    if (this.#isCluster || policy.maxSessions?.onExceed === 'refuse') {
      return this.#signInByStep(signIn, policy, async () => (await write()).outcome)
    }
    const entry = this.#users.entryFor(signIn, policy.maxSessions?.perUser)
    const { outcome, index } = await write(entry)
    if (!isStored(outcome)) return outcome
    const { count = 0, now = 0, others = [] } = index ?? {}
    return this.#signedIn(userName, { outcome, count, others: entriesOf(others, now) }, policy)
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
   * Adds a session to its user's index, as a pending one, then stores it: the index must never miss
   * one.
   */
  async #signInByStep<Result extends Outcome>(
    signIn: SignIn,
    policy: StorePolicy,
    write: () => Promise<Result>,
  ): Promise<Result | { readonly status: 'refused' }> {
    const { id, userName } = signIn
    const { perUser, onExceed } = policy.maxSessions ?? {}
    const refuses = onExceed === 'refuse'
    const added = await this.#users.add(
      userName,
      id,
      signIn.timeToLiveMs,
      refuses ? perUser : undefined,
    )
    if (refuses && !(await this.#hasRoom(signIn, added, policy))) return { status: 'refused' }
    const outcome = await write()
    if (!isStored(outcome)) {
      if (added.isNew) inBackground(this.#users.remove(userName, [{ id, score: added.score }]))
      return outcome
    }
    inBackground(this.#users.confirm(userName, id, added.score, signIn.timeToLiveMs))
    return this.#signedIn(userName, { outcome, count: added.count, others: [] }, policy)
  }

  /**
   * After a sign-in, and before it is answered, ends the user's sessions over the limit, those that
   * were signed in first: of parallel sign-ins the last one sees all.
   */
  async #signedIn<Result extends Outcome>(
    userName: string,
    { outcome, count, others }: SignedIn<Result>,
    { maxSessions }: StorePolicy,
  ): Promise<Result> {
    const perUser = maxSessions?.onExceed === 'terminateOldest' ? maxSessions.perUser : Infinity
    if (count <= perUser) {
      this.#tidy(userName, count)
      return outcome
    }
    const isTold = others.length > 0
    const found = await this.#find(userName, isTold ? others : await this.#users.entries(userName))
    const live = found.filter(({ summary }) => summary !== undefined)
    const excess = live.length + (isTold ? 1 : 0) - perUser
    const oldest = live.slice(0, Math.max(0, excess)).map(({ entry }) => entry)
    const ended = await this.#end(userName, oldest)
    return ended.length > 0 ? { ...outcome, ended } : outcome
  }

  /** Whether one more session may sign in. Takes it out of the index again if not. */
  async #hasRoom(
    { id, userName }: SignIn,
    added: AddedSession,
    policy: StorePolicy,
  ): Promise<boolean> {
    const perUser = policy.maxSessions?.perUser ?? Infinity
    if (added.others.length < perUser) return true
    const found = await this.#find(userName, added.others)
    // Those that were added before this one come before it, arrived or not.
    const taken = found.filter(({ entry, summary }) => entry.isPending || summary !== undefined)
    if (taken.length < perUser) return true
    const summary = added.isNew ? undefined : await this.#texts.describe(id)
    if (summary !== 'unreadable' && summary?.userName === userName) return true
    if (added.isNew) await this.#users.remove(userName, [{ id, score: added.score }])
    return false
  }

  /** Ends sessions of a user. Returns those that it has ended, by id. */
  async #end(userName: string, entries: readonly UserSession[]): Promise<readonly string[]> {
    const all = await Promise.all(entries.map(({ id }) => this.#texts.destroy(id, userName)))
    const isGone = ({ isPending }: UserSession, index: number): boolean =>
      all[index] !== undefined || !isPending
    inBackground(this.#users.remove(userName, entries.filter(isGone)))
    return entries.filter((_entry, index) => all[index]?.isLive).map(({ id }) => id)
  }

  /** Looks up the sessions of a user's entries, and removes entries of sessions that are not. */
  async #find(userName: string, entries: readonly UserSession[]): Promise<readonly Found[]> {
    const summaries = await Promise.all(entries.map(({ id }) => this.#texts.describe(id)))
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

  /** Removes the entry of a session that has ended, together with others of this turn. */
  #removeSoon(userName: string, id: string): void {
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
      inBackground(this.#users.remove(userName, entries))
    })
  }

  /** Looks through a long index now and then, at a cost of two reads a sign-in in the mean. */
  #tidy(userName: string, count: number): void {
    if (count >= manyEntries && Math.random() < 2 / count) inBackground(this.list(userName))
  }
}

function isStored<Result extends Outcome>(
  outcome: Result,
): outcome is Extract<Result, { readonly status: 'created' | 'committed' }> {
  return outcome.status === 'created' || outcome.status === 'committed'
}
