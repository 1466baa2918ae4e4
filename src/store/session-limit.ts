/**
 * What `maxSessions` does to a user's sessions, as a pure function: for every store that can read
 * and write as one step.
 *
 * @module
 */

import type { SessionLimit } from './session-store.ts'

/**
 * The sessions of a user that end when one more signs in, so that no more than the limit are live.
 *
 * @param id The session that signs in, whether or not it is one of the user's already.
 * @param ids The user's live sessions, the one that signed in longest ago first.
 * @param limit How many a user may have; `undefined` for no limit.
 * @returns Their ids; `undefined` when the sign-in is refused instead, and nothing must be stored.
 */
export function endedBySignIn(
  id: string,
  ids: readonly string[],
  limit: SessionLimit | undefined,
): readonly string[] | undefined {
  if (!limit) return []
  const others = ids.filter((other) => other !== id)
  const excess = others.length + 1 - limit.perUser
  if (excess <= 0) return []
  return limit.onExceed === 'refuse' ? undefined : others.slice(0, excess)
}
