// This package beside others, in one run: what each request costs, and whether the targets of this
// package are met. test/bench/README.md says what is measured and how.
//
//   npm run bench
//   npm run bench -- --quick
//   npm run bench -- --only read --only ours --only floor --keys 20 --rounds 20 --profile /tmp/profiles

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { printFigures, ratioFigures } from './compare/figures.ts'
import type { Figure } from './compare/figures.ts'
import { startLoad } from './compare/load.ts'
import { otherParts, partNames } from './compare/parts.ts'
import { printProfiles } from './compare/profiles.ts'
import { printWork } from './compare/report.ts'
import { measure } from './compare/rounds.ts'
import type { Cell } from './compare/rounds.ts'
import { chosenWorks, contestantNames, workNames } from './compare/works.ts'

const bench = fileURLToPath(new URL('.', import.meta.url))
const root = fileURLToPath(new URL('../..', import.meta.url))

const { values: given } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] },
    rounds: { type: 'string' },
    keys: { type: 'string' },
    profile: { type: 'string' },
  },
})
const names = [...workNames, ...contestantNames, ...partNames]
for (const name of given.only) {
  if (!names.includes(name)) throw new Error(`--only ${name}: there are ${names.join(', ')}`)
}
const rounds = Number(given.rounds ?? (given.quick ? 5 : 9))
if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds takes a positive integer')
const pace = given.quick
  ? { rounds, warmUp: 4000, part: 1 / 3 }
  : { rounds, warmUp: 10_000, part: 1 }

if (!existsSync(`${bench}node_modules/.package-lock.json`)) npm('ci', '--prefix', bench)
npm('run', 'build')

const start = performance.now()
const picksWork = given.only.some((name) => workNames.includes(name))
const picksPart = given.only.some((name) => partNames.includes(name))
const picksContestant = given.only.some((name) => contestantNames.includes(name))
const keys = given.keys === undefined ? undefined : Number(given.keys)
const works = picksPart && !picksWork ? [] : chosenWorks(given.only, given.quick, keys)

if (keys !== undefined && works.every(({ sizes }) => sizes.every((size) => size.keys !== keys))) {
  throw new Error('--keys: there are sessions of 3, 20 and 100 keys')
}

// Those without load first: they are soon done.
const others: Figure[] = []
if (!given.quick && (picksPart || (!picksWork && !picksContestant))) {
  for (const { name, run } of otherParts) {
    if (!picksPart || given.only.includes(name)) others.push(...(await run()))
  }
}

const cells: Cell[] = []
const load = await startLoad()
try {
  for (const work of works) {
    const measured = await measure(work, load, { ...pace, profileDir: given.profile })
    cells.push(...measured)
    printWork(work, measured)
    if (given.profile) printProfiles(`${given.profile}/${work.name}`)
  }
} finally {
  await load.stop()
}

const figures = [...ratioFigures(cells), ...others]
const isGood = printFigures(figures, given.quick ? 0.15 : 0)
console.log(`\n${((performance.now() - start) / 1000).toFixed(0)} s`)
process.exitCode = isGood ? 0 : 1

function npm(...args: readonly string[]): void {
  const { status } = spawnSync('npm', args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] })
  if (status !== 0) throw new Error(`npm ${args.join(' ')} failed`)
}
