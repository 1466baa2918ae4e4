import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { beforeAll, describe, expect, inject, it } from 'vitest'

const consumers = fileURLToPath(new URL('.', import.meta.url))
const modules = join(consumers, 'node_modules')
const vitest = join(consumers, '../../node_modules/vitest')
const project = join(inject('projectPath'), 'own-stores')

beforeAll(() => {
  cpSync(join(consumers, 'store'), project, { recursive: true })
  mkdirSync(join(project, 'node_modules'))
  symlinkSync(vitest, join(project, 'node_modules/vitest'))
  symlinkSync(join(modules, '@jest'), join(project, 'node_modules/@jest'))
  writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
})

const runners = [
  {
    name: 'Vitest',
    args: [join(vitest, 'vitest.mjs'), 'run', '--reporter=json', 'vitest.test.mjs'],
  },
  {
    name: 'Jest',
    args: [
      // Jest cannot load ES modules in any other way.
      '--experimental-vm-modules',
      join(modules, 'jest/bin/jest.js'),
      '--json',
      '--config={"testMatch":["**/jest.test.mjs"],"transform":{}}',
    ],
  },
]

describe.each(runners)('the contract suite of the packed package, run by $name', ({ args }) => {
  it('passes a store that keeps the contract', async () => {
    const report = await reportOf(args, 'good')

    expect(report.failed).toEqual([])
    expect(report.passed).toBeGreaterThan(250)
  })

  it('fails a store that replaces the whole storage with the changes', async () => {
    const report = await reportOf(args, 'broken')

    expect(report.failed).toContainEqual(expect.stringMatching(/commit: storage T3: /))
    expect(report.passed).toBeGreaterThan(200)
  })
})

it.each(['5.8', '5.9', '6.0', '7.0'])(
  'accepts both runners, with TypeScript %s',
  async (version) => {
    const tsc = join(modules, `typescript-${version}/bin/tsc`)
    // The declarations of the runners are not checked.
    const options = ['--module', 'nodenext', '--strict', '--skipLibCheck', '--noEmit']

    const { out } = await run([tsc, ...options, '--target', 'es2023', 'runners.ts'])

    expect(out).toBe('')
  },
)

interface Report {
  readonly passed: number
  /** Titles of tests. */
  readonly failed: readonly string[]
}

async function reportOf(args: readonly string[], store: 'good' | 'broken'): Promise<Report> {
  const { out } = await run(args, { STORE: store })
  const report: {
    readonly numPassedTests: number
    readonly testResults: readonly {
      readonly message: string
      readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[]
    }[]
  } = JSON.parse(out.slice(out.indexOf('{"')))
  const tests = report.testResults.flatMap(({ assertionResults }) => assertionResults)
  const failed = tests.filter(({ status }) => status !== 'passed')
  return { passed: report.numPassedTests, failed: failed.map(({ fullName }) => fullName) }
}

/** Runs a program in the project, to its end. */
function run(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly out: string }> {
  const options = {
    cwd: project,
    // Without what this run has passed to its own processes.
    env: { PATH: process.env['PATH'], ...env },
    maxBuffer: 100 * 2 ** 20,
  }
  return new Promise((resolve) => {
    execFile(process.execPath, [...args], options, (_, out) => resolve({ out }))
  })
}
