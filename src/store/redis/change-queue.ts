import type { StoredSession } from '../stored-session.ts'

/** The place of a change in the queue of one session. */
export interface PlaceInQueue {
  /** What the change before has written, when it has ended. */
  readonly previous: Promise<StoredSession | undefined> | undefined
  /** Lets the next change go on. */
  readonly leave: (written: StoredSession | undefined) => void
}

/**
 * Queues changes of one session that have met another head than they had seen. Side by side all but
 * one of them would be in vain each time.
 */
export class ChangeQueue {
  /** By key, what the last change of the queue writes. */
  readonly #last = new Map<string, Promise<StoredSession | undefined>>()

  /** Takes the last place in the queue of a session's key. */
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
