import { setTimeout as delay } from 'node:timers/promises'

import { Redis } from 'ioredis'

import { startRedisServer } from './redis-server.ts'
import type { TestRedis } from './redis-server.ts'

/** One master, two replicas and three Sentinels, private on free ports of 127.0.0.1. */
export interface TestSentinel {
  /** For `new Redis()`: the name and the addresses for the Sentinels. */
  readonly connection: { readonly name: string; readonly sentinels: SentinelAddress[] }
  /** The three Sentinels. */
  readonly sentinels: readonly TestRedis[]
  /** The servers with data, with the original master first. */
  readonly servers: readonly TestRedis[]
  /** The server that the Sentinels take for the master. Frozen ones have no say. */
  master(): Promise<TestRedis>
  /**
   * Waits until the Sentinels have another master.
   *
   * @param than The one that is gone.
   */
  masterOther(than: TestRedis): Promise<TestRedis>
  /** Has the Sentinels promote a replica, as before maintenance of the old master's machine. */
  failOver(): Promise<void>
  /**
   * Waits until replicas have all that the master had at the time of the call.
   *
   * @param replicas How many. Both by default.
   */
  inSync(replicas?: number): Promise<void>
  /** Ends all processes, including stopped ones. A second call is harmless. */
  stop(): Promise<void>
}

/** The address of a Sentinel. */
export interface SentinelAddress {
  readonly host: string
  readonly port: number
}

/** Sends a server one command. */
type Ask = (server: TestRedis, ...command: readonly [string, ...string[]]) => Promise<unknown>

const name = 'sessions'
const host = '127.0.0.1'
const quorum = 2
const replicaCount = 2
const sentinelCount = 3
const waitMs = 30_000
const pollMs = 50

/** Milliseconds of silence after which a Sentinel considers a server down. */
export const downAfterMs = 1000

/**
 * Starts the set and waits until the replicas are in sync and the Sentinels know each other.
 *
 * The caller stops it; a forgotten one ends with this process.
 *
 * @param args Further arguments of the servers with data.
 */
export async function startRedisSentinel(args: readonly string[] = []): Promise<TestSentinel> {
  const servers: TestRedis[] = []
  const sentinels: TestRedis[] = []
  const clients = new Map<number, Redis>()
  const ask: Ask = (server, ...command) => {
    const client = clients.get(server.port) ?? askingClient(server)
    clients.set(server.port, client)
    return client.call(...command)
  }

  const stop = async (): Promise<void> => {
    for (const client of clients.values()) client.disconnect()
    // A master that exits by itself waits for its replicas first.
    for (const server of servers) server.kill('SIGKILL')
    await Promise.all([...servers, ...sentinels].map((server) => server.stop()))
  }

  const master = async (): Promise<TestRedis> => {
    const answers = await Promise.allSettled(
      sentinels.map((sentinel) => ask(sentinel, 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name)),
    )
    const ports = answers.flatMap(({ status, ...answer }) => {
      const value: unknown = 'value' in answer ? answer.value : undefined
      return status === 'fulfilled' && Array.isArray(value) ? [Number(value[1])] : []
    })
    const found = servers.find(({ port }) => ports.length > 0 && ports.every((one) => one === port))
    if (!found) throw new Error(`the Sentinels do not agree on the master: ${ports.join()}`)
    return found
  }

  const set: TestSentinel = {
    connection: { name, sentinels: [] },
    sentinels,
    servers,
    master,
    masterOther: (than) =>
      until('another master', async () => {
        const now = await master()
        return now.port !== than.port && now
      }),
    async failOver() {
      await ask(sentinels[0]!, 'SENTINEL', 'FAILOVER', name)
    },
    async inSync(replicas = replicaCount) {
      await until(`${replicas} replicas in sync`, async () => {
        const server = await master()
        // WAIT waits for the last write of its own connection.
        await ask(server, 'SET', 'in-sync', '1')
        return Number(await ask(server, 'WAIT', String(replicas), '400')) >= replicas
      })
    },
    stop,
  }

  try {
    // Without the delay that is meant for many replicas coming at once.
    const first = await startRedisServer({ args: ['--repl-diskless-sync-delay', '0', ...args] })
    servers.push(first)
    const replicaOf = ['--repl-diskless-sync-delay', '0', '--replicaof', host, String(first.port)]
    for (let count = 0; count < replicaCount; count++) {
      servers.push(await startRedisServer({ args: [...replicaOf, ...args] }))
    }
    await until('replicas', async () => {
      const info = String(await ask(first, 'INFO', 'replication'))
      return (info.match(/^slave\d+:.*state=online/gm) ?? []).length === replicaCount
    })
    // Only now: a Sentinel asks a known master for its replicas every ten seconds.
    for (let count = 0; count < sentinelCount; count++) {
      sentinels.push(await startRedisServer({ sentinel: sentinelLines(first.port) }))
    }
    set.connection.sentinels.push(...sentinels.map(({ port }) => ({ host, port })))
    await until('Sentinels that know each other', async () => {
      const known = sentinels.map((sentinel) => isComplete(sentinel, ask))
      return (await Promise.all(known)).every(Boolean)
    })
    await set.inSync()
    return set
  } catch (error) {
    await stop()
    throw error
  }
}

function sentinelLines(port: number): readonly string[] {
  return [
    `sentinel monitor ${name} ${host} ${port} ${quorum}`,
    `sentinel down-after-milliseconds ${name} ${downAfterMs}`,
    // Half of the time until another attempt, when no Sentinel got the votes.
    `sentinel failover-timeout ${name} 2000`,
    `sentinel parallel-syncs ${name} ${replicaCount}`,
  ]
}

async function isComplete(sentinel: TestRedis, ask: Ask): Promise<boolean> {
  const [others, replicas] = await Promise.all([
    ask(sentinel, 'SENTINEL', 'SENTINELS', name),
    ask(sentinel, 'SENTINEL', 'REPLICAS', name),
  ])
  return (
    countUp(others, 'sentinel') === sentinelCount - 1 && countUp(replicas, 'slave') === replicaCount
  )
}

/** Counts the servers with exactly this flag: those that are away or not yet known have more flags. */
function countUp(servers: unknown, flags: string): number {
  if (!Array.isArray(servers)) return 0
  return servers.filter((fields: unknown) => Array.isArray(fields) && fields.includes(flags)).length
}

/** A client that soon gives up on a frozen server. */
function askingClient({ url }: TestRedis): Redis {
  const client = new Redis(url, {
    protocol: 2,
    commandTimeout: 500,
    socketTimeout: 500,
    maxRetriesPerRequest: 0,
    retryStrategy: () => 100,
  })
  client.on('error', () => {})
  return client
}

async function until<T>(what: string, check: () => Promise<T | false>): Promise<T> {
  const end = performance.now() + waitMs
  for (;;) {
    try {
      const found = await check()
      if (found !== false) return found
    } catch (error) {
      if (performance.now() > end) throw error
    }
    if (performance.now() > end) throw new Error(`waited ${waitMs} ms in vain for ${what}`)
    await delay(pollMs)
  }
}
