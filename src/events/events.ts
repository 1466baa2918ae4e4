import { channel } from 'node:diagnostics_channel'
import { EventEmitter } from 'node:events'

import type { SessionStoreError } from '../errors/errors.ts'
import type { StoreOperation } from '../store/session-store.ts'

/** Why a session ended. */
export type SessionEndReason =
  /** The app ended it: `ctx.session = null` or `destroy()`. */
  | 'destroyed'
  /** Another user signed in on it. */
  | 'replaced'
  /** The app ended it by `terminate()`, `terminateOthers()` or `terminateAll()`. */
  | 'terminated'
  /** It was the user's oldest session when a new one exceeded `maxSessions`. */
  | 'exceeded'
  /** A request found it gone: expired, or ended by another request. */
  | 'gone'

/** Why a request was refused: the error's code. */
export type SessionRefusalCode =
  /** A guard found no signed-in user. */
  | 'ERR_SESSION_GUEST'
  /** A guard found no such privilege. */
  | 'ERR_SESSION_PRIVILEGE'
  /** A guard found the bearer token invalid or malformed. */
  | 'ERR_SESSION_TOKEN'
  /** `requireSameOrigin()` found that a page of another site made the request. */
  | 'ERR_SESSION_CROSS_SITE'
  /** A sign-in would exceed `maxSessions`. */
  | 'ERR_SESSION_LIMIT'

/** The events of a `Sessions` by name, with what listeners receive. No event contains a secret. */
export interface SessionEvents {
  /** A session was stored for the first time. */
  'session:created': { readonly id: string; readonly userName: string }
  /** A user signed in. */
  'session:signedIn': { readonly id: string; readonly userName: string }
  /** The cookie got a new secret. */
  'session:rotated': { readonly id: string }
  /** A session ended. Emitted in the process that ended it or found it gone. */
  'session:ended': { readonly id: string; readonly reason: SessionEndReason }
  /**
   * A guard refused a request, or `maxSessions` a sign-in. The id is present only for a stored
   * session. The name is that of the user who is signed in or tries to be, `''` for a guest.
   */
  'session:refused': {
    readonly id?: string
    readonly userName: string
    readonly code: SessionRefusalCode
  }
  /** A request carried the cookies of several live sessions; all were ignored. */
  'session:ambiguous': { readonly ids: readonly string[] }
  /**
   * The store failed, or `legacy.read` did (operation `legacy`). Without an error: this version
   * cannot read what the store has under an id.
   */
  'session:storeError': {
    readonly operation: StoreOperation | 'legacy'
    readonly id?: string
    readonly error?: SessionStoreError
  }
}

/** The name of an event. */
export type SessionEventName = keyof SessionEvents

/** Emits events to listeners, and to the diagnostics channels `koa-user-sessions:<event>`. */
export class Events {
  readonly #emitter = new EventEmitter()

  on<Name extends SessionEventName>(
    name: Name,
    listener: (event: SessionEvents[Name]) => void,
  ): void {
    this.#emitter.on(name, listener)
  }

  off<Name extends SessionEventName>(
    name: Name,
    listener: (event: SessionEvents[Name]) => void,
  ): void {
    this.#emitter.off(name, listener)
  }

  emit<Name extends SessionEventName>(name: Name, event: SessionEvents[Name]): void {
    channel(`koa-user-sessions:${name}`).publish(event)
    try {
      this.#emitter.emit(name, event)
    } catch (error) {
      // As in diagnostics_channel: a listener's error must not fail the request.
      process.nextTick(() => {
        throw error
      })
    }
  }
}
