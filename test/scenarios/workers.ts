import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

import { Redis } from 'ioredis'
import { Sessions } from 'koa-user-sessions'

import { sessionKey, userSessionsKey } from '../../src/store/redis/keys.ts'
import { compiled } from '../support/compiled.ts'
import { startRedisServer, type TestRedis } from '../support/redis-server.ts'
import type {
  FromWorker,
  Outcome,
  Repetition,
  RepetitionOutcome,
  ToWorker,
  WorkerOptions,
  WorkerRequest,
} from './worker.ts'

/** A request that a worker carries out. */
export interface Sent {
  /** Fulfilled when the request is at its `pause` step, or has finished without one. */
  readonly paused: Promise<unknown>
  readonly outcome: Promise<Outcome>
  /** Lets it continue. */
  readonly resume: () => void
}

/** The settings of the workers of a stage. */
export type StageSettings = Pick<WorkerOptions, 'isCluster' | 'maxSessions'>

/** A private redis-server and several processes that share the sessions in it. */
export interface Stage {
  readonly server: TestRedis
  /** A client of this process. */
  readonly redis: Redis
  /** The same sessions, seen from this process. */
  readonly sessions: Sessions<Record<string, unknown>>
  readonly workerCount: number
  /** The key of a session. */
  keyOf(id: string): string
  /** The key of the index of a user's sessions. */
  userKeyOf(userName: string): string
  /**
   * Has a worker carry out a request.
   *
   * @param worker Its number; workers are counted round.
   */
  send(worker: number, request: WorkerRequest): Sent
  /** The same, for requests without a `pause`. */
  ask(worker: number, request: WorkerRequest): Promise<Outcome>
  repeat(worker: number, repetition: Repetition): Promise<RepetitionOutcome>
  close(): Promise<void>
}

const root = fileURLToPath(new URL('../..', import.meta.url))
const program = new URL('worker.ts', import.meta.url)
const prefix = 'scenario:'
const startWaitMs = 60_000
const requestWaitMs = 60_000
const repetitionWaitMs = 600_000

/**
 * Starts a private redis-server and workers on it. Both end with this process at the latest.
 *
 * @param workerCount How many processes.
 * @param settings Of the workers.
 */
export async function openStage(workerCount: number, settings: StageSettings = {}): Promise<Stage> {
  const server = await startRedisServer()
  const redis = new Redis(server.url)
  redis.on('error', () => {})
  const workers: Worker[] = []
  const close = async (): Promise<void> => {
    await Promise.all(workers.map((worker) => worker.stop()))
    redis.disconnect()
    await server.stop()
  }
  try {
    const file = await compiled(program)
    for (let index = 0; index < workerCount; index++) {
      workers.push(new Worker(file, { redisUrl: server.url, prefix, ...settings }))
    }
    await Promise.all(workers.map((worker) => worker.ready))
  } catch (error) {
    await close()
    throw error
  }
  const workerOf = (index: number): Worker => workers[index % workerCount]!
  return {
    server,
    redis,
    sessions: new Sessions({ redis, prefix, storeTimeoutMs: 20_000 }),
    workerCount,
    keyOf: (id) => sessionKey(prefix, id),
    userKeyOf: (userName) => userSessionsKey(prefix, userName),
    send: (worker, request) => workerOf(worker).send(request),
    ask: (worker, request) => workerOf(worker).send(request).outcome,
    repeat: (worker, repetition) => workerOf(worker).repeat(repetition),
    close,
  }
}

/** Numbers that look random, the same for the same seed (Mulberry32). */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** From 0 to below 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }

  /** From 0 to below `limit`. */
  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  /** True as often as that. */
  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!
  }
}

/**
 * Does some work this many times, with this many in flight.
 *
 * @param times How often.
 * @param inFlight How many at once.
 * @param work Gets its number.
 */
export async function inLanes(
  times: number,
  inFlight: number,
  work: (index: number) => Promise<void>,
): Promise<void> {
  let started = 0
  const lane = async (): Promise<void> => {
    while (started < times) await work(started++)
  }
  await Promise.all(Array.from({ length: Math.min(inFlight, times) }, lane))
}

class Deferred {
  resolve = (): void => {}
  readonly promise = new Promise<void>((resolve) => {
    this.resolve = resolve
  })
}

/** A call that waits for messages from the worker. */
interface Waiting {
  readonly onPaused: () => void
  readonly onOver: (message: FromWorker) => void
  readonly onFailure: (error: Error) => void
}

class Worker {
  readonly ready: Promise<unknown>
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  readonly #outbox: ToWorker[] = []
  #calls = 0

  constructor(file: string, options: WorkerOptions) {
    this.#child = fork(file, {
      cwd: root,
      execArgv: [],
      env: {
        ...process.env,
        SCENARIO: JSON.stringify(options),
      },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#child.on('exit', (code, signal) => {
      this.#fail(new Error(`a worker has ended: exit code ${code}, signal ${signal}`))
    })
    // Appears as the end of the process.
    this.#child.on('error', () => {})
    this.#child.on('message', (text) => {
      if (typeof text !== 'string') return
      const batch: readonly FromWorker[] = JSON.parse(text)
      for (const message of batch) this.#receive(message)
    })
    this.ready = this.#wait(0, startWaitMs)
  }

  send(request: WorkerRequest): Sent {
    const call = ++this.#calls
    const atPause = new Deferred()
    const over = this.#wait(call, requestWaitMs, atPause.resolve)
    this.#post({ kind: 'request', call, request })
    const outcome = over.then((message) => {
      if (message.kind !== 'done') throw new Error(`a worker has answered ${message.kind}`)
      return message.outcome
    })
    return {
      paused: Promise.race([atPause.promise, outcome]),
      outcome,
      resume: () => this.#post({ kind: 'resume', call }),
    }
  }

  async repeat(repetition: Repetition): Promise<RepetitionOutcome> {
    const call = ++this.#calls
    const over = this.#wait(call, repetitionWaitMs)
    this.#post({ kind: 'repeat', call, repetition })
    const message = await over
    if (message.kind !== 'repeated') throw new Error(`a worker has answered ${message.kind}`)
    return message.outcome
  }

  async stop(): Promise<void> {
    const { pid, exitCode, signalCode } = this.#child
    if (pid === undefined || exitCode !== null || signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await ended
  }

  #wait(call: number, waitMs: number, onPaused = (): void => {}): Promise<FromWorker> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(call)
        reject(new Error(`a worker has not answered within ${waitMs} ms`))
      }, waitMs)
      this.#waiting.set(call, {
        onPaused,
        onOver(message) {
          clearTimeout(timer)
          resolve(message)
        },
        onFailure(error) {
          clearTimeout(timer)
          reject(error)
        },
      })
    })
  }

  #post(message: ToWorker): void {
    this.#outbox.push(message)
    if (this.#outbox.length > 1) return
    setImmediate(() => {
      const batch = JSON.stringify(this.#outbox.splice(0))
      // A worker that has exited has failed its calls.
      if (this.#child.connected) this.#child.send(batch, () => {})
    })
  }

  #receive(message: FromWorker): void {
    const call = message.kind === 'ready' ? 0 : message.call
    const waiting = this.#waiting.get(call)
    if (message.kind === 'paused') {
      waiting?.onPaused()
      return
    }
    this.#waiting.delete(call)
    if (message.kind === 'broken') waiting?.onFailure(new Error(message.reason))
    else waiting?.onOver(message)
  }

  #fail(error: Error): void {
    const all = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const waiting of all) waiting.onFailure(error)
  }
}
