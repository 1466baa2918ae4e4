import { tracingChannel, type TracingChannel } from 'node:diagnostics_channel'

import { SessionStoreError } from '../errors/errors.ts'
import type { StoreOperation } from './session-store.ts'

/**
 * What the tracing channel `koa-user-sessions:store` publishes about one call of a store: one
 * object for the whole call. It never has the call's arguments or result.
 */
export interface StoreCall {
  /** The method. */
  readonly operation: StoreOperation
  /** The session, whether or not it exists; absent for calls about a user. */
  readonly id?: string
  /**
   * Why the call failed, present once `error` is published: the error of the event
   * `session:storeError`. Its `cause` is what the app's own store rejected with.
   */
  error?: SessionStoreError
}

export const storeChannels: TracingChannel<StoreCall> = tracingChannel('koa-user-sessions:store')

/**
 * Makes a call of a store and publishes it to the tracing channel, in the order of
 * `tracePromise()`, which would also publish the result: stored data.
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
      // Any other error might contain arguments of a command.
      if (reason instanceof SessionStoreError) message.error = reason
      error.publish(message)
      throw reason
    } finally {
      asyncStart.publish(message)
      asyncEnd.publish(message)
    }
  }
}
