/**
 * Everything that this package keeps in Redis.
 *
 * ## `sess:{<id>}`: a session
 *
 * A hash. The braces make one session one slot of a Cluster, and `sess:` is the `prefix` option.
 * Its time to live is the idle timeout plus `refreshSeconds`; Redis ends the session when it has
 * passed. It is written by `create` and anew by `load` and `touch` when less than the idle timeout
 * is left, and by `commit` when the idle timeout changes. No field has to be written for it.
 *
 * | field              | value                                                   | written by       |
 * | ------------------ | ------------------------------------------------------- | ---------------- |
 * | `v`                | version of this format, `1`                             | create           |
 * | `type`             | `web` or `rest`                                         | create           |
 * | `ip`               | the client's address; absent when not known             | create           |
 * | `createdAt`        | epoch ms                                                | create           |
 * | `signedInAt`       | epoch ms of the last sign-in; absent before the first   | create, commit   |
 * | `endsAt`           | epoch ms, the absolute end; absent without one          | create, commit   |
 * | `idleTimeoutMs`    | ms                                                      | create, commit   |
 * | `userName`         | escaped; absent or empty when nobody is signed in       | create, commit   |
 * | `privilege:<name>` | empty; the name as granted, escaped                     | create, commit   |
 * | `role:<name>`      | empty; the name as granted, escaped                     | create, commit   |
 * | `storage:<name>`   | JSON; the name escaped                                  | create, commit   |
 * | `keys`             | number of `storage:` fields; absent before the first    | create, commit   |
 * | `bytes`            | their size, names without prefix and values, in bytes   | create, commit   |
 * | `lock`             | holder and epoch ms until when, while a `use()` runs    | lock, extendLock |
 * | `lockNext`         | the same of who was refused first and has the next turn | lock             |
 * | `secret:<hash>`    | `0` while good, else epoch ms when it was renewed away; | create, commit   |
 * |                    | the SHA-256 of a cookie's secret in base64url           |                  |
 *
 * "Escaped" is JSON's escaping without the quotes, so that neither a field nor a value ever has a
 * line break: a loaded session is all of them, joined by line breaks, in one bulk string, which
 * costs the app half to a third of what a list of many small ones does (`npm run bench:reply`). A
 * value over 64 bytes makes Redis keep the whole hash in a roomier form.
 *
 * Renewed secrets are remembered for 30 s, then removed at the next renewal.
 *
 * ## A trace
 *
 * What Redis runs from the first change of a guest to the sign-out, one line a round trip:
 *
 *     create  EXISTS, TIME, HSET sess:{5f0c…} v 1 type web … storage:cart ["tea"] secret:x7Zf… 0, PEXPIRE
 *     load    HMGET sess:{5f0c…} secret:x7Zf… endsAt idleTimeoutMs, TIME, PTTL, HGETALL
 *     commit  HMGET, TIME, HKEYS, HSET sess:{5f0c…} userName ann role:Manager '' secret:Qd0w… 0 secret:x7Zf… 1763…
 *     load    HMGET sess:{5f0c…} secret:Qd0w… …, TIME, PTTL, PEXPIRE, HGETALL
 *     destroy DEL sess:{5f0c…}
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
