import type { Redis } from 'ioredis'

/** What a Redis has done since it was started. */
export interface RedisCounts {
  /** By the command's name; those that scripts have called are among them. */
  readonly calls: ReadonlyMap<string, number>
  readonly bytesIn: number
  readonly bytesOut: number
}

/** What one request took of Redis. */
export interface RedisUse {
  /** Commands that the server sent. */
  readonly commands: number
  /** Bytes that the server sent. */
  readonly sent: number
  /** Bytes that it got. */
  readonly received: number
  /** Such as `evalsha 1 (hmget 1, time 1, pttl 1, hgetall 1)`. */
  readonly detail: string
}

const scriptCalls = ['eval', 'evalsha', 'script|load']

/** Reads the counters of a Redis. */
export async function readCounts(redis: Redis): Promise<RedisCounts> {
  const [commands, stats] = await Promise.all([redis.info('commandstats'), redis.info('stats')])
  const calls = new Map<string, number>()
  for (const [, name = '', count] of commands.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)) {
    if (name !== 'info') calls.set(name, Number(count))
  }
  const statOf = (name: string): number =>
    Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(stats)?.[1])
  return {
    calls,
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
  const each = new Map<string, number>()
  for (const [name, count] of after.calls) {
    const calls = (count - (before.calls.get(name) ?? 0)) / requests
    if (calls >= 0.005) each.set(name, calls)
  }
  const sentNames = scriptCalls.some((name) => each.has(name))
    ? scriptCalls.filter((name) => each.has(name))
    : [...each.keys()]
  const said = (names: readonly string[]): string =>
    names.map((name) => `${name} ${Number((each.get(name) ?? 0).toFixed(2))}`).join(', ')
  const inner = [...each.keys()].filter((name) => !sentNames.includes(name))
  return {
    commands: sentNames.reduce((sum, name) => sum + (each.get(name) ?? 0), 0),
    sent: (after.bytesIn - before.bytesIn - (idle.bytesIn - after.bytesIn)) / requests,
    received: (after.bytesOut - before.bytesOut - (idle.bytesOut - after.bytesOut)) / requests,
    detail: said(sentNames) + (inner.length > 0 ? ` (${said(inner)})` : ''),
  }
}
