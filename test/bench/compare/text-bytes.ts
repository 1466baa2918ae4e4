import type { OwnRedis, Server } from './server.ts'
import { startServer } from './server.ts'
import { ours } from './works.ts'
import type { Size } from './works.ts'

const known = new Map<Size, number>()

/**
 * How many bytes the text of a session of this package takes in Redis: the floor reads as many.
 *
 * @param sizes Of the session. Earlier results are remembered.
 * @returns By size.
 */
export async function textBytesOf(sizes: readonly Size[]): Promise<ReadonlyMap<Size, number>> {
  if (sizes.some((size) => !known.has(size))) {
    const server = await startServer(ours)
    try {
      for (const size of sizes) known.set(size, await measured(server, size))
    } finally {
      await server.stop()
    }
  }
  return known
}

async function measured(server: Server, size: Size): Promise<number> {
  if (!server.redis) throw new Error('no Redis')
  await server.redis.client.flushall()
  await server.signIn(size)
  const [bytes] = await stringBytes(server.redis)
  if (!bytes) throw new Error('the session is no string')
  return bytes
}

/** The lengths of all strings in a Redis. */
export async function stringBytes({ client }: OwnRedis): Promise<readonly number[]> {
  const lengths: number[] = []
  for (const key of await client.keys('*')) {
    if ((await client.type(key)) === 'string') lengths.push(await client.strlen(key))
  }
  return lengths
}
