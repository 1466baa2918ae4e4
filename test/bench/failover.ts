// What requests get from an app whose Redis master, behind Sentinel, is killed or frozen. Prints
// a table and fails when a figure is missed.
//
//   npm run bench -- failover

import { once } from 'node:events'
import { Agent, request } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

import { Redis } from 'ioredis'
import Koa from 'koa'
import { recommendedSentinelOptions, session } from 'koa-user-sessions'

import { downAfterMs, startRedisSentinel } from '../support/redis-sentinel.ts'

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly ms: number
  /** When it was there, by `performance.now()`. */
  readonly at: number
}

interface Row {
  readonly figure: string
  readonly reached: string
  readonly isMet: boolean
}

const inFlight = 50
const guestsInFlight = 2
const warmUp = 2000
const mostGapMs = downAfterMs + 3500
const givesUpAfterMs = 20_000

const agent = new Agent({ keepAlive: true, maxSockets: inFlight + guestsInFlight })
const rows: Row[] = []

for (const deadlineMs of [1000, 250]) {
  for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
    rows.push(...(await failover(signal, deadlineMs)))
  }
}

const width = Math.max(...rows.map(({ figure }) => figure.length))
for (const { figure, reached, isMet } of rows) {
  console.log(`${isMet ? 'ok     ' : 'MISSED '} ${figure.padEnd(width)}  ${reached}`)
}
agent.destroy()
process.exitCode = rows.every(({ isMet }) => isMet) ? 0 : 1

/** Takes a master away under load, until as many requests as are in flight have succeeded. */
async function failover(
  signal: 'SIGKILL' | 'SIGSTOP',
  deadlineMs: number,
): Promise<readonly Row[]> {
  const set = await startRedisSentinel()
  const redis = new Redis({ ...set.connection, ...recommendedSentinelOptions })
  redis.on('error', () => {})
  await once(redis, 'ready')
  const app = new Koa()
  app.silent = true
  app.use(session({ redis, storeTimeoutMs: deadlineMs }))
  app.use((ctx) => {
    if (ctx.path === '/page') ctx.body = 'page'
    else if (ctx.path === '/sign-in') ctx.session.setPrivileges({ userName: 'ann' })
    else if (ctx.path === '/write') ctx.session.storage['count'] = Math.random()
    else ctx.body = ctx.session.userName
    ctx.status = 200
  })
  const listening = app.listen(0, '127.0.0.1')
  await once(listening, 'listening')
  const address = listening.address()
  const port = typeof address === 'object' ? address?.port : undefined

  const answers: Answer[] = []
  const guests: Answer[] = []
  let lostAt = Infinity
  let good = 0
  const isOver = (): boolean => good >= inFlight || performance.now() - lostAt > givesUpAfterMs
  const lane = async (to: Answer[], path: string, cookie?: string): Promise<void> => {
    while (!isOver()) {
      const answer = await ask(port, path, cookie)
      to.push(answer)
      // The new master gives the first good response after half of the time until the old one is missed.
      if (cookie && answer.status === 200 && answer.at > lostAt + downAfterMs / 2) good++
      // A client that was refused comes back a little later.
      if (answer.status !== 200) await delay(10)
    }
  }

  const { headers } = await ask(port, '/sign-in')
  const cookie = headers['set-cookie']?.[0]?.split(';')[0] ?? ''
  const lanes = Array.from({ length: inFlight }, (_, index) =>
    lane(answers, index % 5 === 0 ? '/write' : '/me', cookie),
  )
  for (let guest = 0; guest < guestsInFlight; guest++) lanes.push(lane(guests, '/page'))
  while (answers.length < warmUp) await delay(10)
  await set.inSync()
  const master = await set.master()
  lostAt = performance.now()
  master.kill(signal)
  await Promise.all(lanes)

  redis.disconnect()
  listening.close()
  await set.stop()
  return figures(`${signal === 'SIGKILL' ? 'killed' : 'frozen'}, deadline ${deadlineMs} ms`, {
    answers,
    guests,
    lostAt,
    deadlineMs,
  })
}

function ask(port: number | undefined, path: string, cookie?: string): Promise<Answer> {
  const start = performance.now()
  return new Promise((resolve, reject) => {
    const headers = cookie === undefined ? {} : { cookie }
    request({ host: '127.0.0.1', port, path, agent, headers }, (response) => {
      response.resume().on('end', () => {
        const { statusCode: status = 0, headers: answered } = response
        const at = performance.now()
        resolve({ status, headers: answered, ms: at - start, at })
      })
    })
      .on('error', reject)
      .end()
  })
}

function figures(
  what: string,
  {
    answers,
    guests,
    lostAt,
    deadlineMs,
  }: {
    readonly answers: readonly Answer[]
    readonly guests: readonly Answer[]
    readonly lostAt: number
    readonly deadlineMs: number
  },
): readonly Row[] {
  const during = answers.filter(({ at }) => at > lostAt)
  const refused = during.filter(({ status, headers }) => status === 503 && headers['retry-after'])
  const others = during.filter(({ status }) => status !== 200).length - refused.length
  const gap = longestGap(answers)
  const longest = Math.max(...during.map(({ ms }) => ms))
  const before = answers.filter(({ at }) => at <= lostAt).slice(warmUp / 2)
  const usual = Math.max(...before.map(({ ms }) => ms))
  const failed = guests.filter(({ status }) => status !== 200).length
  return [
    {
      figure: `${what}: no good answer for at most ${mostGapMs} ms`,
      reached: `${gap.toFixed(0)} ms`,
      isMet: gap <= mostGapMs,
    },
    {
      figure: `${what}: no request over ${deadlineMs} + 50 ms`,
      reached: `${longest.toFixed(0)} ms of ${during.length}, ${inFlight} at once; ${usual.toFixed(0)} ms before`,
      isMet: longest <= deadlineMs + 50,
    },
    {
      figure: `${what}: what is refused is 503 with Retry-After`,
      reached: `${refused.length}, otherwise ${others}`,
      isMet: refused.length > 0 && others === 0,
    },
    {
      figure: `${what}: not one guest failed`,
      reached: `${failed} of ${guests.length}`,
      isMet: failed === 0 && guests.length > 0,
    },
  ]
}

/** The longest time between two good responses; Infinity when none followed the refused ones. */
function longestGap(answers: readonly Answer[]): number {
  const sorted = answers.toSorted((one, other) => one.at - other.at)
  if (sorted.at(-1)?.status !== 200) return Infinity
  const good = sorted.filter(({ status }) => status === 200)
  return Math.max(...good.slice(1).map(({ at }, index) => at - (good[index]?.at ?? at)))
}
