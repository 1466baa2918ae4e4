import { createHash } from 'node:crypto'

import { SessionStoreError } from '../../errors/errors.ts'

/** A Lua script that takes keys and arguments by name, and replies with a text. */
export interface Script<Key extends string, Arg extends string, Outcome> {
  /** The names of `KEYS`, in order. Keys that a call omits are not passed. */
  readonly keys: readonly Key[]
  /** The names of the arguments in the lines of `ARGV[1]`, in order. Put rare ones last. */
  readonly args: readonly Arg[]
  readonly lua: string
  /** The SHA-1 of `lua`, by which Redis names the script. */
  readonly sha1: string
  readonly parse: (reply: Reply) => Outcome
}

/** A script's reply: `word number … LF text`. */
export interface Reply {
  readonly word: string
  readonly numbers: readonly number[]
  readonly text: string
}

/** The source of a script. Its `lua` has the first key and the arguments, all texts, as locals. */
interface ScriptSource<Key extends string, Arg extends string, Outcome> extends Omit<
  Script<Key, Arg, Outcome>,
  'sha1'
> {
  /** Constant numbers by name. */
  readonly constants?: Readonly<Record<string, number>>
  /** Code shared with other scripts, after the locals. */
  readonly shared?: readonly string[]
}

/**
 * Declares a script. Its text is constant, so that Redis keeps one copy. The arguments are lines of
 * `ARGV[1]`: as separate arguments they would take twice as many bytes.
 */
export function defineScript<Key extends string, Arg extends string, Outcome>({
  keys,
  args,
  constants = {},
  shared = [],
  lua: body,
  parse,
}: ScriptSource<Key, Arg, Outcome>): Script<Key, Arg, Outcome> {
  const head = [`local ${keys[0] ?? 'session'} = KEYS[1]`]
  for (const [name, value] of Object.entries(constants)) head.push(`local ${name} = ${value}`)
  if (args.length > 0) {
    // A call does not send empty arguments at the end.
    const lines = `ARGV[1] .. '${String.raw`\n`.repeat(args.length)}'`
    const pattern = String.raw`([^\n]*)\n`.repeat(args.length)
    head.push(`local ${args.join(', ')} = string.match(${lines}, '^${pattern}')`)
  }
  const lua = [...head, ...shared, body].join('\n')
  // SHA-1 is not for security here: Redis names scripts by it.
  return { keys, args, lua, sha1: createHash('sha1').update(lua).digest('hex'), parse }
}

export interface ScriptCall<Key extends string, Arg extends string> {
  readonly keys: Readonly<Partial<Record<Key, string>>>
  /** Arguments without line breaks. */
  readonly args: Readonly<Record<Arg, string | number>>
  /** Further texts for `ARGV`. */
  readonly rest?: readonly string[]
}

/** The keys and arguments of a script's call. */
export type CallOf<S> =
  S extends Script<infer Key, infer Arg, unknown> ? ScriptCall<Key, Arg> : never

export function linesOf(text: string): readonly string[] {
  return text === '' ? [] : text.split('\n')
}

export function unexpectedReply(): SessionStoreError {
  return new SessionStoreError('Redis sent an unexpected reply')
}
