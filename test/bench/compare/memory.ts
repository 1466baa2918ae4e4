import { Redis } from 'ioredis'
import { RedisStore } from 'koa-user-sessions'
import { unknownClient } from 'koa-user-sessions/store'
import type { StorePolicy } from 'koa-user-sessions/store'

import { newSecret, newSessionId } from '../../../src/cookie/cookie.ts'
import { sessionKey, userSessionsKey } from '../../../src/store/redis/keys.ts'
import { inLanes } from '../../scenarios/workers.ts'
import { startRedisServer } from '../../support/redis-server.ts'
import type { Figure } from './figures.ts'
import { medianOf, printTable } from './statistics.ts'

const maxBytes = 480
const sessions = 10_000
const inFlight = 50
const prefix = 'sess:'
const policy: StorePolicy = {
  expiry: { refreshMs: 60_000, absoluteTimeoutMs: 2_592_000_000 },
  limits: { storageBytes: 262_144, storageKeys: 256 },
  maxSessions: undefined,
  timeoutMs: 1000,
}
const client = {
  ...unknownClient,
  appName: 'Chrome',
  appVersion: '131',
  platform: 'Windows',
  systemVersion: '11',
}

/** Bytes of each session. */
interface Memory {
  /** Of the text and its key, by `MEMORY USAGE`. */
  readonly state: number
  /** Its share of its user's index, by `MEMORY USAGE`. */
  readonly index: number
  /** Of both and everything that Redis needs around them, by `used_memory`. */
  readonly used: number
}

/** Stores 10 000 sessions: the user of each, by its number. */
async function memoryOf(userNameOf: (number: number) => string): Promise<Memory> {
  const server = await startRedisServer()
  const redis = new Redis(server.url)
  const store = new RedisStore(redis, { prefix })
  const ids: string[] = []
  const create = async (number: number): Promise<void> => {
    const id = newSessionId()
    const userName = userNameOf(number)
    const storage = new Map([
      ['cart', `["tea-${number % 1000}"]`],
      ['theme', '"dark"'],
      ['visits', String(number % 1000)],
    ])
    const draft = {
      type: 'web' as const,
      ip: '203.0.113.7',
      client,
      idleTimeoutMs: 3_600_000,
      userName,
      privileges: [],
      roles: [],
      storage,
    }
    const credential = { id, secretHash: newSecret(id).secretHash }
    const { status } = await store.create({ credential, draft, signsIn: userName !== '' }, policy)
    if (status !== 'created') throw new Error(`not created but ${status}`)
    ids.push(id)
  }
  const used = async (): Promise<number> => {
    // After everything that runs in the background.
    await redis.ping()
    return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1])
  }
  const usage = async (key: string): Promise<number> =>
    (await redis.memory('USAGE', key, 'SAMPLES', 0)) ?? Number.NaN
  try {
    // The memory of the scripts, the connection and the first keys.
    await inLanes(100, inFlight, create)
    await redis.flushall()
    ids.length = 0
    const empty = await used()
    await inLanes(sessions, inFlight, create)
    const full = await used()
    const states: number[] = []
    for (const id of ids.slice(0, 500)) states.push(await usage(sessionKey(prefix, id)))
    const names = new Set(Array.from({ length: sessions }, (_, number) => userNameOf(number)))
    names.delete('')
    let indexes = 0
    for (const name of names) indexes += await usage(userSessionsKey(prefix, name))
    return {
      state: medianOf(states),
      index: indexes / sessions,
      used: (full - empty) / sessions,
    }
  } finally {
    redis.disconnect()
    await server.stop()
  }
}

/**
 * The Redis memory of a session with a user, an address, the description of a client and 3 small
 * values.
 */
export async function memoryFigures(): Promise<readonly Figure[]> {
  const kinds = [
    ['one session for each user', (number: number) => `user${number}@example.com`],
    ['ten sessions for each user', (number: number) => `user${number % 1000}@example.com`],
    ['nobody signed in: the state alone', () => ''],
  ] as const
  const measured: (readonly [string, Memory])[] = []
  for (const [name, userNameOf] of kinds) measured.push([name, await memoryOf(userNameOf)])

  console.log('\nbytes of a session in Redis')
  printTable([
    ['', 'state (MEMORY USAGE)', 'index (MEMORY USAGE)', 'sum', 'used_memory'],
    ...measured.map(([name, { state, index, used }]) => [
      name,
      state.toFixed(0),
      index.toFixed(0),
      (state + index).toFixed(0),
      used.toFixed(0),
    ]),
  ])
  return measured.slice(0, 2).map(([name, { state, index, used }]) => ({
    title: `Redis memory per session, ${name}`,
    reach: `at most ${maxBytes} B`,
    reached: `${(state + index).toFixed(0)} B by MEMORY USAGE, ${used.toFixed(0)} B by used_memory`,
    excess: (state + index) / maxBytes,
  }))
}
