// A stored session, and its rules as pure functions for every store with transactions: who gets in,
// how a change affects secrets, rights, one-time tokens and limits, and when a session expires.

import type { SessionCredential } from '../cookie/cookie.ts'
import { nothingGranted, type GrantChanges } from '../privileges/grants.ts'
import type { StorageLimits } from '../storage/storage-value.ts'
import type { ExpiryPolicy } from './expiry.ts'
import type { SessionRecord, SessionSummary } from './record.ts'
import {
  maxOTPs,
  rotatedMemoryMs,
  type NewOTP,
  type NewSession,
  type SessionCommit,
  type StorePolicy,
} from './session-store.ts'
import { StorageTexts } from './storage-texts.ts'

/** A session as a store keeps it. Immutable: a change makes a new one. */
export interface StoredSession {
  /** The part that the app may see. */
  readonly record: SessionRecord
  /** The last recorded activity in epoch milliseconds, at most `refreshMs` before the real one. */
  readonly activeAt: number
  /** Whether the client announced that it suspends, and has not returned. */
  readonly isPostponed: boolean
  /** The secrets of browsers. Empty when only trusted callers open the session. */
  readonly secrets: readonly StoredSecret[]
  /** The one-time tokens. */
  readonly otps: readonly StoredOTP[]
  /**
   * Changes with every change of the session, except for its storage and its activity. An equal
   * revision tells a request that what it has seen still holds. From 0 to {@link maxRevision}.
   */
  readonly revision: number
}

/** The secret of one cookie. All instants in epoch milliseconds. */
export interface StoredSecret {
  /** SHA-256 of the secret, in base64url. */
  readonly hash: string
  /** When the secret was made. */
  readonly madeAt: number
  /** Whether its browser joined the session, by a one-time token or a second sign-in. */
  readonly isJoined: boolean
  /** When the secret was replaced, or 0 while it is good. */
  readonly rotatedAt: number
}

/** A one-time token. */
export interface StoredOTP {
  /** SHA-256 of the token, in base64url. */
  readonly hash: string
  /** When the token expires, in epoch milliseconds. */
  readonly goodUntil: number
}

/** The highest {@link StoredSession.revision}, after which 0 follows. */
export const maxRevision = 46_655

/** What {@link changeSession} returns: the new session, or why there is none. */
export type SessionChange =
  | { readonly status: 'ended' }
  | { readonly status: 'rotated' }
  | { readonly status: 'tooLarge' }
  | { readonly status: 'committed' | 'merged'; readonly session: StoredSession }

/**
 * Creates a session, or returns `undefined` when its storage exceeds a limit.
 *
 * @param now The store's time in epoch milliseconds.
 */
export function newSession(
  { credential, draft, signsIn }: NewSession,
  now: number,
  policy: StorePolicy,
): StoredSession | undefined {
  const storage = StorageTexts.from(draft.storage)
  if (isOver(storage, undefined, policy.limits)) return undefined
  const { id, secretHash } = credential
  const secret = { hash: secretHash, madeAt: now, isJoined: false, rotatedAt: 0 }
  return {
    // Property by property, because a spread is slow when many users sign in.
    record: {
      id,
      type: draft.type,
      createdAt: now,
      signedInAt: signsIn ? now : 0,
      endsAt: now + policy.expiry.absoluteTimeoutMs,
      generation: 0,
      idleTimeoutMs: draft.idleTimeoutMs,
      userName: draft.userName,
      privileges: draft.privileges,
      roles: draft.roles,
      ip: draft.ip,
      client: draft.client,
      storage,
    },
    activeAt: now,
    isPostponed: false,
    secrets: secretHash === '' ? [] : [secret],
    otps: [],
    // Differs for a later session with the same id, so that an old request cannot mistake it.
    revision: now % (maxRevision + 1),
  }
}

/**
 * Returns whether a credential opens the session with its id: `'rotated'` for a secret that was
 * rotated out less than {@link rotatedMemoryMs} ago, `undefined` for a wrong secret, or when the
 * session is past its absolute end.
 *
 * @param now The store's time in epoch milliseconds.
 */
export function openingOf(
  session: StoredSession,
  { secretHash, generation }: SessionCredential,
  now: number,
): 'good' | 'rotated' | undefined {
  const { record } = session
  if (now >= record.endsAt) return undefined
  if (generation !== undefined && generation !== record.generation) return undefined
  if (secretHash === '') return 'good'
  let rotatedAt: number | undefined
  for (const secret of session.secrets) {
    if (isSameHash(secret.hash, secretHash)) rotatedAt = secret.rotatedAt
  }
  if (rotatedAt === undefined) return undefined
  if (rotatedAt === 0) return 'good'
  return now - rotatedAt <= rotatedMemoryMs ? 'rotated' : undefined
}

/**
 * Applies a commit to the session with the credential's id, as `SessionStore.commit` specifies,
 * except for the lock and `maxSessions`. `now` is the store's time in epoch milliseconds.
 */
export function changeSession(
  session: StoredSession,
  credential: SessionCredential,
  commit: SessionCommit,
  { now, policy }: { readonly now: number; readonly policy: StorePolicy },
): SessionChange {
  const { record } = session
  const { grants, asksFor, redeemsOTP, newOTP, idleTimeoutMs } = commit
  const opening = openingOf(session, credential, now)
  const isOwned = commit.ownedBy === undefined || commit.ownedBy === record.userName
  const redeems = redeemsOTP !== undefined
  const isRedeemed = redeems && isGoodOTP(session, redeemsOTP, now)
  if (!opening || !isOwned || (redeems && !isRedeemed)) return { status: 'ended' }

  const isRotated = opening === 'rotated'
  const isUsers = Boolean(commit.userName) && commit.userName === record.userName
  const joins = isRedeemed || (isRotated && asksFor === 'rights' && isUsers)
  if (isRotated && !joins && (asksFor !== undefined || newOTP)) return { status: 'rotated' }

  let { storage } = record
  if (commit.storage) {
    const before = StorageTexts.from(storage)
    const changed = before.changed(commit.storage)
    if (isOver(changed, before, policy.limits)) return { status: 'tooLarge' }
    storage = changed
  }

  const newSecretHash = isRotated && !joins ? undefined : commit.newSecretHash
  const rotates = newSecretHash !== undefined && !joins
  const raises = rotates || commit.raisesGeneration === true || grants?.clears === true
  const isSame =
    !grants && !newOTP && newSecretHash === undefined && idleTimeoutMs === undefined && !raises
  return {
    status: isRotated && !joins ? 'merged' : 'committed',
    session: {
      record: {
        ...(grants ? granted(record, grants) : record),
        ...(grants?.signsIn && { signedInAt: now, endsAt: now + policy.expiry.absoluteTimeoutMs }),
        generation: raises ? record.generation + 1 : record.generation,
        idleTimeoutMs: idleTimeoutMs ?? record.idleTimeoutMs,
        storage,
      },
      activeAt: idleTimeoutMs !== undefined || isRedeemed ? now : session.activeAt,
      isPostponed: commit.postpones === true || (session.isPostponed && !isRedeemed),
      secrets:
        newSecretHash === undefined
          ? session.secrets
          : changedSecrets(session.secrets, newSecretHash, { now, joins }),
      otps:
        isSame && !redeems
          ? session.otps
          : changedOTPs(session, {
              newOTP,
              redeemsOTP,
              now,
              rotates,
            }),
      revision:
        isSame && !commit.postpones ? session.revision : (session.revision + 1) % (maxRevision + 1),
    },
  }
}

/**
 * Returns whether activity now must refresh a session's time to live, so that the session does not
 * end before its idle timeout.
 *
 * @param now The store's time in epoch milliseconds.
 */
export function isRefreshDue(
  { record, activeAt, isPostponed }: StoredSession,
  now: number,
  { refreshMs }: ExpiryPolicy,
): boolean {
  if (isPostponed) return true
  // Slightly early, because a process may estimate the store's time too early.
  const slackMs = Math.min(1000, refreshMs / 60)
  return record.idleTimeoutMs < Infinity && now - activeAt > refreshMs - slackMs
}

/** Returns a session after activity at `now`, the store's time in epoch milliseconds. */
export function refreshed(session: StoredSession, now: number): StoredSession {
  return { ...session, activeAt: now, isPostponed: false }
}

/** Returns the time to live, in milliseconds, of a session that is stored or refreshed now. */
export function timeToLiveMs(idleTimeoutMs: number, policy: ExpiryPolicy): number {
  return Math.ceil(idleTimeoutMs + policy.refreshMs)
}

/** Returns when a store must expire a session without refresh: epoch milliseconds, or `Infinity`. */
export function expiryOf({ record, activeAt }: StoredSession, policy: ExpiryPolicy): number {
  return Math.min(activeAt + timeToLiveMs(record.idleTimeoutMs, policy), record.endsAt)
}

/** Describes a session at `now`, the store's time in epoch milliseconds. */
export function summaryOf(
  { record, activeAt, isPostponed }: StoredSession,
  now: number,
): SessionSummary {
  const { storage: _storage, ...known } = record
  return { ...known, activeAt, isPostponed, now }
}

// Takes the same time wherever the two texts differ.
function isSameHash(one: string, other: string): boolean {
  if (one.length !== other.length) return false
  let difference = 0
  for (let index = 0; index < one.length; index++) {
    difference |= one.charCodeAt(index) ^ other.charCodeAt(index)
  }
  return difference === 0
}

function isGoodOTP({ otps }: StoredSession, hash: string, now: number): boolean {
  return otps.some((otp) => isSameHash(otp.hash, hash) && now < otp.goodUntil)
}

function granted(record: SessionRecord, grants: GrantChanges): SessionRecord {
  const before = grants.clears ? nothingGranted : record
  return {
    ...record,
    userName: grants.userName ?? before.userName,
    privileges: [...new Set([...before.privileges, ...grants.privileges])],
    roles: [...new Set([...before.roles, ...grants.roles])],
  }
}

// A new secret replaces all others, unless it joins them.
function changedSecrets(
  secrets: readonly StoredSecret[],
  hash: string,
  { now, joins }: { readonly now: number; readonly joins: boolean },
): readonly StoredSecret[] {
  const changed: StoredSecret[] = []
  for (const secret of secrets) {
    const { rotatedAt } = secret
    if (rotatedAt !== 0 && now - rotatedAt > rotatedMemoryMs) continue
    changed.push(rotatedAt === 0 && !joins ? { ...secret, rotatedAt: now } : secret)
  }
  return [...changed, { hash, madeAt: now, isJoined: joins, rotatedAt: 0 }]
}

// A new token drops expired ones and, beyond the limit, those that expire first.
function changedOTPs(
  { otps }: StoredSession,
  change: {
    readonly newOTP: NewOTP | undefined
    readonly redeemsOTP: string | undefined
    readonly now: number
    readonly rotates: boolean
  },
): readonly StoredOTP[] {
  const { newOTP, redeemsOTP, now, rotates } = change
  const kept = rotates ? [] : otps.filter(({ hash }) => hash !== redeemsOTP)
  if (!newOTP) return kept.length === otps.length ? otps : kept
  const last = kept
    .filter(({ goodUntil }) => goodUntil > now)
    .toSorted((one, other) => other.goodUntil - one.goodUntil)
    .slice(0, maxOTPs - 1)
  return [...last, { hash: newOTP.hash, goodUntil: now + newOTP.lifespanMs }]
}

// Storage that already exceeds a limit may still shrink.
function isOver(
  storage: StorageTexts,
  before: StorageTexts | undefined,
  { storageBytes, storageKeys }: StorageLimits,
): boolean {
  if (storage === before) return false
  return (
    (storage.size > storageKeys && storage.size > (before?.size ?? 0)) ||
    (storage.isLargerThan(storageBytes) && storage.bytes > (before?.bytes ?? 0))
  )
}

/** What a request has seen of a session. It shows nothing of it to whoever has it. */
export class Seen {
  readonly #session: StoredSession
  readonly #text: string

  /** @param text The whole text; `''` where that was not read, or no longer holds. */
  constructor(session: StoredSession, text = '') {
    this.#session = session
    this.#text = text
  }

  /** What an outcome had, if it is about the session with this id. */
  static in(
    seen: unknown,
    id: string,
  ): { readonly session: StoredSession; readonly text: string } | undefined {
    if (!(seen instanceof Seen) || seen.#session.record.id !== id) return undefined
    return { session: seen.#session, text: seen.#text }
  }
}
