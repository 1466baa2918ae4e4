import { createHash } from 'node:crypto'

import { SessionStoreError } from '../../errors.ts'
import type { RedisClient } from './client.ts'

/** A Lua script whose keys and arguments are passed by name. */
export interface Script<Key extends string, Arg extends string> {
  /** The names of `KEYS`, in order. */
  readonly keys: readonly Key[]
  /** The names of `ARGV`, in order; what a call adds beyond them follows. */
  readonly args: readonly Arg[]
  readonly lua: string
  readonly sha1: string
}

/**
 * Declares a script. Its text is constant, so that Redis keeps one copy of it.
 *
 * @param script The script without its digest.
 */
export function defineScript<Key extends string, Arg extends string>(
  script: Omit<Script<Key, Arg>, 'sha1'>,
): Script<Key, Arg> {
  // Not for security: SHA-1 is how Redis names scripts.
  return { ...script, sha1: createHash('sha1').update(script.lua).digest('hex') }
}

/** What one call of a script passes. */
export interface ScriptCall<Key extends string, Arg extends string> {
  readonly keys: Record<Key, string>
  readonly args: Record<Arg, string | number>
  /** Arguments beyond the named ones. */
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
  for (const name of script.args) values.push(String(call.args[name]))
  if (call.rest) values.push(...call.rest)
  if (isWhole) return redis.eval(script.lua, script.keys.length, ...values)
  try {
    return await redis.evalsha(script.sha1, script.keys.length, ...values)
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
    return redis.eval(script.lua, script.keys.length, ...values)
  }
}
