import { hash } from 'node:crypto'

/**
 * Everything that this package keeps in Redis.
 *
 * ## `sess:{<id>}`: a session
 *
 * A hash. The braces make one session one slot of a Cluster, and `sess:` is the `prefix` option.
 * Its time to live is the idle timeout plus `refreshSeconds`; Redis ends the session when it has
 * passed. It is written by `create` and anew by `load` and `touch` when less than the idle timeout
 * is left, by `redeemOTP`, and by `commit` when the idle timeout changes. No field has to be
 * written for it.
 *
 * | field              | value                                                   | written by       |
 * | ------------------ | ------------------------------------------------------- | ---------------- |
 * | `v`                | version of this format, `1`                             | create           |
 * | `type`             | `web`, `rest`, `remote` or `storedProcedure`            | create           |
 * | `ip`               | the client's address; absent when not known             | create           |
 * | `appName` …        | each text of the client's description that is known, by | create           |
 * |                    | its name, escaped; 64 bytes at most before that         |                  |
 * | `persistentID`     | one of them: a remote client's own; absent for others,  | create           |
 * |                    | whose persistent id is that of the session              |                  |
 * | `isOfficialApp`    | `1`; absent when not                                    | create           |
 * | `createdAt`        | epoch ms                                                | create           |
 * | `signedInAt`       | epoch ms of the last sign-in; absent before the first   | create, commit   |
 * | `endsAt`           | epoch ms, the absolute end; absent without one          | create, commit   |
 * | `idleTimeoutMs`    | ms; `none` for a session that never expires, whose key  | create, commit   |
 * |                    | then has no time to live                                |                  |
 * | `userName`         | escaped; absent or empty when nobody is signed in       | create, commit,  |
 * |                    |                                                         | grant            |
 * | `privilege:<name>` | empty; the name as granted, escaped                     | the same         |
 * | `role:<name>`      | empty; the name as granted, escaped                     | the same         |
 * | `storage:<name>`   | JSON; the name escaped                                  | create, commit   |
 * | `keys`             | number of `storage:` fields; absent before the first    | create, commit   |
 * | `bytes`            | their size, names without prefix and values, in bytes   | create, commit   |
 * | `postponed`        | `1` once the client has said that it suspends, until    | commit           |
 * |                    | the next load, touch or redeemOTP                       |                  |
 * | `lock`             | holder and epoch ms until when, while a `use()` runs    | lock, extendLock |
 * | `lockNext`         | the same of who was refused first and has the next turn | lock             |
 * | `secret:<hash>`    | `0` while good, else epoch ms when it was renewed away; | create, commit,  |
 * |                    | the SHA-256 of a cookie's secret in base64url. None     | redeemOTP        |
 * |                    | where only trusted callers come in                      |                  |
 * | `otp:<hash>`       | epoch ms until when; the SHA-256 of a one-time token's  | addOTP           |
 * |                    | secret in base64url. 32 live ones at most               |                  |
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
 * A sorted set, always a superset of the user's live sessions. The hash is the SHA-256 of the user
 * name. A member is a session's id, its score the time of the sign-in in ms, strictly increasing
 * within the set, plus a half while the sign-in is on its way. It lives on another node of a
 * Cluster than the sessions, so nothing is done to both in one step. Instead:
 *
 * - A session is added before the write that signs it in (`add`), as pending, and is no longer
 *   pending when that has arrived (`keep`, which nobody waits for).
 * - Each refresh of a session puts it back if it is missing (`keep`, which nobody waits for).
 * - Whoever reads the set removes those that were seen to have ended or to be nobody's, if their
 *   score is unchanged and they are not pending, for two minutes at most (`remove`, which nobody
 *   waits for). Where there is a long list, sign-ins look through it now and then.
 * - Its time to live is twice that of its longest session, and two minutes.
 *
 * ## A trace
 *
 * What Redis runs from the first change of a guest to the sign-out:
 *
 *     create  TIME, EXISTS, HSET sess:{5f0c…} v 1 type web … storage:cart ["tea"] secret:x7Zf… 0, PEXPIRE
 *     load    HMGET sess:{5f0c…} secret:x7Zf… endsAt idleTimeoutMs, TIME, PTTL, HGETALL
 *     add     TIME, ZREVRANGE, ZADD sess:user:{Gk3x…} 1763….5 5f0c…, PTTL, PEXPIRE, ZCARD
 *     commit  TIME, HMGET, HKEYS, HSET sess:{5f0c…} userName ann role:Manager '' secret:Qd0w… 0 secret:x7Zf… 1763…
 *     keep    ZSCORE, ZADD sess:user:{Gk3x…} 1763… 5f0c…, PTTL
 *     load    HMGET sess:{5f0c…} secret:Qd0w… …, TIME, PTTL, PEXPIRE, HGETALL
 *     keep    ZSCORE, PTTL, PEXPIRE sess:user:{Gk3x…}
 *     addOTP  HMGET sess:{5f0c…} secret:Qd0w… …, TIME, HKEYS, HSET sess:{5f0c…} otp:Lw8b… 1763…
 *     redeem  HMGET sess:{5f0c…} otp:Lw8b… …, TIME, HSET secret:Tn4k… 0, HDEL otp:Lw8b… postponed, PEXPIRE, HGETALL
 *     list    TIME, ZRANGE sess:user:{Gk3x…}; then for each HMGET sess:{5f0c…} v type …, TIME, PTTL
 *     destroy HMGET, DEL sess:{5f0c…}; ZREM sess:user:{Gk3x…} 5f0c…
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
  return `${prefix}user:{${hash('sha256', Buffer.from(userName, 'utf16le'), 'base64url')}}`
}
