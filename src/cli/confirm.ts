import { createInterface } from 'node:readline/promises'

import { usageFailure } from './outcome.ts'
import type { Terminal } from './terminal.ts'

/**
 * Asks somebody at the terminal.
 *
 * @param question To be answered by yes or no; no is what an empty answer means.
 * @param terminal Where.
 * @throws {CommandFailure} When nobody is there.
 */
export async function confirm(question: string, terminal: Terminal): Promise<boolean> {
  const { stdin, stderr } = terminal
  if (!stdin.isTTY || !stderr.isTTY) {
    throw usageFailure('there is nobody to ask: --yes ends more than one session')
  }
  const lines = createInterface({ input: stdin, output: stderr })
  try {
    // Somebody may close the input in place of an answer.
    const isClosed = new Promise<string>((resolve) => lines.once('close', () => resolve('')))
    const answer = await Promise.race([lines.question(`${question} [y/N] `), isClosed])
    return /^\s*y(?:es)?\s*$/i.test(answer)
  } finally {
    lines.close()
  }
}
