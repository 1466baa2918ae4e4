/** The exit codes of the command. */
export const exitCodes = {
  /** The command succeeded. */
  done: 0,
  /** There is no such session, or the roles file has problems. */
  negative: 1,
  /** The command line is wrong, or a file cannot be read. */
  usage: 2,
  /** Redis cannot be reached, or fails. */
  redis: 3,
  /** The command has a bug. */
  fault: 4,
} as const

/** What the command prints on standard output, and its exit code. */
export interface Answer {
  readonly text: string
  readonly exitCode: number
}

/** Stops the command with one line on standard error. */
export class CommandFailure extends Error {
  readonly exitCode: number

  constructor(message: string, exitCode: number) {
    super(message)
    this.exitCode = exitCode
  }
}

/** Returns the failure for a wrong command line. */
export function usageFailure(message: string): CommandFailure {
  return new CommandFailure(`${message} (koa-user-sessions --help)`, exitCodes.usage)
}
