import { randomBytes } from 'node:crypto'

import { Redis } from 'ioredis'
import { inject } from 'vitest'

const clients = new Set<Redis>()

/**
 * Connects to the shared server of the run until the process ends: for a module that several test
 * files of one process share.
 */
export function lastingRedis(): Redis {
  const client = new Redis(inject('redisUrl'))
  client.on('error', () => {})
  return client
}

/** Ends the connections of a test file; `close-clients.ts` arranges the call at the end of the file. */
export function disconnectClients(): void {
  for (const client of clients) client.disconnect()
  clients.clear()
}

/**
 * Connects to Redis until the end of the test file, from anywhere: in a test, even a concurrent
 * one, in a hook or at the top of a file.
 *
 * @param url The address of a private server; without it, the server shared by the run.
 * @returns A client of its own.
 */
export function connectRedis(url: string = inject('redisUrl')): Redis {
  const client = new Redis(url)
  // Failures reach the test through its commands. Without a listener, ioredis would print each failed
  // attempt to reach a private server that the test has stopped.
  client.on('error', () => {})
  clients.add(client)
  return client
}

/**
 * A key prefix that is unique to a test, so that test files can share one server.
 *
 * @returns `t:<8 hex digits>:`.
 */
export function uniquePrefix(): string {
  return `t:${randomBytes(4).toString('hex')}:`
}
