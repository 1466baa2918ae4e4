/**
 * What this package needs of a Redis client: `Redis` and `Cluster` of ioredis 5 and 6 have it.
 *
 * The methods answer the script's reply and reject with what Redis says.
 */
export interface RedisClient {
  /** Whether keys are on several nodes, so that calls on two keys may arrive in any order. */
  readonly isCluster?: boolean
  /** What its connection does, such as `ready`. */
  readonly status?: string
  /** Its socket, while it has one. */
  readonly stream?: { cork(): void; uncork(): void } | undefined
  /** On a Cluster, which nodes have a slot, its master first. */
  readonly slots?: readonly (readonly string[])[]
  evalsha(sha1: string, keyCount: number, ...keysAndArgs: string[]): Promise<unknown>
  eval(lua: string, keyCount: number, ...keysAndArgs: string[]): Promise<unknown>
}
