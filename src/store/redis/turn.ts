import type { RedisClient } from './client.ts'

/**
 * Lets what many ask Redis in one turn of the event loop go out in one write to its socket: that
 * costs the process more than all the commands in it.
 */
export class Turn {
  readonly #redis: RedisClient
  #end: Promise<void> | undefined

  constructor(redis: RedisClient) {
    this.#redis = redis
  }

  /** Waits for the end of the present turn, when everybody who waits goes on and sends. */
  end(): Promise<void> {
    if (this.#end) return this.#end
    const end = new Promise<void>((resolve) => {
      setImmediate(() => {
        this.#end = undefined
        const { stream } = this.#redis
        stream?.cork()
        // They have asked to go on before this did, so by then they have sent.
        void end.then(() => stream?.uncork())
        resolve()
      })
    })
    this.#end = end
    return end
  }
}
