import { createInterface } from 'node:readline/promises'

import { usageFailure } from './outcome.ts'
import type { Terminal } from './terminal.ts'

/**
 * Asks the user at the terminal a yes/no question. An empty answer means no.
 *
 * @throws {CommandFailure} When there is no terminal.
 */
export async function confirm(question: string, terminal: Terminal): Promise<boolean> {
  const { stdin, stderr } = terminal
  if (!stdin.isTTY || !stderr.isTTY) {
    throw usageFailure('there is no terminal to confirm on: --yes ends more than one session')
  }
  const lines = createInterface({ input: stdin, output: stderr })
  try {
    // The user may close the input instead of answering.
    const isClosed = new Promise<string>((resolve) => lines.once('close', () => resolve('')))
    const answer = await Promise.race([lines.question(`${question} [y/N] `), isClosed])
    return /^\s*y(?:es)?\s*$/i.test(answer)
  } finally {
    lines.close()
  }
}
