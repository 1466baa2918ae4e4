// What requests get from an app whose Redis is frozen or killed. Prints a table and fails when
// a figure is missed.
//
//   npm run bench -- faults

import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'

import { Redis } from 'ioredis'
import Koa from 'koa'
import type * as Package from 'koa-user-sessions'

import { startRedisServer } from '../support/redis-server.ts'
import { agent, ask, Visitors } from './visitors.ts'
import type { Answer } from './visitors.ts'

interface GuestRound {
  readonly failed: number
  /** In ms. */
  readonly measured: Readonly<Record<'median' | 'p99' | 'CPU a request', number>>
}

interface Row {
  readonly figure: string
  readonly reached: string
  readonly isMet: boolean
}

// The built package, which people run, and not the sources.
const dist = new URL('../../dist/index.js', import.meta.url).href
const { recommendedRedisOptions, session }: typeof Package = await import(dist)

const deadlineMs = 1000
const inFlight = 100
const requests = 3000
const guestRounds = 15
const guestsPerRound = 1000
// The median over pairs of rounds, which on an idle machine is within 10 % of 1. A guest that waited for
// Redis would take a hundred times as long.
const maxSlower = 1.25

let server = await startRedisServer()
const redis = new Redis(server.url, recommendedRedisOptions)
redis.on('error', () => {})
await once(redis, 'ready')
const app = new Koa()
app.silent = true
app.use(session({ redis, storeTimeoutMs: deadlineMs }))
app.use((ctx) => {
  if (ctx.path === '/page') ctx.body = 'page'
  else if (ctx.path === '/sign-in') {
    ctx.session.setPrivileges({ userName: 'ann' })
    ctx.body = 'in'
  } else ctx.body = ctx.session.userName
})
const listening = app.listen(0, '127.0.0.1')
await once(listening, 'listening')
const address = listening.address()
const port = typeof address === 'object' ? (address?.port ?? 0) : 0

const visitors = new Visitors()

async function signIn(): Promise<string> {
  return (await ask({ port, path: '/sign-in' })).cookie ?? ''
}

/** This many requests, {@link inFlight} at a time. */
function load(count: number, path: string, cookie?: string): Promise<readonly Answer[]> {
  return visitors.visit({ port, path, cookie, count, inFlight })
}

/** The value that this fraction of the numbers does not exceed. */
function quantile(numbers: readonly number[], part: number): number {
  return numbers.toSorted((one, other) => one - other)[Math.ceil(numbers.length * part) - 1] ?? 0
}

function p99(answers: readonly Answer[]): number {
  return quantile(
    answers.map(({ ms }) => ms),
    0.99,
  )
}

function refused(answers: readonly Answer[]): number {
  return answers.filter(({ status, retryAfter }) => status === 503 && retryAfter).length
}

/** A round of guests: the time that they and this process needed. */
async function guests(cookie: string, isFrozen: boolean): Promise<GuestRound> {
  if (isFrozen) server.kill('SIGSTOP')
  // A signed-in user, who notices, and whose request is in progress meanwhile.
  const member = ask({ port, path: '/me', cookie })
  const before = process.cpuUsage()
  const answers = await load(guestsPerRound, '/page')
  const { user, system } = process.cpuUsage(before)
  if (isFrozen) server.kill('SIGCONT')
  await member
  await backAfter(async () => cookie)
  const times = answers.map(({ ms }) => ms)
  return {
    failed: answers.filter(({ status }) => status !== 200).length,
    measured: {
      median: quantile(times, 0.5),
      p99: quantile(times, 0.99),
      'CPU a request': (user + system) / 1000 / guestsPerRound,
    },
  }
}

/** Rounds of guests with a healthy and with a frozen Redis, by turns; each pair is compared. */
async function compareGuests(cookie: string): Promise<void> {
  const pairs: { readonly well: GuestRound; readonly frozen: GuestRound }[] = []
  for (let round = 0; round < guestRounds; round++) {
    const isFrozenFirst = round % 2 === 1
    const one = await guests(cookie, isFrozenFirst)
    const other = await guests(cookie, !isFrozenFirst)
    pairs.push(isFrozenFirst ? { well: other, frozen: one } : { well: one, frozen: other })
  }
  const failed = pairs.reduce((sum, { well, frozen }) => sum + well.failed + frozen.failed, 0)
  row(
    `guests: none of ${guestRounds} x ${guestsPerRound} failed while frozen, nor while well`,
    `${failed} failed`,
    failed === 0,
  )
  for (const name of ['median', 'p99', 'CPU a request'] as const) {
    const mid = (numbers: readonly number[]): number => quantile(numbers, 0.5)
    const ratio = mid(pairs.map(({ well, frozen }) => frozen.measured[name] / well.measured[name]))
    const well = mid(pairs.map((pair) => pair.well.measured[name]))
    const frozen = mid(pairs.map((pair) => pair.frozen.measured[name]))
    row(
      `guests: ${name} while frozen at most ${maxSlower} times that while well`,
      `${ratio.toFixed(2)} (${frozen.toFixed(2)} ms against ${well.toFixed(2)})`,
      ratio <= maxSlower,
    )
  }
}

async function backAfter(cookie: () => Promise<string>): Promise<number> {
  const start = performance.now()
  while (performance.now() - start < 20_000) {
    const { status } = await ask({ port, path: '/me', cookie: await cookie() })
    if (status === 200) return performance.now() - start
    await delay(5)
  }
  return Infinity
}

const rows: Row[] = []
const row = (figure: string, reached: string, isMet: boolean): void => {
  rows.push({ figure, reached, isMet })
}

const cookie = await signIn()
await load(requests, '/me', cookie)
await load(requests, '/page')
await compareGuests(cookie)

server.kill('SIGSTOP')
const first = await load(inFlight, '/me', cookie)
const later = await load(requests - inFlight, '/me', cookie)
server.kill('SIGCONT')
const thawed = await backAfter(async () => cookie)
const all = [...first, ...later]
row(
  `frozen: ${requests} requests, ${inFlight} at once: all 503 with Retry-After`,
  `${refused(all)}`,
  refused(all) === requests,
)
row(
  `frozen: p99 of the first ${inFlight} at most ${deadlineMs} + 50 ms`,
  `${p99(first).toFixed(0)} ms`,
  p99(first) <= deadlineMs + 50,
)
const alone = later.map(({ ms }) => ms / inFlight)
row(
  'frozen: afterwards at most 5 ms of the server for each',
  `${Math.max(...alone).toFixed(2)} ms, p99 ${p99(later).toFixed(1)} ms with ${inFlight} at once`,
  Math.max(...alone) <= 5,
)
row('frozen: back after it goes on', `${thawed.toFixed(0)} ms`, thawed <= 1000)

await server.stop()
const killedRounds = []
for (let round = 0; round < 5; round++) killedRounds.push(await load(requests, '/me', cookie))
const killed = killedRounds.flat()
const killedP99 = quantile(killedRounds.map(p99), 0.5)
server = await startRedisServer({ port: server.port })
const back = await backAfter(signIn)
row(
  `killed: ${killed.length} requests, ${inFlight} at once: all 503 with Retry-After`,
  `${refused(killed)}`,
  refused(killed) === killed.length,
)
row(
  `killed: p99 at most 25 ms, ${inFlight} at once, the median of ${killedRounds.length} rounds`,
  `${killedP99.toFixed(1)} ms (${killedRounds.map((round) => p99(round).toFixed(1)).join(', ')})`,
  killedP99 <= 25,
)
row('killed: first good answer at most 1 s after it is back', `${back.toFixed(0)} ms`, back <= 1000)

const width = Math.max(...rows.map(({ figure }) => figure.length))
for (const { figure, reached, isMet } of rows) {
  console.log(`${isMet ? 'ok     ' : 'MISSED '} ${figure.padEnd(width)}  ${reached}`)
}
visitors.close()
agent.destroy()
listening.close()
redis.disconnect()
await server.stop()
process.exitCode = rows.every(({ isMet }) => isMet) ? 0 : 1
