import type { StoredSession } from '../stored-session.ts'

export interface PlaceInQueue {
  /** What the change before wrote, once it has ended. */
  readonly previous: Promise<StoredSession | undefined> | undefined
  /** Lets the next change continue. */
  readonly leave: (written: StoredSession | undefined) => void
}

/**
 * Queues the changes of one session that met a newer head than they had seen. In parallel, only one
 * of them would succeed at each attempt.
 */
export class ChangeQueue {
  /** By key, what the last change in the queue writes. */
  readonly #last = new Map<string, Promise<StoredSession | undefined>>()

  enter(key: string): PlaceInQueue {
    const previous = this.#last.get(key)
    let tell: ((session: StoredSession | undefined) => void) | undefined
    const written = new Promise<StoredSession | undefined>((resolve) => {
      tell = resolve
    })
    this.#last.set(key, written)
    const leave = (session: StoredSession | undefined): void => {
      if (this.#last.get(key) === written) this.#last.delete(key)
      tell?.(session)
    }
    return { previous, leave }
  }
}
