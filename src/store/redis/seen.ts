import { escapeText } from '../record.ts'
import type { StoredSession } from '../stored-session.ts'

/** Where the value of one name stands in a text. */
export interface Place {
  /** The byte at which its entry begins. */
  readonly at: number
  /** How the entry begins: a line break, the name and a TAB. */
  readonly name: string
}

/** What a request has seen of a session. It shows nothing of it to whoever has it. */
export class Seen {
  readonly #session: StoredSession
  readonly #text: string

  /**
   * @param session The session, if need be without its storage.
   * @param text The whole text; `''` where that was not read, or holds no more.
   */
  constructor(session: StoredSession, text = '') {
    this.#session = session
    this.#text = text
  }

  /**
   * What was seen.
   *
   * @param seen What an outcome had.
   * @param id The id of the session that it must be about.
   */
  static in(seen: unknown, id: string): Seen | undefined {
    return seen instanceof Seen && seen.#session.record.id === id ? seen : undefined
  }

  /**
   * The session that was seen.
   *
   * @param seen What was seen.
   */
  static sessionOf(seen: Seen): StoredSession {
    return seen.#session
  }

  /**
   * Where a value stands that has the same length as another one.
   *
   * @param seen What was seen.
   * @param name The name of the value.
   * @param json The other one.
   * @returns `undefined` when there is none, or it was not seen.
   */
  static placeOf(seen: Seen, name: string, json: string): Place | undefined {
    const text = seen.#text
    const begin = `\n${escapeText(name)}\t`
    const start = text.indexOf(begin)
    if (start < 0) return undefined
    const value = start + begin.length
    const next = text.indexOf('\n', value)
    const before = text.slice(value, next < 0 ? text.length : next)
    if (Buffer.byteLength(before) !== Buffer.byteLength(json)) return undefined
    return { at: Buffer.byteLength(text.slice(0, start)), name: begin }
  }
}
