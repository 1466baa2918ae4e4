/**
 * What this package needs of a Redis client: `Redis` and `Cluster` of ioredis 5 and 6 have it.
 *
 * The methods resolve to Redis' reply and reject with what Redis says.
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
  /** Reads a string; `null` where there is none. */
  get(key: string): Promise<string | null>
  /** Reads the bytes of a string from one place to another, both included. */
  getrange(key: string, start: number, end: number): Promise<string>
  /** Runs a script that Redis has, by the SHA-1 of its text. */
  evalsha(sha1: string, keyCount: number, ...keysAndArgs: string[]): Promise<unknown>
  /** Runs a script, and has Redis keep it. */
  eval(lua: string, keyCount: number, ...keysAndArgs: string[]): Promise<unknown>
}
