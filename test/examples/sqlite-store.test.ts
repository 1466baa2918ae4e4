import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { isBuiltin } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { expect, it, onTestFinished } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)

if (isBuiltin('node:sqlite')) await import('./sqlite-store-suite.ts')
else it('passes this file on a Node that has SQLite', { timeout: 600_000 }, passElsewhere)

async function passElsewhere(): Promise<void> {
  const folder = join(root, 'test/sqlite')
  const node = join(folder, `node_modules/node-24-${process.platform}-${process.arch}/bin/node`)
  if (!existsSync(node)) await run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: folder })
  const results = await mkdtemp(join(tmpdir(), 'sqlite-report-'))
  onTestFinished(() => rm(results, { recursive: true }))
  const report = join(results, 'report.json')
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const config = ['--config', 'test/sqlite/vitest.config.ts']
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  const file = 'test/examples/sqlite-store.test.ts'

  const said = await run(node, [vitest, 'run', ...config, ...reporters, file], {
    cwd: root,
    // Not those of this run.
    env: { PATH: process.env['PATH'], NO_COLOR: '1' },
    maxBuffer: 100 * 2 ** 20,
  }).then(
    () => '',
    (error: unknown) => String(Object(error).stdout ?? error),
  )

  expect(said).toBe('')
  const { numPassedTests, numTotalTests }: { numPassedTests: number; numTotalTests: number } =
    JSON.parse(await readFile(report, 'utf8'))
  expect(numPassedTests).toBe(numTotalTests)
  expect(numPassedTests).toBeGreaterThan(250)
}
