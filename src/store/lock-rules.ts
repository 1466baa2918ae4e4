// The rules for a session's lock, as pure functions for every store with transactions.

import { lockTurnMs, type SessionCommit, type SessionLock } from './session-store.ts'

/** A claim to a lock. */
export interface LockClaim {
  /** The claimant: the token of its {@link SessionLock}. */
  readonly token: string
  /** When the claim lapses, in epoch milliseconds. */
  readonly until: number
}

/** The lock of one session. */
export interface LockState {
  /** The holder of the lock. */
  readonly holder?: LockClaim | undefined
  /** The first claimant that was refused, who has the next turn. */
  readonly next?: LockClaim | undefined
}

/**
 * Grants a lock that is free or already the claimant's. Returns whether it did, and the new state.
 *
 * @param now The store's time in epoch milliseconds.
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
 * Extends a lock from now on or, by a lease of 0, releases it. Returns the lock's new state, or
 * `undefined` unless the token holds the lock.
 *
 * @param now The store's time in epoch milliseconds.
 */
export function extendLock(
  { holder, next }: LockState,
  { token, leaseMs }: SessionLock,
  now: number,
): LockState | undefined {
  if (liveToken(holder, now) !== token) return undefined
  return { holder: leaseMs === 0 ? undefined : { token, until: now + leaseMs }, next }
}

/** Returns whether a commit only extends or releases a lock. */
export function isAboutLock(
  commit: SessionCommit,
): commit is SessionCommit & { readonly lock: SessionLock } {
  const { lock, seen: _seen, ...rest } = commit
  return lock !== undefined && Object.values(rest).every((value) => value === undefined)
}

function liveToken(claim: LockClaim | undefined, now: number): string | undefined {
  return claim && claim.until > now ? claim.token : undefined
}
