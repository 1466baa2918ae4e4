// What is measured without load: guards, memory and imports.

import type { Figure } from './figures.ts'
import { memoryFigures } from './memory.ts'
import { property, startWorker } from './processes.ts'
import { medianOf, spreadOf, textOf } from './statistics.ts'

const maxGuardNs = 1000
const maxImportMs = 40
const imports = 25

/** What `--only` accepts besides works and contestants. */
export const otherParts: readonly {
  readonly name: string
  readonly run: () => Promise<readonly Figure[]>
}[] = [
  { name: 'guard', run: guardFigures },
  { name: 'memory', run: memoryFigures },
  { name: 'import', run: importFigures },
]

/** Their names. */
export const partNames: readonly string[] = otherParts.map(({ name }) => name)

async function guardFigures(): Promise<readonly Figure[]> {
  const worker = await startWorker('guard-cost.mjs')
  await worker.stop()
  return (['ten', 'thousand'] as const).map((count): Figure => {
    const samples = property(worker.greeting, count)
    if (!Array.isArray(samples)) throw new Error('no samples')
    const spread = spreadOf(samples.map(Number))
    const privileges = count === 'ten' ? '10' : '1 000'
    return {
      title: `a guard on a loaded session, ${privileges} privileges`,
      reach: `under ${maxGuardNs} ns`,
      reached: `${textOf(spread, 0)} ns`,
      excess: spread.median / maxGuardNs,
    }
  })
}

async function importFigures(): Promise<readonly Figure[]> {
  const times = { koa: [] as number[], both: [] as number[] }
  for (let round = 0; round <= imports; round++) {
    for (const what of ['koa', 'both'] as const) {
      const worker = await startWorker('import-time.mjs', { args: [what] })
      await worker.stop()
      // The first imports fill the caches of the file system.
      if (round > 0) times[what].push(Number(property(worker.greeting, 'ms')))
    }
  }
  const added = spreadOf(times.both.map((ms, round) => ms - (times.koa[round] ?? Number.NaN)))
  const [without, withTokens] = [await joseScripts([]), await joseScripts(['--tokens'])]
  return [
    {
      title: 'import of the package, over importing Koa alone',
      reach: `at most ${maxImportMs} ms`,
      reached: `${textOf(added, 1)} ms; Koa alone ${medianOf(times.koa).toFixed(1)} ms`,
      excess: added.median / maxImportMs,
    },
    {
      title: 'jose loaded only where tokens are on',
      reach: 'none without',
      reached: `${without} of its modules without, ${withTokens} with`,
      excess: without === 0 && withTokens > 0 ? 0 : Infinity,
    },
  ]
}

async function joseScripts(options: readonly string[]): Promise<number> {
  const worker = await startWorker('import-time.mjs', { args: ['trace', ...options] })
  await worker.stop()
  return Number(property(worker.greeting, 'jose'))
}
