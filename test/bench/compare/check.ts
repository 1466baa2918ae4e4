import { setTimeout as delay } from 'node:timers/promises'

import type { Redis } from 'ioredis'

import { decodeSession, encodeSession } from '../../../src/store/session-text.ts'
import type { Server } from './server.ts'
import { stringBytes } from './text-bytes.ts'
import type { Size } from './works.ts'

const idleMs = 3_600_000
// Ours lets a session live `refreshSeconds` longer, koa-session keeps it 10 s longer than its cookie.
const graceMs = 61_000
// Ours does not delay the response for it.
const refreshTries = 100
const refreshEveryMs = 10

/**
 * Makes sure that a server really reads, changes and keeps sessions alive, and does not confuse
 * them.
 *
 * @param server A fresh one.
 * @param size Of the session.
 * @throws {Error} When a response is wrong.
 */
export async function checkServer(server: Server, size: Size): Promise<void> {
  const { contestant, redis, urls } = server
  const expect = (what: string, got: unknown, wanted: unknown): void => {
    if (got === wanted) return
    throw new Error(
      `${contestant.name}, ${size.name}, ${what}: ${String(got)}, not ${String(wanted)}`,
    )
  }
  expect('a page', await server.get('/page'), 'page')
  expect('a guest', await server.get('/read'), 'guest')
  if (!contestant.hasSessions) return

  if (redis) expect('keys after guests', await redis.client.dbsize(), 0)
  const { cookie, body } = await server.signIn(size)
  const [userName = ''] = body.split(' ')
  expect('the sign-in', body, `${userName} 00000000`)
  if (redis && size.textBytes !== undefined) {
    expect('bytes of the session', (await stringBytes(redis))[0], size.textBytes)
  }
  const other = await server.signIn(size)
  expect('the read', await server.get('/read', { cookie }), `${userName} 00000000`)
  expect('the change', await server.get('/change', { cookie }), `${userName} 00000001`)
  for (const url of urls) {
    expect('the read after it', await server.get('/read', { cookie }, url), `${userName} 00000001`)
  }
  const ofOther = await server.get('/read', { cookie: other.cookie })
  expect('the other session', ofOther, other.body)
  expect('a guest after it', await server.get('/read'), 'guest')
  if (!redis) return

  await age(redis.client)
  await server.get('/read', { cookie })
  let kept = 0
  for (let tries = 0; tries < refreshTries && kept === 0; tries++) {
    if (tries > 0) await delay(refreshEveryMs)
    kept = await countFresh(redis.client)
  }
  expect('sessions kept alive by a read', kept, 1)
  await redis.client.flushall()
}

/** Lets half of the idle timeout pass. */
async function age(redis: Redis): Promise<void> {
  for (const key of await redis.keys('*')) {
    // Ours stores the last activity in its text, the others only in the time to live.
    const id = /\{([-0-9a-f]{36})\}$/.exec(key)?.[1]
    const session = id && decodeSession(id, (await redis.get(key)) ?? '')
    if (session) {
      await redis.set(key, encodeSession({ ...session, activeAt: session.activeAt - idleMs / 2 }))
    }
    await redis.pexpire(key, idleMs / 2)
  }
}

/** How many sessions have their full time to live. */
async function countFresh(redis: Redis): Promise<number> {
  const lives = await Promise.all((await redis.keys('*')).map((key) => redis.pttl(key)))
  return lives.filter((ms) => ms > idleMs - 5000 && ms <= idleMs + graceMs).length
}
