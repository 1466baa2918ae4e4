import { readFileSync } from 'node:fs'

import { Redis } from 'ioredis'

import { startRedisServer } from '../../support/redis-server.ts'
import { browsers } from './browsers.ts'
import { property, startWorker } from './processes.ts'
import type { Worker } from './processes.ts'
import type { Contestant, Size } from './works.ts'

/** Headers of a request. */
export type Headers = Readonly<Record<string, string>>

/** A contestant's running server. */
export interface Server {
  readonly contestant: Contestant
  /** The addresses of its processes. */
  readonly urls: readonly string[]
  /** Its own Redis, if it has one. */
  readonly redis: OwnRedis | undefined
  /** CPU time of its processes so far, user and system, in microseconds. */
  readonly cpuMicros: () => Promise<number>
  /** Starts a CPU profile of its processes. */
  readonly startProfile: () => Promise<void>
  /** Ends it, and writes it into files of a folder. */
  readonly writeProfile: (folder: string) => Promise<void>
  /** Signs a user in, into a session of that size, always from the same browser. */
  readonly signIn: (size: Size) => Promise<{ readonly cookie: string; readonly body: string }>
  /** Sends a request to its first process, or to the one at that address. */
  readonly get: (path: string, headers?: Headers, url?: string) => Promise<string>
  readonly stop: () => Promise<void>
}

/** The Redis of one contestant. */
export interface OwnRedis {
  readonly client: Redis
  readonly url: string
  /**
   * CPU time so far of its main thread, which runs all commands, in microseconds; `undefined` when
   * the system does not report it.
   */
  readonly cpuMicros: () => number | undefined
}

/**
 * Starts a contestant's server, and a Redis of its own.
 *
 * @param contestant Whose.
 */
export async function startServer(contestant: Contestant): Promise<Server> {
  const { script, args = [], processes = 1, hasRedis, name } = contestant
  const redisServer = hasRedis ? await startRedisServer() : undefined
  const client = redisServer && new Redis(redisServer.url)
  const workers: Worker[] = []
  for (let count = 0; count < processes; count++) {
    const env: Record<string, string> = redisServer ? { REDIS_URL: redisServer.url } : {}
    workers.push(await startWorker(script, { args, env }))
  }
  const urls = workers.map(
    ({ greeting }) => `http://127.0.0.1:${String(property(greeting, 'port'))}`,
  )
  const fetchGood = async (
    path: string,
    headers: Headers = {},
    url = urls[0] ?? '',
  ): Promise<Response> => {
    const response = await fetch(url + path, { headers })
    if (response.status !== 200) throw new Error(`${name} ${path}: status ${response.status}`)
    return response
  }
  return {
    contestant,
    urls,
    redis: redisServer &&
      client && {
        client,
        url: redisServer.url,
        cpuMicros: () => cpuMicrosOf(redisServer.pid),
      },
    async cpuMicros() {
      const answers = await Promise.all(workers.map((worker) => worker.ask({ ask: 'cpu' })))
      return answers.reduce<number>((sum, one) => sum + Number(property(one, 'cpuMicros')), 0)
    },
    async startProfile() {
      await Promise.all(workers.map((worker) => worker.ask({ ask: 'profile' })))
    },
    async writeProfile(folder) {
      for (const [index, worker] of workers.entries()) {
        const number = index === 0 ? '' : `-${index + 1}`
        await worker.ask({ ask: 'write', path: `${folder}/${name}${number}.cpuprofile` })
      }
    },
    async signIn(size) {
      const response = await fetchGood(pathFor('/login', size), browsers[0])
      const cookies = response.headers.getSetCookie().map((text) => text.split(';', 1)[0] ?? '')
      return { cookie: cookies.join('; '), body: await response.text() }
    },
    async get(path, headers, url) {
      return (await fetchGood(path, headers, url)).text()
    },
    async stop() {
      for (const worker of workers) await worker.stop()
      client?.disconnect()
      await redisServer?.stop()
    },
  }
}

/**
 * The path for signing in, into a session of that size.
 *
 * @param path Without a query.
 */
export function pathFor(path: string, { keys, bytes, objectBytes, textBytes }: Size): string {
  const query = new URLSearchParams({ keys: String(keys), bytes: String(bytes) })
  if (objectBytes !== undefined) query.set('object', String(objectBytes))
  if (textBytes !== undefined) query.set('total', String(textBytes))
  return `${path}?${query.toString()}`
}

/** Linux reports the time of a process's main thread in nanoseconds. */
function cpuMicrosOf(pid: number): number | undefined {
  let told: string
  try {
    told = readFileSync(`/proc/${pid}/schedstat`, 'latin1')
  } catch {
    return undefined
  }
  const nanos = Number(told.split(' ', 1)[0])
  // A kernel without such statistics reports 0.
  return nanos > 0 ? nanos / 1000 : undefined
}
