import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { Agent, request } from 'node:http'
import { fileURLToPath } from 'node:url'

/** The response to a request. */
export interface Answer {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly cookie: string | undefined
  readonly ms: number
}

/** A number of requests. */
export interface Visit {
  readonly port: number
  readonly path: string
  readonly cookie?: string | undefined
  readonly count: number
  readonly inFlight: number
}

const program = fileURLToPath(import.meta.url)
/** Keeps the connections of this process open. */
export const agent: Agent = new Agent({ keepAlive: true, maxSockets: 1000 })

/** Sends one request. */
export function ask({ port, path, cookie }: Omit<Visit, 'count' | 'inFlight'>): Promise<Answer> {
  const start = performance.now()
  return new Promise((resolve, reject) => {
    const headers = cookie === undefined ? {} : { cookie }
    request({ host: '127.0.0.1', port, path, agent, headers }, (response) => {
      response.resume().on('end', () => {
        const { statusCode: status = 0, headers: answered } = response
        resolve({
          status,
          retryAfter: answered['retry-after'],
          cookie: answered['set-cookie']?.[0]?.split(';', 1)[0],
          ms: performance.now() - start,
        })
      })
    })
      .on('error', reject)
      .end()
  })
}

/** Sends requests from a separate process, so that the times are those of the server. */
export class Visitors {
  readonly #child: ChildProcess = fork(program, ['visit'])

  /** This many requests, with this many in flight. */
  visit(visit: Visit): Promise<readonly Answer[]> {
    return new Promise((resolve) => {
      this.#child.once('message', (answers: readonly Answer[]) => resolve(answers))
      this.#child.send(visit)
    })
  }

  close(): void {
    this.#child.disconnect()
  }
}

async function visitAll(visit: Visit): Promise<readonly Answer[]> {
  const answers: Answer[] = []
  let sent = 0
  const lane = async (): Promise<void> => {
    while (sent++ < visit.count) answers.push(await ask(visit))
  }
  await Promise.all(Array.from({ length: visit.inFlight }, lane))
  return answers
}

if (process.argv[1] === program && process.argv[2] === 'visit') {
  process.on('message', (visit: Visit) => {
    void visitAll(visit).then((answers) => process.send?.(answers))
  })
  process.once('disconnect', () => process.exit())
}
