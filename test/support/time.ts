import type { Redis } from 'ioredis'
import { MemoryStore, RedisStore } from 'koa-user-sessions'
import type { SessionStore } from 'koa-user-sessions'
import { onTestFinished, vi } from 'vitest'

import { connectRedis, uniquePrefix } from './redis-client.ts'

/** An empty store and a hand on its time. */
export interface TimedStore {
  readonly store: SessionStore
  /** Lets time pass for all sessions in the store, without waiting. */
  readonly passTime: (ms: number) => Promise<void>
}

/** Both stores, for `it.each`: a name and a way to make an empty one whose time can pass. */
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
      }
    },
  ],
]

/**
 * Lets time pass for the keys of a prefix: moves all instants back that they have, and what is left
 * of their time.
 *
 * @param redis That of the store, so that what the store has sent comes first.
 * @param prefix Of the store.
 * @param ms How much.
 */
export async function passRedisTime(redis: Redis, prefix: string, ms: number): Promise<void> {
  const instants = new Set(['b', 'l', 'e'])
  for (const key of await redis.keys(`${prefix}*`)) {
    if ((await redis.type(key)) === 'zset') {
      for (const id of await redis.zrange(key, '0', '-1')) await redis.zincrby(key, -ms, id)
    } else {
      for (const [field, value] of Object.entries(await redis.hgetall(key))) {
        const isSecret = field.startsWith('k:') && value !== '0'
        if (instants.has(field) || isSecret || field.startsWith('o:')) {
          await redis.hset(key, field, String(Number(value) - ms))
        }
      }
    }
    const remainingMs = await redis.pttl(key)
    if (remainingMs >= 0) await redis.pexpire(key, remainingMs - ms)
  }
}
