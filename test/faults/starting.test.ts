import { Redis } from 'ioredis'
import { recommendedRedisOptions } from 'koa-user-sessions'
import { describe, expect, it, vi } from 'vitest'

import { newSecret, newSessionId } from '../../src/cookie/cookie.ts'
import { appAt, atEnd, keptDirectory, openStage, startServer } from '../support/fault-stage.ts'
import { loadThrough, needsStore, statuses, users } from '../support/load.ts'

describe('a Redis that is not there yet', () => {
  it.each([
    ['the recommended options', recommendedRedisOptions],
    ["ioredis' own options", {}],
  ])('F1, F2, F4: keeps no request waiting, with %s', async (_name, redisOptions) => {
    const before = await startServer()
    await before.stop()
    const { port } = before
    const { testApp } = appAt(port, { storeTimeoutMs: 300 }, redisOptions)
    const cookie = `session=${newSecret(newSessionId()).value}`

    const [page, who, admin, signIn] = await Promise.all([
      testApp.visit('/page'),
      testApp.visit('/who', cookie),
      testApp.visit('/admin', cookie),
      testApp.visit('/sign-in?user=ann'),
    ])
    await expect(testApp.sessions.storedProcedure()).rejects.toMatchObject({
      code: 'ERR_SESSION_STORE',
      status: 503,
    })
    await startServer([], port)

    expect(page.status).toBe(200)
    expect([who.status, admin.status, signIn.status]).toEqual([503, 503, 503])
    expect(who.headers['retry-after']).toBe('1')
    await vi.waitFor(
      async () => expect((await testApp.visit('/sign-in?user=ann')).status).toBe(200),
      { timeout: 20_000 },
    )
  })
})

describe('a Redis that loads its data', () => {
  it('F1, F4: gets requests answered 503 until it has loaded', async () => {
    const args = ['--dir', keptDirectory(), '--appendonly', 'yes', '--appendfsync', 'always']
    const { server, admin, testApp } = await openStage(args)
    const fill = admin.pipeline()
    for (let index = 0; index < 2500; index++) fill.set(`fill:${index}`, 1)
    await fill.exec()

    const { during, all } = await loadThrough(testApp, {
      async begin() {
        server.kill('SIGKILL')
        await server.stop()
        // Microseconds for each command of the file.
        void startServer([...args, '--key-load-delay', '500'], server.port)
        const watching = new Redis(server.url, { enableReadyCheck: false, retryStrategy: () => 20 })
        watching.on('error', () => {})
        atEnd(() => watching.disconnect())
        await vi.waitFor(async () => expect(await watching.info()).toContain('loading:1'), {
          timeout: 20_000,
        })
      },
      end: () => vi.waitFor(() => admin.ping(), { timeout: 20_000 }),
    })

    expect(statuses(during, ...needsStore)).toContain(503)
    expect(users(all, 'reader')).toEqual(['ann'])
  })
})
