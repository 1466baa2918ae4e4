import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** A plain Node process that answers one message at a time. */
export interface Worker {
  /**
   * Sends a message, and waits for the answer.
   *
   * @throws {Error} When the process ends instead.
   */
  ask(question: object): Promise<unknown>
  /** Its first message. */
  readonly greeting: unknown
  /** Lets it end. */
  stop(): Promise<void>
}

/** How a process is started. */
export interface WorkerOptions {
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/**
 * Starts a script of `servers`, on Node as it is, and waits for its first message.
 *
 * @param script Its file name.
 * @param options How.
 */
export async function startWorker(script: string, options: WorkerOptions = {}): Promise<Worker> {
  const { args = [], env = {} } = options
  const path = fileURLToPath(new URL(`servers/${script}`, import.meta.url))
  const child = fork(path, args, {
    // Without the loader with which this process runs TypeScript.
    execArgv: [],
    env: { ...process.env, NODE_ENV: 'production', ...env },
  })
  const greeting = await nextMessage(child, script)
  return {
    greeting,
    async ask(question) {
      const answer = nextMessage(child, script)
      child.send(question)
      return answer
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = once(child, 'exit')
      child.disconnect()
      await ended
    },
  }
}

async function nextMessage(child: ChildProcess, script: string): Promise<unknown> {
  const done = new AbortController()
  const { signal } = done
  try {
    const [message]: unknown[] = await Promise.race([
      once(child, 'message', { signal }),
      once(child, 'exit', { signal }).then(([code]) => {
        throw new Error(`${script} ended with ${code}`)
      }),
    ])
    return message
  } finally {
    done.abort()
  }
}

/**
 * A property of a message.
 *
 * @throws {Error} When there is none.
 */
export function property(message: unknown, name: string): unknown {
  const value: unknown =
    typeof message === 'object' && message !== null ? Reflect.get(message, name) : undefined
  if (value === undefined) throw new Error(`no ${name} in ${JSON.stringify(message)}`)
  return value
}
