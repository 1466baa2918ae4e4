/** What the command ends with. */
export const exitCodes = {
  /** It has done what it was asked for. */
  done: 0,
  /** There is no such session, or the roles file has problems. */
  negative: 1,
  /** It was called in a wrong way, or cannot read a file. */
  usage: 2,
  /** Redis cannot be reached, or fails. */
  redis: 3,
  /** The command itself is at fault. */
  fault: 4,
} as const

/** What the command prints on its standard output, and how it ends. */
export interface Answer {
  readonly text: string
  readonly exitCode: number
}

/** Why the command cannot go on: one line for people. */
export class CommandFailure extends Error {
  readonly exitCode: number

  constructor(message: string, exitCode: number) {
    super(message)
    this.exitCode = exitCode
  }
}

/** It was called in a wrong way. */
export function usageFailure(message: string): CommandFailure {
  return new CommandFailure(`${message} (koa-user-sessions --help)`, exitCodes.usage)
}
