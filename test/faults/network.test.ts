import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'

import { recommendedRedisOptions } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import type { TestApp } from '../support/apps.ts'
import { appAt, atEnd, startServer } from '../support/fault-stage.ts'
import type { ClientOptions } from '../support/fault-stage.ts'
import { loadThrough, needsStore, statuses, users } from '../support/load.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import type { TcpProxy } from '../support/tcp-proxy.ts'

const clients: readonly (readonly [string, ClientOptions])[] = [
  ['the recommended options', recommendedRedisOptions],
  ["ioredis' own options", {}],
]

describe.concurrent.each(clients)('a network that fails, with %s', (_name, redisOptions) => {
  it('F1, F4, F5: breaks all connections again and again', async () => {
    const { proxy, testApp } = await openNetwork(redisOptions)

    const { all } = await loadThrough(testApp, {
      async begin() {
        for (let times = 0; times < 20; times++) {
          proxy.reset()
          await delay(40)
        }
      },
      end: () => {},
    })

    expect(users(all, 'reader')).toEqual(['ann'])
  })

  it('F1, F4, F5: breaks connections between a request and its reply', async () => {
    const { proxy, testApp } = await openNetwork(redisOptions)

    const { all } = await loadThrough(testApp, {
      async begin() {
        for (let times = 0; times < 30; times++) {
          proxy.mode = 'cutAfterRequest'
          await delay(30)
        }
        proxy.mode = 'pass'
      },
      end: () => {},
    })

    expect(users(all, 'reader')).toEqual(['ann'])
  })

  it('F1, F4, F5: loses the replies', async () => {
    const { proxy, testApp } = await openNetwork(redisOptions)

    const { during, all } = await loadThrough(testApp, {
      begin() {
        proxy.mode = 'dropReplies'
      },
      end() {
        proxy.mode = 'pass'
      },
    })

    expect(statuses(during, ...needsStore)).toEqual([503])
    expect(users(all, 'reader')).toEqual(['ann'])
  })

  it('F1, F4, F5: delays everything, and delivers it much later', async () => {
    const { proxy, testApp } = await openNetwork(redisOptions)

    const { during, all } = await loadThrough(testApp, {
      begin() {
        proxy.mode = 'blackHole'
      },
      end() {
        proxy.mode = 'pass'
      },
    })

    expect(statuses(during, ...needsStore)).toEqual([503])
    expect(users(all, 'reader')).toEqual(['ann'])
  })
})

async function openNetwork(
  redisOptions: ClientOptions,
): Promise<{ proxy: TcpProxy; testApp: TestApp }> {
  const server = await startServer()
  const proxy = await startTcpProxy(server.port)
  atEnd(() => proxy.close())
  const { redis, testApp } = appAt(proxy.port, { storeTimeoutMs: 400 }, redisOptions)
  await once(redis, 'ready')
  return { proxy, testApp }
}
