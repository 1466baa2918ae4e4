import type { Cell, Round } from './rounds.ts'
import { medianOf, printTable, spreadOf, textOf } from './statistics.ts'
import type { Spread } from './statistics.ts'
import type { Work } from './works.ts'

/** Prints what the rounds of one work gave, a table for each size. */
export function printWork(work: Work, cells: readonly Cell[]): void {
  for (const size of work.sizes) {
    console.log(`\n${work.title}; ${size.name}`)
    const ofSize = cells.filter((cell) => cell.size === size)
    const [base] = ofSize
    if (!base) continue
    printTable([
      [
        '',
        'CPU us (quartiles)',
        `against ${base.lane.title}`,
        'requests/s (quartiles)',
        'p50 ms',
        'p99 ms',
        'commands',
        'B sent',
        'B received',
      ],
      ...ofSize.map(({ lane, rounds }) => {
        const of = (what: (round: Round) => number): Spread => spreadOf(rounds.map(what))
        const medianUse = (what: 'commands' | 'sent' | 'received', digits: number): string => {
          const uses = rounds.flatMap(({ redis }) => redis?.[what] ?? [])
          return uses.length > 0 ? Math.abs(medianOf(uses)).toFixed(digits) : '-'
        }
        return [
          lane.title,
          textOf(
            of(({ cpu }) => cpu),
            0,
          ),
          textOf(spreadOf(ratios({ lane, rounds }, base, ({ cpu }) => cpu))),
          textOf(
            of(({ perSecond }) => perSecond),
            0,
          ),
          of(({ p50 }) => p50).median.toFixed(1),
          of(({ p99 }) => p99).median.toFixed(1),
          medianUse('commands', 2),
          medianUse('sent', 0),
          medianUse('received', 0),
        ]
      }),
    ])
  }
  printCommands(work, cells)
}

/** What each contestant asks of its Redis. */
function printCommands(work: Work, cells: readonly Cell[]): void {
  const [size] = work.sizes
  const details = cells
    .filter((cell) => cell.size === size)
    .flatMap(({ lane, rounds }) => {
      const detail = rounds.at(-1)?.redis?.detail
      return detail ? [`  ${lane.title}: ${detail}`] : []
    })
  if (details.length === 0) return
  console.log('commands per request (in brackets: those that scripts call)')
  console.log(details.join('\n'))
}

/**
 * One figure of a lane over that of another, round by round: what else the machine does changes in
 * between.
 */
export function ratios(
  cell: Pick<Cell, 'lane' | 'rounds'>,
  base: Pick<Cell, 'lane' | 'rounds'>,
  what: (round: Round) => number,
): readonly number[] {
  return cell.rounds.map((round, index) => {
    const other = base.rounds[index]
    return other ? what(round) / what(other) : Number.NaN
  })
}
