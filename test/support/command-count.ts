import { randomUUID } from 'node:crypto'

import { Redis, type RedisOptions } from 'ioredis'

/**
 * Whose commands are counted.
 *
 * - A url, or a client as the way to its server: those of all connections to that server. For a
 *   server of the test's own.
 * - `{ client }`: those of this client's connection only. For a server that is shared.
 */
export type CommandSource = string | Redis | CountedClient

/** A client whose commands are counted, and no others. */
export interface CountedClient {
  /** Connected, or to be connected by its first command. */
  readonly client: Redis
}

/** One line of MONITOR. */
interface Line {
  /** The client's address, or `lua` for a command that a script ran. */
  readonly source: string
  readonly args: readonly string[]
}

type ObserverOptions = Omit<RedisOptions, 'replyMapping'>

const markerPrefix = 'command-count:'
const scriptCommands = new Set(['EVAL', 'EVALSHA', 'EVAL_RO', 'EVALSHA_RO', 'FCALL', 'FCALL_RO'])

// A second connection like the first, without commands of its own, that gives up instead of reconnecting.
const observer: ObserverOptions = {
  lazyConnect: false,
  disableClientInfo: true,
  enableReadyCheck: false,
  enableOfflineQueue: true,
  retryStrategy: () => null,
}

/**
 * Lists the commands that Redis ran for its clients during some work, in order.
 *
 * It is exact without waiting: marker commands before and after the work fence MONITOR's output,
 * and commands that the counted client has sent but not awaited are still seen. Left out are
 * commands that Lua scripts ran. Redis itself shows neither administrative commands (CONFIG, AUTH)
 * nor those that it refuses before running them (OOM, READONLY, wrong number of arguments).
 *
 * @param source Whose commands are counted.
 * @param work What is observed. The counted client must not reconnect meanwhile.
 * @returns One text for each command: its name in capitals and, after a space, its first argument
 *   if there is one, for scripts their first key: `GET t:1:a`, `EVALSHA t:1:a`, `PING`.
 * @throws {Error} When the work fails (its own error), the counted client has reconnected, or the
 *   observing connection was lost.
 */
export async function countCommands(
  source: CommandSource,
  work: () => Promise<void>,
): Promise<string[]> {
  const client = isServer(source) ? undefined : source.client
  const server = isServer(source) ? source : source.client
  const address = client && (await addressOf(client))
  const monitor = observe(server, { ...observer, monitor: true })
  const fence = observe(server, observer)
  try {
    const lines = await watch(monitor)
    const start = await mark(fence, monitor, lines)
    await whileConnected(client, work)
    const end = await mark(fence, monitor, lines)

    const own = lines[start]?.source
    return lines
      .slice(start + 1, end)
      .filter((line) => line.source !== 'lua' && line.source !== own && !isMarker(line))
      .filter((line) => address === undefined || line.source === address)
      .map(({ args }) => describeCommand(args))
  } finally {
    monitor.disconnect()
    fence.disconnect()
  }
}

/**
 * The name in a text of `countCommands`, for tests that do not know the keys:
 * `commands.map(commandName)`.
 *
 * @param command Such as `EVALSHA t:1:a`.
 * @returns Such as `EVALSHA`.
 */
export function commandName(command: string): string {
  return command.split(' ', 1)[0]!
}

// A client of ioredis has a `client` too, its method for CLIENT.
function isServer(source: CommandSource): source is string | Redis {
  return typeof source === 'string' || source instanceof Redis
}

function observe(server: string | Redis, options: ObserverOptions): Redis {
  const connection =
    typeof server === 'string' ? new Redis(server, options) : server.duplicate(options)
  // Failures reach the test through the commands and through the end of the monitor.
  connection.on('error', () => {})
  return connection
}

/** The address under which Redis knows the client, as MONITOR shows it. */
async function addressOf(client: Redis): Promise<string> {
  const info = String(await client.call('CLIENT', 'INFO'))
  const address = /(?:^| )addr=(\S+)/.exec(info)?.[1]
  if (address === undefined) throw new Error(`no address in the answer to CLIENT INFO: ${info}`)
  return address
}

/**
 * The lines that MONITOR shows, a list that grows; fulfilled when the server has begun to show
 * them.
 */
async function watch(monitor: Redis): Promise<Line[]> {
  const lines: Line[] = []
  monitor.on('monitor', (_time: string, args: string[], source: string) => {
    lines.push({ source, args })
  })
  await new Promise<void>((resolve, reject) => {
    monitor.once('monitoring', () => resolve())
    monitor.once('end', () => reject(new Error('Redis closed the monitoring connection')))
    monitor.on('error', (error) => {
      // A line that came together with MONITOR's own OK, before ioredis changed its mode. It comes
      // before the first marker.
      if (!error.message.startsWith('Command queue state error')) reject(error)
    })
  })
  return lines
}

/** Sends a marker and waits until the monitor shows it. Returns its index among the lines. */
async function mark(fence: Redis, monitor: Redis, lines: readonly Line[]): Promise<number> {
  const marker = `${markerPrefix}${randomUUID()}`
  const shown = new Promise<number>((resolve, reject) => {
    monitor.on('monitor', () => {
      if (lines.at(-1)?.args[1] === marker) resolve(lines.length - 1)
    })
    monitor.once('end', () => reject(new Error('Redis closed the monitoring connection')))
  })
  const [index] = await Promise.all([shown, fence.echo(marker)])
  return index
}

/** Does the work, and waits for what the client has sent without awaiting it. */
async function whileConnected(client: Redis | undefined, work: () => Promise<void>): Promise<void> {
  if (client === undefined) return work()
  let reconnected = false
  const note = (): void => {
    reconnected = true
  }
  client.on('connect', note)
  try {
    await work()
    await drain(client)
  } finally {
    client.off('connect', note)
  }
  if (reconnected) throw new Error('the client reconnected while its commands were counted')
}

/** Redis answers a connection in order: after this, no earlier command is in progress. */
async function drain(client: Redis): Promise<void> {
  if (client.status !== 'ready') return
  try {
    await client.echo(`${markerPrefix}${randomUUID()}`)
  } catch {
    // The work has closed the client, so there is nothing to wait for.
  }
}

function isMarker({ args }: Line): boolean {
  return args[0]?.toUpperCase() === 'ECHO' && args[1]?.startsWith(markerPrefix) === true
}

function describeCommand([name = '', ...args]: readonly string[]): string {
  const command = name.toUpperCase()
  const argument = scriptCommands.has(command) ? firstKey(args) : args[0]
  return argument === undefined ? command : `${command} ${argument}`
}

/** The first key of a script call, whose arguments are the script, the number of keys, and the keys. */
function firstKey([, count, key]: readonly string[]): string | undefined {
  return count === '0' ? undefined : key
}
