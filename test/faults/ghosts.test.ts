import { once } from 'node:events'

import { recommendedRedisOptions } from 'koa-user-sessions'
import { describe, expect, it } from 'vitest'

import { appAt, atEnd, keptDirectory, startServer } from '../support/fault-stage.ts'
import type { ClientOptions } from '../support/fault-stage.ts'
import { countGhosts } from '../support/ghosts.ts'
import type { GhostRound } from '../support/ghosts.ts'
import { connectRedis } from '../support/redis-client.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

const clients: readonly (readonly [string, ClientOptions])[] = [
  ['the recommended options', recommendedRedisOptions],
  ["ioredis' own options", {}],
]
const writes = 20
const storeTimeoutMs = 400
const none = { refused: writes, applied: 0 }

describe.concurrent.each(clients)(
  'writes whose callers have given up, with %s',
  (_name, options) => {
    it('F5: are not applied when a frozen Redis resumes', async () => {
      const server = await startServer()
      const round = await openRound(server.port, server.url, options)

      const count = await countGhosts({
        ...round,
        begin: () => server.kill('SIGSTOP'),
        end: () => server.kill('SIGCONT'),
      })

      expect(count).toEqual(none)
    })

    it('F5: are not applied when a pause of writes ends', async () => {
      const server = await startServer()
      const round = await openRound(server.port, server.url, options)

      const count = await countGhosts({
        ...round,
        runsOn: true,
        begin: () => round.admin.client('PAUSE', 60_000, 'WRITE'),
        end: () => round.admin.client('UNPAUSE'),
      })

      expect(count).toEqual(none)
    })

    it('F5: are not applied when the network delivers them late', async () => {
      const server = await startServer()
      const proxy = await startTcpProxy(server.port)
      atEnd(() => proxy.close())
      const round = await openRound(proxy.port, server.url, options)

      const count = await countGhosts({
        ...round,
        runsOn: true,
        begin() {
          proxy.mode = 'blackHole'
        },
        end() {
          proxy.mode = 'pass'
        },
      })

      expect(count).toEqual(none)
    })

    it('F5: are not applied when they are sent again because their replies were lost', async () => {
      const server = await startServer()
      const proxy = await startTcpProxy(server.port)
      atEnd(() => proxy.close())
      const round = await openRound(proxy.port, server.url, options)

      const count = await countGhosts({
        ...round,
        runsOn: true,
        begin() {
          proxy.mode = 'dropReplies'
        },
        end() {
          proxy.mode = 'pass'
        },
      })

      expect(count).toEqual(none)
    })

    it('F5: are not applied when a killed Redis comes back with its data', async () => {
      const args = ['--dir', keptDirectory(), '--appendonly', 'yes', '--appendfsync', 'always']
      const server = await startServer(args)
      const round = await openRound(server.port, server.url, options)

      const count = await countGhosts({
        ...round,
        async begin() {
          server.kill('SIGKILL')
          await server.stop()
        },
        end: () => startServer(args, server.port),
      })

      expect(count).toEqual(none)
    })
  },
)

async function openRound(
  port: number,
  url: string,
  options: ClientOptions,
): Promise<Omit<GhostRound, 'begin' | 'end'>> {
  const { redis } = appAt(port, {}, options)
  await once(redis, 'ready')
  return { redis, admin: connectRedis(url), prefix: 'sess:', writes, storeTimeoutMs }
}
