import { setTimeout as delay } from 'node:timers/promises'

import { Redis } from 'ioredis'

import { isFree, startRedisServer } from './redis-server.ts'
import type { TestRedis } from './redis-server.ts'

/** One node of a {@link TestCluster}. A frozen one is thawed with `kill('SIGCONT')`. */
export interface TestNode extends TestRedis {
  /** Its id in the Cluster. */
  readonly id: string
  /** A connection of the Cluster's own, for `SCRIPT FLUSH` and the like. */
  readonly client: Redis
}

/** A private Redis Cluster on 127.0.0.1: three masters with a replica each. */
export interface TestCluster {
  /** What `new Cluster()` takes. */
  readonly addresses: readonly { readonly host: string; readonly port: number }[]
  readonly nodes: readonly TestNode[]
  /** The slot of a key. */
  slotOf(key: string): Promise<number>
  /** The current master of a slot, among the nodes that answer; `undefined` without one. */
  masterOf(slot: number): Promise<TestNode | undefined>
  /**
   * Waits until all running nodes agree that every slot has a master, and until all replicas have
   * what their masters have. A frozen node never does.
   */
  settled(): Promise<void>
  /**
   * Moves slots with their keys, as `redis-cli --cluster reshard` does.
   *
   * @param slots Which, or how many of other masters.
   * @param to A master.
   */
  moveSlots(slots: number | readonly number[], to: TestNode): Promise<void>
  /** Ends all nodes, including frozen ones. A second call is harmless. */
  stop(): Promise<void>
}

/** What a node reports about itself. */
interface Claim {
  readonly node: TestNode
  readonly epoch: number
  readonly isMaster: boolean
  /** First and last slot of each range. */
  readonly ranges: readonly (readonly [number, number])[]
}

const host = '127.0.0.1'
const masters = 3
const slotCount = 16_384
const portTries = 20
const settleEveryMs = 50
const settleWaitMs = 30_000
const keysAtOnce = 100
const slotsAtOnce = 8
const claimWaitMs = 1000

/** The silence after which a node counts as dead. Milliseconds. */
export const nodeTimeoutMs = 1500

const nodeArguments = Object.entries({
  'cluster-enabled': 'yes',
  'cluster-node-timeout': String(nodeTimeoutMs),
  'cluster-require-full-coverage': 'no',
  // Each master keeps its own replica.
  'cluster-migration-barrier': '9',
  'repl-diskless-sync': 'yes',
  'repl-diskless-sync-delay': '0',
}).flatMap(([name, value]) => [`--${name}`, value])

/**
 * Starts six redis-servers, makes them a Cluster and waits until it is complete.
 *
 * @returns The running Cluster; the caller stops it. A forgotten one ends with this process.
 */
export async function startRedisCluster(): Promise<TestCluster> {
  const started = await Promise.allSettled(Array.from({ length: 2 * masters }, startNode))
  const nodes = started.flatMap((node) => (node.status === 'fulfilled' ? [node.value] : []))
  const cluster = new RunningCluster(nodes)
  try {
    for (const node of started) if (node.status === 'rejected') throw node.reason
    await cluster.join()
    return cluster
  } catch (error) {
    await cluster.stop()
    throw error
  }
}

class RunningCluster implements TestCluster {
  readonly nodes: readonly TestNode[]

  constructor(nodes: readonly TestNode[]) {
    this.nodes = nodes
  }

  get addresses(): TestCluster['addresses'] {
    return this.nodes.map(({ port }) => ({ host, port }))
  }

  /** Makes unconnected nodes a Cluster. The first ones become masters. */
  async join(): Promise<void> {
    const leaders = this.nodes.slice(0, masters)
    await Promise.all(
      this.nodes.map(async ({ client }, index) => {
        await client.cluster('SET-CONFIG-EPOCH', index + 1)
        if (index >= masters) return
        const [from, to] = [index, index + 1].map((part) => Math.ceil((part * slotCount) / masters))
        await client.cluster('ADDSLOTS', ...range(from ?? 0, (to ?? 0) - 1))
      }),
    )
    // Everybody meets everybody: otherwise they would hear of each other later.
    for (const { client } of this.nodes) {
      for (const { port } of this.nodes) await client.cluster('MEET', host, port)
    }
    await Promise.all(
      this.nodes.slice(masters).map(({ client }, index) =>
        eventually(async () => {
          await client.cluster('REPLICATE', leaders[index]?.id ?? '')
        }),
      ),
    )
    await this.settled()
  }

  async slotOf(key: string): Promise<number> {
    return Promise.any(this.nodes.map(({ client }) => client.cluster('KEYSLOT', key)))
  }

  async masterOf(slot: number): Promise<TestNode | undefined> {
    const claims = (await this.#claims()).filter(({ ranges }) =>
      ranges.some(([first, last]) => first <= slot && slot <= last),
    )
    // A formerly frozen node takes itself for a master until it hears of its successor.
    return claims.toSorted((one, other) => other.epoch - one.epoch)[0]?.node
  }

  async settled(): Promise<void> {
    await eventually(() => Promise.all(this.#running().map((node) => checkNode(node))))
  }

  async moveSlots(slots: number | readonly number[], to: TestNode): Promise<void> {
    const sources = new Map<number, TestNode>()
    for (const { node, isMaster, ranges } of await this.#claims()) {
      if (!isMaster || node === to) continue
      for (const [first, last] of ranges) {
        for (const slot of range(first, last)) sources.set(slot, node)
      }
    }
    const moved = typeof slots === 'number' ? [...sources.keys()].slice(0, slots) : slots
    const rest = moved.values()
    const lane = async (): Promise<void> => {
      for (const slot of rest) {
        const source = sources.get(slot)
        if (source) await this.#moveSlot(slot, source, to)
      }
    }
    await Promise.all(Array.from({ length: slotsAtOnce }, lane))
  }

  async stop(): Promise<void> {
    for (const { client } of this.nodes) client.disconnect()
    await Promise.all(this.nodes.map((node) => node.stop()))
  }

  async #moveSlot(slot: number, source: TestNode, to: TestNode): Promise<void> {
    await to.client.cluster('SETSLOT', slot, 'IMPORTING', source.id)
    await source.client.cluster('SETSLOT', slot, 'MIGRATING', to.id)
    for (;;) {
      const keys = await source.client.cluster('GETKEYSINSLOT', slot, keysAtOnce)
      if (keys.length === 0) break
      await source.client.migrate(host, to.port, '', 0, settleWaitMs, 'KEYS', ...keys)
    }
    // First the current owner: otherwise both would send clients to the other one for a moment.
    await to.client.cluster('SETSLOT', slot, 'NODE', to.id)
    await source.client.cluster('SETSLOT', slot, 'NODE', to.id)
  }

  #running(): readonly TestNode[] {
    return this.nodes.filter(({ isGone }) => !isGone)
  }

  async #claims(): Promise<readonly Claim[]> {
    const claims = await Promise.allSettled(
      this.#running().map((node) => Promise.race([claimOf(node), isSilent()])),
    )
    return claims.flatMap((claim) => (claim.status === 'fulfilled' ? [claim.value] : []))
  }
}

async function startNode(): Promise<TestNode> {
  for (let tries = 1; ; tries++) {
    try {
      const server = await startRedisServer({ port: await freePorts(), args: nodeArguments })
      const client = new Redis(server.url, {
        socketTimeout: 5000,
        maxRetriesPerRequest: 0,
      })
      client.on('error', () => {})
      return Object.assign(server, { client, id: await client.cluster('MYID') })
    } catch (error) {
      if (tries === 3) throw error
    }
  }
}

/** A free port whose Cluster bus port, 10 000 above, is free, too. */
async function freePorts(): Promise<number> {
  for (let tries = 0; tries < portTries; tries++) {
    // The system gives neither of them to connections.
    const port = 11_000 + Math.floor(Math.random() * 3000)
    if ((await isFree(port)) && (await isFree(port + 10_000))) return port
  }
  throw new Error('no two free TCP ports')
}

async function claimOf(node: TestNode): Promise<Claim> {
  const lines = String(await node.client.cluster('NODES')).split('\n')
  const fields = lines.find((line) => line.includes('myself'))?.split(' ') ?? []
  // Migrating slots are in brackets.
  const ranges = fields.slice(8).filter((field) => !field.startsWith('['))
  return {
    node,
    epoch: Number(fields[6]),
    isMaster: fields[2]?.includes('master') ?? false,
    ranges: ranges.map((text) => {
      const [first, last] = text.split('-').map(Number)
      return [first ?? 0, last ?? first ?? 0]
    }),
  }
}

/** A frozen node is not waited for. */
async function isSilent(): Promise<never> {
  await delay(claimWaitMs)
  throw new Error(`no answer within ${claimWaitMs} ms`)
}

/** Throws unless a node sees a whole Cluster, and has, or has given, all data. */
async function checkNode({ client, port }: TestNode): Promise<void> {
  const state = await client.cluster('INFO')
  const slots: unknown[] = await client.cluster('SLOTS')
  const replication = await client.info('replication')
  const isComplete =
    state.includes('cluster_state:ok') &&
    state.includes(`cluster_slots_ok:${slotCount}`) &&
    slots.length > 0
  const [, offset] = /master_repl_offset:(\d+)/.exec(replication) ?? []
  const isSynced = replication.includes('role:master')
    ? [...replication.matchAll(/slave\d+:.*state=(\w+),offset=(\d+)/g)].every(
        ([, is, reached]) => is === 'online' && reached === offset,
      )
    : replication.includes('master_link_status:up')
  if (!isComplete || !isSynced) {
    throw new Error(`node ${port} is not settled:\n${state}\n${replication}`)
  }
}

/** Repeats something until it does not throw. */
async function eventually<T>(work: () => Promise<T>): Promise<T> {
  const until = performance.now() + settleWaitMs
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (performance.now() > until) throw error
      await delay(settleEveryMs)
    }
  }
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}
