import { setTimeout as delay } from 'node:timers/promises'

import { expect, it } from 'vitest'

import { openStage } from '../support/fault-stage.ts'
import { loadThrough, statuses, users } from '../support/load.ts'

it('F6: all requests succeed although Redis forgets its scripts again and again', async () => {
  const { admin, testApp } = await openStage()
  let flushes = 0
  const over = new AbortController()
  const forget = async (): Promise<void> => {
    for (; !over.signal.aborted; flushes++) {
      await admin.script('FLUSH')
      await delay(10)
    }
  }
  let forgetting: Promise<unknown> = Promise.resolve()

  const { all } = await loadThrough(
    testApp,
    {
      begin() {
        forgetting = forget()
      },
      end() {
        over.abort()
        return forgetting
      },
    },
    10,
  )

  expect(flushes).toBeGreaterThan(10)
  expect(statuses(all)).toEqual([200, 401, 403])
  expect(users(all, 'reader')).toEqual(['ann'])
})
