import type { SessionCommit, StorePolicy } from '../session-store.ts'
import { lastInstant, partsOf, revisionOf } from '../session-text.ts'
import { escapeText } from '../storage-texts.ts'
import { expiryOf } from '../stored-session.ts'
import type { StoredSession } from '../stored-session.ts'
import type { RedisClock } from './connection.ts'
import { lockKeys } from './keys.ts'
import type { CallOf } from './script.ts'
import type { commitSession } from './scripts/commit-session.ts'
import type { replaceValue } from './scripts/replace-value.ts'
import type { IndexEntry } from './user-index.ts'

/** A change that is to be written. */
export interface Change {
  readonly key: string
  readonly clock: RedisClock
  /** The session that was seen. */
  readonly before: StoredSession
  /** What the change makes of it, but for its storage. */
  readonly session: StoredSession
  readonly commit: SessionCommit
  readonly policy: StorePolicy
  /** When the caller stops waiting, as `performance.now()` tells it. */
  readonly until: number
  readonly index?: IndexEntry | undefined
}

const noIndex = { member: '', keepMs: '', perUser: '' } as const
/** The arguments of a commit that changes nothing. */
export const noChange = {
  revision: '',
  maxKeys: '',
  maxBytes: '',
  tells: '',
  newRevision: '',
  rest: '',
  activity: '',
  timeToLiveMs: '',
  mayGrow: '',
  member: '',
  keepMs: '',
  perUser: '',
} as const

/**
 * What the commit script is called with.
 *
 * @param change The change.
 */
export function commitCall({
  key,
  clock,
  before,
  session,
  ...call
}: Change): CallOf<typeof commitSession> {
  const { commit, policy, index, until } = call
  const { lock, storage, grants } = commit
  const { activity, revision, rest } = partsOf(session)
  const isSame = session.revision === before.revision
  const isActive =
    commit.postpones || commit.redeemsOTP !== undefined || commit.idleTimeoutMs !== undefined
  const expiry = expiryOf(session, policy.expiry)
  const entries: string[] = []
  for (const [name, json] of storage?.set ?? []) entries.push(escapeText(name), json)
  for (const name of storage?.removed ?? []) entries.push(escapeText(name), '')
  return {
    keys: {
      session: key,
      ...(lock && { lock: lockKeys(key).lock }),
      ...(index && { userSessions: index.userSessions }),
    },
    args: {
      untilMs: instantOf(clock, until),
      revision: revisionOf(before),
      maxKeys: policy.limits.storageKeys,
      maxBytes: policy.limits.storageBytes,
      lockToken: lock?.token ?? '',
      leaseMs: lock?.leaseMs ?? '',
      tells: commit.redeemsOTP !== undefined || lock?.leaseMs ? 1 : '',
      newRevision: isSame ? '' : revision,
      rest: isSame ? '' : rest,
      activity: isActive ? activity : '',
      timeToLiveMs:
        expiry === expiryOf(before, policy.expiry) ? '' : timeToLive(session, clock.now, policy),
      mayGrow: grants?.clears && !grants.userName ? 1 : '',
      ...indexArgs(index),
    },
    rest: entries,
  }
}

/**
 * The arguments about a user's index.
 *
 * @param index What is to be written into it.
 */
export function indexArgs(
  index: IndexEntry | undefined,
): Record<keyof typeof noIndex, string | number> {
  if (!index) return noIndex
  const { member, keepMs, perUser = '' } = index
  return { member, keepMs, perUser }
}

/**
 * What is left of a session's life.
 *
 * @param session The session.
 * @param now Redis' time. Epoch milliseconds.
 * @param policy How sessions expire.
 * @returns Milliseconds; empty for ever.
 */
export function timeToLive(
  session: StoredSession,
  now: number,
  { expiry }: StorePolicy,
): number | '' {
  const end = expiryOf(session, expiry)
  return end === Infinity ? '' : Math.max(1, Math.ceil(end - now))
}

/**
 * When a caller stops waiting, on Redis' clock.
 *
 * @param clock Redis' clock.
 * @param until The instant, as `performance.now()` tells it.
 */
export function instantOf(clock: RedisClock, until: number): number {
  return Math.min(clock.at(until), lastInstant)
}

/**
 * What the script is called with that changes a value in its place.
 *
 * @param session What the request has seen of the session.
 * @param text Its whole text; `''` where the request has not seen that.
 * @returns `undefined` when the change is more than that.
 */
export function replaceCall(
  session: StoredSession,
  text: string,
  { key, clock, commit, until }: Pick<Change, 'key' | 'clock' | 'commit' | 'until'>,
): CallOf<typeof replaceValue> | undefined {
  const value = text === '' ? undefined : onlyValueIn(commit)
  if (!value) return undefined
  const [name, json] = value
  const begin = `\n${escapeText(name)}\t`
  const start = text.indexOf(begin)
  if (start < 0) return undefined
  const next = text.indexOf('\n', start + 1)
  const before = text.slice(start + begin.length, next < 0 ? text.length : next)
  if (Buffer.byteLength(before) !== Buffer.byteLength(json)) return undefined
  const at = Buffer.byteLength(text.slice(0, start))
  return {
    keys: { session: key },
    args: { untilMs: instantOf(clock, until), revision: revisionOf(session), at },
    rest: [begin, json],
  }
}

/** Name and JSON of the value that a commit sets, if it does nothing else. */
function onlyValueIn(commit: SessionCommit): [string, string] | undefined {
  const { storage, grants, lock, newSecretHash, idleTimeoutMs, postpones } = commit
  const { newOTP, redeemsOTP, ownedBy } = commit
  const others = [grants, lock, newSecretHash, idleTimeoutMs, newOTP, redeemsOTP, ownedBy]
  const isPlain = others.every((other) => other === undefined) && !postpones
  if (!isPlain || storage?.set.size !== 1 || storage.removed.length > 0) return undefined
  const [entry] = storage.set
  return entry
}
