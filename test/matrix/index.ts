// The whole suite on each version of Node, Koa and ioredis that the README names, one after the
// other. Prints what each row really loaded, and fails when a row does.
//
//   npm run test:matrix
//   npm run test:matrix -- --only node-22 --only koa-2
//   npm run test:matrix -- --files test/core --files test/middleware

import { parseArgs } from 'node:util'

import { installNodes } from './project.ts'
import { rows } from './rows.ts'
import { runRow } from './run.ts'
import type { Outcome } from './run.ts'

const { values: given } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [] },
    files: { type: 'string', multiple: true, default: [] },
  },
})
for (const name of given.only) {
  if (!rows.some((row) => row.name === name)) {
    throw new Error(`--only ${name}: there are ${rows.map((row) => row.name).join(', ')}`)
  }
}

installNodes()
const outcomes: Outcome[] = []
for (const row of rows) {
  if (given.only.length > 0 && !given.only.includes(row.name)) continue
  console.log(`\n${row.name}`)
  outcomes.push(await runRow(row, given.files))
}

const lines = [
  ['row', 'loaded', 'passed', 'failed', 'types', 'seconds', ''],
  ...outcomes.map(({ row, loaded, passed, failed, compiles, seconds, problem }) => [
    row.name,
    loaded.join(' AND ') || 'nothing',
    String(passed),
    String(failed),
    compiles === undefined ? '' : compiles ? 'compile' : 'FAIL',
    seconds.toFixed(0),
    problem || 'ok',
  ]),
]
const widths = lines[0]!.map((_, column) =>
  Math.max(...lines.map((cells) => cells[column]!.length)),
)
const files =
  given.files.length === 0 ? 'the whole suite' : `only files with ${given.files.join(' or ')}`
console.log(`\n${files}\n`)
for (const cells of lines) {
  console.log(
    cells
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  )
}
for (const { row, failedFiles } of outcomes) {
  for (const file of failedFiles) console.log(`failed on ${row.name}: ${file}`)
}
process.exitCode = outcomes.every(({ problem }) => problem === '') ? 0 : 1
