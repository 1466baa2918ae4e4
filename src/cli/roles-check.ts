import { readFileSync } from 'node:fs'

import { SessionRolesError } from '../errors/errors.ts'
import { printable } from '../errors/printable.ts'
import { parseRolesText } from '../privileges/roles.ts'
import type { CommandOptions } from './arguments.ts'
import { CommandFailure, exitCodes, type Answer } from './outcome.ts'
import { printableJson, tableOf } from './terminal.ts'

/**
 * Lists every problem in the roles file at a path.
 *
 * @throws {CommandFailure} When the file cannot be read.
 */
export function checkRoles(path: string, { ignorePermissions, json }: CommandOptions): Answer {
  const text = read(path)
  try {
    const { counts } = parseRolesText(text, { name: path, ignorePermissions })
    const { privileges, roles } = counts
    const words = `${printable(path)}: ${privileges} privileges, ${roles} roles, no problems`
    return {
      text: json ? printableJson({ problems: [], ...counts }) : words,
      exitCode: exitCodes.done,
    }
  } catch (error) {
    if (!(error instanceof SessionRolesError)) throw error
    const { problems } = error
    return {
      text: json
        ? printableJson({ problems })
        : tableOf([
            ['PATH', 'PROBLEM'],
            ...problems.map(({ path: place, problem }) => [place, problem]),
          ]),
      exitCode: exitCodes.negative,
    }
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown reason'
    throw new CommandFailure(`cannot read ${printable(path)}: ${code}`, exitCodes.usage)
  }
}
