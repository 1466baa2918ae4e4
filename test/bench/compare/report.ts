import type { Cell, Round } from './rounds.ts'
import { medianOf, printTable, spreadOf, textOf } from './statistics.ts'
import type { Work } from './works.ts'

type Measured = Pick<Cell, 'lane' | 'rounds'>

const nodeCpu = ({ cpu }: Round): number => cpu
const redisCpu = (round: Round): number => round.redisCpu ?? Number.NaN

/** Prints the results of the rounds of one work, one table for each size. */
export function printWork(work: Work, cells: readonly Cell[]): void {
  for (const size of work.sizes) {
    console.log(`\n${work.title}; ${size.name}`)
    const ofSize = cells.filter((cell) => cell.size === size)
    const [base] = ofSize
    if (!base) continue
    const redisBase = ofSize.find(({ lane }) => lane.contestant.hasRedis)
    printTable([
      [
        '',
        'Node CPU us',
        `against ${base.lane.title}`,
        'Redis CPU us',
        `against ${redisBase?.lane.title ?? 'none'}`,
        'requests/s',
        'p50 ms',
        'p99 ms',
        'busy %',
        'B sent',
        'B received',
      ],
      ...ofSize.map((cell) => [
        cell.lane.title,
        ofRounds(cell, nodeCpu, 0),
        againstOf(cell, base, nodeCpu),
        ofRounds(cell, redisCpu, 1),
        againstOf(cell, redisBase, redisCpu),
        ofRounds(cell, ({ perSecond }) => perSecond, 0),
        medianOf(cell.rounds.map(({ p50 }) => p50)).toFixed(1),
        medianOf(cell.rounds.map(({ p99 }) => p99)).toFixed(1),
        busyOf(cell),
        bytesOf(cell, 'sent'),
        bytesOf(cell, 'received'),
      ]),
    ])
  }
  printCommands(work, cells)
}

function ofRounds({ rounds }: Measured, what: (round: Round) => number, digits: number): string {
  const numbers = rounds.map(what)
  return numbers.some(Number.isNaN) ? '-' : textOf(spreadOf(numbers), digits)
}

function againstOf(
  cell: Measured,
  base: Measured | undefined,
  what: (round: Round) => number,
): string {
  const parts = base ? ratios(cell, base, what) : []
  return parts.length === 0 || parts.some(Number.isNaN) ? '-' : textOf(spreadOf(parts))
}

/** How much of a core Node, Redis and the load have used, separately for each process of Node. */
function busyOf({ lane, rounds }: Measured): string {
  const { processes = 1 } = lane.contestant
  const part = (what: (round: Round) => number): string => {
    const parts = rounds.map((round) => (what(round) * round.perSecond) / 1e4)
    return parts.some(Number.isNaN) ? '-' : medianOf(parts).toFixed(0)
  }
  return [part(({ cpu }) => cpu / processes), part(redisCpu), part(({ loadCpu }) => loadCpu)].join(
    '/',
  )
}

function bytesOf({ rounds }: Measured, what: 'sent' | 'received'): string {
  const uses = rounds.flatMap(({ redis }) => redis?.[what] ?? [])
  return uses.length > 0 ? Math.abs(medianOf(uses)).toFixed(0) : '-'
}

/** What each contestant sends to its Redis. */
function printCommands(work: Work, cells: readonly Cell[]): void {
  const [size] = work.sizes
  const said = cells
    .filter(({ size: of, commands }) => of === size && commands.length > 0)
    .map(({ lane, commands }) => `  ${lane.title}: ${commands.join(', ')}`)
  if (said.length === 0) return
  console.log('commands of one request, without those that scripts call')
  console.log(said.join('\n'))
}

/**
 * One figure of a lane divided by that of another, round by round, because the load of the machine
 * changes in between.
 */
export function ratios(
  cell: Measured,
  base: Measured,
  what: (round: Round) => number,
): readonly number[] {
  return cell.rounds.map((round, index) => {
    const other = base.rounds[index]
    return other ? what(round) / what(other) : Number.NaN
  })
}
