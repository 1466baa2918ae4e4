import { tracingChannel } from 'node:diagnostics_channel'

import { SessionStoreError } from '../errors/errors.ts'
import type { SessionStore } from './session-store.ts'

/** A method of a store that can fail. */
export type StoreOperation = Exclude<keyof SessionStore, 'close'>

/**
 * What the tracing channel `koa-user-sessions:store` tells of one call of a store: one object for
 * all that happens to the call. It never holds what the store was given or what it answered.
 */
export interface StoreCall {
  /** The method. */
  readonly operation: StoreOperation
  /** The session that it is about, whether or not there is one; none where it is about a user. */
  readonly id?: string
  /**
   * Why the call failed; there when `error` tells of it. The same as the event `session:storeError`
   * has: its `cause` is what a store of the app's own has rejected with.
   */
  error?: SessionStoreError
}

const channels = tracingChannel<StoreCall>('koa-user-sessions:store')

/** Whether anybody listens to the calls of stores. */
export function isTraced(): boolean {
  const { start, end, asyncStart, asyncEnd, error } = channels
  // `TracingChannel` has `hasSubscribers` itself from Node 22 on.
  return (
    start.hasSubscribers ||
    asyncEnd.hasSubscribers ||
    error.hasSubscribers ||
    asyncStart.hasSubscribers ||
    end.hasSubscribers
  )
}

/**
 * Makes a call of a store and tells the tracing channel `koa-user-sessions:store` of it, in the
 * order of `tracePromise()`, which itself would hand out the result: stored data.
 *
 * @param message What to tell of the call.
 * @param call Rejects with a `SessionStoreError`; no other error is told.
 * @returns What the call answers.
 */
export function tracedCall<T>(message: StoreCall, call: () => Promise<T>): Promise<T> {
  const { start, end, asyncStart, asyncEnd, error } = channels
  return start.runStores(message, () => {
    const answer = settle()
    end.publish(message)
    return answer
  })

  async function settle(): Promise<T> {
    try {
      return await call()
    } catch (reason) {
      // Nothing else is known to hold no argument of a command.
      if (reason instanceof SessionStoreError) message.error = reason
      error.publish(message)
      throw reason
    } finally {
      asyncStart.publish(message)
      asyncEnd.publish(message)
    }
  }
}
