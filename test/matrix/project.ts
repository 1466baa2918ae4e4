import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import type { Row } from './rows.ts'

const matrix = fileURLToPath(new URL('.', import.meta.url))
const root = fileURLToPath(new URL('../..', import.meta.url))

// `error`: a warning about pending install scripts is no news; nothing here needs one.
const quiet = ['--no-audit', '--no-fund', '--loglevel=error']

/** The folder of a row, and its Node. */
export interface Project {
  readonly root: string
  /** With the row's Node as the first `node` on the PATH. */
  readonly env: NodeJS.ProcessEnv
  readonly remove: () => void
}

/** Installs the missing versions of Node. */
export function installNodes(): void {
  if (existsSync(`${matrix}node_modules/.package-lock.json`)) return
  npm(['ci', ...quiet], { cwd: matrix, env: process.env })
}

/**
 * The environment of a row: the project itself, or a copy with its own packages.
 *
 * @param row The row.
 * @throws {Error} When there is no such Node for this platform, or npm fails.
 */
export function projectOf(row: Row): Project {
  const bin = `${matrix}node_modules/${row.node}-${process.platform}-${process.arch}/bin`
  if (!existsSync(bin)) {
    throw new Error(`no ${row.node} for ${process.platform} ${process.arch} in test/matrix`)
  }
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH']}` }
  if (row.packages.length === 0) return { root, env, remove: () => {} }

  const copy = mkdtempSync(join(tmpdir(), 'matrix-project-'))
  const remove = (): void => rmSync(copy, { recursive: true })
  try {
    for (const file of files()) cpSync(join(root, file), join(copy, file))
    npm(['ci', ...quiet], { cwd: copy, env })
    npm(['install', ...quiet, '--no-save', ...row.packages], { cwd: copy, env })
  } catch (error) {
    remove()
    throw error
  }
  return { root: copy, env, remove }
}

/** The files of the project, tracked or new, without what git ignores. */
function files(): readonly string[] {
  const args = ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '--deduplicate']
  const names = execFileSync('git', args, { cwd: root, encoding: 'utf8' }).split('\0')
  return names.filter((name) => name !== '' && existsSync(join(root, name)))
}

/**
 * Runs npm.
 *
 * @param args Its arguments.
 * @param options The folder and the environment variables.
 * @throws {Error} When it fails.
 */
export function npm(
  args: readonly string[],
  options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv },
): void {
  execFileSync('npm', [...args], { ...options, stdio: ['ignore', 'ignore', 'inherit'] })
}
