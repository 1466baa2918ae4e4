import { expect, it } from 'vitest'

import { openStage } from '../support/fault-stage.ts'
import { loadThrough, needsStore, statuses, users } from '../support/load.ts'
import { connectRedis } from '../support/redis-client.ts'

const storeTimeoutMs = 400

it.concurrent('F1, F4, F5: answers 503 while Redis is frozen, and applies nothing afterwards', async () => {
  const { server, testApp } = await openStage([], { storeTimeoutMs })

  const { during, all } = await loadThrough(testApp, {
    begin: () => server.kill('SIGSTOP'),
    end: () => server.kill('SIGCONT'),
  })

  expect(statuses(during, ...needsStore)).toEqual([503])
  expect(users(all, 'reader')).toEqual(['ann'])
})

it.concurrent('F1, F4: answers 503 while Redis pauses all its clients', async () => {
  const { admin, testApp } = await openStage([], { storeTimeoutMs })

  const { during, all } = await loadThrough(
    testApp,
    {
      // Redis cannot end the pause earlier.
      begin: () => admin.client('PAUSE', 2000, 'ALL'),
      end: () => admin.ping(),
    },
    1,
  )

  expect(statuses(during, ...needsStore)).toContain(503)
  expect(users(all, 'reader')).toEqual(['ann'])
})

it.concurrent('F1, F5: answers 503 to writes that Redis runs only after a pause', async () => {
  const { admin, testApp } = await openStage([], { storeTimeoutMs })

  const { during, all } = await loadThrough(
    testApp,
    {
      begin: () => admin.client('PAUSE', 60_000, 'WRITE'),
      end: () => admin.client('UNPAUSE'),
    },
    1,
  )

  expect(statuses(during, 'writer', 'counter', 'signIn')).toEqual([503])
  expect(users(all, 'reader')).toEqual(['ann'])
})

it.concurrent('F1, F4: answers 503 while Redis sleeps', async () => {
  const { admin, testApp } = await openStage(['--enable-debug-command', 'yes'], { storeTimeoutMs })
  let sleeping: Promise<unknown> = Promise.resolve()

  const { during, all } = await loadThrough(
    testApp,
    {
      begin() {
        sleeping = admin.call('DEBUG', 'SLEEP', '2')
      },
      end: () => sleeping,
    },
    1,
  )

  expect(statuses(during, ...needsStore)).toContain(503)
  expect(users(all, 'reader')).toEqual(['ann'])
})

it.concurrent('F1, F4: answers 503 while a foreign script keeps Redis busy', async () => {
  const { admin, server, testApp } = await openStage(['--busy-reply-threshold', '50'], {
    storeTimeoutMs,
  })
  const other = connectRedis(server.url)
  await other.ping()
  let endless: Promise<unknown> = Promise.resolve()

  const { during, all } = await loadThrough(testApp, {
    begin() {
      endless = other.eval('while true do end', 0).catch((error: unknown) => String(error))
    },
    async end() {
      await admin.script('KILL')
      expect(await endless).toContain('killed by user')
    },
  })

  expect(statuses(during, ...needsStore)).toEqual([503])
  expect(users(all, 'reader')).toEqual(['ann'])
})
