import { readFileSync } from 'node:fs'

import { SessionRolesError } from '../errors/errors.ts'
import { printable } from '../errors/printable.ts'
import { parseRolesText } from '../privileges/roles.ts'
import type { CommandOptions } from './arguments.ts'
import { CommandFailure, exitCodes } from './outcome.ts'
import type { Answer } from './outcome.ts'
import { printableJson, tableOf } from './terminal.ts'

/**
 * Tells every problem of a roles file.
 *
 * @param path Of the file.
 * @param options How it is read.
 * @throws {CommandFailure} When there is no such file.
 */
export function checkRoles(path: string, { ignorePermissions, json }: CommandOptions): Answer {
  const text = read(path)
  try {
    const { counts } = parseRolesText(text, { name: path, ignorePermissions })
    const words = `${printable(path)}: ${counts.privileges} privileges, ${counts.roles} roles, no problem`
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
