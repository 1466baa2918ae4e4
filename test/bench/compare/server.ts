import { Redis } from 'ioredis'

import { startRedisServer } from '../../support/redis-server.ts'
import { property, startWorker } from './processes.ts'
import type { Contestant, Size } from './works.ts'

/** A contestant's running server. */
export interface Server {
  readonly contestant: Contestant
  readonly url: string
  /** Its own Redis, where it has one. */
  readonly redis: Redis | undefined
  /** CPU time of its process so far, user and system, in microseconds. */
  readonly cpuMicros: () => Promise<number>
  /** Starts a CPU profile of its process. */
  readonly startProfile: () => Promise<unknown>
  /** Ends it, and writes it into a file. */
  readonly writeProfile: (path: string) => Promise<unknown>
  /** Signs somebody in, into a session of that size. */
  readonly signIn: (size: Size) => Promise<{ readonly cookie: string; readonly body: string }>
  readonly get: (path: string, headers?: Readonly<Record<string, string>>) => Promise<string>
  readonly stop: () => Promise<void>
}

/**
 * Starts a contestant's server, and a Redis of its own.
 *
 * @param contestant Whose.
 */
export async function startServer(contestant: Contestant): Promise<Server> {
  const { script, args = [], hasRedis, name } = contestant
  const redisServer = hasRedis ? await startRedisServer() : undefined
  const redis = redisServer && new Redis(redisServer.url)
  const worker = await startWorker(script, {
    args,
    env: redisServer ? { REDIS_URL: redisServer.url } : {},
  })
  const url = `http://127.0.0.1:${String(property(worker.greeting, 'port'))}`
  const fetchGood = async (
    path: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Response> => {
    const response = await fetch(url + path, { headers })
    if (response.status !== 200) throw new Error(`${name} ${path}: status ${response.status}`)
    return response
  }
  return {
    contestant,
    url,
    redis,
    async cpuMicros() {
      return Number(property(await worker.ask({ ask: 'cpu' }), 'cpuMicros'))
    },
    startProfile: () => worker.ask({ ask: 'profile' }),
    writeProfile: (path) => worker.ask({ ask: 'write', path }),
    async signIn(size) {
      const response = await fetchGood(loginPath(size))
      const cookies = response.headers.getSetCookie().map((text) => text.split(';', 1)[0] ?? '')
      return { cookie: cookies.join('; '), body: await response.text() }
    },
    async get(path, headers) {
      return (await fetchGood(path, headers)).text()
    },
    async stop() {
      await worker.stop()
      redis?.disconnect()
      await redisServer?.stop()
    },
  }
}

/** The path that signs in, into a session of that size. */
export function loginPath({ keys, bytes }: Size): string {
  return `/login?keys=${keys}&bytes=${bytes}`
}

/** One round of load, as `servers/load.mjs` takes it. */
export interface Load {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly connections: number
  readonly requests: number
  /** What each answer must be, where that is known. */
  readonly body?: string
}

/** What a round of load gave. */
export interface LoadResult {
  readonly perSecond: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
}

/** The process that the requests come from. */
export interface LoadProcess {
  /** @throws {Error} When a request got a wrong answer, or none. */
  run(load: Load): Promise<LoadResult>
  stop(): Promise<void>
}

/** Starts the process that the requests come from. */
export async function startLoad(): Promise<LoadProcess> {
  const worker = await startWorker('load.mjs')
  return {
    async run(load) {
      const result = await worker.ask(load)
      const answers = Number(property(result, 'answers'))
      const wrong = Number(property(result, 'wrong'))
      if (answers !== load.requests || wrong !== 0) {
        throw new Error(`${load.url}: ${answers} of ${load.requests} answers, ${wrong} wrong`)
      }
      return {
        perSecond: Number(property(result, 'perSecond')),
        p50: Number(property(result, 'p50')),
        p99: Number(property(result, 'p99')),
      }
    },
    stop: () => worker.stop(),
  }
}
