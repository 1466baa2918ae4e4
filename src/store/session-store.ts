/**
 * The store contract. A store keeps sessions by id and lets nobody in without a secret whose hash
 * it has. `describeSessionStore()` of `koa-user-sessions/store-contract` is the suite that an
 * implementation must pass.
 *
 * A store that can do a transaction needs no rules of its own: `createSession()` and
 * `changeSession()` of `koa-user-sessions/store` say what a call makes of a session, and
 * `encodeSession()` and `decodeSession()` turn a session into one text and back.
 *
 * Absence is a value, never an error: a session that is unknown, expired or ended is `undefined`,
 * `false` or `'ended'`. A method rejects only when the store itself fails, and then it is unknown
 * whether what was asked has happened. All instants are epoch milliseconds on the store's own
 * clock; the app's clock plays no part in when a session ends.
 *
 * A credential with an empty `secretHash` is that of a caller whom this package trusts, because of
 * a signed token or because it is the server itself: wherever a secret must be good, it is as good
 * as one that is never renewed.
 *
 * @module
 */

import type { SessionCredential } from '../cookie/credential.ts'
import type { GrantChanges } from '../privileges/grants.ts'
import type { StorageLimits } from '../storage/storage-value.ts'
import type { StorageChanges } from '../storage/storage.ts'
import type { ExpiryPolicy } from './expiry.ts'
import type { RecordDraft, SessionRecord, SessionSummary } from './record.ts'

/**
 * For how long a session remembers secrets that were renewed away, in milliseconds: a request that
 * came with one while it was good may still store plain changes.
 */
export const renewedMemoryMs = 30_000

/**
 * For how long a lock that was given back is kept for whoever was refused it first, in
 * milliseconds: longer than a waiter takes to ask again.
 */
export const lockTurnMs = 250

/** How many sessions one user may have. */
export interface SessionLimit {
  /** The most live sessions of one user. A positive integer, at most 10 000. */
  readonly perUser: number
  /**
   * What becomes of a sign-in over the limit: it ends the user's sessions that were signed in
   * longest ago, or it is refused with 403 `ERR_SESSION_LIMIT`.
   */
  readonly onExceed: 'terminateOldest' | 'refuse'
}

/** How many live one-time tokens a session remembers; of more, those that expire first go. */
export const maxOTPs = 32

/** What a store is told with every call that may write. */
export interface StorePolicy {
  /** How sessions expire. */
  readonly expiry: ExpiryPolicy
  /** How large the storage of one session may become. */
  readonly limits: StorageLimits
  /**
   * How long the caller waits for each call. Milliseconds, `Infinity` for ever. What is stored
   * later than that was answered as failed: a store that can tell by its own clock stores nothing
   * then.
   */
  readonly timeoutMs: number
  /** Kept at each sign-in; `undefined` for no limit. */
  readonly maxSessions: SessionLimit | undefined
}

/** A session that is stored for the first time. */
export interface NewSession {
  /** The id, and the hash of the first secret. */
  readonly credential: SessionCredential
  /** What the session brings with it. */
  readonly draft: RecordDraft
  /** Whether somebody signs in with it. */
  readonly signsIn: boolean
}

/** What {@link SessionStore.create} answers. */
export type CreateOutcome =
  | {
      readonly status: 'created'
      /** What comes with the next commit of the same request: see {@link SessionCommit.seen}. */
      readonly seen?: unknown
      readonly now: number
      /** Sessions of the user that ended to keep {@link StorePolicy.maxSessions}, by id. */
      readonly ended?: readonly string[]
    }
  /** There is a session with that id. It was left alone. */
  | { readonly status: 'exists' }
  /** The user has as many sessions as one may have. Nothing was stored. */
  | { readonly status: 'refused' }
  /** Over the limits of storage. Nothing was stored. */
  | { readonly status: 'tooLarge' }

/** What {@link SessionStore.load} answers when there is something to say. */
export type LoadOutcome =
  | {
      readonly status: 'live'
      readonly record: SessionRecord
      /** What comes with the next commit of the same request: see {@link SessionCommit.seen}. */
      readonly seen?: unknown
      readonly now: number
      /** The last activity before this one. Epoch milliseconds. */
      readonly activeAt: number
      /** Whether the client has said that it suspends, and had not come back before this. */
      readonly isPostponed: boolean
      /** Whether the time to live was written anew. */
      readonly refreshed: boolean
    }
  /** The secret was renewed away less than {@link renewedMemoryMs} ago. It opens nothing. */
  | { readonly status: 'renewed' }
  /** Something is there, but it is no session that this version can read. */
  | { readonly status: 'unreadable' }

/** A claim to be the only one that changes a session by `use()`. */
export interface SessionLock {
  /** Who holds it: text without blanks that nobody else has. */
  readonly token: string
  /** For how long it is held from then on. Milliseconds. */
  readonly leaseMs: number
}

/** What {@link SessionStore.lock} answers when there is such a session. */
export type LockOutcome =
  | {
      readonly status: 'locked'
      readonly record: SessionRecord
      readonly now: number
      /** What comes with the next commit of the same request: see {@link SessionCommit.seen}. */
      readonly seen?: unknown
    }
  /** Somebody else holds the lock, or was refused it first. Ask again soon. */
  | { readonly status: 'busy' }

/** Changes to a stored session. What a commit leaves out stays as it is. */
export interface SessionCommit {
  /**
   * What the store gave with the last outcome about the session that this request has had, so that
   * it need not read again. Only the store looks into it, and it does not rely on it.
   */
  readonly seen?: unknown
  /** What changes in its storage. */
  readonly storage?: StorageChanges | undefined
  /** Milliseconds. */
  readonly idleTimeoutMs?: number | undefined
  /** What changes in its privileges, roles and user. */
  readonly grants?: GrantChanges | undefined
  /** Whose session the request takes it for, its own changes included. */
  readonly userName?: string | undefined
  /** The secret that takes the place of all others. */
  readonly newSecretHash?: string | undefined
  /**
   * What a request whose own secret was renewed away must not get for nothing: more rights, or a
   * good secret. Left out for plain changes, and for those that take rights away.
   */
  readonly asksFor?: 'rights' | 'secret' | undefined
  /**
   * The lock under which the changes are made. A lease of 0 gives it back, another one extends it
   * from now on.
   */
  readonly lock?: SessionLock | undefined
  /** Notes that the client suspends: until the next activity the session counts as postponed. */
  readonly postpones?: boolean | undefined
  /** A one-time token that the session gets; it has {@link maxOTPs} at most. */
  readonly newOTP?: NewOTP | undefined
  /**
   * The hash of a one-time token that is used up: where it is good, `newSecretHash` becomes good
   * beside the others, and this counts as activity; otherwise the session has `'ended'`. Of many
   * callers one gets it.
   */
  readonly redeemsOTP?: string | undefined
  /**
   * The user whose session it must be; for another user the outcome is `'ended'`. Only for changes
   * that the server makes by itself, which are no sign-in.
   */
  readonly ownedBy?: string | undefined
}

/** A one-time token, by which a browser joins a session. */
export interface NewOTP {
  /** SHA-256 of the token, in base64url. */
  readonly hash: string
  /** Milliseconds from now. */
  readonly lifespanMs: number
}

/** What {@link SessionStore.commit} answers. */
export type CommitOutcome =
  /**
   * Stored; the new secret, if there was one, is good. `record` is the session as it is now, there
   * where changes were made under a lock that is extended, or a one-time token was used up.
   */
  | {
      readonly status: 'committed'
      readonly now: number
      readonly record?: SessionRecord | undefined
      /** What comes with the next commit of the same request: see {@link SessionCommit.seen}. */
      readonly seen?: unknown
      /** As in {@link CreateOutcome}. */
      readonly ended?: readonly string[]
    }
  /**
   * Stored, but for the new secret: the request's own was renewed away, less than
   * {@link renewedMemoryMs} ago, and the changes give it nothing.
   */
  | { readonly status: 'merged'; readonly now: number; readonly seen?: unknown }
  /** Nothing stored: the request's secret was renewed away, and the changes ask for a new one. */
  | { readonly status: 'renewed' }
  /** Nothing stored: the session has ended, never had the secret, or belongs to another user. */
  | { readonly status: 'ended' }
  /** Nothing stored: over the limits of storage. */
  | { readonly status: 'tooLarge' }
  /** Nothing stored: the user has as many sessions as one may have. */
  | { readonly status: 'refused' }
  /** Nothing stored: the lease of the lock has run out. */
  | { readonly status: 'unlocked' }

/** Keeps sessions: what an app gives as the option `store`. Most apps need only `redis`. */
export interface SessionStore {
  /**
   * Stores a session under an id that is free. Never changes one that is there.
   *
   * The store sets `createdAt` and, for a sign-in, `signedInAt` to its own time, `endsAt` to that
   * plus `absoluteTimeoutMs`, and lets the session expire after the idle timeout plus `refreshMs`,
   * at its absolute end at the latest. With a user name it is one of the user's sessions, for
   * {@link list} and `maxSessions`, from the moment this resolves until it ends. Without one its
   * idle timeout may be `Infinity`.
   */
  create(session: NewSession, policy: StorePolicy): Promise<CreateOutcome>

  /**
   * Finds the session of a credential, if the secret is good, and counts as activity: when a
   * refresh is due, its time to live is written anew, but never before the secret was verified. A
   * refresh that fails does not fail the load.
   *
   * @param credential The id, and the hash of the secret that came with it.
   * @param policy When a refresh is due.
   * @param isActivity False for a read that must not keep the session alive.
   * @returns `undefined` when there is no such session, the secret is not one of its, or it is past
   *   its absolute end.
   */
  load(
    credential: SessionCredential,
    policy: StorePolicy,
    isActivity: boolean,
  ): Promise<LoadOutcome | undefined>

  /**
   * Applies changes to a session that is there, as one step. Never creates one.
   *
   * Storage: only the given names change. Grants: `clears` first, then what is added. A sign-in
   * sets `signedInAt` and `endsAt` anew, a new idle timeout the time to live. With `newSecretHash`
   * every other secret opens nothing from then on, and is remembered as renewed; one-time tokens
   * go. A new user name makes it one of that user's sessions, as in {@link create}.
   *
   * A secret that was renewed away a moment ago merges plain changes and takes rights away. It gets
   * what it {@link SessionCommit.asksFor} only when that is rights in a session which is
   * `userName`'s by then; its `newSecretHash` is good beside the others from then on.
   */
  commit(
    credential: SessionCredential,
    commit: SessionCommit,
    policy: StorePolicy,
  ): Promise<CommitOutcome>

  /**
   * Takes a session's lock, or extends it for whoever holds it, and reads the session, as one step.
   * The lease counts from then. Who is refused first gets the next turn: for {@link lockTurnMs}
   * after the lock is free nobody else can take it.
   *
   * @returns `undefined` when {@link load} would find nothing live.
   */
  lock(credential: SessionCredential, lock: SessionLock): Promise<LockOutcome | undefined>

  /**
   * Describes all live sessions of a user, in any order. Counts as nothing.
   *
   * @param userName Compared exactly, not empty.
   * @param policy As it was when the sessions were stored.
   */
  list(userName: string, policy: StorePolicy): Promise<readonly SessionSummary[]>

  /**
   * Ends a session. From then on nothing brings it back.
   *
   * @param id The session's id.
   * @param userName Whose it must be; anybody's when `undefined`.
   * @returns False when there is no live session, or it is not that user's.
   */
  destroy(id: string, userName?: string): Promise<boolean>

  /**
   * Which server answers, in a store that spreads sessions over several: one that does not answer
   * says nothing of the others. A store without this method is one server.
   *
   * @param id The session that a call is about; `undefined` for calls about a user's sessions.
   * @returns Any text; `undefined` when several have to answer.
   */
  nodeOf?(id?: string): string | undefined

  /** Releases what the store itself has opened; nothing that was passed in. */
  close(): Promise<void>
}

/** A method of a store that can fail. */
export type StoreOperation = Exclude<keyof SessionStore, 'close' | 'nodeOf'>
