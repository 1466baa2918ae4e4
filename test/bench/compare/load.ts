// The load that the bench requests from `servers/load.mjs`.

import { property, startWorker } from './processes.ts'

/** What the responses to a request must be. */
export interface Expected {
  /**
   * `same`: this text. `next`: this text with its number incremented each time. `pattern`: any text
   * that matches this regular expression.
   */
  readonly kind: 'same' | 'next' | 'pattern'
  readonly text: string
}

/** A request that is sent again and again, but never twice at once. */
export interface Target {
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly expected: Expected
}

/** Requests to one server. */
export interface Load {
  /** The addresses of its processes. The connections are spread over them. */
  readonly urls: readonly string[]
  readonly connections: number
  /** At least as many as connections. They are used by turns. */
  readonly targets: readonly Target[]
}

/** The result of a round of load. */
export interface LoadResult {
  readonly perSecond: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
  /** CPU time of the load's own process for each request, in microseconds. */
  readonly loadCpu: number
}

/** The process that sends the requests. */
export interface LoadProcess {
  /**
   * Registers requests.
   *
   * @returns The number that opens them.
   */
  prepare(load: Load): Promise<number>
  /** Opens the connections, and waits until they are open. */
  open(number: number): Promise<void>
  /**
   * Sends this many requests over them.
   *
   * @throws {Error} When one got a wrong response, or none.
   */
  run(requests: number): Promise<LoadResult>
  /** Closes the connections. */
  close(): Promise<void>
  stop(): Promise<void>
}

/** Starts the process that sends the requests. */
export async function startLoad(): Promise<LoadProcess> {
  const worker = await startWorker('load.mjs')
  return {
    async prepare(load) {
      return Number(property(await worker.ask({ ask: 'prepare', load }), 'number'))
    },
    async open(number) {
      await worker.ask({ ask: 'open', number })
    },
    async run(requests) {
      const result = await worker.ask({ ask: 'run', requests })
      const failure = String(property(result, 'failure'))
      if (failure !== '') throw new Error(failure)
      const numberOf = (name: string): number => Number(property(result, name))
      return {
        perSecond: numberOf('perSecond'),
        p50: numberOf('p50'),
        p99: numberOf('p99'),
        loadCpu: numberOf('cpu') / requests,
      }
    },
    async close() {
      await worker.ask({ ask: 'close' })
    },
    stop: () => worker.stop(),
  }
}
