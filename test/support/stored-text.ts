import type { Redis } from 'ioredis'

import { decodeSession, encodeSession } from '../../src/store/session-text.ts'
import type { StoredSession } from '../../src/store/stored-session.ts'

/**
 * Reads a session in Redis.
 *
 * @param redis That of the store.
 * @param key The session's key.
 * @throws {Error} When there is none, or it cannot be read.
 */
export async function storedSession(redis: Redis, key: string): Promise<StoredSession> {
  const id = /\{(.*)\}/.exec(key)?.[1] ?? ''
  const session = decodeSession(id, (await redis.get(key)) ?? '')
  if (!session) throw new Error(`there is no session at ${key}`)
  return session
}

/**
 * Changes a session in Redis, as no request can. Its time to live stays.
 *
 * @param redis That of the store.
 * @param key The session's key.
 * @param change Returns its new form. It gets a new revision, so that requests that have seen it
 *   notice.
 */
export async function changeStored(
  redis: Redis,
  key: string,
  change: (session: StoredSession) => StoredSession,
): Promise<void> {
  const session = await storedSession(redis, key)
  const changed = { ...change(session), revision: session.revision + 1 }
  await redis.set(key, encodeSession(changed), 'KEEPTTL')
}
