import type { RedisConnection } from './connection.ts'
import { longId, shortId, userSessionsKey } from './keys.ts'
import { addUserSession } from './scripts/add-user-session.ts'
import { keepUserSession } from './scripts/keep-user-session.ts'
import { readUserSessions } from './scripts/read-user-sessions.ts'
import { removeUserSessions } from './scripts/remove-user-sessions.ts'

/** The entry of a session in its user's index. */
export interface UserEntry {
  readonly id: string
  /** The order of the sign-ins: a number of milliseconds, as Redis writes it. */
  readonly score: string
  /**
   * Whether the sign-in may still be on its way: the entry was added less than two minutes ago, and
   * nothing has confirmed it. Such an entry must stay, whatever became of the session.
   */
  readonly isPending: boolean
}

/** A session that gets a user. */
export interface SignIn {
  readonly id: string
  readonly userName: string
  readonly timeToLiveMs: number
}

/** An entry that a script writes along with its session, because both are on the same server. */
export interface IndexEntry {
  readonly userSessions: string
  readonly member: string
  readonly keepMs: number
  /** The script returns the other entries when there are more than this; `undefined` for never. */
  readonly perUser: number | undefined
}

/** What a script returns about the index that it has written. */
export interface IndexReply {
  readonly now: number
  /** How many entries the index has then. */
  readonly count: number
  /** The other entries, if the script returns them: member, score, member, score … */
  readonly others: readonly string[]
}

/** What adding an entry has found. */
export interface AddedEntry {
  readonly score: string
  /** Whether the session was not in the index before. */
  readonly isNew: boolean
  /** How many entries there are. */
  readonly count: number
  /** The other entries, the first sign-in first, if they were asked for. */
  readonly others: readonly UserEntry[]
}

// Longer than any `storeTimeoutMs`: the caller of a sign-in that is not confirmed by then has long
// had its answer.
const pendingMs = 120_000

/**
 * The index of each user's sessions, a superset of those that are live. An entry is added before
 * its sign-in is stored, put back when the session is refreshed, and removed only when somebody has
 * seen that the session has ended, under the score that the entry had then.
 */
export class UserIndex {
  readonly #connection: RedisConnection
  readonly #prefix: string

  constructor(connection: RedisConnection, prefix: string) {
    this.#connection = connection
    this.#prefix = prefix
  }

  /** What a script needs that makes a session the last one of its user as it signs it in. */
  entryFor({ id, userName, timeToLiveMs }: SignIn, perUser: number | undefined): IndexEntry {
    const { userSessions } = this.#keys(userName)
    return { userSessions, member: shortId(id), keepMs: keyLifeMs(timeToLiveMs), perUser }
  }

  /**
   * Adds a session that is about to sign in.
   *
   * @param perUser From how many other entries on they are returned; `undefined` for never.
   */
  async add({ id, userName, timeToLiveMs }: SignIn, perUser?: number): Promise<AddedEntry> {
    const { now, others, ...added } = await this.#connection.run(addUserSession, {
      keys: this.#keys(userName),
      args: { member: shortId(id), keepMs: keyLifeMs(timeToLiveMs), perUser: perUser ?? '' },
    })
    return { ...added, others: entriesOf(others, now) }
  }

  /** Notes that the sign-in of an added session is stored. */
  confirm(signIn: SignIn, pendingScore: string): Promise<void> {
    const score = String(Math.floor(Number(pendingScore)))
    return this.#keep(signIn, { score, pendingScore })
  }

  /**
   * Puts a session that was refreshed back, if its entry is missing, and lets the index live as
   * long as the session.
   *
   * @param signedInAt When the user has signed in; `undefined` does not put the entry back.
   */
  keep(session: SignIn, signedInAt: number | undefined): Promise<void> {
    return this.#keep(session, { score: String(signedInAt ?? ''), pendingScore: '' })
  }

  /** Returns all entries, the first sign-in first. */
  async entries(userName: string): Promise<readonly UserEntry[]> {
    const { now, entries } = await this.#connection.run(readUserSessions, {
      keys: this.#keys(userName),
      args: {},
    })
    return entriesOf(entries, now)
  }

  /** Removes entries that still have the given score, or any score for `''`. */
  async remove(
    userName: string,
    entries: readonly { readonly id: string; readonly score: string }[],
  ): Promise<void> {
    if (entries.length === 0) return
    const rest = entries.flatMap(({ id, score }) => [shortId(id), score])
    await this.#connection.run(removeUserSessions, { keys: this.#keys(userName), args: {}, rest })
  }

  #keep(
    { id, userName, timeToLiveMs }: SignIn,
    scores: { readonly score: string; readonly pendingScore: string },
  ): Promise<void> {
    return this.#connection.run(keepUserSession, {
      keys: this.#keys(userName),
      args: { member: shortId(id), ...scores, keepMs: keyLifeMs(timeToLiveMs) },
    })
  }

  #keys(userName: string): { readonly userSessions: string } {
    return { userSessions: userSessionsKey(this.#prefix, userName) }
  }
}

/** Twice a session's life, so that the index outlives the session even if one refresh was lost. */
function keyLifeMs(timeToLiveMs: number): number {
  return 2 * timeToLiveMs + pendingMs
}

/**
 * Reads entries that a script returns.
 *
 * @param texts Member, score, member, score …
 * @param now Redis' time in epoch milliseconds.
 */
export function entriesOf(texts: readonly string[], now: number): readonly UserEntry[] {
  const entries: UserEntry[] = []
  for (let index = 0; index + 1 < texts.length; index += 2) {
    const id = longId(texts[index] ?? '')
    if (id === undefined) continue
    const score = texts[index + 1] ?? ''
    const isPending = score.endsWith('.5') && now - Number(score) < pendingMs
    entries.push({ id, score, isPending })
  }
  return entries
}
