/** Options of ioredis with which a client fails fast and reconnects soon. */
export interface RecommendedRedisOptions {
  /** Milliseconds after which an attempt to connect is given up and repeated. */
  readonly connectTimeout: number
  /** Milliseconds of silence, while commands wait, after which the client reconnects. */
  readonly socketTimeout: number
  /** `false`: without a connection commands fail at once, and never run when no one waits. */
  readonly enableOfflineQueue: boolean
  /** `false`: a command is not sent again after its connection broke, as it may have run. */
  readonly autoResendUnfulfilledCommands: boolean
  /** `0`: a command fails with its connection. */
  readonly maxRetriesPerRequest: number
  /** Milliseconds between checks of a Redis that is loading its data. */
  readonly maxLoadingRetryTime: number
  /** Milliseconds until the next attempt to connect: short, and random so that clients spread. */
  readonly retryStrategy: (times: number) => number
  /** Reconnects to the new master when the old one has become a replica. */
  readonly reconnectOnError: (error: Error) => boolean
}

/**
 * Returns a `reconnectOnError` for an error code, which reconnects a client at most every
 * `everyMs`: reconnecting fails all commands under way, even those that the old connection could
 * still answer. Before Redis 7, scripts wrap it: "ERR Error running script … -READONLY …".
 */
function reconnectOn(code: string, everyMs: number): (this: unknown, error: Error) => boolean {
  const pattern = new RegExp(`(?:^| -)${code} `)
  const reconnectedAt = new WeakMap<object, number>()
  return function (this: unknown, error: Error) {
    if (!pattern.test(error.message)) return false
    // ioredis calls this function as a method of each client's own options.
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
 * Options for `new Redis()`. With ioredis' defaults, commands wait up to minutes for a Redis that
 * is down, and then run although their requests got a 503 long ago.
 *
 * Commands also fail until the first connection: `await once(redis, 'ready')` before listening.
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

/** {@link RecommendedRedisOptions} plus options for finding the master through Sentinel. */
export interface RecommendedSentinelOptions extends RecommendedRedisOptions {
  /** Milliseconds after which a hanging Sentinel, often down with the master, is skipped. */
  readonly sentinelCommandTimeout: number
  /** Milliseconds until all Sentinels are asked again: always short, for they may be back. */
  readonly sentinelRetryStrategy: (times: number) => number
  /**
   * Reconnects to the new master when the old one has become a replica or, with
   * `min-replicas-to-write`, has lost its replicas: in a planned failover, an old master still
   * considers itself the master for some ten seconds.
   */
  readonly reconnectOnError: (error: Error) => boolean
}

/**
 * Options for `new Redis()` behind Sentinel. By default a client waits for a hanging Sentinel for
 * ever.
 *
 * Set `min-replicas-to-write` to 1 in Redis: otherwise writes that an old master still acknowledges
 * are lost. Leave `failoverDetector` off: a message during a connection attempt ends the client.
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

/** Options of ioredis with which a client of a Cluster fails fast and follows a failover soon. */
export interface RecommendedClusterOptions {
  /** `true`: commands wait for the connection to a node, such as one that just became a master. */
  readonly enableOfflineQueue: boolean
  /** `0`: a command is not sent again after its connection broke, as it may have run. */
  readonly retryDelayOnFailover: number
  /** `0`: commands fail at once while the Cluster is down, which takes seconds to recover. */
  readonly retryDelayOnClusterDown: number
  /** Milliseconds between updates of the slots' nodes, so that commands avoid a dead node. */
  readonly slotsRefreshInterval: number
  /** Milliseconds after which the update asks the next node. */
  readonly slotsRefreshTimeout: number
  /** Milliseconds until the next attempt when no node is reachable: short, and random. */
  readonly clusterRetryStrategy: (times: number) => number
  /** Options for each node's connection. A broken one is replaced when needed, not repaired. */
  readonly redisOptions: Pick<
    RecommendedRedisOptions,
    'connectTimeout' | 'socketTimeout' | 'maxLoadingRetryTime'
  >
}

const { connectTimeout, socketTimeout, maxLoadingRetryTime } = recommendedRedisOptions

/**
 * Options for `new Cluster()`. With ioredis' defaults, commands wait for ever for a hanging node,
 * even after another node has replaced it, and are sent again after their connection broke.
 *
 * With `cluster-require-full-coverage no` in Redis, sessions on other nodes outlast a node's
 * failure.
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
  redisOptions: Object.freeze({ connectTimeout, socketTimeout, maxLoadingRetryTime }),
})
