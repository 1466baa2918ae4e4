import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import { recommendedRedisOptions } from 'koa-user-sessions'
import type { SessionsOptions } from 'koa-user-sessions'
import { afterAll, vi } from 'vitest'

import { makeApp } from './apps.ts'
import type { TestApp } from './apps.ts'
import { loadHandlers } from './load.ts'
import { connectRedis } from './redis-client.ts'
import { startRedisServer } from './redis-server.ts'
import type { TestRedis } from './redis-server.ts'

// Servers take a while to start, fail and come back when others run, too.
vi.setConfig({ testTimeout: 60_000 })

const cleanups: (() => unknown)[] = []
afterAll(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

/**
 * Registers a cleanup for the end of the test file, from anywhere, even from a concurrent test.
 *
 * @param cleanup The last one is run first.
 */
export function atEnd(cleanup: () => unknown): void {
  cleanups.push(cleanup)
}

/** Options of ioredis. */
export type ClientOptions = Omit<RedisOptions, 'replyMapping'>

/** A server that will fail, an app on it, and another connection to the server. */
export interface FaultStage {
  readonly server: TestRedis
  /** The app's client. */
  readonly redis: Redis
  readonly testApp: TestApp
  /** The test's own client, with the default options of ioredis. */
  readonly admin: Redis
}

/**
 * Starts a server that ends with the test file.
 *
 * @param args Further arguments of redis-server.
 * @param port For a server that comes back.
 */
export async function startServer(args: readonly string[] = [], port?: number): Promise<TestRedis> {
  const server = await startRedisServer({ args, ...(port !== undefined && { port }) })
  atEnd(() => server.stop())
  return server
}

/**
 * An app with {@link loadHandlers} and its own client; both end with the test file.
 *
 * @param port The port of its server on 127.0.0.1.
 * @param options Of its sessions.
 * @param redisOptions Of the client.
 */
export function appAt(
  port: number,
  options: SessionsOptions = {},
  redisOptions: ClientOptions = recommendedRedisOptions,
): { readonly redis: Redis; readonly testApp: TestApp } {
  const redis = new Redis(`redis://127.0.0.1:${port}`, redisOptions)
  redis.on('error', () => {})
  const testApp = makeApp(loadHandlers, { redis, lockTimeoutMs: 1500, ...options })
  testApp.app.silent = true
  atEnd(async () => {
    await testApp.sessions.close()
    redis.disconnect()
  })
  return { redis, testApp }
}

/**
 * Starts a server and an app that is ready.
 *
 * @param args Further arguments of redis-server.
 * @param options Of the app's sessions.
 */
export async function openStage(
  args: readonly string[] = [],
  options: SessionsOptions = {},
): Promise<FaultStage> {
  const server = await startServer(args)
  const { redis, testApp } = appAt(server.port, options)
  await once(redis, 'ready')
  return { server, redis, testApp, admin: connectRedis(server.url) }
}

/** A directory that outlives a server, and is removed after the test file. */
export function keptDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'koa-user-sessions-'))
  atEnd(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}
