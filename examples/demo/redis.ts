import { Redis } from 'ioredis'

/** Connects to Redis. Never fails at once: while Redis is away, pages that need a session say so. */
export function connectRedis(url: string): Redis {
  const redis = new Redis(url, {
    connectTimeout: 1000,
    // A request waits for one new connection at most, and is then answered 503.
    maxRetriesPerRequest: 1,
    // So that the shop is back within a second of Redis.
    retryStrategy: (tries) => Math.min(tries * 100, 1000),
  })
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
