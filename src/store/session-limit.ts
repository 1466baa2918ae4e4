import type { SessionLimit } from './session-store.ts'

/**
 * Applies `maxSessions` to a sign-in, for every store with transactions. Returns the ids of the
 * user's sessions that end, or `undefined` when the sign-in is refused and nothing may be stored.
 *
 * @param id The session that signs in, which may already be one of the user's.
 * @param ids The user's live sessions in the order of their sign-ins.
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
