import type { StoredSession } from '../stored-session.ts'

/** The turn of a change among those of one session. */
export interface ChangeTurn {
  /** What the one before it has written, when it has ended. */
  readonly previous: Promise<StoredSession | undefined> | undefined
  /** Lets the next one go on. */
  readonly end: (written: StoredSession | undefined) => void
}

/**
 * The turns of changes that have met another head than they had seen. Side by side all but one of
 * them would be in vain each time.
 */
export class ChangeTurns {
  /** By key, what the last one writes. */
  readonly #last = new Map<string, Promise<StoredSession | undefined>>()

  /**
   * Takes the next turn.
   *
   * @param key The session's.
   */
  take(key: string): ChangeTurn {
    const previous = this.#last.get(key)
    let tell: ((session: StoredSession | undefined) => void) | undefined
    const written = new Promise<StoredSession | undefined>((resolve) => {
      tell = resolve
    })
    this.#last.set(key, written)
    const end = (session: StoredSession | undefined): void => {
      if (this.#last.get(key) === written) this.#last.delete(key)
      tell?.(session)
    }
    return { previous, end }
  }
}
