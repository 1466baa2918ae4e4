import { createHash } from 'node:crypto'

import { SessionStoreError } from '../../errors/errors.ts'

/** A Lua script whose keys and arguments are passed by name, and whose reply is a text. */
export interface Script<Key extends string, Arg extends string, Outcome> {
  /** The names of `KEYS`, in order. Those that a call leaves out are not passed. */
  readonly keys: readonly Key[]
  /** The names of the arguments that are passed as lines of one text, in order. */
  readonly args: readonly Arg[]
  readonly lua: string
  readonly sha1: string
  /** What a reply means. */
  readonly parse: (reply: Reply) => Outcome
}

/** A script's reply, which is `word number … LF text`. */
export interface Reply {
  readonly word: string
  readonly numbers: readonly number[]
  readonly text: string
}

/** What a script is made of. */
interface ScriptSource<Key extends string, Arg extends string, Outcome> {
  readonly keys: readonly Key[]
  /** Those that a call seldom has come last. */
  readonly args: readonly Arg[]
  /** Numbers that are the same for every call, by name. */
  readonly constants?: Readonly<Record<string, number>>
  /** Parts that it shares with others. They come after the locals. */
  readonly shared?: readonly string[]
  /** What it does. `session`, the first key, and the arguments are locals; arguments are texts. */
  readonly lua: string
  readonly parse: (reply: Reply) => Outcome
}

/**
 * Declares a script. Its text is constant, so that Redis keeps one copy of it. The arguments are
 * lines of `ARGV[1]`: one by one they would take twice as many bytes.
 *
 * @param source What it is made of.
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
    // Those at the end that are empty are not sent.
    const lines = `ARGV[1] .. '${String.raw`\n`.repeat(args.length)}'`
    const pattern = String.raw`([^\n]*)\n`.repeat(args.length)
    head.push(`local ${args.join(', ')} = string.match(${lines}, '^${pattern}')`)
  }
  const lua = [...head, ...shared, body].join('\n')
  // Not for security: SHA-1 is how Redis names scripts.
  return { keys, args, lua, sha1: createHash('sha1').update(lua).digest('hex'), parse }
}

/** What one call of a script passes. */
export interface ScriptCall<Key extends string, Arg extends string> {
  readonly keys: Readonly<Partial<Record<Key, string>>>
  /** Without line breaks. */
  readonly args: Readonly<Record<Arg, string | number>>
  /** What follows in `ARGV`, any text. */
  readonly rest?: readonly string[]
}

/** What a call of a script passes. */
export type CallOf<S> =
  S extends Script<infer Key, infer Arg, unknown> ? ScriptCall<Key, Arg> : never

/**
 * Keys and arguments as Redis takes them.
 *
 * @param script The script.
 * @param call By name.
 */
export function valuesOf<Key extends string, Arg extends string>(
  { keys, args }: Pick<Script<Key, Arg, unknown>, 'keys' | 'args'>,
  call: ScriptCall<Key, Arg>,
): { readonly keyCount: number; readonly values: readonly string[] } {
  const values: string[] = []
  for (const name of keys) {
    const key = call.keys[name]
    if (key !== undefined) values.push(key)
  }
  const keyCount = values.length
  if (args.length > 0) values.push(packed(args, call.args))
  if (call.rest) values.push(...call.rest)
  return { keyCount, values }
}

/**
 * Takes a reply apart.
 *
 * @param reply What Redis has replied.
 * @throws {SessionStoreError} When it is no text.
 */
export function replyOf(reply: unknown): Reply {
  if (typeof reply !== 'string') throw unexpectedReply()
  const end = reply.indexOf('\n')
  const [word = '', ...numbers] = (end < 0 ? reply : reply.slice(0, end)).split(' ')
  return { word, numbers: numbers.map(Number), text: end < 0 ? '' : reply.slice(end + 1) }
}

/**
 * The lines of a reply's text.
 *
 * @param text What follows the first line of the reply.
 */
export function linesOf(text: string): readonly string[] {
  return text === '' ? [] : text.split('\n')
}

/** The error for a reply that no script gives. */
export function unexpectedReply(): SessionStoreError {
  return new SessionStoreError('Redis answered something unexpected')
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
