import { once } from 'node:events'

import type { Redis } from 'ioredis'
import { describe, expect, it, vi } from 'vitest'

import { cookieOf } from '../support/apps.ts'
import { appAt, atEnd, openStage, startServer } from '../support/fault-stage.ts'
import type { FaultStage } from '../support/fault-stage.ts'
import { loadThrough, needsStore, statuses, users } from '../support/load.ts'
import { connectRedis } from '../support/redis-client.ts'
import type { TestRedis } from '../support/redis-server.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

describe('a master that has become a replica', () => {
  it('F1, F4, F7: answers 503 to changes, and works again when it is promoted', async () => {
    const { admin, testApp, replica } = await openPair()

    const { during, all } = await loadThrough(
      testApp,
      {
        begin: () => handOver(admin, replica),
        end: () => handOver(replica, admin),
      },
      15,
    )

    expect(statuses(during, 'writer', 'counter', 'signIn')).toEqual([503])
    // Each refused change is a reason to look for the new master, but must not cost the reads.
    const reads = during.filter(({ lane }) => lane === 'reader')
    const good = reads.filter(({ status }) => status === 200)
    expect(good.length).toBeGreaterThan(reads.length / 2)
    expect(users(all, 'reader')).toEqual(['ann'])
  })

  it('F4: is left for the new master at the old address', async () => {
    const { admin, server, replica, other } = await openPair()
    const proxy = await startTcpProxy(server.port)
    atEnd(() => proxy.close())
    const { redis, testApp } = appAt(proxy.port)
    await once(redis, 'ready')

    const { all } = await loadThrough(testApp, {
      // The connections to the old one stay open, as when a name gets another address.
      async begin() {
        await handOver(admin, replica)
        proxy.target = other.port
      },
      end: () => {},
    })

    expect(users(all, 'reader')).toEqual(['ann'])
  })

  it('F7: reads existing sessions', async () => {
    const { admin, testApp, replica } = await openPair()
    const cookie = cookieOf(await testApp.visit('/login'))
    await handOver(admin, replica)

    const answers = await Promise.all(
      Array.from({ length: 20 }, () => testApp.visit('/me', cookie)),
    )

    expect(answers.map(({ body }) => body.userName)).toEqual(
      Array.from({ length: 20 }, () => 'ann'),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200))
  })
})

describe('a replica that has lost its master and serves no stale data', () => {
  it('F1, F4: answers 503 until it is promoted', async () => {
    const { admin, testApp, replica, other } = await openPair()

    const { during, all } = await loadThrough(testApp, {
      async begin() {
        await admin.config('SET', 'replica-serve-stale-data', 'no')
        await handOver(admin, replica)
        await other.stop()
        await expectRole(admin, 'master_link_status:down')
      },
      end: () => admin.replicaof('NO', 'ONE'),
    })

    expect(statuses(during, ...needsStore)).toEqual([503])
    expect(users(all, 'reader')).toEqual(['ann'])
  })
})

/** A stage whose server has a replica. */
async function openPair(): Promise<FaultStage & { replica: Redis; other: TestRedis }> {
  const stage = await openStage(['--repl-diskless-sync-delay', '0'])
  const args = ['--replicaof', '127.0.0.1', String(stage.server.port)]
  const other = await startServer([...args, '--repl-diskless-sync-delay', '0'])
  const replica = connectRedis(other.url)
  await expectRole(replica, 'master_link_status:up')
  return { ...stage, replica, other }
}

/** Swaps master and replica without losing an acknowledged write. */
async function handOver(master: Redis, replica: Redis): Promise<void> {
  await vi.waitFor(() => master.call('FAILOVER'), { timeout: 10_000 })
  await expectRole(replica, 'role:master')
  await expectRole(master, 'master_link_status:up')
}

async function expectRole(client: Redis, text: string): Promise<void> {
  await vi.waitFor(async () => expect(await client.info('replication')).toContain(text), {
    timeout: 10_000,
  })
}
