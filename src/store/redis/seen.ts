import type { StoredSession } from '../stored-session.ts'

/** What a request has seen of a session. It shows nothing of it to whoever has it. */
export class Seen {
  readonly #session: StoredSession

  constructor(session: StoredSession) {
    this.#session = session
  }

  /**
   * The session that was seen.
   *
   * @param seen What an outcome had.
   * @param id The id of the session that it must be about.
   */
  static sessionIn(seen: unknown, id: string): StoredSession | undefined {
    return seen instanceof Seen && seen.#session.record.id === id ? seen.#session : undefined
  }
}
