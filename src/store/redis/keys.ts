import { hash } from 'node:crypto'

import { isSessionId, uuidOf } from '../../cookie/cookie.ts'

/**
 * Everything that this package keeps in Redis.
 *
 * ## `sess:{<id>}`: a session
 *
 * A string: the session as one text in the format of `store/session-text.ts`, a head and one line
 * for each name of storage. The braces keep one session in one slot of a Cluster, `sess:` is the
 * option `prefix`, and the id is a UUID.
 *
 * The time to live is the idle timeout plus `refreshSeconds`, but never past the absolute end, so
 * Redis ends the session by itself. `create` sets it, `refresh` does when more than
 * `refreshSeconds` have passed since the recorded activity, and `commit` does when the idle timeout
 * or the absolute end requires it.
 *
 * A read is one `GET`. The app verifies the secret, then checks the absolute end and whether a
 * refresh is due, by its estimate of Redis' clock (`store/redis/connection.ts`).
 *
 * A change is one script. The app derives the new head from the one that it has read, by the rules
 * of `store/stored-session.ts`, and the script stores it if the revision still matches. Otherwise
 * the reply has the current head, and the app tries again. The script merges changes of storage
 * name by name; they need no new head, so they never wait for each other. A value that keeps its
 * length is overwritten in place (`replace-value`) if the app knows its place; any other change
 * writes the whole text again, at a cost that grows with its size.
 *
 * A replaced secret is remembered for 30 s, and removed at the next rotation after that. A one-time
 * token is removed when it is redeemed, when a rotation replaces all other secrets, or, once it has
 * expired, when another token is made.
 *
 * ## `sess:{<id>}:lock`, `sess:{<id>}:turn`: while a `use()` runs
 *
 * Strings: the holder of the session's lock, with the lease as time to live, and the first refused
 * claimant, for 250 ms. Both are in the session's slot, and expire by themselves.
 *
 * ## `sess:user:{<hash>}`: a user's sessions
 *
 * A sorted set, always a superset of the user's live sessions. The hash is the first 96 bits of the
 * SHA-256 of the user name, in base64url. Users whose hashes collide share a set, but still see
 * only their own sessions. A member is a session's id: the UUID's 16 bytes in base64url. Its score
 * is the time of the sign-in in ms, strictly increasing within the set, plus a half while the
 * sign-in is pending. On a Cluster the set is on another node than the sessions:
 *
 * - On one Redis, the script that signs a session in also adds it here. On a Cluster, and where
 *   `maxSessions` refuses, it is first added as pending (`add`), and confirmed after the sign-in
 *   (`keep`, in the background).
 * - Each refresh of a session adds it again if it is missing (`keep`, in the background).
 * - A reader removes members whose sessions have ended or have no user, unless the score has changed,
 *   or is pending for less than two minutes (`remove`, in the background). Sign-ins check a long
 *   set now and then.
 * - The time to live is twice that of its longest session, plus two minutes.
 * - A member that is not a session's id is ignored, and stays.
 *
 * ## A trace: from a guest's first change to the sign-out
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
 * @module
 */

/** Returns the key of a session. The id must be a UUID, never unchecked text from a client. */
export function sessionKey(prefix: string, id: string): string {
  return `${prefix}{${id}}`
}

/** Returns the keys of a session's lock, given the session's key. */
export function lockKeys(key: string): { readonly lock: string; readonly turn: string } {
  return { lock: `${key}:lock`, turn: `${key}:turn` }
}

/** Returns the key of a user's sessions, with a part of the user name's SHA-256. */
export function userSessionsKey(prefix: string, userName: string): string {
  const digest = hash('sha256', Buffer.from(userName, 'utf16le'), 'base64url')
  return `${prefix}user:{${digest.slice(0, userLength)}}`
}

// In base64url, for 12 and for 16 bytes.
const userLength = 16
const shortLength = 22

/** Returns a session's id in short form, the UUID's 16 bytes in base64url. */
export function shortId(id: string): string {
  // Decoding hex silently stops at the first other character, and so could give another id.
  if (!isSessionId(id)) throw new TypeError('not a session id')
  return Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url')
}

/** Returns the id that {@link shortId} has shortened, or `undefined` for any other text. */
export function longId(text: string): string | undefined {
  if (text.length !== shortLength) return undefined
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? uuidOf(bytes) : undefined
}
