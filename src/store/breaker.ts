// So many calls in a row that a server has not answered in time: it may be gone, and not only slow.
const maxTimeouts = 3
const probeEveryMs = 250

/**
 * Keeps calls away from a server that has stopped answering, so that each costs next to nothing
 * instead of a deadline, and asks it by itself until it answers again.
 */
export class Breaker {
  readonly #timeoutMs: number
  #probe: (() => Promise<unknown>) | undefined
  #timeouts = 0
  #timer: NodeJS.Timeout | undefined
  #isClosedForGood = false

  /** @param timeoutMs After which a probe that has no answer is given up for another one. */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs
  }

  /** Whether calls must not reach the server. */
  get isOpen(): boolean {
    return this.#timeouts >= maxTimeouts
  }

  /** Notes that the server has answered, in time or not. */
  answered(): void {
    this.#timeouts = 0
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /**
   * Notes that the server has not answered in time.
   *
   * @param probe Asks it for anything that costs little.
   */
  timedOut(probe: () => Promise<unknown>): void {
    this.#timeouts++
    this.#probe = probe
    if (this.isOpen && this.#timer === undefined) this.#wait(probeEveryMs)
  }

  /** Asks no more. */
  close(): void {
    this.#isClosedForGood = true
    this.answered()
  }

  #wait(ms: number): void {
    if (this.#isClosedForGood) return
    // A process that has nothing else to do may end.
    this.#timer = setTimeout(() => void this.#ask(), ms).unref()
  }

  async #ask(): Promise<void> {
    // Clients keep some commands for ever when their connection breaks.
    this.#wait(this.#timeoutMs)
    try {
      await this.#probe?.()
      this.answered()
    } catch {
      if (!this.isOpen) return
      clearTimeout(this.#timer)
      this.#wait(probeEveryMs)
    }
  }
}
