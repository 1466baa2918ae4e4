// So many calls in a row that a store has not answered in time: it may be gone, and not only slow.
const maxTimeouts = 3
const probeEveryMs = 250

/**
 * Keeps calls away from a store that has stopped answering, so that each costs next to nothing
 * instead of a deadline, and asks it by itself until it answers again.
 */
export class Breaker {
  readonly #probe: () => Promise<unknown>
  readonly #timeoutMs: number
  #timeouts = 0
  #timer: NodeJS.Timeout | undefined
  #isClosedForGood = false

  /**
   * @param probe Asks the store for anything that costs little.
   * @param timeoutMs After which a probe that has no answer is given up for another one.
   */
  constructor(probe: () => Promise<unknown>, timeoutMs: number) {
    this.#probe = probe
    this.#timeoutMs = timeoutMs
  }

  /** Whether calls must not reach the store. */
  get isOpen(): boolean {
    return this.#timeouts >= maxTimeouts
  }

  /** Notes that the store has answered, in time or not. */
  answered(): void {
    this.#timeouts = 0
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Notes that the store has not answered in time. */
  timedOut(): void {
    this.#timeouts++
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
      await this.#probe()
      this.answered()
    } catch {
      if (!this.isOpen) return
      clearTimeout(this.#timer)
      this.#wait(probeEveryMs)
    }
  }
}
