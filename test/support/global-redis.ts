import { Redis } from 'ioredis'
import type { TestProject } from 'vitest/node'

import { startRedisServer, type TestRedis } from './redis-server.ts'
import { loadScripts } from './scripts.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** The address of the redis-server that all test files of the run share. */
    redisUrl: string
  }
}

let shared: TestRedis | undefined

/**
 * Starts the redis-server of the run, once and before all test files. An interrupted run ends it,
 * too: see `startRedisServer`.
 *
 * @param project The vitest project that is given the address.
 */
export async function setup(project: TestProject): Promise<void> {
  shared = await startRedisServer()
  // So that the commands of a file never depend on earlier files.
  const redis = new Redis(shared.url)
  await loadScripts(redis)
  redis.disconnect()
  project.provide('redisUrl', shared.url)
}

/** Stops the redis-server of the run. */
export async function teardown(): Promise<void> {
  await shared?.stop()
  shared = undefined
}
