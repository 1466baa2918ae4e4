// As it was when this was loaded: apps may fake timers in their tests.
const later = setImmediate

/**
 * Lets calls of one turn of the event loop go on together, in their order. A process that does the
 * same step for many requests in a row does each of them in less time than step by step for each
 * request, and what they send can go out at once.
 */
export class Gathering {
  readonly #onStart: (() => void) | undefined
  readonly #onEnd: (() => void) | undefined
  #next: Promise<void> | undefined

  /**
   * @param onStart Called before the calls go on.
   * @param onEnd Called when all of them have.
   */
  constructor(onStart?: () => void, onEnd?: () => void) {
    this.#onStart = onStart
    this.#onEnd = onEnd
  }

  /** Waits for the end of this turn: whoever waited must do its work at once. */
  next(): Promise<void> {
    if (this.#next) return this.#next
    const next = new Promise<void>((resolve) => {
      later(() => {
        this.#next = undefined
        this.#onStart?.()
        // Whoever waits has asked to go on before this did, and so comes before it.
        void next.then(() => this.#onEnd?.())
        resolve()
      })
    })
    this.#next = next
    return next
  }
}
