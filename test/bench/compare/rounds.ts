import { mkdirSync } from 'node:fs'

import { inLanes } from '../../scenarios/workers.ts'
import { commandName, countCommands } from '../../support/command-count.ts'
import { browsers } from './browsers.ts'
import { checkServer } from './check.ts'
import type { LoadProcess, LoadResult, Target } from './load.ts'
import { readCounts, useOf } from './redis-meter.ts'
import type { RedisUse } from './redis-meter.ts'
import { pathFor, startServer } from './server.ts'
import type { Headers, Server } from './server.ts'
import { inTurn } from './statistics.ts'
import { textBytesOf } from './text-bytes.ts'
import type { Contestant, Lane, Size, Work } from './works.ts'

const signInsAtOnce = 16

/** The result of one round. */
export interface Round extends LoadResult {
  /** CPU time of the server's processes for each request, in microseconds. */
  readonly cpu: number
  /** CPU time of its Redis for each request, in microseconds; `undefined` when it is not known. */
  readonly redisCpu: number | undefined
  readonly redis: RedisUse | undefined
}

/** The results of all rounds of one lane at one size. */
export interface Cell {
  readonly work: Work
  readonly size: Size
  readonly lane: Lane
  /** The commands that the server sends for one request. */
  readonly commands: readonly string[]
  readonly rounds: readonly Round[]
}

/** How rounds are run. */
export interface RoundsOptions {
  readonly rounds: number
  /** The minimum number of requests that each process serves beforehand. */
  readonly warmUp: number
  /** The fraction of the requests that is sent. */
  readonly part: number
  /** Where CPU profiles of the servers are written; none by default. */
  readonly profileDir?: string | undefined
}

/** A lane that is ready to run. */
interface Run {
  readonly size: Size
  readonly lane: Lane
  readonly server: Server
  readonly commands: readonly string[]
  /** The number of its load. */
  readonly load: number
  readonly rounds: Round[]
}

/**
 * Starts the servers of a work, checks them, and measures them in interleaved rounds.
 *
 * @param work What is done.
 * @param load Where the requests come from.
 * @param options How.
 * @throws {Error} When a server gives a wrong response.
 */
export async function measure(
  work: Work,
  load: LoadProcess,
  { rounds, warmUp, part, profileDir }: RoundsOptions,
): Promise<readonly Cell[]> {
  const servers = new Map<Contestant, Server>()
  const profiles = profileDir && `${profileDir}/${work.name}`
  if (profiles) mkdirSync(profiles, { recursive: true })
  try {
    for (const { contestant } of work.lanes) {
      if (servers.has(contestant)) continue
      const server = await startServer(contestant)
      servers.set(contestant, server)
      for (const size of work.sizes) await checkServer(server, await sizeFor(contestant, size))
    }
    const runs: Run[] = []
    for (const size of work.sizes) {
      for (const lane of work.lanes) {
        const server = servers.get(lane.contestant)
        if (!server) throw new Error(`no server of ${lane.contestant.name}`)
        const { targets, extra } = await requestsOf(server, lane, size)
        const commands = await commandsFor(server, extra)
        const { connections } = size
        const number = await load.prepare({ urls: server.urls, connections, targets })
        runs.push({ size, lane, server, commands, load: number, rounds: [] })
      }
    }
    const requestsOfSize = ({ requests, connections }: Size): number =>
      Math.max(connections, Math.round(requests * part))
    const warmUps = Math.ceil(warmUp / requestsOfProcess(work, requestsOfSize))
    for (let round = -warmUps; round < rounds; round++) {
      if (round === 0 && profiles) {
        await Promise.all([...servers.values()].map((server) => server.startProfile()))
      }
      for (const size of work.sizes) {
        const ofSize = runs.filter((run) => run.size === size)
        for (const run of inTurn(ofSize, Math.abs(round))) {
          const result = await runRound(run, load, requestsOfSize(size))
          if (round >= 0) run.rounds.push(result)
        }
      }
    }
    if (profiles) {
      for (const server of servers.values()) await server.writeProfile(profiles)
    }
    return runs.map(({ size, lane, commands, rounds: results }) => ({
      work,
      size,
      lane,
      commands,
      rounds: results,
    }))
  } finally {
    for (const server of servers.values()) await server.stop()
  }
}

/** The minimum number of requests to a process of a work in each round. */
function requestsOfProcess({ sizes, lanes }: Work, requestsOf: (size: Size) => number): number {
  const ofLane = sizes.reduce((sum, size) => sum + requestsOf(size), 0)
  const counts = lanes.map(({ contestant }) => {
    const { processes = 1 } = contestant
    return lanes.filter((lane) => lane.contestant === contestant).length / processes
  })
  return ofLane * Math.min(...counts)
}

/** The floor reads as many bytes as this package. */
async function sizeFor(contestant: Contestant, size: Size): Promise<Size> {
  if (contestant.name !== 'floor' || size.sessions === 0) return size
  const textBytes = (await textBytesOf([size])).get(size)
  return textBytes === undefined ? size : { ...size, textBytes }
}

/** The requests of a lane. */
interface Requests {
  readonly targets: readonly Target[]
  /** One more request, for a session of its own if the lane has sessions. */
  readonly extra: Target
}

/** Creates the requests of a lane and their sessions. */
async function requestsOf(server: Server, lane: Lane, size: Size): Promise<Requests> {
  const { contestant, carrier, path } = lane
  const made = await sizeFor(contestant, size)
  if (carrier === 'new') {
    const expected = { kind: 'pattern', text: String.raw`^(user\d+|browse) 0{8}$` } as const
    const signInPath = pathFor(path, made)
    return repeated(
      browsers.map((headers) => ({ path: signInPath, headers, expected })),
      size,
    )
  }
  if (carrier === 'none' || !contestant.hasSessions) {
    const text = await server.get(path)
    return repeated([{ path, headers: {}, expected: { kind: 'same', text } }], size)
  }
  const targets: Target[] = []
  await inLanes(size.sessions + 1, signInsAtOnce, async () => {
    const { cookie, body } = await server.signIn(made)
    const headers: Headers =
      carrier === 'cookie'
        ? { cookie }
        : { authorization: `Bearer ${await server.get('/token', { cookie })}` }
    const kind = path === '/change' ? 'next' : 'same'
    const isKnown = path === '/change' || (path === '/read' && carrier === 'cookie')
    const text = isKnown ? body : await server.get(path, headers)
    targets.push({ path, headers, expected: { kind, text } })
  })
  const [extra, ...others] = targets
  if (!extra) throw new Error('no session')
  return { targets: others, extra }
}

/** The same few requests on all connections. */
function repeated(targets: readonly Target[], { connections }: Size): Requests {
  const [extra] = targets
  if (!extra) throw new Error('no request')
  return {
    targets: Array.from({ length: connections }, (_, at) => targets[at % targets.length] ?? extra),
    extra,
  }
}

/** What a server sends to its Redis for one request. */
async function commandsFor(
  { redis, get }: Server,
  { path, headers }: Target,
): Promise<readonly string[]> {
  if (!redis) return []
  const commands = await countCommands(redis.url, async () => {
    await get(path, headers)
  })
  return commands.map(commandName)
}

async function runRound(
  { lane, server, load }: Run,
  from: LoadProcess,
  requests: number,
): Promise<Round> {
  const { redis } = server
  await from.open(load)
  const before = redis && (await readCounts(redis.client))
  const cpuBefore = await server.cpuMicros()
  const redisBefore = redis?.cpuMicros()
  const result = await from.run(requests)
  const cpu = ((await server.cpuMicros()) - cpuBefore) / requests
  const redisAfter = redis?.cpuMicros()
  const after = redis && (await readCounts(redis.client))
  const idle = redis && (await readCounts(redis.client))
  await from.close()
  if (lane.carrier === 'new' && redis) {
    const keys = await redis.client.dbsize()
    if (keys < requests) throw new Error(`${lane.name}: only ${keys} sessions stored`)
    await redis.client.flushall()
  }
  return {
    ...result,
    cpu,
    redisCpu:
      redisBefore === undefined || redisAfter === undefined
        ? undefined
        : (redisAfter - redisBefore) / requests,
    redis: before && after && idle && useOf(before, after, idle, requests),
  }
}
