/**
 * A hand on what Redis has of a session, behind the store's back.
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
 * Changes a session, and leaves its time to live.
 *
 * @param redis Where it is.
 * @param key Its key.
 * @param change What becomes of it.
 */
export async function rewrite(
  redis: Redis,
  key: string,
  change: (session: StoredSession) => StoredSession,
): Promise<void> {
  const session = change(await sessionAt(redis, key))
  // Whoever has seen the session must look again.
  const text = encodeSession({ ...session, revision: session.revision + 1 })
  await redis.set(key, text, 'KEEPTTL')
}

/**
 * Makes a session's last activity an earlier one, so that a refresh is due, and its time to live as
 * short as it is then.
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
