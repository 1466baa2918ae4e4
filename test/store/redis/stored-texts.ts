/**
 * Access to what Redis has of a session, behind the store's back.
 *
 * @module
 */

import type { Redis } from 'ioredis'

import { decodeSession, encodeSession } from '../../../src/store/session-text.ts'
import type { StoredSession } from '../../../src/store/stored-session.ts'

/**
 * Reads a session.
 *
 * @param redis Where it is.
 * @param key Its key.
 */
export async function sessionAt(redis: Redis, key: string): Promise<StoredSession> {
  const session = decodeSession('', (await redis.get(key)) ?? '')
  if (!session) throw new Error('no session that can be read')
  return session
}

/**
 * Changes a session, and keeps its time to live.
 *
 * @param redis Where it is.
 * @param key Its key.
 * @param change Returns the new session.
 */
export async function rewrite(
  redis: Redis,
  key: string,
  change: (session: StoredSession) => StoredSession,
): Promise<void> {
  const session = change(await sessionAt(redis, key))
  // A request that has loaded the session must notice.
  const text = encodeSession({ ...session, revision: session.revision + 1 })
  await redis.set(key, text, 'KEEPTTL')
}

/**
 * Moves the last activity of a session back, so that a refresh is due, and shortens its time to
 * live accordingly.
 *
 * @param redis Where it is.
 * @param key Its key.
 * @param ms How long ago the activity was.
 */
export async function idle(redis: Redis, key: string, ms: number): Promise<void> {
  await rewrite(redis, key, (session) => ({ ...session, activeAt: session.activeAt - ms }))
  const leftMs = await redis.pttl(key)
  if (leftMs >= 0) await redis.pexpire(key, leftMs - ms)
}
