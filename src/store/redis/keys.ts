import { hash } from 'node:crypto'

import { isSessionId, uuidOf } from '../../core/secret.ts'

/**
 * Everything that this package keeps in Redis.
 *
 * ## `sess:{<id>}`: a session
 *
 * A hash. The braces make one session one slot of a Cluster, and `sess:` is the `prefix` option.
 * The id is a UUID as text. Its time to live is the idle timeout plus `refreshSeconds`; Redis ends
 * the session when it has passed. It is written by `create` and anew by `load` and `touch` when
 * less than the idle timeout is left, by `redeemOTP`, and by `commit` when the idle timeout
 * changes. No field has to be written for it.
 *
 * | field       | value                                                        | written by       |
 * | ----------- | ------------------------------------------------------------ | ---------------- |
 * | `v`         | version of this format and type of the session: `1 web`,     | create           |
 * |             | `1 rest`, `1 remote` or `1 storedProcedure`                  |                  |
 * | `a`         | the client's IP address; absent when not known               | create           |
 * | `c`, `c1` … | what is known of the client: its texts, escaped, with TABs   | create           |
 * |             | between, in pieces of 64 bytes at most and the rest in `c3`. |                  |
 * |             | `core/record.ts` has the order                               |                  |
 * | `b`         | epoch ms of the beginning                                    | create           |
 * | `l`         | epoch ms of the last sign-in; absent before the first        | create, commit   |
 * | `e`         | epoch ms, the absolute end; absent without one               | create, commit   |
 * | `i`         | idle timeout in ms; `none` for a session that never expires, | create, commit   |
 * |             | whose key then has no time to live                           |                  |
 * | `u`         | user name, escaped; absent or empty when nobody is signed in | create, commit,  |
 * |             |                                                              | grant            |
 * | `p:<name>`  | empty; a privilege's name as granted, escaped                | the same         |
 * | `r:<name>`  | empty; a role's name as granted, escaped                     | the same         |
 * | `s:<name>`  | storage: JSON; the name escaped                              | create, commit   |
 * | `n`         | number of `s:` fields; absent before the first               | create, commit   |
 * | `m`         | their size, names without prefix and values, in bytes        | create, commit   |
 * | `z`         | `1` once the client has said that it suspends, until the     | commit           |
 * |             | next load, touch or redeemOTP                                |                  |
 * | `x`         | lock: holder and epoch ms until when, while a `use()` runs   | lock, extendLock |
 * | `y`         | the same of who was refused first and has the next turn      | lock             |
 * | `k:<hash>`  | `0` while good, else epoch ms when it was renewed away; the  | create, commit,  |
 * |             | SHA-256 of a cookie's secret in base64url. None where only   | redeemOTP        |
 * |             | trusted callers come in                                      |                  |
 * | `o:<hash>`  | epoch ms until when; the SHA-256 of a one-time token's       | addOTP           |
 * |             | secret in base64url. 32 live ones at most                    |                  |
 *
 * The names are short because every session has them: `npm run bench -- --only memory` measures it.
 *
 * "Escaped" is JSON's escaping without the quotes, so that neither a field nor a value ever has a
 * line break: a loaded session is all of them, joined by line breaks, in one bulk string, which
 * costs the app half to a third of what a list of many small ones does (`npm run bench:reply`). A
 * value over 64 bytes makes Redis keep the whole hash in a roomier form.
 *
 * Renewed secrets are remembered for 30 s, then removed at the next renewal. One-time tokens go
 * when they are redeemed, when a renewal leaves no other secret good, and, once their time is over,
 * at the next `addOTP`.
 *
 * ## `sess:user:{<hash>}`: a user's sessions
 *
 * A sorted set, always a superset of the user's live sessions. The hash is the first 96 bits of the
 * SHA-256 of the user name in base64url, 16 characters: whoever shares a set with somebody else by
 * a collision still sees their own sessions only. A member is a session's id, the UUID's 16 bytes
 * in base64url, its score the time of the sign-in in ms, strictly increasing within the set, plus a
 * half while the sign-in is on its way. It lives on another node of a Cluster than the sessions, so
 * nothing is done to both in one step. Instead:
 *
 * - A session is added before the write that signs it in (`add`), as pending, and is no longer
 *   pending when that has arrived (`keep`, which nobody waits for).
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
 *     create  TIME, EXISTS, HSET sess:{5f0c…} v '1 web' a 203.0.113.7 … s:cart ["tea"] k:x7Zf… 0 b 1763…, PEXPIRE
 *     load    HMGET sess:{5f0c…} k:x7Zf… e i z v, TIME, PTTL, HGETALL
 *     add     TIME, ZREVRANGE, ZADD sess:user:{Gk3x…} 1763….5 Xwwc…, PTTL, PEXPIRE, ZCARD
 *     commit  TIME, HMGET, HKEYS, HSET sess:{5f0c…} u ann r:Manager '' k:Qd0w… 0 k:x7Zf… 1763… l 1763…
 *     keep    ZSCORE, ZADD sess:user:{Gk3x…} 1763… Xwwc…, PTTL
 *     load    HMGET sess:{5f0c…} k:Qd0w… …, TIME, PTTL, PEXPIRE, HGETALL
 *     keep    ZSCORE, PTTL, PEXPIRE sess:user:{Gk3x…}
 *     addOTP  TIME, HMGET sess:{5f0c…} k:Qd0w… …, HKEYS, HSET sess:{5f0c…} o:Lw8b… 1763…
 *     redeem  TIME, HMGET sess:{5f0c…} o:Lw8b… …, HSET k:Tn4k… 0, HDEL o:Lw8b… z, PEXPIRE, HGETALL
 *     list    TIME, ZRANGE sess:user:{Gk3x…}; then for each HMGET sess:{5f0c…} v a b …, TIME, PTTL
 *     destroy HMGET, DEL sess:{5f0c…}; ZREM sess:user:{Gk3x…} Xwwc…
 *
 * `add` and `commit` go out together, one round trip; on a Cluster the first is waited for.
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
