/**
 * What is stored of a session, and its flat form: a list of field names and values, all text on one
 * line, of which a Redis hash is made. `store/redis/keys.ts` documents every field.
 */

import { clientTexts, unknownClient } from './client.ts'
import type { ClientDescription } from './client.ts'

const FORMAT_VERSION = '1'
const privilegePrefix = 'privilege:'
const rolePrefix = 'role:'
const storagePrefix = 'storage:'

// ECMA-262, "Time Values and Time Range": later ones have no date.
const lastInstant = 8.64e15

/** The kind of a session: who is behind it. */
export type SessionType = 'web' | 'rest' | 'remote' | 'storedProcedure'

/** The name under which the server's own code runs. It is stored nowhere. */
export const systemUser = 'system'

/** All kinds of session. */
export const sessionTypes: readonly SessionType[] = ['web', 'rest', 'remote', 'storedProcedure']

/** A stored session, without what only the store needs to know. All instants in epoch milliseconds. */
export interface SessionRecord {
  readonly id: string
  readonly type: SessionType
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
  /** As granted. */
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
  const fields = ['v', FORMAT_VERSION, 'type', draft.type]
  if (draft.ip !== '') fields.push('ip', draft.ip)
  for (const name of clientTexts) {
    if (draft.client[name] !== '') fields.push(name, escapeText(draft.client[name]))
  }
  if (draft.client.isOfficialApp) fields.push('isOfficialApp', '1')
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
  if (idleTimeoutMs === Infinity) fields.push('idleTimeoutMs', 'none')
  else if (idleTimeoutMs !== undefined) fields.push('idleTimeoutMs', String(idleTimeoutMs))
  if (userName !== undefined) fields.push('userName', escapeText(userName))
  for (const name of privileges) fields.push(privilegePrefix + escapeText(name), '')
  for (const name of roles) fields.push(rolePrefix + escapeText(name), '')
  for (const [name, json] of storage) fields.push(storageField(name), json)
  return fields
}

/**
 * The field of a storage name.
 *
 * @param name A top-level name.
 * @returns `storage:` and the name, escaped as in JSON.
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
 * Reads the flat form.
 *
 * @param id The session's id.
 * @param fields Field, value, field, value …
 * @param start Where in `fields` to start.
 * @returns `undefined` when this is not a session that this version can read.
 */
export function decodeRecord(
  id: string,
  fields: readonly string[],
  start = 0,
): SessionRecord | undefined {
  const own = new Map<string, string>()
  const privileges: string[] = []
  const roles: string[] = []
  const storage = new Map<string, string>()
  try {
    for (let index = start; index + 1 < fields.length; index += 2) {
      const field = fields[index] ?? ''
      const value = fields[index + 1] ?? ''
      if (field.startsWith(storagePrefix)) {
        storage.set(unescapeText(field.slice(storagePrefix.length)), value)
      } else if (field.startsWith(privilegePrefix)) {
        privileges.push(unescapeText(field.slice(privilegePrefix.length)))
      } else if (field.startsWith(rolePrefix)) {
        roles.push(unescapeText(field.slice(rolePrefix.length)))
      } else own.set(field, value)
    }
    const type = own.get('type')
    if (own.get('v') !== FORMAT_VERSION || !isSessionType(type)) return undefined
    return {
      id,
      type,
      createdAt: instantOf(own.get('createdAt')),
      signedInAt: instantOf(own.get('signedInAt') ?? '0'),
      endsAt: own.has('endsAt') ? instantOf(own.get('endsAt')) : Infinity,
      idleTimeoutMs: idleTimeoutOf(own.get('idleTimeoutMs')),
      userName: unescapeText(own.get('userName') ?? ''),
      privileges,
      roles,
      ip: own.get('ip') ?? '',
      client: clientOf(own),
      storage,
    }
  } catch {
    return undefined
  }
}

function clientOf(own: ReadonlyMap<string, string>): ClientDescription {
  const client = { ...unknownClient, isOfficialApp: own.has('isOfficialApp') }
  for (const name of clientTexts) client[name] = unescapeText(own.get(name) ?? '')
  return client
}

function isSessionType(type: string | undefined): type is SessionType {
  return sessionTypes.some((one) => one === type)
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
