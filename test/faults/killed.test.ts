import { expect, it } from 'vitest'

import { keptDirectory, openStage, startServer } from '../support/fault-stage.ts'
import { Load, loadThrough, needsStore, statuses, users } from '../support/load.ts'

it('F1, F4: loses no acknowledged change when Redis is killed and comes back with its data', async () => {
  const args = ['--dir', keptDirectory(), '--appendonly', 'yes', '--appendfsync', 'always']
  const { server, testApp } = await openStage(args)

  const { during, all } = await loadThrough(testApp, {
    async begin() {
      server.kill('SIGKILL')
      await server.stop()
    },
    end: () => startServer(args, server.port),
  })

  expect(statuses(during, ...needsStore)).toEqual([503])
  expect(users(all, 'reader')).toEqual(['ann'])
})

it('F1, F4, G4: treats everybody as a guest when Redis comes back without its data', async () => {
  const { server, testApp } = await openStage()
  const load = await Load.start(testApp)
  await load.watch()

  server.kill('SIGKILL')
  await server.stop()
  const lostAt = performance.now()
  await load.watch()
  await startServer([], server.port)
  const after = await load.recovered()
  await load.stop()

  expect(users(after, 'reader')).toEqual([''])
  expect(statuses(after, 'admin', 'other')).toEqual([401])
  load.expectPromises()
  expect(await load.wrongs(lostAt)).toEqual([])
})
