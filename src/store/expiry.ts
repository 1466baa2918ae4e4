/** Milliseconds in a minute. */
export const minuteMs = 60_000

/** The longest idle timeout: a year of 365 days, in minutes. */
export const maxIdleTimeout = 525_600

/**
 * Minutes in milliseconds. Whole ones, so that an idle timeout that is read as minutes and assigned
 * again stays the same.
 *
 * @param minutes Any number.
 */
export function minutesToMs(minutes: number): number {
  return Math.round(minutes * minuteMs)
}

/** How sessions of one deployment expire. All durations in milliseconds. */
export interface ExpiryPolicy {
  /**
   * How much idle time may pass unseen before a refresh is due: a session's time to live is its
   * idle timeout plus this, and is written anew when so much has passed since it was written.
   */
  readonly refreshMs: number
  /** From creation, and anew from each sign-in. `Infinity` for none. */
  readonly absoluteTimeoutMs: number
}

/**
 * The time to live that a session gets when it is stored or refreshed.
 *
 * @param idleTimeoutMs The session's idle timeout.
 * @param policy Of the deployment.
 * @returns Milliseconds.
 */
export function timeToLiveMs(idleTimeoutMs: number, policy: ExpiryPolicy): number {
  return Math.ceil(idleTimeoutMs + policy.refreshMs)
}

/**
 * When a session ends if nothing more is requested.
 *
 * @param activeAt Its last activity.
 * @param idleTimeoutMs Its idle timeout.
 * @param endsAt Its absolute end, `Infinity` for none.
 * @returns Epoch milliseconds.
 */
export function expiresAt(activeAt: number, idleTimeoutMs: number, endsAt: number): number {
  return Math.min(activeAt + idleTimeoutMs, endsAt)
}
