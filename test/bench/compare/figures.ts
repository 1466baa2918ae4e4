import { ratios } from './report.ts'
import type { Cell, Round } from './rounds.ts'
import { medianOf, printTable, spreadOf, textOf } from './statistics.ts'

/** One thing that this package wants to reach. */
export interface Figure {
  readonly title: string
  readonly reach: string
  readonly reached: string
  /** What was reached over what was to be reached; above 1 it is missed. */
  readonly excess: number
}

const cpu = (round: Round): number => round.cpu
const perSecond = (round: Round): number => round.perSecond
const sent = (round: Round): number => round.redis?.sent ?? Number.NaN

/**
 * The figures that compare, as far as what they need was measured.
 *
 * @param cells What was measured.
 */
export function ratioFigures(cells: readonly Cell[]): readonly Figure[] {
  const find = (work: string, lane: string, keys?: number): Cell | undefined =>
    cells.find(
      (cell) =>
        cell.work.name === work &&
        cell.lane.name === lane &&
        (keys === undefined || (cell.size.keys === keys && cell.size.bytes < 1000)),
    )
  const read = find('read', 'ours', 20)
  const readOfKoaSession = find('read', 'koa-session', 20)
  const change = find('change', 'ours', 100)
  return [
    ...compare('read, 20 keys: CPU against the floor', [read, find('read', 'floor', 20)], cpu, {
      max: 1.15,
    }),
    ...compare(
      'read, 20 keys: requests/s against koa-session rolling',
      [read, readOfKoaSession],
      perSecond,
      { min: 1.7 },
    ),
    ...compare('read, 20 keys: CPU against koa-session rolling', [read, readOfKoaSession], cpu, {
      max: 0.65,
    }),
    ...compare(
      'change one key of 20: CPU against koa-session',
      [find('change', 'ours', 20), find('change', 'koa-session', 20)],
      cpu,
      { max: 0.85 },
    ),
    ...['koa-session', 'koa-generic-session', 'express-session', 'fastify-session'].flatMap(
      (peer) => writeOf(peer, [find('read', 'ours', 100), change], find('change', peer, 100)),
    ),
    ...compare('guest: CPU against bare Koa', [find('guest', 'ours'), find('guest', 'koa')], cpu, {
      max: 1.05,
    }),
    ...growthOf(
      [find('read', 'ours', 1), find('read', 'ours', 100)],
      [find('read', 'floor', 1), find('read', 'floor', 100)],
    ),
  ]
}

type Pair = readonly [Cell | undefined, Cell | undefined]

/** One figure as a ratio, round by round. */
function compare(
  title: string,
  [cell, base]: Pair,
  what: (round: Round) => number,
  limit: { readonly max: number } | { readonly min: number },
): readonly Figure[] {
  if (!cell || !base) return []
  const spread = spreadOf(ratios(cell, base, what))
  const digits = 'max' in limit && limit.max < 0.1 ? 3 : 2
  return [
    {
      title,
      reach: 'max' in limit ? `at most ${limit.max}` : `at least ${limit.min}`,
      reached: textOf(spread, digits),
      excess: 'max' in limit ? spread.median / limit.max : limit.min / spread.median,
    },
  ]
}

/**
 * The bytes that a change sends more than a read, against all that the request of a peer sends,
 * whose load is some 60 bytes of it.
 */
function writeOf(peer: string, [read, change]: Pair, base: Cell | undefined): readonly Figure[] {
  if (!read || !change || !base) return []
  const whole = medianOf(change.rounds.map(sent))
  const write = whole - medianOf(read.rounds.map(sent))
  const all = medianOf(base.rounds.map(sent))
  return [
    {
      title: `change one key of 10 KB: bytes of the write against ${peer}`,
      reach: 'at most 0.03',
      reached: `${(write / all).toFixed(3)}: ${write.toFixed(0)} of ${all.toFixed(0)}; ${whole.toFixed(0)} with the load`,
      excess: write / all / 0.03,
    },
  ]
}

/** What 100 keys cost more than one, against what they cost the floor more. */
function growthOf(ours: Pair, floor: Pair): readonly Figure[] {
  const growth = ([one, hundred]: Pair): number | undefined =>
    one && hundred && medianOf(hundred.rounds.map(cpu)) - medianOf(one.rounds.map(cpu))
  const [oursGrows, floorGrows] = [growth(ours), growth(floor)]
  if (oursGrows === undefined || floorGrows === undefined) return []
  return [
    {
      title: 'growth of a read from 1 to 100 keys, against the floor',
      reach: 'at most 1',
      reached: `${(oursGrows / floorGrows).toFixed(2)}: ${oursGrows.toFixed(1)} us against ${floorGrows.toFixed(1)} us`,
      excess: oursGrows / floorGrows,
    },
  ]
}

/**
 * Prints the table of figures.
 *
 * @param figures Those that were computed.
 * @param tolerance By which part a figure may be missed.
 * @returns Whether none was missed by more.
 */
export function printFigures(figures: readonly Figure[], tolerance: number): boolean {
  if (figures.length === 0) return true
  const isMissed = ({ excess }: Figure): boolean => !(excess <= 1 + tolerance)
  console.log('\nfigures')
  printTable([
    ['figure', 'reach', 'reached (quartiles)', ''],
    ...figures.map((figure) => [
      figure.title,
      figure.reach,
      figure.reached,
      figure.excess <= 1 ? 'met' : isMissed(figure) ? 'MISSED' : 'missed, within 15 %',
    ]),
    ['heap per million requests', 'flat', 'npm run bench:leaks', ''],
  ])
  const missed = figures.filter(isMissed)
  if (missed.length > 0) console.log(`\nmissed: ${missed.map(({ title }) => title).join('; ')}`)
  return missed.length === 0
}
