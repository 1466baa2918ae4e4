import type { IndexEntry } from './commit-call.ts'
import type { RedisConnection } from './connection.ts'
import { longId, shortId, userSessionsKey } from './keys.ts'
import { addUserSession } from './scripts/add-user-session.ts'
import { keepUserSession } from './scripts/keep-user-session.ts'
import { readUserSessions } from './scripts/read-user-sessions.ts'
import { removeUserSessions } from './scripts/remove-user-sessions.ts'

/** One session in a user's index. */
export interface UserSession {
  readonly id: string
  /** The order of the sign-ins: a number of ms, as Redis tells it. */
  readonly score: string
  /**
   * Whether its sign-in may be on its way still: it was added less than two minutes ago and has not
   * been told to have arrived. Such an entry must stay, whatever became of the session.
   */
  readonly isPending: boolean
}

/** A session that gets a user. */
export interface SignIn {
  readonly id: string
  readonly userName: string
  readonly timeToLiveMs: number
}

/** What adding a session has met. */
export interface AddedSession {
  readonly score: string
  /** Whether the session was not in the index before. */
  readonly isNew: boolean
  /** How many entries there are. */
  readonly count: number
  /** The other entries, the first sign-in first, if they were asked for. */
  readonly others: readonly UserSession[]
}

// Longer than any `storeTimeoutMs`: a sign-in that has not arrived by then was answered long ago.
const pendingMs = 120_000

/**
 * The index of each user's sessions, a superset of those that are live: a session is added before
 * its sign-in is stored, put back when it is refreshed, and removed only when it was seen to have
 * ended, under the score that it had then.
 */
export class UserSessions {
  readonly #connection: RedisConnection
  readonly #prefix: string

  /**
   * @param connection Where they are.
   * @param prefix What all keys start with.
   */
  constructor(connection: RedisConnection, prefix: string) {
    this.#connection = connection
    this.#prefix = prefix
  }

  /**
   * What a script is told that puts a session last among its user's as it signs it in.
   *
   * @param signIn The session, and whose it becomes.
   * @param perUser From how many others on they are told.
   */
  entryFor({ id, userName, timeToLiveMs }: SignIn, perUser: number | undefined): IndexEntry {
    const { userSessions } = this.#keys(userName)
    return { userSessions, member: shortId(id), keepMs: keyLifeMs(timeToLiveMs), perUser }
  }

  /**
   * Adds a session that is about to be signed in.
   *
   * @param userName Whose it becomes.
   * @param id Of the session.
   * @param timeToLiveMs Its own.
   * @param perUser From how many others on they are told.
   */
  async add(
    userName: string,
    id: string,
    timeToLiveMs: number,
    perUser?: number,
  ): Promise<AddedSession> {
    const { now, others, ...added } = await this.#connection.run(addUserSession, {
      keys: this.#keys(userName),
      args: { member: shortId(id), keepMs: keyLifeMs(timeToLiveMs), perUser: perUser ?? '' },
    })
    return { ...added, others: entriesOf(others, now) }
  }

  /** Notes that the sign-in of an added session has arrived. */
  async confirm(
    userName: string,
    id: string,
    pendingScore: string,
    timeToLiveMs: number,
  ): Promise<void> {
    await this.#keep(userName, id, {
      score: String(Math.floor(Number(pendingScore))),
      pendingScore,
      timeToLiveMs,
    })
  }

  /**
   * Puts back a session that was refreshed, if it is missing, and lets the index live as long.
   *
   * @param signedInAt When its user has signed in; `undefined` does not put it back.
   */
  async keep(
    userName: string,
    id: string,
    signedInAt: number | undefined,
    timeToLiveMs: number,
  ): Promise<void> {
    const score = String(signedInAt ?? '')
    await this.#keep(userName, id, { score, pendingScore: '', timeToLiveMs })
  }

  /** All entries, the first sign-in first. */
  async entries(userName: string): Promise<readonly UserSession[]> {
    const { now, entries } = await this.#connection.run(readUserSessions, {
      keys: this.#keys(userName),
      args: {},
    })
    return entriesOf(entries, now)
  }

  /**
   * Removes entries, if they are as they were read.
   *
   * @param entries Those of sessions that have ended; without a score whatever it is.
   */
  async remove(
    userName: string,
    entries: readonly { readonly id: string; readonly score: string }[],
  ): Promise<void> {
    if (entries.length === 0) return
    const rest = entries.flatMap(({ id, score }) => [shortId(id), score])
    await this.#connection.run(removeUserSessions, { keys: this.#keys(userName), args: {}, rest })
  }

  #keep(
    userName: string,
    id: string,
    how: { readonly score: string; readonly pendingScore: string; readonly timeToLiveMs: number },
  ): Promise<void> {
    const { score, pendingScore } = how
    return this.#connection.run(keepUserSession, {
      keys: this.#keys(userName),
      args: { member: shortId(id), score, pendingScore, keepMs: keyLifeMs(how.timeToLiveMs) },
    })
  }

  #keys(userName: string): { readonly userSessions: string } {
    return { userSessions: userSessionsKey(this.#prefix, userName) }
  }
}

/** Twice a session's life, so that the index outlives it even if one of its refreshes was not told. */
function keyLifeMs(timeToLiveMs: number): number {
  return 2 * timeToLiveMs + pendingMs
}

/**
 * Entries as scripts tell them.
 *
 * @param texts Member, score, member, score …
 * @param now Redis' time. Epoch milliseconds.
 */
export function entriesOf(texts: readonly string[], now: number): readonly UserSession[] {
  const entries: UserSession[] = []
  for (let index = 0; index + 1 < texts.length; index += 2) {
    const id = longId(texts[index] ?? '')
    if (id === undefined) continue
    const score = texts[index + 1] ?? ''
    const isPending = score.endsWith('.5') && now - Number(score) < pendingMs
    entries.push({ id, score, isPending })
  }
  return entries
}
