// What a server keeps after a million requests: visits of several users to an app in a process of its
// own, by its real HTTP server, with a look at its memory, timers, listeners and sockets after each
// tenth, when nothing is in progress. On a private Redis, in memory, and on a Redis that is frozen
// and is killed in between. The exit code is 1 when something grows, is left or fails.
//
//   npm run bench -- leaks
//   npm run bench -- leaks --requests 100000 --only redis

import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { Redis } from 'ioredis'
import { MemoryStore, recommendedRedisOptions } from 'koa-user-sessions'

import { footprint, listenersOf } from '../support/footprint.ts'
import type { Footprint } from '../support/footprint.ts'
import { Mix } from '../support/mix.ts'
import { startMixedApp } from '../support/mixed-app.ts'
import { startRedisServer } from '../support/redis-server.ts'
import type { TestRedis } from '../support/redis-server.ts'

const kinds = ['redis', 'memory', 'outage'] as const
type Kind = (typeof kinds)[number]

const lanes = 24
const samples = 10
const warmUpRequests = 50_000
// As many verified tokens as the package remembers: that cache is meant to fill.
const rememberedTokens = 10_000
const maxGrowth = 0.05
// When the right number is not known, as for functions, which the engine creates lazily: a leak at
// each thousandth request is more.
const maxNewObjects = 200

/** What the process of the server reports about itself. */
interface Sample extends Footprint {
  readonly listeners: number
  /** Unhandled rejections and warnings so far. */
  readonly complaints: readonly string[]
}

interface Row {
  readonly figure: string
  readonly reached: string
  readonly isMet: boolean
}

/** The process of the server. */
async function serve(kind: Kind, redisUrl: string): Promise<void> {
  const complaints: string[] = []
  process.on('unhandledRejection', (reason) =>
    complaints.push(`unhandled rejection: ${String(reason)}`),
  )
  process.on('warning', ({ name, message }) => {
    // For the look at what is held.
    if (!message.startsWith('v8.queryObjects()')) complaints.push(`${name}: ${message}`)
  })
  // So that a busy machine causes no outage of its own.
  const patience = kind === 'redis' ? 20_000 : undefined
  const redis =
    kind === 'memory'
      ? undefined
      : new Redis(redisUrl, {
          ...recommendedRedisOptions,
          ...(patience && { socketTimeout: patience }),
        })
  redis?.on('error', () => {})
  if (redis) await once(redis, 'ready')
  const { port, sessions } = await startMixedApp({
    ...(redis ? { redis } : { store: new MemoryStore() }),
    ...(patience && { storeTimeoutMs: patience }),
  })
  sessions.on('session:storeError', () => {})
  const { session } = await sessions.open({ userName: 'user00', applicationId: 'cli' })
  for (let count = 0; count < rememberedTokens; count++) {
    await sessions.run(await session.createNestedToken({ userName: 'guest of it' }), () => {})
  }
  await session.destroy()
  process.on('message', async () => {
    const emitters = redis ? [process, redis, redis.stream] : [process]
    const sample: Sample = {
      ...(await footprint()),
      listeners: listenersOf(...emitters),
      complaints: [...complaints],
    }
    process.send?.(sample)
  })
  process.once('disconnect', () => process.exit())
  process.send?.(port)
}

function startServer(kind: Kind, redis: TestRedis | undefined): ChildProcess {
  return fork(fileURLToPath(import.meta.url), ['--only', kind, '--serve', redis?.url ?? ''], {
    execArgv: [...process.execArgv, '--expose-gc', '--disable-warning=ExperimentalWarning'],
  })
}

async function answerOf<T>(child: ChildProcess): Promise<T> {
  const answered: T[] = await once(child, 'message')
  return answered[0]!
}

/** Visits by all lanes, until this many requests are answered. Returns how many were. */
async function load(
  mixes: readonly Mix[],
  isEnough: (answered: number) => boolean,
): Promise<number> {
  let answered = 0
  const visitOn = async (mix: Mix): Promise<void> => {
    while (!isEnough(answered)) {
      const count = await mix.visit()
      answered += count
    }
  }
  await Promise.all(mixes.map(visitOn))
  return answered
}

function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length
}

/** The line of best fit through values at 0, 1, 2 …: how far the last is above the first. */
function growthOf(values: readonly number[]): number {
  const meanAt = (values.length - 1) / 2
  const meanValue = mean(values)
  const slope =
    mean(values.map((value, at) => (at - meanAt) * (value - meanValue))) /
    mean(values.map((_value, at) => (at - meanAt) ** 2))
  const first = meanValue - slope * meanAt
  return (slope * (values.length - 1)) / first
}

function statusesOf(mixes: readonly Mix[]): Map<number, number> {
  const all = new Map<number, number>()
  for (const { statuses } of mixes) {
    for (const [status, count] of statuses) all.set(status, (all.get(status) ?? 0) + count)
    statuses.clear()
  }
  return all
}

function textOf(counts: Iterable<readonly [unknown, number]>): string {
  const texts = [...counts].map(([what, count]) => `${String(what)}: ${count}`)
  return texts.toSorted().join(', ')
}

async function measure(kind: Kind, requests: number): Promise<readonly Row[]> {
  let redis = kind === 'memory' ? undefined : await startRedisServer()
  const child = startServer(kind, redis)
  const port = await answerOf<number>(child)
  const mixes = Array.from({ length: lanes }, (_, lane) => new Mix(port, `user${lane}`))
  const sample = async (): Promise<Sample> => {
    // What continues after the last response: entries that are removed, connections that close.
    await delay(1000)
    child.send('sample')
    return answerOf<Sample>(child)
  }
  const open = async (): Promise<void> => {
    await Promise.all(mixes.map((mix) => mix.open()))
  }
  const inRedis = async (): Promise<string> => {
    if (!redis) return 'no Redis'
    const client = new Redis(redis.url)
    try {
      const clients = /^connected_clients:(\d+)/m.exec(await client.info('clients'))?.[1]
      return `${await client.dbsize()} keys, ${Number(clients) - 1} connections`
    } finally {
      client.disconnect()
    }
  }

  const seen: Sample[] = []
  let answered = 0
  let duringOutage: ReadonlyMap<number, number> = new Map()
  const start = performance.now()
  try {
    await open()
    await load(mixes, (count) => count >= warmUpRequests)
    statusesOf(mixes)
    await open()
    seen.push(await sample())
    const redisBefore = await inRedis()
    for (let part = 1; part <= samples; part++) {
      if (kind === 'outage' && redis && part === samples / 2) {
        let isOver = false
        const loading = load(mixes, () => isOver)
        redis.kill('SIGSTOP')
        await delay(4000)
        redis.kill('SIGCONT')
        await delay(2000)
        redis.kill('SIGKILL')
        await redis.stop()
        await delay(3000)
        redis = await startRedisServer({ port: redis.port })
        await delay(2000)
        isOver = true
        await loading
        await open()
        duringOutage = statusesOf(mixes)
      }
      answered += await load(mixes, (count) => count >= requests / samples)
      seen.push(await sample())
      const { heapUsed } = seen.at(-1)!.memory
      console.log(`${kind}: ${answered} requests, heap ${megabytes(heapUsed)} MB`)
    }
    const statuses = statusesOf(mixes)
    const failed = [...statuses]
      .filter(([status]) => status !== 200 && status !== 403)
      .reduce((sum, [, count]) => sum + count, 0)
    // A machine busy with other work is an outage, too, if the client is told to detect one.
    const maxFailed = kind === 'outage' ? Math.floor(answered / 100) : 0
    const rows = judge(seen)
    if (kind === 'outage') {
      rows.push({
        figure: 'answers in the outage, 503 among them',
        reached: textOf(duringOutage),
        isMet: duringOutage.has(503),
      })
      // A user whose sign-out failed is still signed in.
      await open()
      await delay(1000)
    }
    const redisAfter = await inRedis()
    rows.push(
      {
        figure: 'keys in Redis and connections as before',
        reached: `${redisBefore}, then ${redisAfter}`,
        isMet: redisBefore === redisAfter,
      },
      {
        figure: `all other answers 200, but for the guard and ${maxFailed} of them`,
        reached: textOf(statuses),
        isMet: failed <= maxFailed,
      },
    )
    const perSecond = (answered + warmUpRequests) / ((performance.now() - start) / 1000)
    console.log(`${kind}: ${perSecond.toFixed(0)} requests a second`)
    return rows
  } finally {
    for (const mix of mixes) mix.close()
    child.kill()
    await redis?.stop()
  }
}

function megabytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(2)
}

function judge(seen: readonly Sample[]): Row[] {
  const first = seen[0]!
  const last = seen.at(-1)!
  const rows: Row[] = []
  for (const name of ['heapUsed', 'rss', 'external'] as const) {
    const values = seen.map(({ memory }) => memory[name])
    const growth = growthOf(values)
    rows.push({
      figure: `${name}: less than ${maxGrowth * 100} % more`,
      reached: `${(growth * 100).toFixed(2)} %; MB: ` + values.map(megabytes).join(' '),
      isMet: growth < maxGrowth,
    })
  }
  for (const name of Object.keys(first.objects)) {
    const values = seen.map(({ objects }) => objects[name] ?? 0)
    const most = name === 'timers' || name === 'abort signals' ? 0 : maxNewObjects
    rows.push({
      figure: `${name}: at most ${most} more`,
      reached: values.join(' '),
      isMet: last.objects[name]! <= first.objects[name]! + most,
    })
  }
  rows.push({
    figure: 'what keeps the process alive as before',
    reached: `${textOf(Object.entries(first.resources))}, then ${textOf(Object.entries(last.resources))}`,
    isMet: textOf(Object.entries(first.resources)) === textOf(Object.entries(last.resources)),
  })
  rows.push({
    figure: 'listeners of process, client and connection as before',
    reached: `${first.listeners}, then ${last.listeners}`,
    isMet: first.listeners === last.listeners,
  })
  rows.push({
    figure: 'no unhandled rejection, no warning',
    reached: last.complaints.join(', '),
    isMet: last.complaints.length === 0,
  })
  return rows
}

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '1000000' },
    only: { type: 'string' },
    serve: { type: 'string' },
  },
})
const chosen = kinds.filter((kind) => values.only === undefined || values.only === kind)
if (values.serve === undefined) {
  const requests = Number(values.requests)
  if (!(requests >= samples) || chosen.length === 0) {
    throw new TypeError(`--requests must be a number, --only one of ${kinds.join(', ')}`)
  }
  const missed: Row[] = []
  for (const kind of chosen) {
    const rows = await measure(kind, requests)
    const width = Math.max(...rows.map(({ figure }) => figure.length))
    for (const { figure, reached, isMet } of rows) {
      console.log(`  ${isMet ? 'ok     ' : 'MISSED '} ${figure.padEnd(width)}  ${reached}`)
    }
    missed.push(...rows.filter(({ isMet }) => !isMet))
  }
  process.exitCode = missed.length === 0 ? 0 : 1
} else {
  await serve(chosen[0]!, values.serve)
}
