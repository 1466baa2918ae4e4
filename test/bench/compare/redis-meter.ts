import type { Redis } from 'ioredis'

/** What a Redis has received and sent since it started. */
export interface RedisCounts {
  readonly bytesIn: number
  readonly bytesOut: number
}

/** What one request cost in Redis. */
export interface RedisUse {
  /** Bytes that the server sent. */
  readonly sent: number
  /** Bytes that the server received. */
  readonly received: number
}

/** Reads the counters of a Redis. */
export async function readCounts(redis: Redis): Promise<RedisCounts> {
  const stats = await redis.info('stats')
  const statOf = (name: string): number =>
    Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(stats)?.[1])
  return {
    bytesIn: statOf('total_net_input_bytes'),
    bytesOut: statOf('total_net_output_bytes'),
  }
}

/**
 * The cost of each request of a round.
 *
 * @param before Counts from before the round.
 * @param after And from after it.
 * @param idle Counts after another pause without requests: the cost of the reading itself.
 * @param requests How many.
 */
export function useOf(
  before: RedisCounts,
  after: RedisCounts,
  idle: RedisCounts,
  requests: number,
): RedisUse {
  return {
    sent: (after.bytesIn - before.bytesIn - (idle.bytesIn - after.bytesIn)) / requests,
    received: (after.bytesOut - before.bytesOut - (idle.bytesOut - after.bytesOut)) / requests,
  }
}
