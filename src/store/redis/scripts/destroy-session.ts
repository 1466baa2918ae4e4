import { defineScript, unexpectedReply, type Script } from '../script.ts'
import { clock, read } from './shared.ts'

/** The reply of {@link destroySession}. */
export type Destroyed =
  | { readonly status: 'ended' }
  | { readonly status: 'destroyed'; readonly now: number; readonly head: string }

/**
 * Ends a session. Only deletes, and has no shebang, so that it works on a full Redis.
 *
 * KEYS: `session`; `lock` and `turn`, as in `lock-session`. ARGV: `isOwned`, 1 if the session must
 * belong to `userName`, which is escaped and empty for a guest. Reply: `destroyed`, the time, and
 * the session's head; `ended` without a session, or for another user's.
 */
export const destroySession: Script<
  'session' | 'lock' | 'turn',
  'isOwned' | 'userName',
  Destroyed
> = defineScript({
  keys: ['session', 'lock', 'turn'],
  args: ['isOwned', 'userName'],
  shared: [clock, read],
  lua: /* lua */ `
local text, headEnd = read(session)
if not text then
  return 'ended'
end
local head = string.sub(text, 1, headEnd)
if isOwned == '1' and (string.match(head, '\\tu([^\\t]*)') or '') ~= userName then
  return 'ended'
end
redis.call('DEL', session, KEYS[2], KEYS[3])
return say('destroyed', now) .. '\\n' .. head
`,
  parse: ({ word, numbers: [now = Number.NaN], text }) => {
    if (word === 'destroyed') return { status: word, now, head: text }
    if (word === 'ended') return { status: word }
    throw unexpectedReply()
  },
})
