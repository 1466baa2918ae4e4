/**
 * What is stored of a session, and its flat form: a list of field names and values, all text on one
 * line, of which a Redis hash is made. `store/redis/keys.ts` documents every field.
 */

import { unknownClient } from './client.ts'
import type { ClientDescription } from './client.ts'

const FORMAT_VERSION = '1'
const privilegePrefix = 'p:'
const rolePrefix = 'r:'
const storagePrefix = 's:'
const colon = 0x3a

// The order in which a client's texts are packed: what most have comes first.
const clientNames = [
  'appName',
  'appVersion',
  'platform',
  'systemVersion',
  'country',
  'region',
  'deviceModel',
  'applicationId',
  'machineName',
  'systemUserName',
  'persistentID',
] as const satisfies (keyof ClientDescription)[]

const clientFields = ['c', 'c1', 'c2', 'c3'] as const
// A longer one makes Redis keep a hash in a roomier form (`hash-max-listpack-value`).
const maxPieceBytes = 64

// ECMA-262, "Time Values and Time Range": later ones have no date.
const lastInstant = 8.64e15

/** The kind of a session: who is behind it. */
export type SessionType = 'web' | 'rest' | 'remote' | 'storedProcedure'

/** The name under which the server's own code runs. It is stored nowhere. */
export const systemUser = 'system'

/** All kinds of session. */
export const sessionTypes: readonly SessionType[] = ['web', 'rest', 'remote', 'storedProcedure']

const typesByVersion = new Map(sessionTypes.map((type) => [versionOf(type), type]))

/** A stored session, without what only the store needs to know. All instants in epoch milliseconds. */
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

/** What is known of a stored session but its content. */
export interface SessionSummary extends Omit<SessionRecord, 'privileges' | 'roles' | 'storage'> {
  /** The last activity, `refreshMs` before it at most. Epoch milliseconds. */
  readonly activeAt: number
  /** Whether the client has said that it suspends, and has not come back. */
  readonly isPostponed: boolean
  /** The store's time when this was read. Epoch milliseconds. */
  readonly now: number
}

/** The parts of a record that a new session brings with it; the store adds the instants. */
export type RecordDraft = Omit<SessionRecord, 'id' | 'createdAt' | 'signedInAt' | 'endsAt'>

/** The parts of a record that a commit can change. */
export type RecordChanges = Partial<
  Pick<SessionRecord, 'idleTimeoutMs' | 'userName' | 'privileges' | 'roles' | 'storage'>
>

/**
 * The flat form of a new session.
 *
 * @param draft What the session brings.
 * @returns Field, value, field, value …
 */
export function encodeDraft(draft: RecordDraft): string[] {
  const fields = ['v', versionOf(draft.type)]
  if (draft.ip !== '') fields.push('a', draft.ip)
  fields.push(...encodeClient(draft.client))
  const { userName, ...others } = draft
  fields.push(...encodeChanges(userName === '' ? others : draft))
  return fields
}

/**
 * The flat form of what changes.
 *
 * @param changes Names in `privileges` and `roles` are added, storage texts replaced.
 * @returns Field, value, field, value …
 */
export function encodeChanges(changes: RecordChanges): string[] {
  const fields: string[] = []
  const { idleTimeoutMs, userName, privileges = [], roles = [], storage = [] } = changes
  if (idleTimeoutMs === Infinity) fields.push('i', 'none')
  else if (idleTimeoutMs !== undefined) fields.push('i', String(idleTimeoutMs))
  if (userName !== undefined) fields.push('u', escapeText(userName))
  for (const name of privileges) fields.push(privilegePrefix + escapeText(name), '')
  for (const name of roles) fields.push(rolePrefix + escapeText(name), '')
  for (const [name, json] of storage) fields.push(storageField(name), json)
  return fields
}

/**
 * The field of a storage name.
 *
 * @param name A top-level name.
 * @returns `s:` and the name, escaped as in JSON.
 */
export function storageField(name: string): string {
  return storagePrefix + escapeText(name)
}

/**
 * What the limits of storage are counted in.
 *
 * @param storage JSON texts by top-level name.
 * @returns Bytes of all names and values as they are stored.
 */
export function storedSize(storage: ReadonlyMap<string, string>): number {
  let bytes = 0
  for (const [name, json] of storage) {
    bytes += Buffer.byteLength(escapeText(name)) + Buffer.byteLength(json)
  }
  return bytes
}

/**
 * Reads the flat form from a text that has it in lines. Looks for the lines one by one: a session
 * with twenty names is read in half the time that splitting the text takes.
 *
 * @param id The session's id.
 * @param text Lines of field, value, field, value …
 * @param skipped How many lines come before them.
 * @returns `undefined` when this is not a session that this version can read.
 */
export function decodeRecord(id: string, text: string, skipped = 0): SessionRecord | undefined {
  const own = new Map<string, string>()
  const privileges: string[] = []
  const roles: string[] = []
  const storage = new Map<string, string>()
  try {
    let start = 0
    for (let line = 0; line < skipped; line++) start = endOfLine(text, start) + 1
    while (start < text.length) {
      const middle = endOfLine(text, start)
      const end = endOfLine(text, middle + 1)
      // A field without a value is none.
      if (middle === text.length) break
      const isNamed = text.charCodeAt(start + 1) === colon
      const name = isNamed ? text.slice(start + 2, middle) : text.slice(start, middle)
      const value = text.slice(middle + 1, end)
      if (!isNamed) own.set(name, value)
      else if (text.startsWith(storagePrefix, start)) storage.set(unescapeText(name), value)
      else if (text.startsWith(privilegePrefix, start)) privileges.push(unescapeText(name))
      else if (text.startsWith(rolePrefix, start)) roles.push(unescapeText(name))
      start = end + 1
    }
    const type = typesByVersion.get(own.get('v') ?? '')
    if (type === undefined) return undefined
    return {
      id,
      type,
      createdAt: instantOf(own.get('b')),
      signedInAt: instantOf(own.get('l') ?? '0'),
      endsAt: own.has('e') ? instantOf(own.get('e')) : Infinity,
      idleTimeoutMs: idleTimeoutOf(own.get('i')),
      userName: unescapeText(own.get('u') ?? ''),
      privileges,
      roles,
      ip: own.get('a') ?? '',
      client: decodeClient(own),
      storage,
    }
  } catch {
    return undefined
  }
}

function endOfLine(text: string, start: number): number {
  const end = text.indexOf('\n', start)
  return end < 0 ? text.length : end
}

function versionOf(type: SessionType): string {
  return `${FORMAT_VERSION} ${type}`
}

/** The texts, escaped, as one with TABs between, in pieces; all that is too long is in the last. */
function encodeClient(client: ClientDescription): string[] {
  const texts = clientNames.map((name) => escapeText(client[name]))
  if (client.isOfficialApp) texts.push('1')
  let rest = texts.join('\t').replace(/\t+$/, '')
  const fields: string[] = []
  for (const [index, field] of clientFields.entries()) {
    if (rest === '') break
    const end = index === clientFields.length - 1 ? rest.length : pieceLength(rest)
    fields.push(field, rest.slice(0, end))
    rest = rest.slice(end)
  }
  return fields
}

function pieceLength(text: string): number {
  if (text.length * 3 <= maxPieceBytes) return text.length
  let length = 0
  let bytes = 0
  for (const character of text) {
    bytes += Buffer.byteLength(character)
    if (bytes > maxPieceBytes) break
    length += character.length
  }
  return length
}

// Clients that were read before, by their packed text: there are far fewer than sessions.
const clients = new Map<string, ClientDescription>()
const maxClients = 1000

function decodeClient(own: ReadonlyMap<string, string>): ClientDescription {
  const first = own.get('c')
  if (first === undefined) return unknownClient
  const stored = first + (own.get('c1') ?? '') + (own.get('c2') ?? '') + (own.get('c3') ?? '')
  const known = clients.get(stored)
  if (known) return known
  // A copy: a part of a reply would keep all of it in memory.
  const packed = Buffer.from(stored).toString()
  const texts = packed.split('\t')
  const client = { ...unknownClient, isOfficialApp: texts[clientNames.length] === '1' }
  for (const [index, name] of clientNames.entries()) client[name] = unescapeText(texts[index] ?? '')
  if (clients.size >= maxClients) clients.clear()
  clients.set(packed, Object.freeze(client))
  return client
}

function idleTimeoutOf(text: string | undefined): number {
  return text === 'none' ? Infinity : numberOf(text)
}

function numberOf(text: string | undefined): number {
  const number = Number(text)
  if (!text || !Number.isFinite(number)) throw new TypeError('not a number')
  return number
}

function instantOf(text: string | undefined): number {
  const instant = numberOf(text)
  if (Math.abs(instant) > lastInstant) throw new TypeError('not an instant')
  return instant
}

/** JSON's escapes without its quotes: one line, whatever the text, and exact for lone surrogates. */
export function escapeText(text: string): string {
  return JSON.stringify(text).slice(1, -1)
}

/** The text that {@link escapeText} has escaped. */
export function unescapeText(text: string): string {
  return text.includes('\\') ? String(JSON.parse(`"${text}"`)) : text
}
