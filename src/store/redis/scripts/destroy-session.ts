import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Ends a session. Deletes only, and without a shebang, so that it works on a Redis that is full.
 *
 * KEYS: `session` (hash). ARGV: `isOwned`, 1 when the session must be a user's; `userName`, that
 * user, escaped.
 *
 * Reply: whose it was, escaped, `''` for nobody; 0 when there is no live session, or it is not that
 * user's.
 */
export const destroySession: Script<'session', 'isOwned' | 'userName'> = defineScript({
  keys: ['session'],
  args: ['isOwned', 'userName'],
  lua: /* lua */ `
local head = redis.pcall('HMGET', session, 'u', 'e')
if head.err then
  return string.find(head.err, '^WRONGTYPE') and 0 or head
end
local owner, endsAt = head[1] or '', tonumber(head[2])
if isOwned == '1' and owner ~= userName then
  return 0
end
if redis.call('DEL', session) == 0 then
  return 0
end
local time = redis.call('TIME')
if endsAt and time[1] * 1000 + math.floor(time[2] / 1000) >= endsAt then
  return 0
end
return owner
`,
})
