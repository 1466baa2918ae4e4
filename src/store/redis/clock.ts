// Longer than any reply is late, and short enough to follow a clock that was set back.
const trustedForMs = 10_000

/**
 * Redis' time as this process knows it: from the times that replies tell, on a clock that nobody
 * sets.
 */
export class RedisClock {
  #offsetMs: number | undefined
  #since = 0

  /**
   * Notes what a reply tells.
   *
   * @param time Redis' time when it was made. Epoch milliseconds.
   */
  note(time: number): void {
    const now = performance.now()
    const offsetMs = time - now
    // A reply that was long on its way tells too early a time: the latest one is the best.
    if (
      this.#offsetMs === undefined ||
      offsetMs > this.#offsetMs ||
      now - this.#since > trustedForMs
    ) {
      this.#offsetMs = offsetMs
      this.#since = now
    }
  }

  /** Takes a time for the right one, whatever was noted before. */
  set(time: number): void {
    this.#offsetMs = undefined
    this.note(time)
  }

  /**
   * An instant of this process on Redis' clock.
   *
   * @param instant As `performance.now()` tells it.
   * @returns Epoch milliseconds; `undefined` before the first reply.
   */
  at(instant: number): number | undefined {
    return this.#offsetMs === undefined ? undefined : Math.ceil(instant + this.#offsetMs)
  }
}
