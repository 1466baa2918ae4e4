/**
 * Who may have the lock of a session, as pure functions: for every store that can read and write as
 * one step.
 *
 * @module
 */

import { lockTurnMs } from './session-store.ts'
import type { SessionCommit, SessionLock } from './session-store.ts'

/** A claim to a lock. */
export interface LockClaim {
  /** Who claims it. */
  readonly token: string
  /** Epoch milliseconds. */
  readonly until: number
}

/** The lock of one session. */
export interface LockState {
  /** Who holds it. */
  readonly holder?: LockClaim | undefined
  /** Who was refused it first, and gets it next. */
  readonly next?: LockClaim | undefined
}

/**
 * The state of a lock after a holder-to-be has asked for it.
 *
 * @param state The lock as it is.
 * @param lock Who asks, and for how long.
 * @param now The store's time. Epoch milliseconds.
 * @returns Whether it was given, and the lock as it is then.
 */
export function askForLock(
  { holder, next }: LockState,
  { token, leaseMs }: SessionLock,
  now: number,
): { readonly isLocked: boolean; readonly state: LockState } {
  const present = liveToken(holder, now)
  const following = liveToken(next, now)
  if ((present ?? following ?? token) === token) {
    const state = {
      holder: { token, until: now + leaseMs },
      next: following === token ? undefined : next,
    }
    return { isLocked: true, state }
  }
  const isFirst = (following ?? token) === token
  const state = isFirst ? { holder, next: { token, until: now + lockTurnMs } } : { holder, next }
  return { isLocked: false, state }
}

/**
 * A lock after its holder has extended it or, by a lease of 0, given it back.
 *
 * @param state The lock as it is.
 * @param lock Who holds it, and for how long from now on.
 * @param now The store's time. Epoch milliseconds.
 * @returns `undefined` when the lock is not the holder's, or no longer.
 */
export function extendLock(
  { holder, next }: LockState,
  { token, leaseMs }: SessionLock,
  now: number,
): LockState | undefined {
  if (liveToken(holder, now) !== token) return undefined
  return { holder: leaseMs === 0 ? undefined : { token, until: now + leaseMs }, next }
}

/**
 * Whether a commit does nothing but to extend a lock, or to give it back.
 *
 * @param commit Any.
 */
export function isAboutLock(
  commit: SessionCommit,
): commit is SessionCommit & { readonly lock: SessionLock } {
  const { lock, seen: _seen, ...rest } = commit
  return lock !== undefined && Object.values(rest).every((value) => value === undefined)
}

function liveToken(claim: LockClaim | undefined, now: number): string | undefined {
  return claim && claim.until > now ? claim.token : undefined
}
