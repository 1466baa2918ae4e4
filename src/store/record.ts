import type { ClientDescription } from '../client/description.ts'

/** The kind of a session: what is behind it. */
export type SessionType = 'web' | 'rest' | 'remote' | 'storedProcedure'

/** The user name under which the server's own code runs. It is never stored. */
export const systemUser = 'system'

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
export type RecordDraft = Omit<SessionRecord, 'id' | 'createdAt' | 'signedInAt' | 'endsAt'>

/** Returns the bytes of all stored names and values, to which the limit on storage applies. */
export function storedSize(storage: Iterable<readonly [string, string]>): number {
  let bytes = 0
  for (const [name, json] of storage) {
    bytes += Buffer.byteLength(escapeText(name)) + Buffer.byteLength(json)
  }
  return bytes
}

/** Escapes text as in JSON, without the quotes. Yields one line, and preserves lone surrogates. */
export function escapeText(text: string): string {
  if (isPlain(text)) return text
  const json = JSON.stringify(text)
  return json.length === text.length + 2 ? text : json.slice(1, -1)
}

/** Recognizes short, printable ASCII without quotes and backslashes, as in most names. */
function isPlain(text: string): boolean {
  if (text.length > 32) return false
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code < 0x20 || code > 0x7e || code === 0x22 || code === 0x5c) return false
  }
  return true
}

/** Restores the text that {@link escapeText} has escaped. */
export function unescapeText(text: string): string {
  return text.includes('\\') ? String(JSON.parse(`"${text}"`)) : text
}
