import { defineScript, linesOf, unexpectedReply, type Script } from '../script.ts'
import { clock, enlist, deadline, others } from './shared.ts'

/** The reply of {@link createSession}. */
export type Created =
  | { readonly status: 'late'; readonly now: number }
  | { readonly status: 'exists' }
  /**
   * `count` is the user's number of sessions, or 0 without a user. `others` lists the user's other
   * sessions if there are more than `perUser`: member, score, member, score …
   */
  | {
      readonly status: 'created'
      readonly now: number
      readonly count: number
      readonly others: readonly string[]
    }

/**
 * Stores a session under a free id and, atomically, among its user's sessions.
 *
 * KEYS: `session`; `userSessions`, if the session has a user whose set is on the same server. ARGV:
 * `untilMs`, when the caller stops waiting; `timeToLiveMs`, empty for ever; `member`, the session
 * in `userSessions`, or empty; `keepMs`, the least time to live of that key; `perUser`, the number
 * above which the reply lists the others, empty for never; then the text.
 */
export const createSession: Script<
  'session' | 'userSessions',
  'untilMs' | 'timeToLiveMs' | 'member' | 'keepMs' | 'perUser',
  Created
> = defineScript({
  keys: ['session', 'userSessions'],
  args: ['untilMs', 'timeToLiveMs', 'member', 'keepMs', 'perUser'],
  shared: [clock, deadline, enlist, others],
  lua: /* lua */ `
local count = 0
if member ~= '' then
  if redis.call('EXISTS', session) == 1 then
    return 'exists'
  end
  count = enlist(KEYS[2], member, keepMs, 0)
end
local reply
if timeToLiveMs == '' then
  reply = redis.call('SET', session, ARGV[2], 'NX')
else
  reply = redis.call('SET', session, ARGV[2], 'NX', 'PX', timeToLiveMs)
end
return reply and say('created', now, count) .. others(KEYS[2], count, perUser) or 'exists'
`,
  parse: ({ word, numbers: [now = Number.NaN, count = 0], text }) => {
    if (word === 'created') return { status: word, now, count, others: linesOf(text) }
    if (word === 'late') return { status: word, now }
    if (word === 'exists') return { status: word }
    throw unexpectedReply()
  },
})
