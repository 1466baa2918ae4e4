import type { Redis } from 'ioredis'

/** Where sessions are kept, for people. Says neither user nor password of the address. */
export function placeOf(redis: Redis | undefined): string {
  if (!redis) return 'in the memory of this process'
  const { host, port, path, db } = redis.options
  return `in Redis at ${path ?? `${host}:${port}`}, database ${db ?? 0}`
}
