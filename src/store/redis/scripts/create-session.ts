import { defineScript, linesOf, unexpectedReply } from '../script.ts'
import type { Script } from '../script.ts'
import { clock, enlist, fence, others } from './shared.ts'

/** What {@link createSession} replies. */
export type Created =
  | { readonly status: 'late'; readonly now: number }
  | { readonly status: 'exists' }
  /**
   * `count`: how many sessions the user has then; 0 where the script was not told of one. `others`:
   * those but this one, where there are more than `perUser`: member, score, member, score …
   */
  | {
      readonly status: 'created'
      readonly now: number
      readonly count: number
      readonly others: readonly string[]
    }

/**
 * Stores a session under an id that is free and, in the same step, among its user's.
 *
 * KEYS: `session`; `userSessions`, its user's, where there is one and it is on the same server.
 * ARGV: `untilMs`, after which the caller no longer waits; `timeToLiveMs`, empty for ever;
 * `member`, the session in `userSessions`, empty without; `keepMs`, how long that must stay;
 * `perUser`, from how many on the reply has the others, empty for never; then the text.
 */
export const createSession: Script<
  'session' | 'userSessions',
  'untilMs' | 'timeToLiveMs' | 'member' | 'keepMs' | 'perUser',
  Created
> = defineScript({
  keys: ['session', 'userSessions'],
  args: ['untilMs', 'timeToLiveMs', 'member', 'keepMs', 'perUser'],
  shared: [clock, fence, enlist, others],
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
