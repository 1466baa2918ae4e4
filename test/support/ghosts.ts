import { EventEmitter, once } from 'node:events'
import type { Server } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

import type { Redis } from 'ioredis'
import Koa from 'koa'
import { session } from 'koa-user-sessions'
import type { RedisClient } from 'koa-user-sessions'

import { sessionKey } from '../../src/store/redis/keys.ts'
import { storedSession } from './stored-text.ts'

const waitMs = 30_000

/** Writes that are hit by a fault between the lookup of their session and their commit. */
export interface GhostRound {
  /** The app's client. */
  readonly redis: RedisClient
  /** The test's own client, bypassing the fault; used only while Redis answers. */
  readonly admin: Redis
  readonly prefix: string
  /** How many: alternately changes of an existing session, and new sessions. */
  readonly writes: number
  readonly storeTimeoutMs: number
  readonly begin: () => unknown
  readonly end: () => unknown
  /**
   * Whether Redis keeps running meanwhile: what is stored before the end was then in time.
   *
   * @default false
   */
  readonly runsOn?: boolean
}

/** The result. */
export interface GhostCount {
  /** Answered 503. */
  readonly refused: number
  /** Answered 503, and stored after the deadline. */
  readonly applied: number
}

/**
 * Has a fault hit writes, and counts those that are stored after their deadline.
 *
 * @param round The fault.
 */
export async function countGhosts(round: GhostRound): Promise<GhostCount> {
  const { redis, admin, prefix, writes, storeTimeoutMs } = round
  const newIds = new Map<string, string>()
  const gate = new EventEmitter().setMaxListeners(0)
  const app = new Koa()
  app.silent = true
  app.use(session({ redis, prefix, storeTimeoutMs, limits: { storageKeys: writes + 1 } }))
  app.use(async (ctx) => {
    const name = ctx.path.slice(1)
    ctx.session.storage[name] = 1
    ctx.body = ctx.session.id
    if (name === 'first') return
    if (ctx.session.isNew) newIds.set(name, ctx.session.id)
    await once(gate, 'opens')
  })
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const ask = async (name: string, cookie = ''): Promise<Response> =>
    fetch(`http://127.0.0.1:${portOf(server)}/${name}`, { headers: { cookie } })

  // The client may still be connecting.
  let first = await ask('first')
  await until(async () => first.ok || (first = await ask('first')).ok)
  const id = await first.text()
  const cookie = first.headers.getSetCookie()[0]?.split(';', 1)[0]
  const names = Array.from({ length: writes }, (_value, index) => `ghost${index}`)
  const stored = async (): Promise<ReadonlySet<string>> => {
    const { storage } = (await storedSession(admin, sessionKey(prefix, id))).record
    const found = new Set(names.filter((name) => storage.has(name)))
    for (const [name, newId] of newIds) {
      if ((await admin.exists(sessionKey(prefix, newId))) === 1) found.add(name)
    }
    return found
  }

  const asked = names.map((name, index) => ask(name, index % 2 === 0 ? cookie : ''))
  await until(() => gate.listenerCount('opens') === writes)
  await round.begin()
  gate.emit('opens')
  const answers = await Promise.all(asked)
  // The last deadline of all.
  await delay(storeTimeoutMs)
  const inTime = round.runsOn ? await stored() : new Set<string>()
  await round.end()
  await until(async () => (await ask('first', cookie)).ok)
  // What the client resends comes together with its next command.
  await delay(storeTimeoutMs)
  const refused = new Set(names.filter((_name, index) => answers[index]?.status === 503))
  const after = await stored()
  const applied = [...after].filter((name) => refused.has(name) && !inTime.has(name))
  server.closeAllConnections()
  server.close()
  return { refused: refused.size, applied: applied.length }
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + waitMs
  while (!(await condition())) {
    if (performance.now() > end) throw new Error('waited in vain')
    await delay(20)
  }
}

function portOf(server: Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the app does not listen')
  return address.port
}
