// After so many timeouts in a row a server may be gone, and not merely slow.
const maxTimeouts = 3
const probeEveryMs = 250

/**
 * Keeps calls away from a server that has stopped answering, so that a call fails at once instead
 * of at its deadline, and probes the server until it answers again.
 */
export class Breaker {
  readonly #timeoutMs: number
  #probe: (() => Promise<unknown>) | undefined
  #timeouts = 0
  #timer: NodeJS.Timeout | undefined
  #isClosedForGood = false

  /** @param timeoutMs How long a probe may go unanswered before the next one. */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs
  }

  /** Whether calls must be kept away from the server. */
  get isOpen(): boolean {
    return this.#timeouts >= maxTimeouts
  }

  /** Notes that the server answered, in time or late. */
  answered(): void {
    this.#timeouts = 0
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Notes that the server did not answer in time, and how to probe it at low cost. */
  timedOut(probe: () => Promise<unknown>): void {
    this.#timeouts++
    this.#probe = probe
    if (this.isOpen && this.#timer === undefined) this.#wait(probeEveryMs)
  }

  /** Stops probing for good. */
  close(): void {
    this.#isClosedForGood = true
    this.answered()
  }

  #wait(ms: number): void {
    if (this.#isClosedForGood) return
    // The timer must not keep an idle process alive.
    this.#timer = setTimeout(() => void this.#ask(), ms).unref()
  }

  async #ask(): Promise<void> {
    // A client may keep a command for ever when its connection breaks.
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
