// Processes make random requests on shared sessions, and their records are checked against the rules.
// The seed is printed; the same seed makes the same requests, in an order that the machine decides.
//
//   npm run soak
//   npm run soak -- --minutes 10 --seed 7

import { randomInt } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { newSecret } from '../../src/cookie/cookie.ts'
import { checkHistory } from './history.ts'
import type { Action, Call, Violation } from './history.ts'
import type { Step } from './worker.ts'
import { openStage, Random } from './workers.ts'
import type { Stage } from './workers.ts'

/** How many processes a soak has. */
export const soakWorkers = 4

/** The size of a round. */
export interface RoundSize {
  /** Cookie jars; each starts with a session of its own. */
  readonly browsers: number
  /** Requests that each has in flight at once. */
  readonly tabs: number
  readonly callsPerTab: number
}

/** The result of a round. */
export interface RoundResult {
  readonly calls: readonly Call[]
  readonly violations: readonly Violation[]
  /** Sessions that still exist after an acknowledged end. */
  readonly undead: number
  /** How often the most important rules came into play. */
  readonly seen: Readonly<Record<Happening, number>>
}

/** What can happen in a round. */
export type Happening =
  | 'found live'
  | 'opened nothing'
  | 'refused'
  | 'ended'
  | 'joined'
  | 'moved'
  | 'unknown outcome'

const users = ['ann', 'bob', 'cid']
const counters = ['count0', 'count1']
const registers = ['text0', 'text1', 'text2']

/** A browser: what it sends next, and what an attacker may have copied from it. */
interface Jar {
  cookie: string | undefined
  readonly known: string[]
  readonly ids: string[]
}

/**
 * Has all workers make random requests, then visits with every cookie value, and checks everything.
 *
 * @param stage Where.
 * @param seed Decides the requests.
 * @param size How much.
 */
export async function runRound(stage: Stage, seed: number, size: RoundSize): Promise<RoundResult> {
  const calls: Call[] = []
  const jars: Jar[] = Array.from({ length: size.browsers }, () => ({
    cookie: undefined,
    known: [],
    ids: [],
  }))
  const tabs = jars.flatMap((jar, browser) =>
    Array.from({ length: size.tabs }, async (_, tab) => {
      const random = new Random(seed * 7_919 + browser * 131 + tab)
      for (let index = 0; index < size.callsPerTab; index++) {
        const action = chooseAction(random, jar, `${browser}.${tab}.${index}`)
        const cookie = chooseCookie(random, jar)
        calls.push(await request(stage, random.below(soakWorkers), { cookie, action, jar }))
      }
    }),
  )
  await Promise.all(tabs)

  const values = [...new Set(jars.flatMap(({ known }) => known))]
  const visits = values.map((cookie, index) =>
    request(stage, index, { cookie, action: { do: 'read' } }),
  )
  calls.push(...(await Promise.all(visits)))
  return {
    calls,
    violations: checkHistory(calls),
    undead: await countUndead(stage, calls),
    seen: happenings(calls),
  }
}

/** Mostly the current one; sometimes a copy of an earlier one, none, or a forged one. */
function chooseCookie(random: Random, { cookie, known, ids }: Jar): string | undefined {
  const dice = random.next()
  const id = ids.at(-1)
  if (dice < 0.02 && id !== undefined) return newSecret(id).value
  return dice < 0.88 ? cookie : random.pick([...known, undefined])
}

function chooseAction(random: Random, jar: Jar, unique: string): Action {
  const dice = random.next()
  const key = random.pick(registers)
  const value = `value ${unique}`
  if (dice < 0.2) return { do: 'read' }
  if (dice < 0.5) return { do: 'write', key, value }
  if (dice < 0.75) return { do: 'increment', key: random.pick(counters) }
  if (dice < 0.9) {
    const userName = random.pick(users)
    const privileges = [`is:${userName}`, ...(random.chance(0.5) ? [`more:${userName}`] : [])]
    return { do: 'login', userName, privileges, key, value }
  }
  if (dice < 0.94) return { do: 'regenerate' }
  const id = jar.ids.at(-1)
  if (dice < 0.97 && id !== undefined) return { do: 'terminate', id }
  return { do: 'logout' }
}

async function request(
  stage: Stage,
  worker: number,
  {
    cookie,
    action,
    jar,
  }: { readonly cookie: string | undefined; readonly action: Action; readonly jar?: Jar },
): Promise<Call> {
  const { cookie: set, ...outcome } = await stage.ask(worker, { cookie, steps: stepsOf(action) })
  if (jar && typeof set === 'string') {
    jar.cookie = set
    jar.known.push(set)
    if (outcome.after) jar.ids.push(outcome.after.id)
  } else if (jar && set === null) {
    jar.cookie = undefined
  }
  return { ...outcome, cookie, action, ...(set !== undefined && { set }) }
}

function stepsOf(action: Action): readonly Step[] {
  if (action.do === 'read') return []
  if (action.do !== 'login') return [action]
  return [action, { do: 'write', key: action.key, value: action.value }]
}

/** Ended by an acknowledged sign-out or by id, but still stored. */
async function countUndead(stage: Stage, calls: readonly Call[]): Promise<number> {
  const ended = new Set<string>()
  for (const { action, view, error } of calls) {
    if (error !== undefined) continue
    if (action.do === 'terminate') ended.add(action.id)
    else if (action.do === 'logout' && view) ended.add(view.id)
  }
  return ended.size === 0 ? 0 : stage.redis.exists([...ended].map((id) => stage.keyOf(id)))
}

function happenings(calls: readonly Call[]): RoundResult['seen'] {
  const count = (is: (call: Call) => unknown): number => calls.filter(is).length
  const rotated = new Set(
    calls.filter(({ set }) => typeof set === 'string').map(({ cookie }) => cookie),
  )
  const answers = new Map<string, number>()
  for (const { cookie, set, view, after } of calls) {
    if (cookie === undefined || typeof set !== 'string' || after?.id !== view?.id) continue
    answers.set(cookie, (answers.get(cookie) ?? 0) + 1)
  }
  return {
    'found live': count(({ view }) => view),
    'opened nothing': count(
      ({ cookie, view, isLoaded }) => cookie !== undefined && isLoaded && !view,
    ),
    refused: count(({ error }) => error === 'ERR_SESSION_ENDED'),
    ended: count(
      ({ action, view }) => action.do === 'terminate' || (action.do === 'logout' && view),
    ),
    // Two requests with the same value that both got another one for the same session.
    joined: [...answers.values()].filter((times) => times > 1).length,
    // A sign-in that found a session that it could use, but went into a new one.
    moved: count(
      (call) =>
        call.action.do === 'login' &&
        typeof call.set === 'string' &&
        call.view?.userName === '' &&
        call.view.id !== call.after?.id &&
        rotated.has(call.cookie),
    ),
    'unknown outcome': count(({ error }) => error !== undefined && error !== 'ERR_SESSION_ENDED'),
  }
}

/**
 * Text that shows what is wrong, with the calls in order.
 *
 * @param violation What to show.
 */
export function describeViolation({ rule, text, calls }: Violation): string {
  const start = Math.min(...calls.map(({ invoked }) => invoked))
  const lines = calls
    .toSorted((a, b) => a.invoked - b.invoked)
    .map(({ invoked, loaded, committing, returned, ...call }) => {
      const times = [invoked, loaded, committing, returned].map((at) => (at - start).toFixed(2))
      return `  at ${times.join(' ')} ms ${JSON.stringify(call)}`
    })
  return [`${rule}: ${text}`, ...lines].join('\n')
}

async function main(minutes: number, seed: number): Promise<void> {
  process.stdout.write(`seed ${seed}, ${minutes} minutes\n`)
  const stage = await openStage(soakWorkers)
  const until = performance.now() + minutes * 60_000
  const seen: Partial<Record<string, number>> = {}
  let rounds = 0
  let calls = 0
  try {
    while (performance.now() < until && process.exitCode === undefined) {
      const roundSeed = seed + rounds
      const size = { browsers: 4 + (rounds % 3) * 4, tabs: 6, callsPerTab: 50 }
      const result = await runRound(stage, roundSeed, size)
      rounds++
      calls += result.calls.length
      for (const [name, count] of Object.entries(result.seen)) {
        seen[name] = (seen[name] ?? 0) + count
      }
      for (const violation of result.violations.slice(0, 10)) {
        process.stdout.write(`round of seed ${roundSeed}: ${describeViolation(violation)}\n`)
      }
      if (result.undead > 0) {
        process.stdout.write(`round of seed ${roundSeed}: ${result.undead} ended sessions exist\n`)
      }
      if (result.violations.length > 0 || result.undead > 0) process.exitCode = 1
      await stage.redis.flushall()
    }
  } finally {
    await stage.close()
  }
  const counts = Object.entries(seen).map(([name, count]) => `${count} ${name}`)
  process.stdout.write(`${rounds} rounds, ${calls} calls: ${counts.join(', ')}\n`)
  process.stdout.write(process.exitCode === undefined ? 'nothing wrong\n' : 'WRONG\n')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { minutes: { type: 'string', default: '1' }, seed: { type: 'string' } },
  })
  const minutes = Number(values.minutes)
  const seed = values.seed === undefined ? randomInt(1_000_000) : Number(values.seed)
  if (!(minutes > 0) || !Number.isInteger(seed)) {
    throw new TypeError('--minutes must be a number above 0, --seed an integer')
  }
  await main(minutes, seed)
}
