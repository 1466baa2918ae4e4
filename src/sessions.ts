import { isSessionId } from './core/secret.ts'
import { SessionState } from './core/session-state.ts'
import type { SessionStorage, StorageOf } from './core/storage-type.ts'
import { createStorageView } from './core/storage.ts'
import type { SessionEventName, SessionEvents } from './events.ts'
import { resolveOptions } from './options.ts'
import type { SessionsOptions } from './options.ts'
import { createServices } from './services.ts'
import type { Services } from './services.ts'

/**
 * What a `Sessions` has inside, for the other parts of this package.
 *
 * @param sessions Any.
 */
export let servicesOf: <S>(sessions: Sessions<S>) => Services

/**
 * The sessions of an app: their options, their store and their events. `session(sessions)` mounts
 * it. Apps that need none of its methods give their options to `session()` itself.
 *
 * @example
 *   const sessions = new Sessions({ redis: new Redis(), roles: 'roles.json' })
 *   app.use(session(sessions))
 *   sessions.on('session:ended', ({ id, reason }) => console.log(id, reason))
 */
export class Sessions<S = SessionStorage> {
  static {
    servicesOf = (sessions) => sessions.#services
  }

  readonly #services: Services

  /**
   * @param options Checked at once.
   * @throws {SessionOptionError} When an option is unknown, wrong or contradicts another.
   * @throws {SessionRolesError} When the roles file cannot be used.
   */
  constructor(options: SessionsOptions = {}) {
    this.#services = createServices(resolveOptions(options))
  }

  /**
   * A copy of any session's storage, for the server's own use: changing it changes nothing.
   *
   * @param id Of the session.
   * @returns `null` when there is no such session.
   * @throws {SessionStoreError} When the store fails.
   */
  async storage(id: string): Promise<StorageOf<S> | null> {
    if (!isSessionId(id)) return null
    const { store, rules } = this.#services
    const record = await store.read(id)
    if (!record) return null
    const state = new SessionState(rules, { now: record.createdAt, ip: '' }, { record })
    const view = createStorageView({
      storage: state.storage,
      changeableStorage: () => state.storage,
    })
    return { ...view } as StorageOf<S>
  }

  /**
   * Listens to an event.
   *
   * @param name The event.
   * @param listener Called with the event's facts. What it throws is an uncaught exception.
   */
  on<Name extends SessionEventName>(
    name: Name,
    listener: (event: SessionEvents[Name]) => void,
  ): this {
    this.#services.events.on(name, listener)
    return this
  }

  /** Takes a listener of {@link on} away. */
  off<Name extends SessionEventName>(
    name: Name,
    listener: (event: SessionEvents[Name]) => void,
  ): this {
    this.#services.events.off(name, listener)
    return this
  }

  /** Releases what it has opened itself. A Redis client that was passed in stays the app's. */
  async close(): Promise<void> {
    await this.#services.store.close()
  }
}
