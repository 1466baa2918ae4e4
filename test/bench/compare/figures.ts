import { ratios } from './report.ts'
import type { Cell, Round } from './rounds.ts'
import { medianOf, printTable, spreadOf, textOf } from './statistics.ts'
import { sizes } from './works.ts'
import type { Size } from './works.ts'

/** One target of this package. */
export interface Figure {
  readonly title: string
  readonly reach: string
  readonly reached: string
  /**
   * The result divided by the target; above 1 the target is missed. `undefined` when there is no
   * target, or when it could not be measured.
   */
  readonly excess: number | undefined
}

/** The target; absent for a figure without one. */
interface Limit {
  readonly max?: number | undefined
  readonly min?: number | undefined
}

type Pair = readonly [Cell | undefined, Cell | undefined]

const cpu = (round: Round): number => round.cpu
const redisCpu = (round: Round): number => round.redisCpu ?? Number.NaN
const perSecond = (round: Round): number => round.perSecond
const sent = (round: Round): number => round.redis?.sent ?? Number.NaN

/**
 * The figures that compare, as far as their data was measured.
 *
 * @param cells What was measured.
 */
export function ratioFigures(cells: readonly Cell[]): readonly Figure[] {
  const find = (work: string, lane: string, size: Size): Cell | undefined =>
    cells.find((cell) => cell.work.name === work && cell.lane.name === lane && cell.size === size)
  const against = (work: string, lane: string, size: Size): Pair => [
    find(work, 'ours', size),
    find(work, lane, size),
  ]
  const { three, twenty, hundred, large, signIn, withObject, none } = sizes
  const threeSizes = [three, twenty, hundred] as const
  const added = (name: string): readonly Figure[] =>
    difference(`an object of 2 KB read and not changed, ${name}: Node CPU over reading nothing`, [
      find('object', `${name}-object`, withObject),
      find('object', `${name}-nothing`, withObject),
    ])
  const signIns = [
    ['login', 'sign-in with a user name'],
    ['unnamed-login', 'sign-in without a user name'],
  ] as const
  return [
    ...threeSizes.flatMap((size) =>
      compare(
        titleOf('read: Redis CPU against the floor', size),
        against('read', 'floor', size),
        redisCpu,
        { max: 0.9 },
      ),
    ),
    ...threeSizes.flatMap((size, index) =>
      compare(
        titleOf('read: Node CPU against the floor', size),
        against('read', 'floor', size),
        cpu,
        { max: [1.3, 1.25, 1.2][index] },
      ),
    ),
    ...threeSizes.flatMap((size, index) =>
      compare(
        titleOf('read: requests/s against koa-session', size),
        against('read', 'koa-session', size),
        perSecond,
        { min: [undefined, 1.6, 3][index] },
      ),
    ),
    ...threeSizes.flatMap((size, index) =>
      compare(
        titleOf('change: Redis CPU against koa-session', size),
        against('change', 'koa-session', size),
        redisCpu,
        { max: [0.9, 0.9, 1.7][index] },
      ),
    ),
    ...threeSizes.flatMap((size, index) =>
      compare(
        titleOf('change: Node CPU against koa-session', size),
        against('change', 'koa-session', size),
        cpu,
        { max: [1.05, 0.9, 0.5][index] },
      ),
    ),
    ...['koa-session', 'koa-generic-session', 'express-session', 'fastify-session'].flatMap(
      (peer) =>
        compare(
          `change one key of 10 KB: bytes to Redis, load included, against ${peer}`,
          against('change', peer, hundred),
          sent,
          { max: 0.04 },
        ),
    ),
    ...compare(
      '200 KB, read: Redis CPU against koa-session',
      against('read', 'koa-session', large),
      redisCpu,
      { max: 1 },
    ),
    ...compare(
      '200 KB, read: Node CPU against koa-session',
      against('read', 'koa-session', large),
      cpu,
      { max: 0.333 },
    ),
    ...compare(
      '200 KB, change: Redis CPU against koa-session',
      against('change', 'koa-session', large),
      redisCpu,
    ),
    ...compare(
      '200 KB, change: Node CPU against koa-session',
      against('change', 'koa-session', large),
      cpu,
    ),
    ...signIns.flatMap(([work, title]) =>
      compare(`${title}: Node CPU against koa-session`, against(work, 'koa-session', signIn), cpu, {
        max: 1.5,
      }),
    ),
    ...compare(
      'two processes, read, 20 keys: requests/s against koa-session with two',
      against('two-processes', 'koa-session', twenty),
      perSecond,
      { min: 1.7 },
    ),
    ...threeSizes.flatMap((size) =>
      compare(
        titleOf('read in memory: Node CPU against bare Koa', size),
        [find('read', 'ours-memory', size), find('read', 'koa', size)],
        cpu,
        size === twenty ? { max: 1.35 } : {},
      ),
    ),
    ...compare('guest: Node CPU against bare Koa', against('guest', 'koa', none), cpu, {
      max: 1.05,
    }),
    ...added('ours'),
    ...added('koa-session'),
    ...loadFigures(cells),
  ]
}

function titleOf(what: string, { keys }: Size): string {
  return `${what}, ${keys} keys`
}

/** One figure as a ratio, round by round. */
function compare(
  title: string,
  [cell, base]: Pair,
  what: (round: Round) => number,
  { max, min }: Limit = {},
): readonly Figure[] {
  if (!cell || !base) return []
  const reach = max ? `at most ${max}` : min ? `at least ${min}` : ''
  const parts = ratios(cell, base, what)
  if (parts.some(Number.isNaN)) {
    return [{ title, reach, reached: 'not measured', excess: undefined }]
  }
  const spread = spreadOf(parts)
  return [
    {
      title,
      reach,
      reached: textOf(spread, max && max < 0.1 ? 3 : 2),
      excess: max ? spread.median / max : min && min / spread.median,
    },
  ]
}

/** What a lane takes more than another, round by round. */
function difference(title: string, [cell, base]: Pair): readonly Figure[] {
  if (!cell || !base) return []
  const micros = cell.rounds.map((round, index) => {
    const other = base.rounds[index]
    return other ? round.cpu - other.cpu : Number.NaN
  })
  return [{ title, reach: '', reached: `${textOf(spreadOf(micros), 1)} us`, excess: undefined }]
}

/** The servers, not the load, must do most of the work. */
function loadFigures(cells: readonly Cell[]): readonly Figure[] {
  const parts = cells.map(({ work, size, lane, rounds }) => {
    const { processes = 1 } = lane.contestant
    const part = medianOf(rounds.map((round) => (round.loadCpu * processes) / round.cpu))
    return { part, name: `${work.name}, ${size.name}, ${lane.title}` }
  })
  const [most] = parts.toSorted((one, other) => other.part - one.part)
  if (!most) return []
  return [
    {
      title: "the load's CPU against that of one server process, where it is most",
      reach: 'at most 0.9',
      reached: `${most.part.toFixed(2)}: ${most.name}`,
      excess: most.part / 0.9,
    },
  ]
}

/**
 * Prints the table of figures.
 *
 * @param figures The computed ones.
 * @param tolerance The fraction by which a figure may miss its target.
 * @returns Whether none missed by more.
 */
export function printFigures(figures: readonly Figure[], tolerance: number): boolean {
  if (figures.length === 0) return true
  const isMissed = ({ excess }: Figure): boolean =>
    excess !== undefined && !(excess <= 1 + tolerance)
  const verdictOf = (figure: Figure): string => {
    if (figure.excess === undefined) return ''
    if (figure.excess <= 1) return 'met'
    return isMissed(figure) ? 'MISSED' : 'missed, within 15 %'
  }
  console.log('\nfigures')
  printTable([
    ['figure', 'reach', 'reached (quartiles)', ''],
    ...figures.map((figure) => [figure.title, figure.reach, figure.reached, verdictOf(figure)]),
    ['heap per million requests', 'flat', 'npm run bench -- leaks', ''],
  ])
  const missed = figures.filter(isMissed)
  if (missed.length > 0) console.log(`\nmissed: ${missed.map(({ title }) => title).join('; ')}`)
  return missed.length === 0
}
