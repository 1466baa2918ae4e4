/** Options of ioredis by which a client fails fast and comes back soon. */
export interface RecommendedRedisOptions {
  /** Milliseconds. A connection that takes longer is tried anew. */
  readonly connectTimeout: number
  /** Milliseconds. A connection that is silent for so long though commands wait is made anew. */
  readonly socketTimeout: number
  /** While there is no connection commands fail at once, and do not run when nobody waits for them. */
  readonly enableOfflineQueue: boolean
  /** A command that was under way when the connection broke may have run: it is not sent again. */
  readonly autoResendUnfulfilledCommands: boolean
  /** A command fails with its connection. */
  readonly maxRetriesPerRequest: number
  /** Milliseconds between looks at a Redis that is loading its data. */
  readonly maxLoadingRetryTime: number
  /** Milliseconds until the next try to connect: short, and not all clients at once. */
  readonly retryStrategy: (times: number) => number
  /** A master that has become a replica is left for the new one; looked for once a second. */
  readonly reconnectOnError: (error: Error) => boolean
}

// A new connection fails all that is under way on the old one, reads that a replica answers too.
const reconnectEveryMs = 1000
const reconnected = new WeakMap<object, number>()

/** Called by ioredis as a method of a client's own options. */
function reconnectOnError(this: unknown, error: Error): boolean {
  if (!error.message.startsWith('READONLY')) return false
  const client = typeof this === 'object' && this !== null ? this : reconnected
  const now = performance.now()
  if (now - (reconnected.get(client) ?? -Infinity) < reconnectEveryMs) return false
  reconnected.set(client, now)
  return true
}

/**
 * What to give `new Redis()`, on its own or with Sentinel: ioredis' defaults wait up to minutes for
 * a Redis that is away, and run commands late that were answered 503 long ago.
 *
 * Until the first connection is ready commands fail too: `await once(redis, 'ready')` before the
 * app listens.
 *
 * @example
 *   const redis = new Redis(url, recommendedRedisOptions)
 */
export const recommendedRedisOptions: RecommendedRedisOptions = Object.freeze({
  connectTimeout: 500,
  socketTimeout: 500,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  maxLoadingRetryTime: 250,
  retryStrategy: (times: number) => Math.min(50 * times, 400) + Math.random() * 100,
  reconnectOnError,
})
