import { createHash } from 'node:crypto'

import { SessionStoreError } from '../../errors.ts'
import type { RedisClient } from './client.ts'

/** A Lua script whose keys and arguments are passed by name. */
export interface Script<Key extends string, Arg extends string> {
  /** The names of `KEYS`, in order. */
  readonly keys: readonly Key[]
  /** The names of the arguments that are passed as lines of one text, in order. */
  readonly args: readonly Arg[]
  readonly lua: string
  readonly sha1: string
}

/** What a script is made of. */
interface ScriptSource<Key extends string, Arg extends string> {
  readonly keys: readonly Key[]
  /** Those that a call seldom has come last. */
  readonly args: readonly Arg[]
  /** Numbers that are the same for every call, by name. */
  readonly constants?: Readonly<Record<string, number>>
  /** What it does. All of these names are locals, arguments as text, `''` for none. */
  readonly lua: string
}

/**
 * Declares a script. Its text is constant, so that Redis keeps one copy of it. The arguments are
 * lines of `ARGV[1]`, if there are any: one after the other they would take twice as many bytes.
 *
 * @param script What it is made of.
 */
export function defineScript<Key extends string, Arg extends string>({
  keys,
  args,
  constants = {},
  lua: body,
}: ScriptSource<Key, Arg>): Script<Key, Arg> {
  const head = keys.map((name, index) => `local ${name} = KEYS[${index + 1}]`)
  for (const [name, value] of Object.entries(constants)) head.push(`local ${name} = ${value}`)
  if (args.length > 0) {
    // Those at the end that are empty are not sent.
    const lines = `ARGV[1] .. '${String.raw`\n`.repeat(args.length)}'`
    const pattern = String.raw`([^\n]*)\n`.repeat(args.length)
    head.push(`local ${args.join(', ')} = string.match(${lines}, '^${pattern}')`)
  }
  const lua = `${head.join('\n')}\n${body}`
  // Not for security: SHA-1 is how Redis names scripts.
  return { keys, args, lua, sha1: createHash('sha1').update(lua).digest('hex') }
}

/** What one call of a script passes. */
export interface ScriptCall<Key extends string, Arg extends string> {
  readonly keys: Record<Key, string>
  /** Without line breaks. */
  readonly args: Record<Arg, string | number>
  /** What follows in `ARGV`, any text. */
  readonly rest?: readonly string[]
}

/** How a script is run. */
export interface RunOptions {
  /**
   * Sends the whole text, so that it runs in the order of the calls even on a Redis that does not
   * know it yet.
   */
  readonly isWhole?: boolean
  /** When the caller stops waiting, by `performance.now()`. */
  readonly until?: number
}

/** Runs scripts of one client. */
export type RunScript = <Key extends string, Arg extends string>(
  script: Script<Key, Arg>,
  call: ScriptCall<Key, Arg>,
  options?: RunOptions,
) => Promise<unknown>

// A client that has lost its connection, or has none any more. What it is given then it keeps, by
// ioredis' own options, until it has one again or many tries later. One that connects first is not
// among them: its commands wait for milliseconds.
const awayStates: ReadonlySet<string | undefined> = new Set(['close', 'reconnecting', 'end'])

/**
 * Runs a script in one round trip, or two when Redis does not know it yet: after a start, a
 * failover or a `SCRIPT FLUSH`.
 *
 * @param redis The client.
 * @param script What {@link defineScript} made.
 * @param call Keys and arguments by name.
 * @param options How.
 * @returns The script's reply.
 * @throws {SessionStoreError} When the client has lost its connection.
 */
export async function runScript<Key extends string, Arg extends string>(
  redis: RedisClient,
  script: Script<Key, Arg>,
  call: ScriptCall<Key, Arg>,
  { isWhole = false }: RunOptions = {},
): Promise<unknown> {
  if (awayStates.has(redis.status)) throw new SessionStoreError('Redis is away')
  const values = script.keys.map((name) => call.keys[name])
  if (script.args.length > 0) values.push(packed(script.args, call.args))
  if (call.rest) values.push(...call.rest)
  if (isWhole) return redis.eval(script.lua, script.keys.length, ...values)
  try {
    return await redis.evalsha(script.sha1, script.keys.length, ...values)
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
    return redis.eval(script.lua, script.keys.length, ...values)
  }
}

function packed<Arg extends string>(
  names: readonly Arg[],
  args: Readonly<Record<Arg, string | number>>,
): string {
  let lines = ''
  let breaks = ''
  for (const name of names) {
    const value = args[name]
    if (value !== '') {
      lines += breaks + value
      breaks = ''
    }
    breaks += '\n'
  }
  return lines
}
