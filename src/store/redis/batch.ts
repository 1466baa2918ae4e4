import type { RedisClient } from './client.ts'

/**
 * Lets the commands of one turn of the event loop go out together, as one write to the client's
 * socket: the write costs the process more than all the commands in it. They keep their order.
 */
export class Batch {
  readonly #redis: RedisClient
  #next: Promise<void> | undefined

  constructor(redis: RedisClient) {
    this.#redis = redis
  }

  /** Waits until the commands of this turn may be sent: whoever waited must send at once. */
  next(): Promise<void> {
    if (this.#next) return this.#next
    const next = new Promise<void>((resolve) => {
      setImmediate(() => {
        this.#next = undefined
        const { stream } = this.#redis
        stream?.cork()
        // Whoever waits has asked to go on before this did, and so has sent by then.
        void next.then(() => stream?.uncork())
        resolve()
      })
    })
    this.#next = next
    return next
  }
}
