import type * as ioredis from 'ioredis'

import { printable } from '../errors/printable.ts'
import { Sessions } from '../manager/sessions.ts'
import { recommendedClusterOptions, recommendedRedisOptions } from '../store/redis/recommended.ts'
import type { CommandOptions } from './arguments.ts'
import { CommandFailure, exitCodes, usageFailure } from './outcome.ts'

const defaultUrl = 'redis://127.0.0.1:6379'
const connectMs = 1500

/**
 * Connects to Redis at the options' URL, else the fallback, and runs a job with its sessions.
 * Returns the job's result once the connection is closed.
 *
 * @throws {CommandFailure} When Redis cannot be reached.
 */
export async function withSessions<T>(
  { redis: given, cluster, prefix, refreshSeconds }: CommandOptions,
  fallback: string | undefined,
  job: (sessions: Sessions) => Promise<T>,
): Promise<T> {
  const url = given ?? (fallback || defaultUrl)
  const place = placeOf(url)
  const client = await clientOf(url, cluster)
  let first: unknown
  // The first error is the reason; later errors are its consequences.
  client.on('error', (error: unknown) => (first ??= error))
  const timer = setTimeout(() => client.disconnect(), connectMs)
  try {
    await client.connect()
    // A missing or wrong password shows only now.
    await client.info('server')
    // A client that cannot select its database only emits an error, and continues in another one.
    if (first !== undefined) throw first
  } catch (error) {
    client.disconnect()
    const reason = reasonOf(first ?? error)
    throw new CommandFailure(`cannot use Redis at ${place}: ${reason}`, exitCodes.redis)
  } finally {
    clearTimeout(timer)
  }
  const sessions = new Sessions({ redis: client, prefix, refreshSeconds })
  try {
    return await job(sessions)
  } finally {
    await sessions.close()
    client.disconnect()
  }
}

/** Returns the part of a URL that may be shown: no user name, password or parameters. */
function placeOf(url: string): string {
  if (url.startsWith('/')) return printable(url)
  const form = /^(rediss?:\/\/)(?:[^@/?#]*@)?([^@/?#]+(?:\/\d*)?)$/.exec(url)
  if (form && URL.canParse(url) && canDecode(url)) return printable(`${form[1]}${form[2]}`)
  throw usageFailure('the URL of Redis starts with redis:// or rediss:// and may end in /NUMBER')
}

function canDecode(text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

async function clientOf(url: string, isCluster: boolean): Promise<ioredis.Redis | ioredis.Cluster> {
  const { Redis, Cluster } = await importRedis()
  const own = { connectTimeout: connectMs, lazyConnect: true }
  if (!isCluster) {
    return new Redis(url, { ...recommendedRedisOptions, ...own, retryStrategy: () => null })
  }
  if (!URL.canParse(url)) throw usageFailure('--cluster takes a URL, not a path')
  // A Cluster client takes one user and password for all nodes, not in the first node's address.
  const { protocol, hostname, port, username, password } = new URL(url)
  const redisOptions = {
    ...recommendedClusterOptions.redisOptions,
    connectTimeout: connectMs,
    ...(username !== '' && { username: decodeURIComponent(username) }),
    ...(password !== '' && { password: decodeURIComponent(password) }),
    ...(protocol === 'rediss:' && { tls: {} }),
  }
  // In a URL, an IPv6 address has brackets.
  const host = hostname.replaceAll(/[[\]]/g, '')
  return new Cluster([{ host, port: Number(port || 6379) }], {
    ...recommendedClusterOptions,
    redisOptions,
    lazyConnect: true,
    clusterRetryStrategy: () => null,
  })
}

async function importRedis(): Promise<Pick<typeof ioredis, 'Redis' | 'Cluster'>> {
  try {
    return await import('ioredis')
  } catch {
    throw new CommandFailure('the package ioredis is missing: npm install ioredis', exitCodes.redis)
  }
}

const reasons: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', 'it refuses connections'],
  ['ECONNRESET', 'it closes connections'],
  ['ETIMEDOUT', 'it does not answer'],
  ['ENOTFOUND', 'there is no such host'],
  ['EAI_AGAIN', 'its host name cannot be resolved'],
  ['ENOENT', 'there is no such socket'],
  ['WRONGPASS', 'the user name or the password is wrong'],
  ['NOAUTH', 'it requires a password'],
  ['NOPERM', 'this user lacks the permission'],
  ['LOADING', 'it is starting'],
  ['ERR', 'it refuses this URL, perhaps because it has no such database'],
])

/** Returns why a connection failed, without quoting what was sent. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown reason'
  // A Cluster's error holds the last error of its nodes.
  const inner: unknown = Reflect.get(error, 'lastNodeError')
  if (inner instanceof Error) return reasonOf(inner)
  const code: unknown = Reflect.get(error, 'code')
  if (error.message.includes('cluster support disabled')) return 'it is not a Cluster'
  // An error reply of Redis starts with a code; other messages may hold anything.
  const word = typeof code === 'string' ? code : /^[A-Z]{3,20}(?= )/.exec(error.message)?.[0]
  if (word === undefined) return 'it does not answer'
  return `${reasons.get(word) ?? 'it fails'} (${printable(word)})`
}
