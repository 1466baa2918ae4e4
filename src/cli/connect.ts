import type { Redis } from 'ioredis'

import { Sessions } from '../sessions.ts'
import { recommendedRedisOptions } from '../store/redis/recommended.ts'
import type { CommandOptions } from './arguments.ts'
import { CommandFailure, exitCodes, usageFailure } from './failure.ts'
import { printable } from './terminal.ts'

const defaultUrl = 'redis://127.0.0.1:6379'
// Longer than any Redis takes that will answer at all.
const connectMs = 3000

/** Sessions in a Redis. */
export interface Connection {
  readonly sessions: Sessions
  /** Where it is, without its password. */
  readonly place: string
  readonly close: () => Promise<void>
}

/**
 * Connects to the Redis that has the sessions.
 *
 * @param options Where.
 * @param fallback Where otherwise, such as the environment's `REDIS_URL`.
 * @throws {CommandFailure} When that is not possible.
 */
export async function connect(
  { redis: given, prefix, refreshSeconds }: CommandOptions,
  fallback: string | undefined,
): Promise<Connection> {
  const url = given ?? (fallback || defaultUrl)
  const place = placeOf(url)
  const Redis = await importRedis()
  const redis = new Redis(url, {
    ...recommendedRedisOptions,
    connectTimeout: connectMs,
    lazyConnect: true,
    retryStrategy: () => null,
  })
  let reason = 'no answer'
  redis.on('error', (error) => (reason = reasonOf(error)))
  const timer = setTimeout(() => redis.disconnect(), connectMs)
  try {
    await redis.connect()
    // A password that is missing or wrong shows only now.
    await redis.info('server')
  } catch (error) {
    if (reason === 'no answer') reason = reasonOf(error)
    redis.disconnect()
    throw new CommandFailure(`cannot use Redis at ${place}: ${reason}`, exitCodes.redis)
  } finally {
    clearTimeout(timer)
  }
  const sessions = new Sessions({ redis, prefix, refreshSeconds })
  return {
    sessions,
    place,
    async close() {
      await sessions.close()
      redis.disconnect()
    },
  }
}

/** The address of a Redis as it may be shown: without user name, password and parameters. */
function placeOf(url: string): string {
  if (url.startsWith('/')) return printable(url)
  if (URL.canParse(url)) {
    const { protocol, host, pathname } = new URL(url)
    const isRedis = protocol === 'redis:' || protocol === 'rediss:'
    if (isRedis && host !== '' && /^(?:\/\d*)?$/.test(pathname)) {
      return `${protocol}//${host}${pathname}`
    }
  }
  throw usageFailure('the URL of Redis starts with redis:// or rediss:// and may end with /NUMBER')
}

async function importRedis(): Promise<typeof Redis> {
  try {
    return (await import('ioredis')).Redis
  } catch {
    throw new CommandFailure('the package ioredis is missing: npm install ioredis', exitCodes.redis)
  }
}

/** Why a connection failed, without what was sent. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown reason'
  const code: unknown = Reflect.get(error, 'code')
  if (typeof code === 'string') return code
  // Redis' own words start with a code; others may be anything.
  const [word] = /^[A-Z]{3,20}(?= )/.exec(error.message) ?? []
  return (
    word ?? (error.message === 'Connection is closed.' ? 'no answer' : printable(error.message))
  )
}
