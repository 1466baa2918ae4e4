/**
 * The part of a Redis client that this package needs, such as `Redis` and `Cluster` of ioredis 5
 * and 6. The methods resolve to Redis' reply, and reject with Redis' error.
 */
export interface RedisClient {
  /** Whether the keys are on several nodes, so that calls on two keys may arrive in any order. */
  readonly isCluster?: boolean
  /** The state of the connection, such as `ready`. */
  readonly status?: string
  /** The connection's socket, while there is one. */
  readonly stream?: { cork(): void; uncork(): void } | undefined
  /** On a Cluster, the nodes of each slot, the master first. */
  readonly slots?: readonly (readonly string[])[]
  /** Reads a string, or `null` when there is none. */
  get(key: string): Promise<string | null>
  /** Reads a string's bytes between two places, both included. */
  getrange(key: string, start: number, end: number): Promise<string>
  /** Runs a script that Redis knows, by the SHA-1 of its text. */
  evalsha(sha1: string, keyCount: number, ...keysAndArgs: string[]): Promise<unknown>
  /** Runs a script, and makes Redis keep it. */
  eval(lua: string, keyCount: number, ...keysAndArgs: string[]): Promise<unknown>
}
