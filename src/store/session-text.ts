/**
 * A session as one text, which Redis keeps under one key and any other store may keep too.
 *
 *     session  = head *entry
 *     head     = "2" state active revision keys TAB type check created *(TAB tag value)
 *     state    = "a" / "p"         ; active or postponed
 *     active   = 9 digits          ; the last activity; a refresh overwrites it in place
 *     revision = 3 digits          ; differs after each change of the head
 *     keys     = 1*DIGIT           ; the number of entries, in decimal
 *     type     = "w" / "r" / "m" / "s"   ; web, rest, remote, storedProcedure
 *     check    = 3 digits          ; of revision, type and the rest of the head
 *     created  = 1*digit
 *     entry    = LF name TAB json
 *
 * Digits are in base 36, instants in epoch milliseconds. Texts are escaped as in JSON, so that no
 * LF or TAB is ever part of a text. The tags, in this order and only where they apply:
 *
 *     i  idle timeout in ms; without it the session never expires
 *     n  last sign-in, in ms after the creation
 *     e  absolute end, in ms after the creation; absent if there is none, or one beyond all dates
 *     g  generation; without it 0
 *     u  user name
 *     a  IP address of the client
 *     A-L  the client: its texts in the order of `client-items.ts`, and "1" for an official one
 *     s, j  a secret of the first browser, or of one that has joined: 43 characters of base64url,
 *           when it was made and, if it was replaced, "-" and when; both in ms after the creation
 *     p, r  name of a privilege, name of a role
 *     o  one-time token: 43 characters of base64url, and its end, in ms after the creation
 *
 * A text of another version or form, or a damaged one, reads as no session. An unknown tag counts
 * as damage, and so does one that is repeated or out of order. New information must therefore get a
 * new tag, and a process that does not know the tag refuses such a session.
 *
 * @module
 */

import { unknownClient, type ClientDescription } from '../client/description.ts'
import { clientItems, readClient } from './client-items.ts'
import { sessionTypes, type SessionType } from './record.ts'
import { escapeText, StorageTexts, unescapeText } from './storage-texts.ts'
import type { StoredOTP, StoredSecret, StoredSession } from './stored-session.ts'

/** The last instant that has a date. ECMA-262, "Time Values and Time Range". */
export const lastInstant = 8.64e15

const version = '2'
const activeLength = 9
const revisionLength = 3
const checkLength = 3
const hashLength = 43
const keysAt = 2 + activeLength + revisionLength

const typeLetters: Readonly<Record<SessionType, string>> = {
  web: 'w',
  rest: 'r',
  remote: 'm',
  storedProcedure: 's',
}
const typesByLetter: ReadonlyMap<string, SessionType> = new Map(
  sessionTypes.map((type) => [typeLetters[type], type]),
)

const tags = 'ineguaABCDEFGHIJKLsjpro'
const firstRepeated = tags.indexOf('s')
const firstClientTag = 0x41
const lastClientTag = 0x4c
// The position of each tag in the order, by character code.
const places: readonly number[] = Array.from({ length: 0x80 }, (_, code) =>
  tags.indexOf(String.fromCharCode(code)),
)
const active = 0x61
const postponed = 0x70
const hyphen = 0x2d
const joinedTag = 0x6a
const wholeNumber = /^\d+$/
const offsetBasis = 0x811c9dc5
const checks = 46_656

/** The parts of a session's text. */
export interface SessionText {
  /** State and last activity. */
  readonly activity: string
  /** The revision's digits. */
  readonly revision: string
  /** The head from the TAB after the number of keys. */
  readonly rest: string
  /** The entries. */
  readonly storage: StorageTexts
}

/** Returns the text of a session. */
export function encodeSession(session: StoredSession): string {
  const { activity, revision, rest, storage } = partsOf(session)
  return version + activity + revision + storage.size + rest + storage.text
}

/** Returns the parts of a session's text. */
export function partsOf(session: StoredSession): SessionText {
  const { record } = session
  const revision = revisionOf(session)
  const type = typeLetters[record.type]
  const body = record.createdAt.toString(36) + itemsOf(session)
  return {
    activity: encodeActivity(session),
    revision,
    rest: `\t${type}${checkOf(revision + type, body)}${body}`,
    storage: StorageTexts.from(record.storage),
  }
}

/** Returns a session's revision as in its text. */
export function revisionOf({ revision }: Pick<StoredSession, 'revision'>): string {
  return revision.toString(36).padStart(revisionLength, '0')
}

/** Returns a session's state and last activity as in its text. */
export function encodeActivity({
  activeAt,
  isPostponed,
}: Pick<StoredSession, 'activeAt' | 'isPostponed'>): string {
  return (isPostponed ? 'p' : 'a') + digits(activeAt, activeLength)
}

/** Reads a session's text, or its head alone, or returns `undefined` when it is not readable. */
export function decodeSession(id: string, text: string): StoredSession | undefined {
  const state = text.charCodeAt(1)
  if (!text.startsWith(version) || (state !== active && state !== postponed)) return undefined
  const headEnd = endOf(text, '\n', keysAt, text.length)
  const keysEnd = endOf(text, '\t', keysAt, headEnd)
  const type = typesByLetter.get(text.charAt(keysEnd + 1))
  const keys = text.slice(keysAt, keysEnd)
  if (type === undefined || !wholeNumber.test(keys)) return undefined
  try {
    if (!isChecked(text, keysEnd + 1, headEnd)) return undefined
    const createdStart = keysEnd + 2 + checkLength
    const createdEnd = endOf(text, '\t', createdStart, headEnd)
    const createdAt = numberIn(text, createdStart, createdEnd, lastInstant)
    const items = readItems(text, createdEnd, headEnd, createdAt)
    return {
      record: {
        id,
        type,
        createdAt,
        signedInAt: items.signedInAt,
        endsAt: items.endsAt,
        generation: items.generation,
        idleTimeoutMs: items.idleTimeoutMs,
        userName: items.userName,
        privileges: items.privileges,
        roles: items.roles,
        ip: items.ip,
        client: items.client,
        storage: new StorageTexts(text.slice(headEnd), Number(keys)),
      },
      activeAt: numberIn(text, 2, 2 + activeLength, lastInstant),
      isPostponed: state === postponed,
      secrets: items.secrets,
      otps: items.otps,
      revision: numberIn(text, keysAt - revisionLength, keysAt, lastInstant),
    }
  } catch {
    return undefined
  }
}

function itemsOf({ record, secrets, otps }: StoredSession): string {
  const { createdAt, idleTimeoutMs, signedInAt, endsAt, userName, ip, client } = record
  const since = (at: number): string => Math.max(0, Math.ceil(at - createdAt)).toString(36)
  let items = ''
  if (idleTimeoutMs < Infinity) items += `\ti${Math.ceil(idleTimeoutMs).toString(36)}`
  if (signedInAt !== 0) items += `\tn${since(signedInAt)}`
  if (endsAt <= lastInstant) items += `\te${since(endsAt)}`
  if (record.generation !== 0) items += `\tg${record.generation.toString(36)}`
  if (userName !== '') items += `\tu${escapeText(userName)}`
  if (ip !== '') items += `\ta${escapeText(ip)}`
  items += clientItems(client)
  for (const isJoined of [false, true]) {
    for (const secret of secrets) {
      if (secret.isJoined !== isJoined) continue
      items += `\t${isJoined ? 'j' : 's'}${secret.hash}${since(secret.madeAt)}`
      if (secret.rotatedAt !== 0) items += `-${since(secret.rotatedAt)}`
    }
  }
  for (const name of record.privileges) items += `\tp${escapeText(name)}`
  for (const name of record.roles) items += `\tr${escapeText(name)}`
  for (const { hash, goodUntil } of otps) items += `\to${hash}${since(goodUntil)}`
  return items
}

/** What a head says behind the creation. */
interface Items {
  idleTimeoutMs: number
  signedInAt: number
  endsAt: number
  generation: number
  userName: string
  ip: string
  client: ClientDescription
  readonly privileges: string[]
  readonly roles: string[]
  readonly secrets: StoredSecret[]
  readonly otps: StoredOTP[]
}

/**
 * Reads the items of a head. Accepts known tags in order, and repeats only from `s` on.
 *
 * @throws {TypeError} When the head is damaged.
 */
function readItems(text: string, start: number, headEnd: number, createdAt: number): Items {
  const most = lastInstant - createdAt
  const items: Items = {
    idleTimeoutMs: Infinity,
    signedInAt: 0,
    endsAt: Infinity,
    generation: 0,
    userName: '',
    ip: '',
    client: unknownClient,
    privileges: [],
    roles: [],
    secrets: [],
    otps: [],
  }
  let place = -1
  let clientAt = -1
  for (let at = start; at < headEnd;) {
    const end = endOf(text, '\t', at + 1, headEnd)
    const tag = text.charCodeAt(at + 1)
    const value = at + 2
    const next = end > at + 1 ? (places[tag] ?? -1) : -1
    if (next < place || (next === place && next < firstRepeated) || next < 0) {
      throw new TypeError('no such item')
    }
    place = next
    const isClient = tag >= firstClientTag && tag <= lastClientTag
    if (isClient && clientAt < 0) clientAt = at
    if (clientAt >= 0 && (!isClient || end === headEnd)) {
      items.client = readClient(text.slice(clientAt, isClient ? end : at))
      clientAt = -1
    }
    switch (tag) {
      case 0x69: // i; at most half of all time, so that it ends at a date whatever the clock says
        items.idleTimeoutMs = numberIn(text, value, end, lastInstant / 2)
        break
      case 0x6e: // n
        items.signedInAt = createdAt + numberIn(text, value, end, most)
        break
      case 0x65: // e
        items.endsAt = createdAt + numberIn(text, value, end, most)
        break
      case 0x67: // g
        items.generation = numberIn(text, value, end, Number.MAX_SAFE_INTEGER)
        break
      case 0x75: // u
        items.userName = unescapeText(text.slice(value, end))
        break
      case 0x61: // a
        items.ip = unescapeText(text.slice(value, end))
        break
      case 0x73: // s
      case 0x6a: // j
        items.secrets.push(readSecret(text, value, end, createdAt))
        break
      case 0x70: // p
        items.privileges.push(unescapeText(text.slice(value, end)))
        break
      case 0x72: // r
        items.roles.push(unescapeText(text.slice(value, end)))
        break
      case 0x6f: // o
        items.otps.push({
          hash: text.slice(value, value + hashLength),
          goodUntil: createdAt + numberIn(text, value + hashLength, end, most),
        })
        break
      default:
    }
    at = end
  }
  return items
}

/** Reads a secret, which stands behind its tag. */
function readSecret(text: string, start: number, end: number, createdAt: number): StoredSecret {
  const most = lastInstant - createdAt
  const madeAt = start + hashLength
  let madeEnd = madeAt
  while (madeEnd < end && text.charCodeAt(madeEnd) !== hyphen) madeEnd++
  return {
    hash: text.slice(start, madeAt),
    madeAt: createdAt + numberIn(text, madeAt, madeEnd, most),
    isJoined: text.charCodeAt(start - 1) === joinedTag,
    rotatedAt: madeEnd === end ? 0 : createdAt + numberIn(text, madeEnd + 1, end, most),
  }
}

// FNV-1a, of which the check keeps a part: it detects accidental damage, but proves nothing.
function hashFrom(hash: number, text: string, start: number, end: number): number {
  let changed = hash
  for (let index = start; index < end; index++) {
    changed = Math.imul(changed ^ text.charCodeAt(index), 0x01000193)
  }
  return changed
}

function checkOf(start: string, body: string): string {
  const hash = hashFrom(hashFrom(offsetBasis, start, 0, start.length), body, 0, body.length)
  return digits((hash >>> 0) % checks, checkLength)
}

/** Returns whether the check of a head is right, given the place of its type. */
function isChecked(text: string, typeAt: number, headEnd: number): boolean {
  const start = hashFrom(offsetBasis, text, keysAt - revisionLength, keysAt)
  const middle = hashFrom(start, text, typeAt, typeAt + 1)
  const hash = hashFrom(middle, text, typeAt + 1 + checkLength, headEnd)
  return numberIn(text, typeAt + 1, typeAt + 1 + checkLength, checks) === (hash >>> 0) % checks
}

function endOf(text: string, mark: string, from: number, otherwise: number): number {
  const end = text.indexOf(mark, from)
  return end < 0 || end > otherwise ? otherwise : end
}

/** Writes a number in base 36, 0 for a negative one, in at least this many digits. */
function digits(number: number, length: number): string {
  return Math.max(0, Math.floor(number)).toString(36).padStart(length, '0')
}

/**
 * Reads the number between two places of a text.
 *
 * @throws {TypeError} When the text there is not a number, or is more than `most`.
 */
function numberIn(text: string, start: number, end: number, most: number): number {
  let number = start < end ? 0 : Infinity
  for (let index = start; index < end; index++) {
    const code = text.charCodeAt(index)
    if (code >= 0x30 && code <= 0x39) number = number * 36 + code - 0x30
    else if (code >= 0x61 && code <= 0x7a) number = number * 36 + code - 0x57
    else throw new TypeError('not a digit')
  }
  if (number > most) throw new TypeError('not such a number')
  return number
}
