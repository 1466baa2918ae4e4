import { inspect } from 'node:util'
import type * as util from 'node:util'

import { describe, expect, it, onTestFinished, vi } from 'vitest'

import { makeBearerApp } from '../support/bearer-app.ts'
import { connectRedis } from '../support/redis-client.ts'
import { startRedisServer } from '../support/redis-server.ts'
import { decode } from '../support/tokens.ts'

const debugLines: string[] = vi.hoisted(() => [])

// As with NODE_DEBUG, which Node reads when it starts.
vi.mock('node:util', async (load) => {
  const original = await load<typeof util>()
  const debuglog =
    () =>
    (...values: unknown[]): void =>
      void debugLines.push(original.format(...values))
  return { ...original, debuglog }
})

describe('the text of a token', () => {
  it('H2: never appears in Redis, in events, in errors or in debug output', async () => {
    const server = await startRedisServer()
    onTestFinished(() => server.stop())
    const client = connectRedis(server.url)
    const monitor = await connectRedis(server.url).monitor()
    monitor.on('error', () => {})
    onTestFinished(() => monitor.disconnect())
    const seen: unknown[] = []
    monitor.on('monitor', (...line) => seen.push(line))
    const testApp = makeBearerApp(
      { redis: client },
      { '/nest': async ({ session }) => session.createNestedToken({ userName: 'bob' }) },
    )
    const { id, token } = await testApp.open()

    for (const path of [
      '/me',
      '/write?a=1',
      '/audit',
      '/grant?privileges=audit',
      '/nest',
      '/404',
      '/logout',
      '/me',
    ]) {
      await testApp.call(path, token)
    }
    await testApp.call('/me', `${token}x`)
    const later = await testApp.open()
    // The last line that the monitor shows.
    await client.echo('the end')
    await vi.waitFor(() => expect(inspect(seen, { depth: 9 })).toContain('the end'))
    client.disconnect()
    expect((await testApp.call('/me', later.token)).status).toBe(503)
    expect(debugLines.at(-1)).toContain('load failed')

    const all = inspect([seen, debugLines, testApp.events, testApp.errors], {
      depth: Infinity,
      maxArrayLength: Infinity,
      maxStringLength: Infinity,
      showHidden: true,
    })
    expect(all).toContain(id)
    expect(testApp.errors.length).toBeGreaterThan(3)
    for (const one of [token, later.token]) {
      const jti = String(decode(one, 1)['jti'])
      for (const secret of [one, ...one.split('.').slice(1), jti]) expect(all).not.toContain(secret)
    }
  })
})
