import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import { Redis } from 'ioredis'

/** The options of a private redis-server. */
export interface TestRedisOptions {
  /** Further arguments of redis-server, such as `['--maxmemory', '1mb']`. They override our own. */
  readonly args?: readonly string[]
  /**
   * The TCP port, for a server that comes back in place of a stopped one. Without it a free port is
   * found; do not set the port in `args`.
   */
  readonly port?: number
  /** For a Sentinel: the lines of its configuration file, which it needs and rewrites. */
  readonly sentinel?: readonly string[]
}

/** A private redis-server process on 127.0.0.1. */
export interface TestRedis {
  /** Its address, as `redis://127.0.0.1:<port>`. */
  readonly url: string
  /** Its TCP port. */
  readonly port: number
  /** The id of its process. */
  readonly pid: number
  /** Whether the process has ended. */
  readonly isGone: boolean
  /**
   * Ends the process, even a stopped (SIGSTOP) one, and waits until it is gone. A second call is
   * harmless.
   */
  stop(): Promise<void>
  /** Sends a signal to the process; does nothing when it is gone. */
  kill(signal: NodeJS.Signals): void
}

/** A started process that may not be ready yet. */
interface Launch {
  readonly server: TestRedis
  readonly child: ChildProcess
  /** Fulfilled when the process is gone and all of its output was read. */
  readonly closed: Promise<void>
  /** Returns the last lines that the process wrote. */
  readonly output: () => string
}

class PortTakenError extends Error {}

const host = '127.0.0.1'
const startTries = 5
const portTries = 100
// Above those of Clusters, and below those that the system assigns.
const firstPort = 24_000
const portCount = 8000
const pingTries = 400
const pingEveryMs = 25
const readyWaitMs = 10_000
const stopWaitMs = 2_000
const outputLength = 4_000

const inUse = /address (already )?in use/i

const missingProgram =
  'redis-server is not on the PATH: install Redis 6.2 or later ' +
  '(apt-get install redis-server, brew install redis)'

/**
 * Starts a private redis-server on a free port of 127.0.0.1 and waits until it answers PING.
 *
 * It persists nothing, and its temporary directory is removed with it. The caller stops it; one
 * that was forgotten ends with this process, however this process ends.
 *
 * @param options Further arguments and, rarely, the port.
 * @returns The running server.
 * @throws {Error} When the program is missing, or ends or stays silent instead of answering. The
 *   message holds the last lines of its output.
 */
export async function startRedisServer(options: TestRedisOptions = {}): Promise<TestRedis> {
  const tries = options.port === undefined ? startTries : 1
  let taken: unknown
  for (let attempt = 0; attempt < tries; attempt += 1) {
    const launch = launchRedis(options.port ?? (await freePort()), options)
    try {
      await ready(launch)
      return launch.server
    } catch (error) {
      await launch.server.stop()
      if (!(error instanceof PortTakenError)) throw error
      taken = error
    }
  }
  throw taken
}

function launchRedis(port: number, { args = [], sentinel }: TestRedisOptions): Launch {
  const directory = mkdtempSync(join(tmpdir(), 'koa-user-sessions-'))
  const mode = sentinel ? [sentinelConfig(directory, sentinel), '--sentinel'] : []
  const child = spawn('redis-server', [...mode, ...ownArguments(port, directory), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const guard = child.pid === undefined ? undefined : startGuard(child.pid, directory)

  let output = ''
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-outputLength)
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)

  const endWithParent = (): void => {
    child.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  }
  process.once('exit', endWithParent)
  const closed = new Promise<void>((resolve) => {
    child.once('close', () => {
      guard?.kill('SIGKILL')
      process.off('exit', endWithParent)
      rmSync(directory, { recursive: true, force: true })
      resolve()
    })
  })

  let stopping: Promise<void> | undefined
  const server: TestRedis = {
    url: `redis://${host}:${port}`,
    port,
    pid: child.pid ?? -1,
    get isGone() {
      return child.exitCode !== null || child.signalCode !== null
    },
    stop() {
      stopping ??= end(child, closed)
      return stopping
    },
    kill(signal) {
      child.kill(signal)
    },
  }
  return { server, child, closed, output: () => output }
}

function ownArguments(port: number, directory: string): string[] {
  const settings = {
    port: String(port),
    bind: host,
    'protected-mode': 'yes',
    dir: directory,
    save: '',
    appendonly: 'no',
    daemonize: 'no',
  }
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])
}

function sentinelConfig(directory: string, lines: readonly string[]): string {
  const path = join(directory, 'sentinel.conf')
  writeFileSync(path, lines.join('\n'))
  return path
}

/**
 * Ends the server when this process dies without running its exit handlers, as vitest's workers do:
 * they are ended by SIGTERM or SIGKILL. The guard's standard input then closes, and it acts. A
 * session of its own keeps it from the terminal's Ctrl-C.
 */
function startGuard(pid: number, directory: string): ChildProcess {
  const script = 'read -r _; kill -KILL "$0"; rm -rf "$1"'
  const guard = spawn('/bin/sh', ['-c', script, String(pid), directory], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  // Without a shell the exit handler must do.
  guard.on('error', () => {})
  guard.unref()
  return guard
}

async function ready(launch: Launch): Promise<void> {
  await spawned(launch.child)
  const { port } = launch.server
  const client = new Redis({
    host,
    port,
    maxRetriesPerRequest: null,
    retryStrategy: (tries) => (tries <= pingTries ? pingEveryMs : null),
  })
  // A refused connection is retried, and the last failure rejects PING.
  client.on('error', () => {})
  const timer = new AbortController()
  try {
    await Promise.race([
      answersPing(client, launch.server),
      endsEarly(launch),
      staysSilent(timer.signal),
    ])
  } catch (error) {
    if (error instanceof PortTakenError || launch.child.exitCode !== null) throw error
    // Another program may have answered there, not as Redis does, before ours has exited. Ours reports
    // why if it may exit on its own.
    await Promise.race([launch.closed, delay(stopWaitMs, undefined, { ref: false })])
    await launch.server.stop()
    if (inUse.test(launch.output())) throw new PortTakenError(launch.output(), { cause: error })
    const message = `redis-server on port ${port} does not answer PING:\n${launch.output()}`
    throw new Error(message, { cause: error })
  } finally {
    timer.abort()
    client.disconnect()
  }
}

async function spawned(child: ChildProcess): Promise<void> {
  try {
    await once(child, 'spawn')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      throw new Error(missingProgram, { cause: error })
    }
    throw error
  }
}

/** Ours must be the one that answers: another server may have taken the port in between. */
async function answersPing(client: Redis, { pid, port }: TestRedis): Promise<void> {
  await client.ping()
  const info = await client.info('server')
  const answering = /^process_id:(\d+)/m.exec(info)?.[1]
  if (answering === String(pid)) return
  throw new PortTakenError(`port ${port} belongs to the redis-server with process id ${answering}`)
}

async function endsEarly({ closed, child, server, output }: Launch): Promise<never> {
  await closed
  const reason = `exit code ${child.exitCode ?? 'none'}, signal ${child.signalCode ?? 'none'}`
  const message = `redis-server on port ${server.port} ended early (${reason}):\n${output()}`
  if (inUse.test(output())) throw new PortTakenError(message)
  throw new Error(message)
}

async function staysSilent(signal: AbortSignal): Promise<never> {
  await delay(readyWaitMs, undefined, { signal })
  throw new Error(`no answer within ${readyWaitMs} ms`)
}

async function end(child: ChildProcess, closed: Promise<void>): Promise<void> {
  child.kill('SIGTERM')
  // A process stopped by SIGSTOP handles SIGTERM only after SIGCONT.
  child.kill('SIGCONT')
  const timer = new AbortController()
  const late = delay(stopWaitMs, 'late', { signal: timer.signal })
  const outcome = await Promise.race([closed, late])
  timer.abort()
  if (outcome !== 'late') return
  // A server that refuses to stop, such as one in MISCONF.
  child.kill('SIGKILL')
  await closed
}

/**
 * A port that the system gives to no connection and to no server that asks for any port: one of
 * those could have it for a moment, and answer before redis-server does.
 */
async function freePort(): Promise<number> {
  for (let tries = 0; tries < portTries; tries++) {
    const port = firstPort + Math.floor(Math.random() * portCount)
    if (await isFree(port)) return port
  }
  throw new Error('no free TCP port')
}

/** Whether a port is free. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, host, () => probe.close(() => resolve(true)))
  })
}
