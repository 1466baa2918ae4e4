import { tracingChannel, type TracingChannel } from 'node:diagnostics_channel'

import { SessionStoreError } from '../errors/errors.ts'
import type { StoreOperation } from './session-store.ts'

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

/** The tracing channel on which calls of stores are told. */
export const storeChannels: TracingChannel<StoreCall> = tracingChannel('koa-user-sessions:store')

/**
 * Makes a call of a store and tells the tracing channel `koa-user-sessions:store` of it, in the
 * order of `tracePromise()`, which itself would hand out the result: stored data.
 *
 * @param message What to tell of the call.
 * @param call Rejects with a `SessionStoreError`; no other error is told.
 * @returns What the call answers.
 */
export function tracedCall<T>(message: StoreCall, call: () => Promise<T>): Promise<T> {
  const { start, end, asyncStart, asyncEnd, error } = storeChannels
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
