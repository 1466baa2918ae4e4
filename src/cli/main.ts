import { SessionStoreError } from '../errors/errors.ts'
import { parseCommand } from './arguments.ts'
import { confirm } from './confirm.ts'
import { withSessions } from './connect.ts'
import { help } from './help.ts'
import { CommandFailure, exitCodes, type Answer } from './outcome.ts'
import { checkRoles } from './roles-check.ts'
import { sessionCommands } from './session-commands.ts'
import type { Terminal } from './terminal.ts'

/**
 * Runs the operators' command with its arguments, without the program's name. Prints the result on
 * standard output or one line on standard error, and returns the exit code.
 */
export async function main(
  args: readonly string[],
  terminal: Terminal,
  version: string,
): Promise<number> {
  try {
    const { text, exitCode } = await answer(args, terminal, version)
    terminal.stdout.write(text.endsWith('\n') ? text : `${text}\n`)
    return exitCode
  } catch (error) {
    const failure = asFailure(error)
    terminal.stderr.write(`koa-user-sessions: ${failure.message}\n`)
    return failure.exitCode
  }
}

async function answer(
  args: readonly string[],
  terminal: Terminal,
  version: string,
): Promise<Answer> {
  const command = parseCommand(args)
  if (command.name === 'help') return { text: help, exitCode: exitCodes.done }
  if (command.name === 'version') return { text: version, exitCode: exitCodes.done }
  const { subject, options } = command
  if (command.name === 'roles check') return checkRoles(subject, options)
  return sessionCommands[command.name]({
    subject,
    options,
    withSessions: (job) => withSessions(options, terminal.env['REDIS_URL'], job),
    confirm: (question) => confirm(question, terminal),
  })
}

function asFailure(error: unknown): CommandFailure {
  if (error instanceof CommandFailure) return error
  if (error instanceof SessionStoreError) {
    const hint = error.message.endsWith(' MOVED') ? ': a node of a Cluster needs --cluster' : ''
    return new CommandFailure(error.message + hint, exitCodes.redis)
  }
  // A bug in this program, whose message may hold anything.
  const name = error instanceof Error ? error.name : 'unknown error'
  return new CommandFailure(`${name} in the command itself`, exitCodes.fault)
}
