import { hash } from 'node:crypto'

import { isSessionId, uuidOf } from '../../cookie/credential.ts'

/**
 * Everything that this package keeps in Redis.
 *
 * ## `sess:{<id>}`: a session
 *
 * A string: the session as one text, whose format `store/session-text.ts` documents: a head, and
 * one line for each name of storage. The braces make one session one slot of a Cluster, and `sess:`
 * is the `prefix` option. The id is a UUID as text.
 *
 * Its time to live is the idle timeout plus `refreshSeconds`, but never past the absolute end:
 * Redis ends the session when it has passed. It is written by `create`, by `refresh` when more than
 * `refreshSeconds` have passed since the activity that the text tells of, and by `commit` where the
 * idle timeout changes or the absolute end gives it another one.
 *
 * A read is one `GET`. The app verifies the secret, then looks at the absolute end and whether a
 * refresh is due, on its estimate of Redis' clock (`store/redis/clock.ts`).
 *
 * A change is one script. The app works out the new head from the one that it has read, as
 * `store/stored-session.ts` says, and the script takes it if the revision is still that one. If it
 * is another one, the reply has the present head, and the app tries again. Changes of storage are
 * merged by the script, name by name: they need no new head, so that they never wait for each
 * other. A value that keeps its length changes in its place (`replace-value`), wherever the app has
 * seen it; any other change writes the whole text anew, at a cost that follows its size.
 *
 * Secrets that were renewed away are remembered for 30 s, then removed at the next renewal.
 * One-time tokens go when they are redeemed, when a renewal leaves no other secret good, and, once
 * their time is over, when another one is made.
 *
 * ## `sess:{<id>}:lock`, `sess:{<id>}:turn`: while a `use()` runs
 *
 * Strings: who holds the session's lock, with the lease as time to live, and who was refused it
 * first, for 250 ms. Both are in the session's slot, and go by themselves.
 *
 * ## `sess:user:{<hash>}`: a user's sessions
 *
 * A sorted set, always a superset of the user's live sessions. The hash is the first 96 bits of the
 * SHA-256 of the user name in base64url, 16 characters: whoever shares a set with somebody else by
 * a collision still sees their own sessions only. A member is a session's id, the UUID's 16 bytes
 * in base64url, its score the time of the sign-in in ms, strictly increasing within the set, plus a
 * half while the sign-in is on its way. On a Cluster it lives on another node than the sessions:
 *
 * - On one Redis the script that signs a session in puts it there too. On a Cluster, and where
 *   `maxSessions` refuses, it is added before, as pending (`add`), and is no longer pending when
 *   the sign-in has arrived (`keep`, which is not waited for).
 * - Each refresh of a session puts it back if it is missing (`keep`, which nobody waits for).
 * - Whoever reads the set removes those that were seen to have ended or to be nobody's, if their
 *   score is unchanged and they are not pending, for two minutes at most (`remove`, which nobody
 *   waits for). Where there is a long list, sign-ins look through it now and then.
 * - Its time to live is twice that of its longest session, and two minutes.
 * - A member that is no session's id is passed over, and stays.
 *
 * ## A trace
 *
 * What Redis runs from the first change of a guest to the sign-out:
 *
 *     create   TIME, SET sess:{5f0c…} '2a0mfz… cart<TAB>["tea"]' NX PX 3660000
 *     load     GET sess:{5f0c…}
 *     commit   TIME, GET sess:{5f0c…}, ZREVRANGE, ZADD sess:user:{Gk3x…} 1763… Xwwc…, PTTL, PEXPIRE,
 *              ZCARD, SET sess:{5f0c…} '2a0mfz…' KEEPTTL
 *     load     GET sess:{5f0c…}
 *     replace  TIME, GETRANGE sess:{5f0c…} 0 13, GETRANGE sess:{5f0c…} 214 229, SETRANGE sess:{5f0c…} 220 ["pot"]
 *     refresh  GETRANGE sess:{5f0c…} 0 13, PEXPIRE sess:{5f0c…} 3660000, SETRANGE sess:{5f0c…} 1 a0mfz…
 *     keep     ZSCORE, PTTL, PEXPIRE sess:user:{Gk3x…}
 *     list     TIME, ZRANGE sess:user:{Gk3x…}; then for each GETRANGE sess:{5f0c…} 0 511
 *     destroy  TIME, GET, DEL sess:{5f0c…} sess:{5f0c…}:lock sess:{5f0c…}:turn; ZREM sess:user:{Gk3x…} Xwwc…
 *
 * The refresh and `keep` are sent behind the load and not waited for.
 *
 * @module
 */

/**
 * The key of a session.
 *
 * @param prefix The `prefix` option.
 * @param id The session's id: a UUID, never text that a client sent as it is.
 */
export function sessionKey(prefix: string, id: string): string {
  return `${prefix}{${id}}`
}

/**
 * The keys of a session's lock.
 *
 * @param key The session's.
 */
export function lockKeys(key: string): { readonly lock: string; readonly turn: string } {
  return { lock: `${key}:lock`, turn: `${key}:turn` }
}

/**
 * The key of a user's sessions.
 *
 * @param prefix The `prefix` option.
 * @param userName Any text; its SHA-256 goes into the key.
 */
export function userSessionsKey(prefix: string, userName: string): string {
  const digest = hash('sha256', Buffer.from(userName, 'utf16le'), 'base64url')
  return `${prefix}user:{${digest.slice(0, userLength)}}`
}

// 96 bits, in base64url.
const userLength = 16
// What 16 bytes take in base64url.
const shortLength = 22

/**
 * A session's id as it is in a user's index: the UUID's 16 bytes in base64url.
 *
 * @param id A UUID.
 * @throws {TypeError} When it is none, which would be the id of another session.
 */
export function shortId(id: string): string {
  // Reading hex stops at the first that is none, and leaves half a byte out.
  if (!isSessionId(id)) throw new TypeError('not a session id')
  return Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url')
}

/**
 * The id that {@link shortId} was given.
 *
 * @returns `undefined` when it has not made the text.
 */
export function longId(text: string): string | undefined {
  if (text.length !== shortLength) return undefined
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? uuidOf(bytes) : undefined
}
