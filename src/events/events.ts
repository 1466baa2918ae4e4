import { channel } from 'node:diagnostics_channel'
import { EventEmitter } from 'node:events'

import type { SessionStoreError } from '../errors/errors.ts'
import type { StoreOperation } from '../store/session-store.ts'

/** Why a session ended. */
export type SessionEndReason =
  /** The app ended it: `ctx.session = null` or `destroy()`. */
  | 'destroyed'
  /** Another user signed in with it. */
  | 'replaced'
  /** The app ended it from outside: `terminate()`, `terminateOthers()` or `terminateAll()`. */
  | 'terminated'
  /** Its user has signed in more often than `maxSessions` allows, and this was the oldest. */
  | 'exceeded'
  /** A request found it gone: expired, or ended by another request. */
  | 'gone'

/** Why a request was refused: the code of the error that says so. */
export type SessionRefusalCode =
  /** A guard: nobody is signed in. */
  | 'ERR_SESSION_GUEST'
  /** A guard: the privilege is missing. */
  | 'ERR_SESSION_PRIVILEGE'
  /** A guard: the bearer token is not good, or malformed. */
  | 'ERR_SESSION_TOKEN'
  /** `requireSameOrigin()`: a page of another site made the request. */
  | 'ERR_SESSION_CROSS_SITE'
  /** A sign-in for which `maxSessions` has no room. */
  | 'ERR_SESSION_LIMIT'

/** The events of a `Sessions` by name, with what listeners get. Ids are public; nothing is secret. */
export interface SessionEvents {
  /** A session was stored for the first time. */
  'session:created': { readonly id: string; readonly userName: string }
  /** Somebody signed in. */
  'session:signedIn': { readonly id: string; readonly userName: string }
  /** The cookie got a new secret. */
  'session:rotated': { readonly id: string }
  /** A session ended; told by the process that ended it or found it gone. */
  'session:ended': { readonly id: string; readonly reason: SessionEndReason }
  /**
   * A guard refused a request, or `maxSessions` a sign-in. The id is there only if the session is
   * stored; the user is who is signed in, or wants to be, `''` for nobody.
   */
  'session:refused': {
    readonly id?: string
    readonly userName: string
    readonly code: SessionRefusalCode
  }
  /** A request came with cookies of more than one live session; all were ignored. */
  'session:ambiguous': { readonly ids: readonly string[] }
  /**
   * The store failed, or what it has under an id is no session that this version can read; or
   * `legacy.read` failed, the operation `legacy`.
   */
  'session:storeError': {
    readonly operation: StoreOperation | 'legacy'
    readonly id?: string
    readonly error?: SessionStoreError
  }
}

/** The name of an event. */
export type SessionEventName = keyof SessionEvents

/**
 * Tells listeners, and the same to `diagnostics_channel` under `koa-user-sessions:` and the event's
 * name.
 */
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
      // As diagnostics_channel does: a listener's fault is the process' affair, not the request's.
      process.nextTick(() => {
        throw error
      })
    }
  }
}
