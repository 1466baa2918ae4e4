import type { Redis } from 'ioredis'
import { MemoryStore, RedisStore } from 'koa-user-sessions'
import type { SessionStore } from 'koa-user-sessions'
import { onTestFinished, vi } from 'vitest'

import { decodeSession, encodeSession } from '../../src/store/session-text.ts'
import type { StoredSession } from '../../src/store/stored-session.ts'
import { connectRedis, uniquePrefix } from './redis-client.ts'

/** An empty store with a controllable time. */
export interface TimedStore {
  readonly store: SessionStore
  /** Lets time pass for all sessions in the store, without waiting. */
  readonly passTime: (ms: number) => Promise<void>
  /** Waits for what requests have left to the background, such as a refresh. */
  readonly isQuiet: () => Promise<void>
}

/** Both stores, for `it.each`: a name and a function that makes an empty one with controllable time. */
export const timedStoreKinds: readonly (readonly [string, () => TimedStore])[] = [
  [
    'MemoryStore',
    () => {
      vi.useFakeTimers({ toFake: ['Date'] })
      onTestFinished(() => {
        vi.useRealTimers()
      })
      return {
        store: new MemoryStore(),
        passTime: async (ms) => {
          vi.setSystemTime(Date.now() + ms)
        },
        isQuiet: async () => {},
      }
    },
  ],
  [
    'RedisStore',
    () => {
      const [redis, prefix] = [connectRedis(), uniquePrefix()]
      return {
        store: new RedisStore(redis, { prefix }),
        passTime: (ms) => passRedisTime(redis, prefix, ms),
        isQuiet: () => backgroundIsDone(redis),
      }
    },
  ],
]

/**
 * Lets time pass for the keys of a prefix: moves all their instants back, and shortens their time
 * to live.
 *
 * @param redis That of the store, so that what the store has sent comes first.
 * @param prefix Of the store.
 * @param ms How much.
 */
export async function passRedisTime(redis: Redis, prefix: string, ms: number): Promise<void> {
  await backgroundIsDone(redis)
  for (const key of await redis.keys(`${prefix}*`)) {
    const remainingMs = await redis.pttl(key)
    if ((await redis.type(key)) === 'zset') {
      for (const id of await redis.zrange(key, '0', '-1')) await redis.zincrby(key, -ms, id)
    } else {
      const text = (await redis.get(key)) ?? ''
      const session = decodeSession('', text)
      if (session) await redis.set(key, encodeSession(earlier(session, ms)), 'KEEPTTL')
    }
    if (remainingMs >= 0) await redis.pexpire(key, remainingMs - ms)
  }
}

/**
 * Waits for commands of a store that are not awaited: a refresh after a load goes out with the next
 * turn of the event loop, and a second time when Redis does not know the script.
 *
 * @param redis That of the store.
 */
export async function backgroundIsDone(redis: Redis): Promise<void> {
  for (let trips = 0; trips < 3; trips++) {
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
    await redis.ping()
  }
}

/** The same session, with all of its instants moved back by that time. */
export function earlier(session: StoredSession, ms: number): StoredSession {
  const { record, secrets, otps, activeAt } = session
  return {
    ...session,
    // A request that has loaded the session must notice.
    revision: session.revision + 1,
    record: {
      ...record,
      createdAt: record.createdAt - ms,
      signedInAt: record.signedInAt === 0 ? 0 : record.signedInAt - ms,
      endsAt: record.endsAt - ms,
    },
    activeAt: activeAt - ms,
    secrets: secrets.map(({ hash, madeAt, isJoined, rotatedAt }) => ({
      hash,
      madeAt: madeAt - ms,
      isJoined,
      rotatedAt: rotatedAt === 0 ? 0 : rotatedAt - ms,
    })),
    otps: otps.map(({ hash, goodUntil }) => ({ hash, goodUntil: goodUntil - ms })),
  }
}
