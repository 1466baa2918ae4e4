// What it costs to keep, to list and to end the sessions of a user: round trips, time and memory, on
// private servers.
//
//   npm run bench -- sessions
//   npm run bench -- sessions --million
//
// Times are medians of interleaved rounds, with the shortest and the longest; only their ratios mean
// anything on a shared machine. Memory is Redis' own `used_memory`, before and after.

import { parseArgs } from 'node:util'

import { Redis } from 'ioredis'
import { RedisStore } from 'koa-user-sessions'
import { unknownClient } from 'koa-user-sessions/store'
import type { RecordDraft, SessionCredential, StorePolicy } from 'koa-user-sessions/store'

import { newSecret, newSessionId } from '../../src/cookie/cookie.ts'
import { userSessionsKey } from '../../src/store/redis/keys.ts'
import { inLanes } from '../scenarios/workers.ts'
import { destroyAll } from '../store/contract-parts.ts'
import { startRedisServer } from '../support/redis-server.ts'
import { SteppedRedis } from '../support/round-trips.ts'

const rounds = 9
const inFlight = 50
const policy: StorePolicy = {
  expiry: { refreshMs: 60_000, absoluteTimeoutMs: 2_592_000_000 },
  limits: { storageBytes: 262_144, storageKeys: 256 },
  maxSessions: undefined,
  timeoutMs: 1000,
}

const clients = [
  { appName: 'Chrome', appVersion: '131', platform: 'Windows', systemVersion: '11' },
  { appName: 'Firefox', appVersion: '132', platform: 'Linux', systemVersion: '24.04' },
  { appName: 'Safari', appVersion: '17.5', platform: 'macOS', systemVersion: '14.5' },
]

interface Place {
  readonly redis: Redis
  readonly stepped: SteppedRedis
  readonly store: RedisStore
  /** Bytes. */
  readonly usedMemory: () => Promise<number>
  readonly close: () => Promise<void>
}

/** A server of its own. */
async function open(): Promise<Place> {
  const server = await startRedisServer()
  const redis = new Redis(server.url)
  const stepped = new SteppedRedis(redis)
  await redis.ping()
  return {
    redis,
    stepped,
    store: new RedisStore(stepped),
    async usedMemory() {
      const info = await redis.info('memory')
      return Number(/^used_memory:(\d+)/m.exec(info)?.[1])
    },
    async close() {
      redis.disconnect()
      await server.stop()
    },
  }
}

type Parts = Partial<RecordDraft> & { readonly userName: string }

/** A session with the usual properties and 3 small values. */
function typical(userName: string, number: number): Parts {
  const storage = new Map([
    ['cart', `["tea-${number % 1000}"]`],
    ['theme', '"dark"'],
    ['visits', String(number % 1000)],
  ])
  return {
    userName,
    storage,
    client: { ...unknownClient, ...clients[number % clients.length], country: 'Germany' },
    privileges: ['browse'],
  }
}

async function create(store: RedisStore, parts: Parts): Promise<SessionCredential> {
  const id = newSessionId()
  const credential = { id, secretHash: newSecret(id).secretHash }
  const draft: RecordDraft = {
    type: 'web',
    ip: '203.0.113.7',
    client: unknownClient,
    idleTimeoutMs: 3_600_000,
    privileges: [],
    roles: [],
    storage: new Map(),
    ...parts,
  }
  const { status } = await store.create(
    { credential, draft, signsIn: parts.userName !== '' },
    policy,
  )
  if (status !== 'created') throw new Error(`not created but ${status}`)
  return credential
}

async function fill(
  store: RedisStore,
  count: number,
  partsOf: (n: number) => Parts,
): Promise<void> {
  await inLanes(count, inFlight, async (number) => {
    await create(store, partsOf(number))
  })
}

/** Work that is measured, round after round. */
interface Task {
  readonly name: string
  /** Not measured. */
  readonly before?: () => Promise<unknown>
  readonly work: () => Promise<unknown>
  /** Milliseconds of each round. */
  readonly times: number[]
}

async function measure(tasks: readonly Task[]): Promise<void> {
  for (let round = 0; round <= rounds; round++) {
    for (const { before, work, times } of tasks) {
      await before?.()
      const start = performance.now()
      await work()
      // The first round warms up.
      if (round > 0) times.push(performance.now() - start)
    }
  }
}

function medianOf(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN
}

function spanOf(times: readonly number[]): string {
  const [median, least, most] = [medianOf(times), Math.min(...times), Math.max(...times)]
  return `${median.toFixed(2)} ms (${least.toFixed(2)}-${most.toFixed(2)})`
}

async function measureCalls(): Promise<void> {
  const place = await open()
  const { store, stepped, redis } = place
  try {
    const tasks: Task[] = [10, 100, 1000].map((count) => ({
      name: `list ${count} sessions`,
      work: () => store.list(`user ${count}`),
      times: [],
    }))
    const fillOne = (): Promise<void> => fill(store, 1000, (number) => typical('ended', number))
    tasks.push({
      name: 'end 1000 sessions',
      before: fillOne,
      work: () => destroyAll(store, 'ended'),
      times: [],
    })
    for (const count of [10, 100, 1000]) {
      await fill(store, count, (number) => typical(`user ${count}`, number))
    }
    await measure(tasks)
    console.log('what                 round trips   commands   time')
    for (const { name, before, work, times } of tasks) {
      await before?.()
      await redis.ping()
      const { trips, unanswered } = await stepped.roundTrips(work)
      const commands = trips.flat().length + unanswered.length
      console.log(
        `${name.padEnd(21)}${String(trips.length).padEnd(14)}${String(commands).padEnd(11)}${spanOf(times)}`,
      )
    }
  } finally {
    await place.close()
  }
}

const memoryCount = 10_000

interface Memory {
  readonly whole: number
  readonly index: number
}

/** Bytes of each of 10 000 sessions, and those of their indexes. */
async function memoryOf(partsOf: (number: number) => Parts): Promise<Memory> {
  const place = await open()
  const { store, redis, usedMemory } = place
  try {
    // The memory of the scripts, the connection and the first keys.
    await fill(store, 100, (number) => typical(`warm ${number}`, number))
    await destroyAll(store, 'warm 1')
    await redis.flushall()
    const empty = await usedMemory()
    await fill(store, memoryCount, partsOf)
    // After everything that runs in the background.
    await redis.ping()
    const full = await usedMemory()
    const names = new Set(Array.from({ length: memoryCount }, (_, n) => partsOf(n).userName))
    for (const name of names) await redis.unlink(userSessionsKey('sess:', name))
    const without = await usedMemory()
    return { whole: (full - empty) / memoryCount, index: (full - without) / memoryCount }
  } finally {
    await place.close()
  }
}

function guest(number: number): Parts {
  return { ...typical('', number), privileges: [] }
}

async function measureMemory(): Promise<void> {
  const kinds: readonly (readonly [string, (number: number) => Parts])[] = [
    ['one session for each user', (n) => typical(`user${n}@example.com`, n)],
    ['ten for each user', (n) => typical(`user${n % 1000}@example.com`, n)],
    ['the same without user and index', guest],
    ['and without what describes the client', (n) => ({ ...guest(n), client: unknownClient })],
    ['and without values', () => ({ userName: '' })],
  ]
  console.log('\nbytes a session                          all   of it in the index')
  for (const [name, partsOf] of kinds) {
    const { whole, index } = await memoryOf(partsOf)
    const ofIndex = partsOf(0).userName === '' ? '' : index.toFixed(0)
    console.log(`${name.padEnd(39)}${whole.toFixed(0).padStart(5)}${ofIndex.padStart(10)}`)
  }
}

/** A store with that many sessions: ten users with ten each, the other users with one each. */
interface Populated extends Place {
  readonly sample: readonly SessionCredential[]
  readonly users: readonly string[]
}

async function populate(count: number): Promise<Populated> {
  const place = await open()
  const users = Array.from({ length: 10 }, (_, number) => `many${number}@example.com`)
  const sample: SessionCredential[] = []
  const start = performance.now()
  await inLanes(count, 200, async (number) => {
    const userName = number < 100 ? users[number % 10]! : `user${number}@example.com`
    const credential = await create(place.store, typical(userName, number))
    if (number % Math.ceil(count / 1000) === 0) sample.push(credential)
    if (number > 0 && number % 100_000 === 0) {
      const seconds = ((performance.now() - start) / 1000).toFixed(0)
      process.stderr.write(`${number} sessions stored after ${seconds} s\n`)
    }
  })
  await place.redis.ping()
  return { ...place, sample, users }
}

async function measureMillion(): Promise<void> {
  const few = await populate(1000)
  const emptyMemory = await few.usedMemory()
  const many = await populate(1_000_000)
  try {
    const tasksOf = ({ store, sample, users }: Populated): Task[] => {
      let created: SessionCredential[] = []
      return [
        {
          name: '500 request loads',
          work: () =>
            inLanes(500, inFlight, async (number) => {
              const credential = sample[(number * 7919) % sample.length]!
              const outcome = await store.load(credential, policy, true)
              if (outcome?.status !== 'live') throw new Error('a session is missing')
            }),
          times: [],
        },
        {
          name: '100 lists of 10',
          work: () =>
            inLanes(100, 10, async (number) => {
              const { length } = await store.list(users[number % users.length]!)
              if (length !== 10) throw new Error(`${length} sessions and not 10`)
            }),
          times: [],
        },
        {
          name: '500 terminations',
          before: async () => {
            created = await Promise.all(
              Array.from({ length: 500 }, (_, n) => create(store, typical(`ended${n}`, n))),
            )
          },
          work: () =>
            inLanes(500, inFlight, async (number) => {
              const ended = await store.destroy(created[number]!.id, `ended${number}`)
              if (!ended) throw new Error('a session is missing')
            }),
          times: [],
        },
      ]
    }
    const [tasksOfFew, tasksOfMany] = [tasksOf(few), tasksOf(many)]
    await measure(tasksOfFew.flatMap((task, index) => [task, tasksOfMany[index]!]))
    console.log(
      '\nwhat                 1 000 stored                1 000 000 stored            ratio',
    )
    for (const [index, { name, times }] of tasksOfFew.entries()) {
      const timesOfMany = tasksOfMany[index]!.times
      const ratio = medianOf(timesOfMany) / medianOf(times)
      console.log(
        `${name.padEnd(21)}${spanOf(times).padEnd(28)}${spanOf(timesOfMany).padEnd(28)}${ratio.toFixed(2)}`,
      )
    }
    const bytes = ((await many.usedMemory()) - emptyMemory) / (1_000_000 - 1000)
    console.log(`bytes a session with 1 000 000 stored: ${bytes.toFixed(0)}`)
  } finally {
    await few.close()
    await many.close()
  }
}

const { values } = parseArgs({ options: { million: { type: 'boolean', default: false } } })
if (values.million) {
  await measureMillion()
} else {
  await measureCalls()
  await measureMemory()
}
