// Longer than any reply is late, and short enough to follow a clock that was set back.
const trustedForMs = 10_000
// Clocks drift apart by less than a millisecond meanwhile.
const freshForMs = 5000

/**
 * The time of one Redis as this process knows it: from the times that replies tell, on a clock that
 * is never set. It may be late by as long as a reply was on its way, but is never early.
 */
export class RedisClock {
  #offsetMs = -Infinity
  #since = 0
  #askedAt = -Infinity

  /** Whether any time was noted. */
  get isKnown(): boolean {
    return this.#offsetMs > -Infinity
  }

  /** Redis' time. Epoch milliseconds. */
  get now(): number {
    return this.at(performance.now())
  }

  /**
   * Whether Redis must be asked for its time: none is known, or the last one is some seconds old.
   * Whoever is told so must ask: others are not told for a while.
   */
  mustAsk(): boolean {
    const now = performance.now()
    if (this.isKnown && now - this.#askedAt < freshForMs) return false
    this.#askedAt = now
    return true
  }

  /**
   * Notes the time in a reply.
   *
   * @param time Redis' time when it replied. Epoch milliseconds.
   */
  note(time: number): void {
    const now = performance.now()
    const offsetMs = time - now
    // A reply that was long on its way tells too early a time: the latest one is the best.
    if (offsetMs > this.#offsetMs || now - this.#since > trustedForMs) {
      this.#offsetMs = offsetMs
      this.#since = now
    }
  }

  /** Takes a time for the right one, whatever was noted before. */
  set(time: number): void {
    this.#offsetMs = -Infinity
    this.note(time)
  }

  /**
   * An instant of this process on Redis' clock, once that is known.
   *
   * @param instant As `performance.now()` tells it.
   * @returns Epoch milliseconds.
   */
  at(instant: number): number {
    return Math.floor(instant + this.#offsetMs)
  }
}
