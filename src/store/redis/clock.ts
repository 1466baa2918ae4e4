// Longer than any reply's delay, and short enough to follow a clock that was set back.
const trustedForMs = 10_000
// Within this time, two clocks drift apart by less than a millisecond.
const freshForMs = 5000

/**
 * Estimates the clock of one Redis from the times in replies, on top of a monotonic clock. The
 * estimate may be behind by a reply's travel time, but is never ahead.
 */
export class RedisClock {
  #offsetMs = -Infinity
  #since = 0
  #askedAt = -Infinity

  /** Whether any time has been noted. */
  get isKnown(): boolean {
    return this.#offsetMs > -Infinity
  }

  /** The estimate of Redis' time, in epoch milliseconds. */
  get now(): number {
    return this.at(performance.now())
  }

  /** Returns true for one caller every 5 seconds, or while no time is known: it must ask Redis. */
  mustAsk(): boolean {
    const now = performance.now()
    if (this.isKnown && now - this.#askedAt < freshForMs) return false
    this.#askedAt = now
    return true
  }

  /** Notes Redis' time in a reply, in epoch milliseconds. */
  note(time: number): void {
    const now = performance.now()
    const offsetMs = time - now
    // A delayed reply gives too early a time, so the latest time is the best.
    if (offsetMs > this.#offsetMs || now - this.#since > trustedForMs) {
      this.#offsetMs = offsetMs
      this.#since = now
    }
  }

  /** Notes a time, and discards everything noted before. */
  set(time: number): void {
    this.#offsetMs = -Infinity
    this.note(time)
  }

  /** Converts an instant of `performance.now()` to Redis' time, in epoch milliseconds, if known. */
  at(instant: number): number {
    return Math.floor(instant + this.#offsetMs)
  }
}
