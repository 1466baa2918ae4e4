import { tracingChannel } from 'node:diagnostics_channel'

import type { StoreCall } from 'koa-user-sessions'
import { expect, it, onTestFinished } from 'vitest'

import { isTraced } from '../../src/store/deadline-store.ts'
import { tracedCall } from '../../src/store/store-call.ts'

/** The failures that the channel publishes from now on. */
function listenToErrors(): readonly object[] {
  const told: object[] = []
  const listener = (message: unknown): unknown => told.push(Object(message))
  const { error } = tracingChannel<unknown, StoreCall>('koa-user-sessions:store')
  error.subscribe(listener)
  onTestFinished(() => {
    error.unsubscribe(listener)
  })
  return told
}

function breakOff(): never {
  throw new TypeError('no promise')
}

it('H2: reports a failed call without a foreign error and its properties', async () => {
  const told = listenToErrors()
  const reason = Object.assign(new Error('ERR'), { command: { args: ['S3CRET'] } })

  const outcome = tracedCall({ operation: 'load' }, () => Promise.reject(reason))

  await expect(outcome).rejects.toBe(reason)
  expect(told).toEqual([{ operation: 'load' }])
})

it('rejects when a call throws', async () => {
  const told = listenToErrors()

  await expect(tracedCall({ operation: 'load' }, breakOff)).rejects.toThrow(TypeError)

  expect(told).toEqual([{ operation: 'load' }])
})

it('is off until a subscriber listens', () => {
  const before = isTraced()
  listenToErrors()

  expect([before, isTraced()]).toEqual([false, true])
})
