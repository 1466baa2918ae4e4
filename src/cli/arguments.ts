import { parseArgs } from 'node:util'

import { usageFailure } from './outcome.ts'

/** A parsed command line. */
export type Command =
  | { readonly name: 'help' }
  | { readonly name: 'version' }
  | { readonly name: 'roles check'; readonly subject: string; readonly options: CommandOptions }
  | {
      readonly name: SessionCommandName
      readonly subject: string
      readonly options: CommandOptions
    }

/** The commands about sessions. */
export type SessionCommandName = 'list' | 'info' | 'end' | 'end-all'

/** Options of the commands. */
export interface CommandOptions {
  readonly redis: string | undefined
  readonly cluster: boolean
  readonly prefix: string
  readonly refreshSeconds: number
  readonly ignorePermissions: boolean
  readonly json: boolean
  readonly yes: boolean
}

const subjects = { 'roles check': 'FILE', list: 'USER', info: 'ID', end: 'ID', 'end-all': 'USER' }

const optionsOfAll = {
  redis: { type: 'string' },
  cluster: { type: 'boolean' },
  prefix: { type: 'string' },
  'refresh-seconds': { type: 'string' },
  'ignore-permissions': { type: 'boolean' },
  json: { type: 'boolean' },
  yes: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const

/**
 * Parses a command line, without the program's name.
 *
 * @throws {CommandFailure} When the command line is wrong.
 */
export function parseCommand(args: readonly string[]): Command {
  const { values, positionals } = parse(args)
  if (values.help) return { name: 'help' }
  if (values.version) return { name: 'version' }
  const words = positionals[0] === 'roles' ? 2 : 1
  const name = positionals.slice(0, words).join(' ')
  if (name === '') throw usageFailure('a command is missing')
  if (!isCommand(name)) {
    // The text may be a secret in the wrong place.
    const shown = /^[a-z -]{1,20}$/.test(name) ? ` "${name}"` : ''
    throw usageFailure(`there is no such command${shown}`)
  }
  const [subject, ...others] = positionals.slice(words)
  const what = subjects[name]
  if (subject === undefined || subject === '') throw usageFailure(`${name} takes a ${what}`)
  if (others.length > 0) throw usageFailure(`${name} takes one ${what} only`)
  return { name, subject, options: optionsOf(values) }
}

function isCommand(name: string): name is keyof typeof subjects {
  return Object.hasOwn(subjects, name)
}

function parse(args: readonly string[]): ReturnType<typeof parseKnown> {
  try {
    return parseKnown(args)
  } catch (error) {
    const message = error instanceof Error ? error.message : ''
    const [, option] =
      /^(?:Unknown option|Option) '(?:-\w, )?(-{1,2}[a-z-]{1,30})(?: <value>)?'/.exec(message) ?? []
    if (option === undefined) throw usageFailure('wrong options')
    if (message.startsWith('Unknown')) throw usageFailure(`there is no option ${option}`)
    const takes = message.includes('does not take') ? 'no value' : 'a value'
    throw usageFailure(`${option} takes ${takes}`)
  }
}

function parseKnown(args: readonly string[]) {
  return parseArgs({ args: [...args], options: optionsOfAll, allowPositionals: true })
}

function optionsOf(values: ReturnType<typeof parseKnown>['values']): CommandOptions {
  const { redis, cluster = false, prefix = 'sess:', json = false, yes = false } = values
  const refreshSeconds = Number(values['refresh-seconds'] ?? 60)
  if (!(refreshSeconds >= 0 && refreshSeconds <= 3600)) {
    throw usageFailure('--refresh-seconds takes a number from 0 to 3600')
  }
  if (prefix === '' || /[{}]/.test(prefix)) {
    throw usageFailure('--prefix takes non-empty text without braces')
  }
  const ignorePermissions = values['ignore-permissions'] ?? false
  return { redis, cluster, prefix, refreshSeconds, ignorePermissions, json, yes }
}
