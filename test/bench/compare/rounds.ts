import { mkdirSync } from 'node:fs'

import { checkServer } from './check.ts'
import { readCounts, useOf } from './redis-meter.ts'
import type { RedisUse } from './redis-meter.ts'
import { loginPath, startServer } from './server.ts'
import type { Load, LoadProcess, LoadResult, Server } from './server.ts'
import { inTurn } from './statistics.ts'
import type { Contestant, Lane, Size, Work } from './works.ts'

const connections = 20
const warmUps = 8

/** What one round gave. */
export interface Round extends LoadResult {
  /** CPU time of the server's process for each request, in microseconds. */
  readonly cpu: number
  readonly redis: RedisUse | undefined
}

/** What all rounds of one lane at one size gave. */
export interface Cell {
  readonly work: Work
  readonly size: Size
  readonly lane: Lane
  readonly rounds: readonly Round[]
}

/** How rounds are run. */
export interface RoundsOptions {
  readonly rounds: number
  /** Where CPU profiles of the servers are written; none by default. */
  readonly profileDir?: string | undefined
}

/** A lane that is ready to run. */
interface Run {
  readonly size: Size
  readonly lane: Lane
  readonly server: Server
  readonly load: Load
  readonly rounds: Round[]
}

/**
 * Starts the servers of a work, checks them, and measures them in interleaved rounds.
 *
 * @param work What is done.
 * @param load Where the requests come from.
 * @param options How.
 * @throws {Error} When a server gives a wrong answer.
 */
export async function measure(
  work: Work,
  load: LoadProcess,
  { rounds, profileDir }: RoundsOptions,
): Promise<readonly Cell[]> {
  const servers = new Map<Contestant, Server>()
  const profiles = profileDir && `${profileDir}/${work.name}`
  if (profiles) mkdirSync(profiles, { recursive: true })
  try {
    for (const { contestant } of work.lanes) {
      if (servers.has(contestant)) continue
      const server = await startServer(contestant)
      servers.set(contestant, server)
      for (const size of work.sizes) await checkServer(server, size)
    }
    const runs = await Promise.all(
      work.sizes.flatMap((size) =>
        work.lanes.map(async (lane): Promise<Run> => {
          const server = servers.get(lane.contestant)
          if (!server) throw new Error(`no server of ${lane.contestant.name}`)
          return { size, lane, server, load: await prepare(server, lane, size), rounds: [] }
        }),
      ),
    )
    for (let round = -warmUps; round < rounds; round++) {
      if (round === 0 && profiles) {
        await Promise.all([...servers.values()].map((server) => server.startProfile()))
      }
      for (const size of work.sizes) {
        const ofSize = runs.filter((run) => run.size === size)
        for (const run of inTurn(ofSize, Math.abs(round))) {
          const result = await runRound(run, load)
          if (round >= 0) run.rounds.push(result)
        }
      }
    }
    if (profiles) {
      for (const [{ name }, server] of servers) {
        await server.writeProfile(`${profiles}/${name}.cpuprofile`)
      }
    }
    return runs.map(({ size, lane, rounds: results }) => ({ work, size, lane, rounds: results }))
  } finally {
    for (const server of servers.values()) await server.stop()
  }
}

/** Makes the session that the requests of a lane are for. */
async function prepare(server: Server, lane: Lane, size: Size): Promise<Load> {
  const base = { connections, requests: size.requests, headers: {} }
  if (lane.path === '/login') return { ...base, url: server.url + loginPath(size) }
  const load = { ...base, url: server.url + lane.path }
  if (!lane.contestant.hasSessions || lane.carrier === 'none') {
    return { ...load, body: await server.get(lane.path) }
  }
  const { cookie } = await server.signIn(size)
  const headers: Record<string, string> =
    lane.carrier === 'cookie'
      ? { cookie }
      : { authorization: `Bearer ${await server.get('/token', { cookie })}` }
  if (lane.path === '/change') return { ...load, headers }
  const body = await server.get(lane.path, headers)
  if (!body.endsWith(' 00000000')) throw new Error(`${lane.name} ${lane.path}: ${body}`)
  return { ...load, headers, body }
}

async function runRound({ lane, server, load, size }: Run, from: LoadProcess): Promise<Round> {
  const { redis } = server
  const before = redis && (await readCounts(redis))
  const cpuBefore = await server.cpuMicros()
  const result = await from.run(load)
  const cpu = ((await server.cpuMicros()) - cpuBefore) / load.requests
  const after = redis && (await readCounts(redis))
  const idle = redis && (await readCounts(redis))
  const use = before && after && idle && useOf(before, after, idle, load.requests)
  await checkRound(lane, server, load)
  if (lane.path === '/login' && redis) {
    const sessions = await redis.dbsize()
    if (sessions < size.requests) throw new Error(`${lane.name}: only ${sessions} sessions stored`)
    await redis.flushall()
  }
  return { ...result, cpu, redis: use }
}

/** A round of changes has changed something. */
async function checkRound(lane: Lane, server: Server, { headers }: Load): Promise<void> {
  if (lane.path !== '/change') return
  const count = Number((await server.get('/read', headers)).split(' ')[1])
  if (!(count > 1)) throw new Error(`${lane.name}: the session was not changed`)
}
