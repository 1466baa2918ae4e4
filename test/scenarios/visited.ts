// A process with an app that gets visits, some of them while its Redis is frozen, then closes what it
// has opened, reports what it has seen and exits on its own. `leaks.test.ts` starts it.

import { setTimeout as delay } from 'node:timers/promises'

import { Redis } from 'ioredis'
import { MemoryStore, recommendedRedisOptions } from 'koa-user-sessions'

import { footprint, listenersOf } from '../support/footprint.ts'
import { Mix, requestsPerVisit } from '../support/mix.ts'
import { startMixedApp } from '../support/mixed-app.ts'

/** What the process is started with, as JSON in the environment variable `VISITED`. */
export interface VisitedOptions {
  readonly requests: number
  /** Without it the sessions are in memory. */
  readonly redis?: { readonly url: string; readonly pid: number }
  /** Whether Redis is frozen when the app closes. */
  readonly endsFrozen?: boolean
}

/** What the process writes, as one line of JSON, just before it has nothing left to do. */
export interface VisitedReport {
  /** What it held before the visits, and after them. */
  readonly before: Held
  readonly after: Held
  /** How many requests were answered, by status. */
  readonly statuses: Readonly<Record<string, number>>
  /** Unhandled rejections, and warnings. */
  readonly complaints: readonly string[]
  /** Whether calls were refused at the end, because Redis does not answer. */
  readonly wasRefused: boolean
  /** Whether the client still worked when the sessions were closed. */
  readonly isClientOpen: boolean
}

/** The counts that must not grow. */
export interface Held {
  /** Including those that do not keep the process alive. */
  readonly timers: number
  readonly listeners: number
  readonly resources: Readonly<Record<string, number>>
}

const lanes = 4
const settleMs = 2500

const options: VisitedOptions = JSON.parse(process.env['VISITED'] ?? '{}')
// Long enough for a leaked timer to be seen.
const storeTimeoutMs = options.endsFrozen ? 200 : 5000
const complaints: string[] = []
process.on('unhandledRejection', (reason) => complaints.push(String(reason)))
process.on('warning', ({ name, message }) => {
  // For the look at what is held.
  if (!message.startsWith('v8.queryObjects()')) complaints.push(`${name}: ${message}`)
})
// With the recommended options the client gives up first, and the circuit never opens.
const redisOptions = options.endsFrozen ? {} : recommendedRedisOptions
const redis = options.redis && new Redis(options.redis.url, { ...redisOptions, lazyConnect: true })
redis?.on('error', () => {})
await redis?.connect()
const { sessions, listening, port } = await startMixedApp(
  redis ? { redis, storeTimeoutMs } : { store: new MemoryStore() },
)
const mixes = Array.from({ length: lanes }, (_, lane) => new Mix(port, `user${lane}`))
let wasRefused = false
sessions.on('session:storeError', ({ error }) => {
  wasRefused ||= error?.message === 'the session store does not answer'
})

async function held(): Promise<Held> {
  const { objects, resources } = await footprint()
  const emitters = redis ? [process, redis, redis.stream] : [process]
  return { timers: objects['timers'] ?? 0, listeners: listenersOf(...emitters), resources }
}

async function visits(isEnough: () => boolean): Promise<void> {
  const visitOn = async (mix: Mix): Promise<void> => {
    while (!isEnough()) await mix.visit()
  }
  await Promise.all(mixes.map(visitOn))
}

function statuses(): Record<string, number> {
  const all: Record<string, number> = {}
  for (const mix of mixes) {
    for (const [status, count] of mix.statuses) all[status] = (all[status] ?? 0) + count
  }
  return all
}

function failed(): number {
  return statuses()['503'] ?? 0
}

function freeze(isFrozen: boolean): void {
  if (options.redis) process.kill(options.redis.pid, isFrozen ? 'SIGSTOP' : 'SIGCONT')
}

await Promise.all(mixes.map((mix) => mix.open()))
for (let count = 0; count < 10; count++) await Promise.all(mixes.map((mix) => mix.visit()))
await delay(settleMs)
const before = await held()

let left = Math.ceil(options.requests / requestsPerVisit)
await visits(() => left-- <= 0)
if (redis) {
  freeze(true)
  await visits(() => failed() >= 20)
  freeze(false)
  for (let tries = 0; tries < 100; tries++) {
    const count = failed()
    await Promise.all(mixes.map((mix) => mix.visit()))
    if (failed() === count) break
    await delay(50)
  }
}
await delay(settleMs)
const after = await held()

if (options.endsFrozen) {
  wasRefused = false
  freeze(true)
  await visits(() => wasRefused)
}
for (const mix of mixes) mix.close()
listening.close()
await sessions.close()
let isClientOpen = false
if (options.endsFrozen) {
  redis?.disconnect()
} else {
  isClientOpen = (await redis?.ping()) === 'PONG'
  await redis?.quit()
}
const report: VisitedReport = {
  before,
  after,
  statuses: statuses(),
  complaints,
  wasRefused,
  isClientOpen,
}
process.stdout.write(`${JSON.stringify(report)}\n`)
