import type { ClientDescription } from '../client/description.ts'

/** The kind of a session: what is behind it. */
export type SessionType = 'web' | 'rest' | 'remote' | 'storedProcedure'

/** All kinds of sessions. */
export const sessionTypes: readonly SessionType[] = ['web', 'rest', 'remote', 'storedProcedure']

/** A stored session, as the app sees it. All instants in epoch milliseconds. */
export interface SessionRecord {
  /** The session's public id, a UUID. */
  readonly id: string
  /** The kind of the session. */
  readonly type: SessionType
  /** When the session was first stored. */
  readonly createdAt: number
  /** The last sign-in, or 0. */
  readonly signedInAt: number
  /** The absolute end, or `Infinity`. */
  readonly endsAt: number
  /**
   * Rises with everything that takes rights or gives the cookie a new secret, from 0. A nested
   * token of an earlier generation is dead.
   */
  readonly generation: number
  /** The idle timeout in milliseconds, or `Infinity`. */
  readonly idleTimeoutMs: number
  /** The user's name, `''` for a guest. */
  readonly userName: string
  /** The granted privileges in declared spelling, without what they include. */
  readonly privileges: readonly string[]
  /** The granted roles in declared spelling. */
  readonly roles: readonly string[]
  /** The client's IP address at creation, or `''` when it is unknown. */
  readonly ip: string
  /** The client that created the session. */
  readonly client: ClientDescription
  /** The storage: JSON texts by top-level name. */
  readonly storage: ReadonlyMap<string, string>
}

/** Describes a stored session without its storage. */
export interface SessionSummary extends Omit<SessionRecord, 'storage'> {
  /** The last recorded activity in epoch milliseconds, at most `refreshMs` before the real one. */
  readonly activeAt: number
  /** Whether the client announced that it suspends, and has not returned. */
  readonly isPostponed: boolean
  /** The store's time of reading, in epoch milliseconds. */
  readonly now: number
}

/** The parts of a new session's record that the caller provides. The store adds the instants. */
export type RecordDraft = Omit<
  SessionRecord,
  'id' | 'createdAt' | 'signedInAt' | 'endsAt' | 'generation'
>
