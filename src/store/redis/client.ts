/**
 * What this package needs of a Redis client: `Redis` and `Cluster` of ioredis 5 and 6 have it.
 *
 * Both methods answer the script's reply and reject with what Redis says.
 */
export interface RedisClient {
  evalsha(sha1: string, keyCount: number, ...keysAndArgs: string[]): Promise<unknown>
  eval(lua: string, keyCount: number, ...keysAndArgs: string[]): Promise<unknown>
}
