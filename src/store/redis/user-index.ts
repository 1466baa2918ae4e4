import type { RedisConnection } from './connection.ts'
import { longId, shortId, userSessionsKey } from './keys.ts'
import { addUserSession } from './scripts/add-user-session.ts'
import { keepUserSession } from './scripts/keep-user-session.ts'
import { readUserSessions } from './scripts/read-user-sessions.ts'
import { removeUserSessions } from './scripts/remove-user-sessions.ts'

/** The entry of a session in its user's index. */
export interface UserEntry {
  readonly id: string
  /** The order of sign-ins: milliseconds, as Redis writes them. */
  readonly score: string
  /**
   * Whether the sign-in may still be under way: the entry is less than two minutes old and not
   * confirmed. It must stay, even without a session.
   */
  readonly isPending: boolean
}

export interface SignIn {
  readonly id: string
  readonly userName: string
  readonly timeToLiveMs: number
}

/** An entry that a script writes with its session, because both are on the same server. */
export interface IndexEntry {
  readonly userSessions: string
  readonly member: string
  readonly keepMs: number
  /** With more entries than this, the script returns the others; `undefined` for never. */
  readonly perUser: number | undefined
}

/** What a script returns about the index that it wrote. */
export interface IndexReply {
  readonly now: number
  /** The number of entries after the write. */
  readonly count: number
  /** The other entries, if returned: member, score, member, score … */
  readonly others: readonly string[]
}

export interface AddedEntry {
  readonly score: string
  /** Whether the session was not in the index before. */
  readonly isNew: boolean
  readonly count: number
  /** The other entries, the first sign-in first, if requested. */
  readonly others: readonly UserEntry[]
}

// Longer than any `storeTimeoutMs`: by then the caller of an unconfirmed sign-in has its result.
const pendingMs = 120_000

/**
 * The index of each user's sessions, a superset of the live ones. An entry is added before its
 * sign-in is stored, put back when the session is refreshed, and removed, under the score that was
 * read, only after its session was found to have ended.
 */
export class UserIndex {
  readonly #connection: RedisConnection
  readonly #prefix: string

  constructor(connection: RedisConnection, prefix: string) {
    this.#connection = connection
    this.#prefix = prefix
  }

  /** Returns the entry with which a script signs a session in. */
  entryFor({ id, userName, timeToLiveMs }: SignIn, perUser: number | undefined): IndexEntry {
    const { userSessions } = this.#keys(userName)
    return { userSessions, member: shortId(id), keepMs: keyLifeMs(timeToLiveMs), perUser }
  }

  /** Adds a session that is about to sign in. Returns the others if there are at least `perUser`. */
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
   * Puts back the missing entry of a refreshed session, unless `signedInAt` is `undefined`, and
   * lets the index live as long as the session.
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

/** Reads the entries that a script returned at Redis' time `now`. */
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
