import type { Redis } from 'ioredis'

import { addUserSession } from '../../src/store/redis/scripts/add-user-session.ts'
import { commitSession } from '../../src/store/redis/scripts/commit-session.ts'
import { createSession } from '../../src/store/redis/scripts/create-session.ts'
import { destroySession } from '../../src/store/redis/scripts/destroy-session.ts'
import { keepUserSession } from '../../src/store/redis/scripts/keep-user-session.ts'
import { lockSession } from '../../src/store/redis/scripts/lock-session.ts'
import { readUserSessions } from '../../src/store/redis/scripts/read-user-sessions.ts'
import { refreshSession } from '../../src/store/redis/scripts/refresh-session.ts'
import { removeUserSessions } from '../../src/store/redis/scripts/remove-user-sessions.ts'
import { replaceValue } from '../../src/store/redis/scripts/replace-value.ts'
import { tellTime } from '../../src/store/redis/scripts/tell-time.ts'

/** The scripts of `RedisStore`, by short names. */
export const scripts = {
  add: addUserSession,
  commit: commitSession,
  create: createSession,
  destroy: destroySession,
  keep: keepUserSession,
  lock: lockSession,
  entries: readUserSessions,
  refresh: refreshSession,
  remove: removeUserSessions,
  replace: replaceValue,
  time: tellTime,
} as const

/**
 * Makes a Redis know all scripts. Otherwise the first caller of each sends it as text, which costs
 * another command and another round trip.
 *
 * @param redis A server, or a node of a Cluster.
 */
export async function loadScripts(redis: Redis): Promise<void> {
  await Promise.all(Object.values(scripts).map(({ lua }) => redis.script('LOAD', lua)))
}
