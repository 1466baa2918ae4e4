import type { ClientDescription } from '../client/description.ts'

/** The kind of a session: who is behind it. */
export type SessionType = 'web' | 'rest' | 'remote' | 'storedProcedure'

/** All kinds of session. */
export const sessionTypes: readonly SessionType[] = ['web', 'rest', 'remote', 'storedProcedure']

/** A stored session as the app sees it. All instants in epoch milliseconds. */
export interface SessionRecord {
  /** The session's public id, a UUID. */
  readonly id: string
  /** What kind of session it is. */
  readonly type: SessionType
  /** When the session was stored first. */
  readonly createdAt: number
  /** When the session was last signed in; 0 when never. */
  readonly signedInAt: number
  /** The absolute end; `Infinity` for none. */
  readonly endsAt: number
  /** Milliseconds; `Infinity` for no end. */
  readonly idleTimeoutMs: number
  /** `''` when nobody is signed in. */
  readonly userName: string
  /** As granted: names in the declared spelling, not expanded. */
  readonly privileges: readonly string[]
  /** Role names as granted, in the declared spelling. */
  readonly roles: readonly string[]
  /** The client's IP address at creation; `''` when not known. */
  readonly ip: string
  /** The client that made it. */
  readonly client: ClientDescription
  /** JSON texts by top-level name. */
  readonly storage: ReadonlyMap<string, string>
}

/** What is known of a stored session but its storage. */
export interface SessionSummary extends Omit<SessionRecord, 'storage'> {
  /** The last activity, `refreshMs` before it at most. Epoch milliseconds. */
  readonly activeAt: number
  /** Whether the client has said that it suspends, and has not come back. */
  readonly isPostponed: boolean
  /** The store's time when this was read. Epoch milliseconds. */
  readonly now: number
}

/** The parts of a record that a new session brings with it; the store adds the instants. */
export type RecordDraft = Omit<SessionRecord, 'id' | 'createdAt' | 'signedInAt' | 'endsAt'>

/**
 * What the limits of storage are counted in.
 *
 * @param storage JSON texts by top-level name.
 * @returns Bytes of all names and values as they are stored.
 */
export function storedSize(storage: Iterable<readonly [string, string]>): number {
  let bytes = 0
  for (const [name, json] of storage) {
    bytes += Buffer.byteLength(escapeText(name)) + Buffer.byteLength(json)
  }
  return bytes
}

/** JSON's escapes without its quotes: one line, whatever the text, and exact for lone surrogates. */
export function escapeText(text: string): string {
  if (isPlain(text)) return text
  const json = JSON.stringify(text)
  return json.length === text.length + 2 ? text : json.slice(1, -1)
}

/** Whether it is short, printable ASCII without quotes and backslashes, as most names are. */
function isPlain(text: string): boolean {
  if (text.length > 32) return false
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code < 0x20 || code > 0x7e || code === 0x22 || code === 0x5c) return false
  }
  return true
}

/** The text that {@link escapeText} has escaped. */
export function unescapeText(text: string): string {
  return text.includes('\\') ? String(JSON.parse(`"${text}"`)) : text
}
