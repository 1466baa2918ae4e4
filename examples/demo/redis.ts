import { Redis } from 'ioredis'
import { recommendedRedisOptions } from 'koa-user-sessions'

/** Connects to Redis. Never fails at once: while Redis is away, pages that need a session say so. */
export function connectRedis(url: string): Redis {
  const redis = new Redis(url, recommendedRedisOptions)
  let isAway = false
  // Without a listener ioredis prints a stack trace for every try.
  redis.on('error', (error: NodeJS.ErrnoException) => {
    if (!isAway) console.error(`Redis is away: ${error.message || error.code}`)
    isAway = true
  })
  redis.on('ready', () => {
    if (isAway) console.error('Redis is back.')
    isAway = false
  })
  return redis
}
