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
  /** A master that has become a replica is left for the new one. */
  readonly reconnectOnError: (error: Error) => boolean
}

/**
 * Whether a client is to connect anew: once in a while, because that fails all that is under way,
 * also what the old connection would still answer.
 *
 * @param code Of the error. Before Redis 7 that of a script comes inside another one: "ERR Error
 *   running script … -READONLY …".
 * @param everyMs At most so often for each client.
 */
function reconnectOn(code: string, everyMs: number): (this: unknown, error: Error) => boolean {
  const pattern = new RegExp(`(?:^| -)${code} `)
  const reconnectedAt = new WeakMap<object, number>()
  return function (this: unknown, error: Error) {
    if (!pattern.test(error.message)) return false
    // ioredis calls it as a method of a client's own options.
    const client = typeof this === 'object' && this !== null ? this : reconnectedAt
    const now = performance.now()
    if (now - (reconnectedAt.get(client) ?? -Infinity) < everyMs) return false
    reconnectedAt.set(client, now)
    return true
  }
}

const onReadOnly = reconnectOn('READONLY', 1000)
const onNoReplicas = reconnectOn('NOREPLICAS', 2000)

/**
 * What to give `new Redis()`: ioredis' defaults wait up to minutes for a Redis that is away, and
 * run commands late that were answered 503 long ago.
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
  reconnectOnError: onReadOnly,
})

/** {@link RecommendedRedisOptions} and what finding the master through Sentinel needs besides. */
export interface RecommendedSentinelOptions extends RecommendedRedisOptions {
  /** Milliseconds. A Sentinel that stands still, often with the master, is left for the next one. */
  readonly sentinelCommandTimeout: number
  /** Milliseconds until all Sentinels are asked again: never long, for they may be back. */
  readonly sentinelRetryStrategy: (times: number) => number
  /**
   * A master that has become a replica is left for the new one, and so is one that its replicas
   * have left, if it has `min-replicas-to-write`: in a planned failover an old master takes itself
   * for one for some ten seconds more.
   */
  readonly reconnectOnError: (error: Error) => boolean
}

/**
 * What to give `new Redis()` behind Sentinel: without it a client waits for ever for a Sentinel
 * that stands still.
 *
 * Set `min-replicas-to-write` to 1 in Redis: without it, what an old master still acknowledges is
 * lost. Leave `failoverDetector` off: a message that finds ioredis connecting ends its client.
 *
 * @example
 *   const redis = new Redis({ sentinels, name, ...recommendedSentinelOptions })
 */
export const recommendedSentinelOptions: RecommendedSentinelOptions = Object.freeze({
  ...recommendedRedisOptions,
  sentinelCommandTimeout: 250,
  sentinelRetryStrategy: (times: number) => Math.min(10 * times, 400) + Math.random() * 100,
  reconnectOnError(this: unknown, error: Error) {
    return onReadOnly.call(this, error) || onNoReplicas.call(this, error)
  },
})
