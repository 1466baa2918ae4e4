/**
 * What is stored of a session, and what each call of a store makes of it: pure functions, for every
 * store that can read and write as one step. They say once who gets in, what a change does to
 * secrets, rights, one-time tokens and limits, and when a session expires.
 *
 * @module
 */

import type { SessionCredential } from '../cookie/credential.ts'
import { nothingGranted } from '../privileges/grants.ts'
import type { GrantChanges } from '../privileges/grants.ts'
import type { StorageLimits } from '../storage/storage-value.ts'
import { timeToLiveMs } from './expiry.ts'
import type { ExpiryPolicy } from './expiry.ts'
import type { SessionRecord, SessionSummary } from './record.ts'
import { maxOTPs, renewedMemoryMs } from './session-store.ts'
import type { NewOTP, NewSession, SessionCommit, StorePolicy } from './session-store.ts'
import { StorageTexts } from './storage-texts.ts'

/** A session as a store keeps it. Never changed: a change makes another one. */
export interface StoredSession {
  /** What the app may see of it. */
  readonly record: SessionRecord
  /** The last activity, `refreshMs` before it at most. Epoch milliseconds. */
  readonly activeAt: number
  /** Whether the client has said that it suspends, and has not come back. */
  readonly isPostponed: boolean
  /** By what browsers get in. None where only trusted callers do. */
  readonly secrets: readonly StoredSecret[]
  /** One-time tokens. */
  readonly otps: readonly StoredOTP[]
  /**
   * Changes with every change of the session, except for its storage and its activity. A request
   * compares it to know that what it has seen is still true. From 0 to {@link maxRevision}.
   */
  readonly revision: number
}

/** The secret of one cookie. All instants in epoch milliseconds. */
export interface StoredSecret {
  /** SHA-256 of the secret, in base64url. */
  readonly hash: string
  /** When the browser got it. */
  readonly madeAt: number
  /** Whether its browser has joined the session, by a one-time token or a second sign-in. */
  readonly isJoined: boolean
  /** When it was renewed away; 0 while it is good. */
  readonly renewedAt: number
}

/** A one-time token. */
export interface StoredOTP {
  /** SHA-256 of the token, in base64url. */
  readonly hash: string
  /** Epoch milliseconds. */
  readonly goodUntil: number
}

/** The highest {@link StoredSession.revision}; the next one is 0. */
export const maxRevision = 46_655

/** What {@link changeSession} makes of a session. */
export type SessionChange =
  | { readonly status: 'ended' }
  | { readonly status: 'renewed' }
  | { readonly status: 'tooLarge' }
  | { readonly status: 'committed' | 'merged'; readonly session: StoredSession }

/**
 * A new session.
 *
 * @param session What it brings with it.
 * @param now The store's time. Epoch milliseconds.
 * @param policy How long it lives, and how large its storage may be.
 * @returns `undefined` when its storage is over a limit.
 */
export function createSession(
  { credential, draft, signsIn }: NewSession,
  now: number,
  policy: StorePolicy,
): StoredSession | undefined {
  const storage = StorageTexts.from(draft.storage)
  if (isOver(storage, undefined, policy.limits)) return undefined
  const { id, secretHash } = credential
  const secret = { hash: secretHash, madeAt: now, isJoined: false, renewedAt: 0 }
  return {
    // One by one: a spread is dear where many sign in.
    record: {
      id,
      type: draft.type,
      createdAt: now,
      signedInAt: signsIn ? now : 0,
      endsAt: now + policy.expiry.absoluteTimeoutMs,
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
    // Another one for another session of the same id: no old request may take it for its own.
    revision: now % (maxRevision + 1),
  }
}

/**
 * Whether a credential opens a session.
 *
 * @param session The session with the credential's id.
 * @param credential What a caller came with.
 * @param now The store's time. Epoch milliseconds.
 * @returns `'renewed'` for a secret that was renewed away less than {@link renewedMemoryMs} ago;
 *   `undefined` when it opens nothing, or the session is past its absolute end.
 */
export function openingOf(
  session: StoredSession,
  { secretHash }: SessionCredential,
  now: number,
): 'good' | 'renewed' | undefined {
  if (now >= session.record.endsAt) return undefined
  if (secretHash === '') return 'good'
  let renewedAt: number | undefined
  for (const secret of session.secrets) {
    if (isSameHash(secret.hash, secretHash)) renewedAt = secret.renewedAt
  }
  if (renewedAt === undefined) return undefined
  if (renewedAt === 0) return 'good'
  return now - renewedAt <= renewedMemoryMs ? 'renewed' : undefined
}

/**
 * A session after a commit, as `SessionStore.commit` says, but for the lock and `maxSessions`.
 *
 * @param session The session with the credential's id.
 * @param credential What the caller came with.
 * @param commit What changes.
 * @param time The store's time in epoch milliseconds, and the policy.
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

  const isRenewed = opening === 'renewed'
  const isUsers = Boolean(commit.userName) && commit.userName === record.userName
  const joins = isRedeemed || (isRenewed && asksFor === 'rights' && isUsers)
  if (isRenewed && !joins && (asksFor !== undefined || newOTP)) return { status: 'renewed' }

  const before = StorageTexts.from(record.storage)
  const storage = commit.storage ? before.changed(commit.storage) : before
  if (isOver(storage, before, policy.limits)) return { status: 'tooLarge' }

  const newSecretHash = isRenewed && !joins ? undefined : commit.newSecretHash
  const isSame = !grants && !newOTP && newSecretHash === undefined && idleTimeoutMs === undefined
  return {
    status: isRenewed && !joins ? 'merged' : 'committed',
    session: {
      record: {
        ...granted(record, grants),
        ...(grants?.signsIn && { signedInAt: now, endsAt: now + policy.expiry.absoluteTimeoutMs }),
        idleTimeoutMs: idleTimeoutMs ?? record.idleTimeoutMs,
        storage,
      },
      activeAt: idleTimeoutMs !== undefined || isRedeemed ? now : session.activeAt,
      isPostponed: commit.postpones === true || (session.isPostponed && !isRedeemed),
      secrets:
        newSecretHash === undefined
          ? session.secrets
          : changedSecrets(session.secrets, newSecretHash, { now, joins }),
      otps: changedOTPs(session, {
        newOTP,
        redeemsOTP,
        now,
        renews: newSecretHash !== undefined && !joins,
      }),
      revision:
        isSame && !commit.postpones ? session.revision : (session.revision + 1) % (maxRevision + 1),
    },
  }
}

/**
 * Whether a session that is used now must have its time to live written anew, so that it does not
 * end before its idle timeout.
 *
 * @param session The session.
 * @param now The store's time. Epoch milliseconds.
 * @param policy How much idle time may pass unseen.
 */
export function isRefreshDue(
  { record, activeAt, isPostponed }: StoredSession,
  now: number,
  { refreshMs }: ExpiryPolicy,
): boolean {
  if (isPostponed) return true
  // A little early: a process may take the store's time for an earlier one than it is.
  const slackMs = Math.min(1000, refreshMs / 60)
  return record.idleTimeoutMs < Infinity && now - activeAt > refreshMs - slackMs
}

/**
 * A session after activity.
 *
 * @param session The session.
 * @param now The store's time. Epoch milliseconds.
 */
export function refreshed(session: StoredSession, now: number): StoredSession {
  return { ...session, activeAt: now, isPostponed: false }
}

/**
 * When a store must let a session expire, unless it is refreshed.
 *
 * @param session The session.
 * @param policy How sessions expire.
 * @returns Epoch milliseconds; `Infinity` for never.
 */
export function expiryOf({ record, activeAt }: StoredSession, policy: ExpiryPolicy): number {
  return Math.min(activeAt + timeToLiveMs(record.idleTimeoutMs, policy), record.endsAt)
}

/**
 * What is known of a session but its storage.
 *
 * @param session The session.
 * @param now The store's time. Epoch milliseconds.
 */
export function summaryOf(
  { record, activeAt, isPostponed }: StoredSession,
  now: number,
): SessionSummary {
  const { storage: _storage, ...known } = record
  return { ...known, activeAt, isPostponed, now }
}

/** Compares in the same time wherever the two differ. */
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

function granted(record: SessionRecord, grants: GrantChanges | undefined): SessionRecord {
  if (!grants) return record
  const before = grants.clears ? nothingGranted : record
  return {
    ...record,
    userName: grants.userName ?? before.userName,
    privileges: [...new Set([...before.privileges, ...grants.privileges])],
    roles: [...new Set([...before.roles, ...grants.roles])],
  }
}

/** The others are renewed away, unless the new one joins them. */
function changedSecrets(
  secrets: readonly StoredSecret[],
  hash: string,
  { now, joins }: { readonly now: number; readonly joins: boolean },
): readonly StoredSecret[] {
  const changed: StoredSecret[] = []
  for (const secret of secrets) {
    const { renewedAt } = secret
    if (renewedAt !== 0 && now - renewedAt > renewedMemoryMs) continue
    changed.push(renewedAt === 0 && !joins ? { ...secret, renewedAt: now } : secret)
  }
  return [...changed, { hash, madeAt: now, isJoined: joins, renewedAt: 0 }]
}

/** What has expired goes when another one comes. Of too many, those that expire first go. */
function changedOTPs(
  { otps }: StoredSession,
  change: {
    readonly newOTP: NewOTP | undefined
    readonly redeemsOTP: string | undefined
    readonly now: number
    readonly renews: boolean
  },
): readonly StoredOTP[] {
  const { newOTP, redeemsOTP, now, renews } = change
  const kept = renews ? [] : otps.filter(({ hash }) => hash !== redeemsOTP)
  if (!newOTP) return kept.length === otps.length ? otps : kept
  const last = kept
    .filter(({ goodUntil }) => goodUntil > now)
    .toSorted((one, other) => other.goodUntil - one.goodUntil)
    .slice(0, maxOTPs - 1)
  return [...last, { hash: newOTP.hash, goodUntil: now + newOTP.lifespanMs }]
}

/** Whether storage is over a limit and growing: one that is over already may shrink. */
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
