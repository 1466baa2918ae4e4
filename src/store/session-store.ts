/**
 * The store contract. A store keeps sessions by id, and opens a session only for a secret whose
 * hash it has. Every store must pass the test suite `describeSessionStore()` of
 * `koa-user-sessions/store-contract`.
 *
 * A store with transactions needs no rules of its own: `newSession()` and `changeSession()` of
 * `koa-user-sessions/store` apply a call to a session, and `encodeSession()` and `decodeSession()`
 * convert a session to one text and back.
 *
 * Absence is a value, never an error: `undefined`, `false` or `'ended'` stands for a session that
 * is unknown, expired or ended. A method rejects only when the store fails, and then the operation
 * may or may not have happened. All instants are epoch milliseconds on the store's clock; the app's
 * clock never decides when a session ends.
 *
 * An empty `secretHash` belongs to a caller that this package trusts, such as one with a signed
 * token, or the server itself. It counts as a good secret that is never rotated.
 *
 * @module
 */

import type { SessionCredential } from '../cookie/cookie.ts'
import type { GrantChanges } from '../privileges/grants.ts'
import type { StorageLimits } from '../storage/storage-value.ts'
import type { StorageChanges } from '../storage/storage.ts'
import type { ExpiryPolicy } from './expiry.ts'
import type { RecordDraft, SessionRecord, SessionSummary } from './record.ts'

/**
 * How long a session remembers a replaced secret, in milliseconds: a request that started with the
 * secret while it was good may still store plain changes.
 */
export const rotatedMemoryMs = 30_000

/**
 * How long a released lock is reserved for the first refused claimant, in milliseconds: longer than
 * a waiting claimant takes to ask again.
 */
export const lockTurnMs = 250

/** The limit on the sessions of one user. */
export interface SessionLimit {
  /** The most live sessions of one user. An integer from 1 to 10 000. */
  readonly perUser: number
  /**
   * Whether a sign-in over the limit ends the user's sessions with the oldest sign-ins, or is
   * refused with 403 `ERR_SESSION_LIMIT`.
   */
  readonly onExceed: 'terminateOldest' | 'refuse'
}

/** The most live one-time tokens of a session. Beyond it, those that expire first are dropped. */
export const maxOTPs = 32

/** The deployment's rules, which every call that may write passes to the store. */
export interface StorePolicy {
  /** How sessions expire. */
  readonly expiry: ExpiryPolicy
  /** The limits for the storage of one session. */
  readonly limits: StorageLimits
  /**
   * How long the caller waits for a call, in milliseconds or `Infinity`. The caller then treats the
   * call as failed, so a store that can tell by its own clock must not store anything afterwards.
   */
  readonly timeoutMs: number
  /** The limit that each sign-in enforces, or `undefined`. */
  readonly maxSessions: SessionLimit | undefined
}

/** A session that is stored for the first time. */
export interface NewSession {
  /** The id and the hash of the first secret. */
  readonly credential: SessionCredential
  /** The session's initial record. */
  readonly draft: RecordDraft
  /** Whether the session starts with a sign-in. */
  readonly signsIn: boolean
}

/** What {@link SessionStore.create} returns. */
export type CreateOutcome =
  | {
      readonly status: 'created'
      /** For the next commit of the same request: see {@link SessionCommit.seen}. */
      readonly seen?: unknown
      readonly now: number
      /** Ids of the user's sessions that ended to enforce {@link StorePolicy.maxSessions}. */
      readonly ended?: readonly string[]
    }
  /** A session with that id exists, and was left unchanged. */
  | { readonly status: 'exists' }
  /** The user has reached the limit on sessions. Nothing was stored. */
  | { readonly status: 'refused' }
  /** The storage exceeds its limits. Nothing was stored. */
  | { readonly status: 'tooLarge' }

/** What {@link SessionStore.load} returns for a known session. */
export type LoadOutcome =
  | {
      readonly status: 'live'
      readonly record: SessionRecord
      /** For the next commit of the same request: see {@link SessionCommit.seen}. */
      readonly seen?: unknown
      readonly now: number
      /** The activity before this one, in epoch milliseconds. */
      readonly activeAt: number
      /** Whether the client announced that it suspends, and returns only now. */
      readonly isPostponed: boolean
      /** Whether the store refreshed the time to live. */
      readonly refreshed: boolean
    }
  /** The secret was rotated out less than {@link rotatedMemoryMs} ago, and opens nothing. */
  | { readonly status: 'rotated' }
  /** The id's entry is not a session that this version can read. */
  | { readonly status: 'unreadable' }

/** A claim to change a session exclusively by `use()`. */
export interface SessionLock {
  /** A unique text without blanks that identifies the holder. */
  readonly token: string
  /** How long the holder keeps the lock from then on, in milliseconds. */
  readonly leaseMs: number
}

/** What {@link SessionStore.lock} returns for a live session. */
export type LockOutcome =
  | {
      readonly status: 'locked'
      readonly record: SessionRecord
      readonly now: number
      /** For the next commit of the same request: see {@link SessionCommit.seen}. */
      readonly seen?: unknown
    }
  /** Another caller holds the lock, or has the next turn. Ask again soon. */
  | { readonly status: 'busy' }

/** Changes to a stored session. Everything that a commit omits stays the same. */
export interface SessionCommit {
  /**
   * The `seen` of the store's last outcome for this session and request, which may spare the store
   * a read. Only the store knows its form, and must not rely on it.
   */
  readonly seen?: unknown
  /** Changes to the storage. */
  readonly storage?: StorageChanges | undefined
  /** The new idle timeout, in milliseconds. */
  readonly idleTimeoutMs?: number | undefined
  /** Changes to the privileges, the roles and the user. */
  readonly grants?: GrantChanges | undefined
  /** The session's user as the request sees it, with its own changes. */
  readonly userName?: string | undefined
  /** The hash of the secret that replaces all others. */
  readonly newSecretHash?: string | undefined
  /**
   * What the changes would gain: more rights, or a good secret. A request with a replaced secret
   * must not gain it. Omitted for plain changes and for those that only remove rights.
   */
  readonly asksFor?: 'rights' | 'secret' | undefined
  /** The lock that the changes require. A lease of 0 releases it, another one extends it. */
  readonly lock?: SessionLock | undefined
  /** Makes all nested tokens of the session dead, whatever else changes. */
  readonly raisesGeneration?: boolean | undefined
  /** Notes that the client suspends: the session counts as postponed until the next activity. */
  readonly postpones?: boolean | undefined
  /** A one-time token to add, of at most {@link maxOTPs}. */
  readonly newOTP?: NewOTP | undefined
  /**
   * The hash of a one-time token to redeem, which only one caller can: `newSecretHash` becomes good
   * alongside the other secrets, and it counts as activity. For a bad token the outcome is
   * `'ended'`.
   */
  readonly redeemsOTP?: string | undefined
  /**
   * The user whose session it must be, or the outcome is `'ended'`. Only for changes that the
   * server makes by itself, which are never a sign-in.
   */
  readonly ownedBy?: string | undefined
}

/** A one-time token, by which a browser joins a session. */
export interface NewOTP {
  /** SHA-256 of the token, in base64url. */
  readonly hash: string
  /** How long the token is good from now on, in milliseconds. */
  readonly lifespanMs: number
}

/** What {@link SessionStore.commit} returns. */
export type CommitOutcome =
  /**
   * Stored, and the new secret, if any, is good. `record` is the session's new state, present only
   * after changes under a lock that was extended, or after a one-time token was redeemed.
   */
  | {
      readonly status: 'committed'
      readonly now: number
      readonly record?: SessionRecord | undefined
      /** For the next commit of the same request: see {@link SessionCommit.seen}. */
      readonly seen?: unknown
      /** As in {@link CreateOutcome}. */
      readonly ended?: readonly string[]
    }
  /**
   * Stored, except for the new secret: the request's own secret was rotated out less than
   * {@link rotatedMemoryMs} ago, and the changes gain nothing.
   */
  | { readonly status: 'merged'; readonly now: number; readonly seen?: unknown }
  /** Nothing stored: the request's secret was replaced, and the changes would gain something. */
  | { readonly status: 'rotated' }
  /** Nothing stored: the session has ended, never had the secret, or belongs to another user. */
  | { readonly status: 'ended' }
  /** Nothing stored: the storage would exceed its limits. */
  | { readonly status: 'tooLarge' }
  /** Nothing stored: the user has reached the limit on sessions. */
  | { readonly status: 'refused' }
  /** Nothing stored: the lock's lease has expired. */
  | { readonly status: 'unlocked' }

/** Keeps sessions: the type of the option `store`. Most apps need only the option `redis`. */
export interface SessionStore {
  /**
   * Stores a session under a free id. Never changes an existing session.
   *
   * The store sets `createdAt` and, for a sign-in, `signedInAt` to its own time and `endsAt` to
   * that time plus `absoluteTimeoutMs`. The session expires after its idle timeout plus
   * `refreshMs`, at its absolute end at the latest. With a user name it counts for {@link list} and
   * `maxSessions` as soon as this resolves. Without one its idle timeout may be `Infinity`.
   */
  create(session: NewSession, policy: StorePolicy): Promise<CreateOutcome>

  /**
   * Returns the session of a credential with a good secret, and counts as activity: when a refresh
   * is due, refreshes the time to live, but never before the secret is verified. A failing refresh
   * does not fail the load. Returns `undefined` when the session is unknown or past its absolute
   * end, or the secret is not one of the session's.
   *
   * @param isActivity False for a read that must not keep the session alive.
   */
  load(
    credential: SessionCredential,
    policy: StorePolicy,
    isActivity: boolean,
  ): Promise<LoadOutcome | undefined>

  /**
   * Applies changes to an existing session atomically. Never creates a session.
   *
   * Storage: only the given names change. Grants: `clears` applies first, then the additions. A
   * sign-in sets `signedInAt` and `endsAt` again, a new idle timeout sets the time to live.
   * `newSecretHash` replaces every other secret, which then opens nothing but is remembered, and
   * removes all one-time tokens. A new user name makes the session that user's, as in
   * {@link create}.
   *
   * A recently replaced secret can merge plain changes and remove rights. It gains what it
   * {@link SessionCommit.asksFor} only if that is rights, and the session is by then `userName`'s:
   * its `newSecretHash` then becomes good alongside the other secrets.
   */
  commit(
    credential: SessionCredential,
    commit: SessionCommit,
    policy: StorePolicy,
  ): Promise<CommitOutcome>

  /**
   * Takes a session's lock, or extends it for its holder, and reads the session, all atomically.
   * The lease counts from then. The first refused claimant has the next turn: for {@link lockTurnMs}
   * after the lock is free, no one else can take it. Returns `undefined` unless {@link load} would
   * be `'live'`.
   */
  lock(credential: SessionCredential, lock: SessionLock): Promise<LockOutcome | undefined>

  /**
   * Describes all live sessions of a user, in any order. Does not count as activity.
   *
   * @param userName A name that is not empty, compared exactly.
   * @param policy The policy under which the sessions were stored.
   */
  list(userName: string, policy: StorePolicy): Promise<readonly SessionSummary[]>

  /** Ends a session for good. Returns false unless it was live, and the given user's, if any. */
  destroy(id: string, userName?: string): Promise<boolean>

  /**
   * Returns a name for the server that has a session, or a user's sessions without an id, in a
   * store with several servers: one that does not answer says nothing about the others. Returns
   * `undefined` when several servers are involved. A store without this method is one server.
   */
  nodeOf?(id?: string): string | undefined

  /** Releases what the store itself has opened, but nothing that was passed in. */
  close(): Promise<void>
}

/** A method of a store that can fail. */
export type StoreOperation = Exclude<keyof SessionStore, 'close' | 'nodeOf'>
