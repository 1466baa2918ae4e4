import type { Redis } from 'ioredis'

/** What a Redis has received and sent since it was started. */
export interface RedisCounts {
  readonly bytesIn: number
  readonly bytesOut: number
}

/** What one request took of Redis. */
export interface RedisUse {
  /** Bytes that the server sent. */
  readonly sent: number
  /** Bytes that it got. */
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
 * What each request of a round took.
 *
 * @param before Counts from before the round.
 * @param after And from after it.
 * @param idle Counts from after that, without any request: what the reading itself takes.
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
