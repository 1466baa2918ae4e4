import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'

import { npm, projectOf } from './project.ts'
import type { Project } from './project.ts'
import type { Row } from './rows.ts'

/** The result of one row. */
export interface Outcome {
  readonly row: Row
  /** As reported by the test processes; several if they differ. */
  readonly loaded: readonly string[]
  readonly passed: number
  readonly failed: number
  readonly failedFiles: readonly string[]
  /** Whether an app compiles with the packages of the row; undefined for the locked packages. */
  readonly compiles?: boolean | undefined
  /** What is wrong, in a few words; empty when nothing is. */
  readonly problem: string
  readonly seconds: number
}

/** The fields of vitest's JSON that are read. */
interface Report {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly testResults: readonly { readonly name: string; readonly status: string }[]
}

type Result = Omit<Outcome, 'row' | 'seconds'>

const nothing: Result = { loaded: [], passed: 0, failed: 0, failedFiles: [], problem: '' }

/**
 * Runs the suite on the versions of a row.
 *
 * @param row The row.
 * @param filters Parts of the names of the test files to run; all when empty.
 */
export async function runRow(row: Row, filters: readonly string[]): Promise<Outcome> {
  const start = performance.now()
  const result = await resultOf(row, filters).catch((error: unknown) => ({
    ...nothing,
    problem: String(error),
  }))
  return { ...result, row, seconds: (performance.now() - start) / 1000 }
}

async function resultOf(row: Row, filters: readonly string[]): Promise<Result> {
  const project = projectOf(row)
  const results = mkdtempSync(join(tmpdir(), 'matrix-'))
  try {
    const compiles = row.packages.length === 0 ? undefined : await compile(project)
    const said = join(results, 'loaded')
    const json = join(results, 'report.json')
    const config = ['--config', 'test/matrix/vitest.config.ts']
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${json}`]
    const isGreen = await node({ ...project, env: { ...project.env, MATRIX_LOADED: said } }, [
      'vitest',
      'run',
      ...config,
      ...reporters,
      ...filters,
    ])
    const report = reportOf(json)
    const loaded = [...new Set(textOf(said).split('\n').filter(Boolean))]
    return {
      loaded,
      passed: report.numPassedTests,
      failed: report.numFailedTests,
      failedFiles: report.testResults
        .filter(({ status }) => status !== 'passed')
        .map(({ name }) => relative(project.root, name)),
      compiles,
      problem: problemOf(row, { loaded, compiles, isGreen }),
    }
  } finally {
    rmSync(results, { recursive: true })
    project.remove()
  }
}

interface Facts {
  readonly loaded: readonly string[]
  readonly compiles: boolean | undefined
  readonly isGreen: boolean
}

function problemOf(row: Row, { loaded, compiles, isGreen }: Facts): string {
  const [line] = loaded
  if (line === undefined) return 'no test ran'
  if (loaded.length > 1) return 'different versions were loaded'
  if (!line.startsWith(`${row.node.replace('-', ' ')}.`)) return 'another Node'
  const loads = line.split(', ')
  const missing = row.packages.find((name) => !loads.includes(name.replace(/(?<=.)@/, ' ')))
  if (missing) return `not ${missing}`
  if (compiles === false) return 'an app does not compile'
  return isGreen ? '' : 'tests failed'
}

/** Compiles an app against what `npm run build` makes. */
async function compile(project: Project): Promise<boolean> {
  npm(['run', 'build'], { cwd: project.root, env: project.env })
  return node(project, ['tsc', '-p', 'test/matrix/tsconfig.consumer.json'])
}

/** Runs a program of the project's packages; true when it ends well. */
async function node(
  project: Project,
  [program = '', ...args]: readonly string[],
): Promise<boolean> {
  // Found on the PATH, so that the tests use the same programs.
  const child = spawn('node', [join(project.root, 'node_modules/.bin', program), ...args], {
    cwd: project.root,
    env: project.env,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const [code] = await once(child, 'exit')
  return code === 0
}

function reportOf(path: string): Report {
  const text = textOf(path)
  if (text === '') return { numPassedTests: 0, numFailedTests: 0, testResults: [] }
  return JSON.parse(text)
}

/** The text of a file; empty when the run ended before it wrote the file. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
