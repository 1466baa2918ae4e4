// Longer than any reply is late, and short enough to follow a clock that was set back.
const trustedForMs = 10_000

/**
 * A Redis' time as this process knows it: from the times that replies tell, on a clock that nobody
 * sets.
 */
export class RedisClock {
  #offsetMs = -Infinity
  #since = 0

  /** Whether anything was noted. */
  get isKnown(): boolean {
    return this.#offsetMs > -Infinity
  }

  /**
   * Notes what a reply tells.
   *
   * @param time Redis' time when it was made. Epoch milliseconds.
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
    return Math.ceil(instant + this.#offsetMs)
  }
}
