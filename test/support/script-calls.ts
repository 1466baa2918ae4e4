import type { Redis } from 'ioredis'
import { expect, onTestFinished } from 'vitest'

import { RedisConnection } from '../../src/store/redis/connection.ts'
import type { Script, ScriptCall } from '../../src/store/redis/script.ts'
import { commitSession } from '../../src/store/redis/scripts/commit-session.ts'
import { destroySession } from '../../src/store/redis/scripts/destroy-session.ts'
import { connectRedis, lastingRedis, uniquePrefix } from './redis-client.ts'
import { startRedisServer } from './redis-server.ts'

export const head = '2a0mhwsoi680002\twxyzmhwsoi68\ti255s0\tuann'
export const stored = `${head}\na\t1\nb\t"22"`
export const now = expect.any(Number)
// An instant long ago, and one long after this test.
export const [over, ahead] = [1, 8_640_000_000_000_000]

export const redis = lastingRedis()

export type CommitArgs = Partial<Record<(typeof commitSession.args)[number], string | number>>

export const noArgs = {
  untilMs: ahead,
  revision: '',
  maxKeys: '',
  maxBytes: '',
  lockToken: '',
  leaseMs: '',
  tells: '',
  newRevision: '',
  rest: '',
  activity: '',
  timeToLiveMs: '',
  mayGrow: '',
  member: '',
  keepMs: '',
  perUser: '',
} as const

export function run<Key extends string, Arg extends string, Outcome>(
  script: Script<Key, Arg, Outcome>,
  call: ScriptCall<Key, Arg>,
  client: Redis = redis,
): Promise<Outcome> {
  return new RedisConnection(client).run(script, call)
}

export function commit(
  session: string,
  args: CommitArgs = {},
  entries: readonly string[] = [],
  at: { readonly lock?: string; readonly userSessions?: string; readonly client?: Redis } = {},
): ReturnType<typeof run<string, string, { readonly status: string; readonly now?: number }>> {
  const { client = redis, ...keys } = at
  return run(
    commitSession,
    {
      keys: { session, ...keys },
      args: { ...noArgs, revision: '000', maxKeys: 10, maxBytes: 1000, ...args },
      rest: entries,
    },
    client,
  )
}

/** A key with a session that Redis ends in a minute. */
export async function storedKey(): Promise<string> {
  const session = newKey()
  await redis.set(session, stored, 'PX', 60_000)
  return session
}

export function newKeys(): {
  readonly session: string
  readonly lock: string
  readonly turn: string
} {
  return { session: newKey(), lock: newKey(), turn: newKey() }
}

export function destroy(
  keys: ReturnType<typeof newKeys>,
  args: { readonly isOwned?: 1; readonly userName?: string } = {},
  client = redis,
): Promise<{ readonly status: string }> {
  const call = { keys, args: { isOwned: '', userName: '', ...args } } as const
  return run(destroySession, call, client)
}

export function newKey(): string {
  return `${uniquePrefix()}{a}`
}

export function isJustUnder(limit: number): (ms: number) => boolean {
  return (ms) => ms <= limit && ms > limit - 4000
}

export async function ownRedis(): Promise<Redis> {
  const server = await startRedisServer()
  onTestFinished(() => server.stop())
  return connectRedis(server.url)
}

/** Leaves no memory for anything new. */
export async function fill(client: Redis): Promise<void> {
  await client.config('SET', 'maxmemory-policy', 'noeviction')
  await client.config('SET', 'maxmemory', '1')
}
