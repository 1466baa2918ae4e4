import type { SessionCredential } from '../../cookie/cookie.ts'
import type { CommitOutcome, SessionCommit, StorePolicy } from '../session-store.ts'
import { decodeSession, partsOf, revisionOf } from '../session-text.ts'
import { escapeText } from '../storage-texts.ts'
import { changeSession, expiryOf, Seen, type StoredSession } from '../stored-session.ts'
import { ChangeQueue, type PlaceInQueue } from './change-queue.ts'
import type { RedisClock, RedisConnection } from './connection.ts'
import { lockKeys, sessionKey } from './keys.ts'
import type { CallOf } from './script.ts'
import { commitSession } from './scripts/commit-session.ts'
import { replaceValue } from './scripts/replace-value.ts'
import type { IndexEntry } from './user-index.ts'
import type { Written } from './user-sessions.ts'

export interface HowToWrite {
  readonly policy: StorePolicy
  /** When the caller stops waiting, by `performance.now()`. */
  readonly until: number
  readonly index?: IndexEntry | undefined
}

/**
 * SessionWriter sessions in Redis: applies a commit to a session that was seen, and writes the
 * result if the session is still the same.
 */
export class SessionWriter {
  readonly #connection: RedisConnection
  readonly #prefix: string
  readonly #queue = new ChangeQueue()

  constructor(connection: RedisConnection, prefix: string) {
    this.#connection = connection
    this.#prefix = prefix
  }

  /** Reads a session without its storage, or `undefined` without a readable session. */
  async readHead(id: string): Promise<StoredSession | undefined> {
    const head = await this.#connection.getHead(sessionKey(this.#prefix, id))
    return head === undefined ? undefined : decodeSession(id, head)
  }

  /**
   * Implements `SessionStore.commit`.
   *
   * @param seen The session that was seen, and its whole text, or `''` if that was not read.
   */
  async commit(
    credential: SessionCredential,
    seen: { readonly session: StoredSession; readonly text: string },
    { commit, policy, until, index }: HowToWrite & { readonly commit: SessionCommit },
  ): Promise<Written<CommitOutcome>> {
    const { id } = credential
    const key = sessionKey(this.#prefix, id)
    // The script merges the storage, because it has the current entries.
    const headCommit = { ...commit, storage: undefined }
    let before: StoredSession | undefined = seen.session
    let after: StoredSession | undefined
    let place: PlaceInQueue | undefined
    let isFresh = false
    const readAgain = async (): Promise<undefined> => {
      before = await this.readHead(id)
      isFresh = true
    }
    const changing = this.#connection.inTime<Written<CommitOutcome>>(key, until, async (clock) => {
      const { now } = clock
      if (!before) return { outcome: { status: 'ended' } }
      const change = changeSession(before, credential, headCommit, { now, policy })
      // The session may have changed since it was seen.
      if (!('session' in change)) return isFresh ? { outcome: change } : readAgain()
      const replacing =
        isFresh || seen.text === ''
          ? undefined
          : replaceCall(seen.session, seen.text, { key, clock, commit, until })
      const replaced = replacing && (await this.#connection.run(replaceValue, replacing))
      if (replaced?.status === 'late') return replaced
      if (replaced?.status === 'committed') {
        clock.note(replaced.now)
        return { outcome: { status: change.status, now, seen: commit.seen } }
      }
      const call = { key, clock, before, session: change.session, commit, policy, index, until }
      const written = await this.#connection.run(commitSession, commitCall(call))
      if (written.status === 'late') return written
      // The secret may have been rotated before the lock was lost.
      if (written.status === 'unlocked' && !isFresh) return readAgain()
      if (written.status === 'changed') {
        before = decodeSession(id, written.head)
        isFresh = true
        if (!place) {
          place = this.#queue.enter(key)
          before = (await place.previous) ?? before
        }
        return undefined
      }
      if (written.status !== 'committed') return { outcome: { status: written.status } }
      clock.note(written.now)
      after = change.session
      const next = new Seen(after)
      if (change.status === 'merged') return { outcome: { status: 'merged', now, seen: next } }
      const record = written.text === '' ? undefined : decodeSession(id, written.text)?.record
      const outcome = { status: 'committed', now, seen: next, ...(record && { record }) } as const
      return { outcome, index: written }
    })
    try {
      return await changing
    } finally {
      place?.leave(after)
    }
  }
}

interface Change extends HowToWrite {
  readonly key: string
  readonly clock: RedisClock
  readonly before: StoredSession
  /** The session after the change, except for its storage. */
  readonly session: StoredSession
  readonly commit: SessionCommit
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

/** Returns the call of the commit script. */
function commitCall(change: Change): CallOf<typeof commitSession> {
  const { key, clock, before, session, commit, policy, index, until } = change
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
      untilMs: clock.at(until),
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
        expiry === expiryOf(before, policy.expiry) ? '' : remainingMs(session, clock.now, policy),
      mayGrow: grants?.clears && !grants.userName ? 1 : '',
      ...indexArgs(index),
    },
    rest: entries,
  }
}

export function indexArgs(
  index: IndexEntry | undefined,
): Record<keyof typeof noIndex, string | number> {
  if (!index) return noIndex
  const { member, keepMs, perUser = '' } = index
  return { member, keepMs, perUser }
}

/** Returns the rest of a session's life in milliseconds, or `''` for no end. */
export function remainingMs(
  session: StoredSession,
  now: number,
  { expiry }: StorePolicy,
): number | '' {
  const end = expiryOf(session, expiry)
  return end === Infinity ? '' : Math.max(1, Math.ceil(end - now))
}

/**
 * Returns the call of the script that overwrites one value in place, or `undefined` when the change
 * is more than that.
 */
function replaceCall(
  session: StoredSession,
  text: string,
  { key, clock, commit, until }: Pick<Change, 'key' | 'clock' | 'commit' | 'until'>,
): CallOf<typeof replaceValue> | undefined {
  const { storage, grants, lock, newSecretHash, idleTimeoutMs, postpones } = commit
  const { newOTP, redeemsOTP, ownedBy, raisesGeneration } = commit
  const others = [grants, lock, newSecretHash, idleTimeoutMs, newOTP, redeemsOTP, ownedBy]
  const isPlain = others.every((other) => other === undefined) && !postpones && !raisesGeneration
  if (!isPlain || storage?.set.size !== 1 || storage.removed.length > 0) return undefined
  const [[name, json] = ['', '']] = storage.set
  const begin = `\n${escapeText(name)}\t`
  const start = text.indexOf(begin)
  if (start < 0) return undefined
  const next = text.indexOf('\n', start + 1)
  const before = text.slice(start + begin.length, next < 0 ? text.length : next)
  if (Buffer.byteLength(before) !== Buffer.byteLength(json)) return undefined
  const at = Buffer.byteLength(text.slice(0, start))
  return {
    keys: { session: key },
    args: { untilMs: clock.at(until), revision: revisionOf(session), at },
    rest: [begin, json],
  }
}
