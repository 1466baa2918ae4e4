// How the reply of a load is packed: one bulk string, as `load-session.ts` answers, against the same
// script answering a list of bulk strings, and against a bare GETEX of the same data as one JSON text.
//
//   npm run bench:reply
//
// CPU of this process per load (user and system), medians of interleaved rounds; only the ratios mean
// anything on a shared machine.

import { Redis } from 'ioredis'
import { unknownClient } from 'koa-user-sessions'

import { newSecret, newSessionId, parseCookieValue } from '../../src/core/secret.ts'
import { RedisStore } from '../../src/store/redis-store.ts'
import { sessionKey } from '../../src/store/redis/keys.ts'
import { defineScript, runScript } from '../../src/store/redis/script.ts'
import { loadSession } from '../../src/store/redis/scripts/load-session.ts'
import { startRedisServer } from '../support/redis-server.ts'

const rounds = 9
const loadsPerRound = 500
const inFlight = 50
const policy = {
  expiry: { refreshMs: 60_000, absoluteTimeoutMs: 2_592_000_000 },
  limits: { storageBytes: 262_144, storageKeys: 256 },
  maxSessions: undefined,
  timeoutMs: 1000,
}

const listReply = defineScript({
  ...loadSession,
  lua: loadSession.lua.replace(
    /return string\.format\('%\.0f', now\) \.\..*\n$/,
    'return fields\n',
  ),
})

interface Way {
  readonly name: string
  readonly load: () => Promise<unknown>
  readonly costs: number[]
}

async function cpuPerLoad(load: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage()
  for (let done = 0; done < loadsPerRound; done += inFlight) {
    await Promise.all(Array.from({ length: inFlight }, load))
  }
  const { user, system } = process.cpuUsage(before)
  return (user + system) / loadsPerRound
}

/** The fields of a list by name. */
function pairsOf(list: readonly unknown[]): ReadonlyMap<unknown, unknown> {
  const pairs = new Map<unknown, unknown>()
  for (let index = 0; index < list.length; index += 2) pairs.set(list[index], list[index + 1])
  return pairs
}

function medianOf(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN
}

const server = await startRedisServer()
const redis = new Redis(server.url)
const store = new RedisStore(redis)
try {
  if (listReply.lua === loadSession.lua) throw new Error('the script has changed its last line')
  console.log('session          packed us   list us   GETEX+JSON us   list/packed   packed/GETEX')
  for (const [keys, bytes] of [
    [1, 90],
    [20, 40],
    [100, 90],
    [1, 200_000],
  ] as const) {
    const id = newSessionId()
    const credential = parseCookieValue(newSecret(id).value)
    if (!credential) throw new Error('no credential')
    const data = Object.fromEntries(
      Array.from({ length: keys }, (_, index) => [`key${index}`, 'x'.repeat(bytes)]),
    )
    const storage = new Map(Object.entries(data).map(([name, v]) => [name, JSON.stringify(v)]))
    const draft = { type: 'web', ip: '203.0.113.7', idleTimeoutMs: 3_600_000, storage } as const
    const granted = { userName: 'ann', privileges: ['WebAdmin'], roles: [], client: unknownClient }
    await store.create({ credential, draft: { ...draft, ...granted }, signsIn: true }, policy)
    await redis.set('blob', JSON.stringify({ ...draft, ...granted, storage: data }))

    const call = {
      keys: { session: sessionKey('sess:', id) },
      args: {
        secretHash: credential.secretHash,
        refreshMs: 60_000,
        isActivity: 1,
      },
    }
    const ways: Way[] = [
      { name: 'packed', load: () => store.load(credential, policy, true), costs: [] },
      {
        name: 'list',
        load: async () => {
          const reply = await runScript(redis, listReply, call)
          return pairsOf(Array.isArray(reply) ? reply : [])
        },
        costs: [],
      },
      {
        name: 'GETEX',
        load: async () => JSON.parse((await redis.getex('blob', 'EX', 3660)) ?? ''),
        costs: [],
      },
    ]
    for (let round = 0; round <= rounds; round++) {
      for (const { load, costs } of ways) {
        const cost = await cpuPerLoad(load)
        // The first round warms up.
        if (round > 0) costs.push(cost)
      }
    }
    const [packed = 0, list = 0, getex = 0] = ways.map(({ costs }) => medianOf(costs))
    const row = [packed, list, getex].map((us) => us.toFixed(1).padStart(10)).join('')
    console.log(
      `${`${keys} x ${bytes} B`.padEnd(15)}${row}${(list / packed).toFixed(2).padStart(16)}` +
        (packed / getex).toFixed(2).padStart(14),
    )
  }
} finally {
  redis.disconnect()
  await server.stop()
}
