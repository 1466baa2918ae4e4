/** Milliseconds in a minute. */
export const minuteMs = 60_000

/** The longest idle timeout: a year of 365 days, in minutes. */
export const maxIdleTimeout = 525_600

/** Converts minutes to whole milliseconds, which convert back without a rounding error. */
export function minutesToMs(minutes: number): number {
  return Math.round(minutes * minuteMs)
}

/** How the sessions of one deployment expire. All durations in milliseconds. */
export interface ExpiryPolicy {
  /**
   * How long activity may go unrecorded. A session's time to live is its idle timeout plus this
   * duration, and activity refreshes it once this much time has passed since the last refresh.
   */
  readonly refreshMs: number
  /** The time from creation, and again from each sign-in, to the absolute end, or `Infinity`. */
  readonly absoluteTimeoutMs: number
}

/**
 * Returns when a session ends without further activity, in epoch milliseconds, given its last
 * activity, idle timeout and absolute end, which may be `Infinity`.
 */
export function expiresAt(activeAt: number, idleTimeoutMs: number, endsAt: number): number {
  return Math.min(activeAt + idleTimeoutMs, endsAt)
}
