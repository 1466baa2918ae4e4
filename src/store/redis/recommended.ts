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

/** Options of ioredis by which a client of a Cluster fails fast and follows a failover soon. */
export interface RecommendedClusterOptions {
  /** Commands wait while a node is being connected to, such as one that has just become a master. */
  readonly enableOfflineQueue: boolean
  /** `0`: a command that was under way when its connection broke may have run: it is not sent again. */
  readonly retryDelayOnFailover: number
  /** `0`: a Cluster that is down fails commands at once. It takes seconds until it is up again. */
  readonly retryDelayOnClusterDown: number
  /** Milliseconds between looks at which node has what, so that nobody has to ask a dead one first. */
  readonly slotsRefreshInterval: number
  /** Milliseconds. A node that takes longer to tell is passed over for the next one. */
  readonly slotsRefreshTimeout: number
  /** Milliseconds until the next try when no node can be reached: short, and not all at once. */
  readonly clusterRetryStrategy: (times: number) => number
  /** For the connection to each node. A broken one is not mended but made anew when needed. */
  readonly redisOptions: Pick<
    RecommendedRedisOptions,
    'connectTimeout' | 'socketTimeout' | 'maxLoadingRetryTime'
  >
}

/**
 * What to give `new Cluster()`: with ioredis' defaults a node that stands still is waited for
 * without end, also when another one has taken its place, and a command whose connection broke is
 * sent again.
 *
 * With `cluster-require-full-coverage no` in Redis, sessions of other nodes do not notice that a
 * node is away.
 *
 * @example
 *   const redis = new Cluster(nodes, recommendedClusterOptions)
 *
 * @example
 *   const { redisOptions } = recommendedClusterOptions
 *   const redis = new Cluster(nodes, {
 *     ...recommendedClusterOptions,
 *     redisOptions: { ...redisOptions, password },
 *   })
 */
export const recommendedClusterOptions: RecommendedClusterOptions = Object.freeze({
  enableOfflineQueue: true,
  retryDelayOnFailover: 0,
  retryDelayOnClusterDown: 0,
  slotsRefreshInterval: 1000,
  slotsRefreshTimeout: 500,
  clusterRetryStrategy: recommendedRedisOptions.retryStrategy,
  redisOptions: Object.freeze({
    connectTimeout: recommendedRedisOptions.connectTimeout,
    socketTimeout: recommendedRedisOptions.socketTimeout,
    maxLoadingRetryTime: recommendedRedisOptions.maxLoadingRetryTime,
  }),
})
