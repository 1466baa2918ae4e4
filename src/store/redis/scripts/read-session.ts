import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Reads a session without its secret, which counts as nothing.
 *
 * KEYS: `session` (hash).
 *
 * Reply: field, value, field, value … of one bulk string, a line each; 0 when there is no session;
 * -2 when the key holds something else.
 */
export const readSession: Script<'session', never> = defineScript({
  keys: ['session'],
  args: [],
  lua: /* lua */ `
local head = redis.pcall('HMGET', session, 'e')
if head.err then
  return string.find(head.err, '^WRONGTYPE') and -2 or head
end
local endsAt = tonumber(head[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if endsAt and now >= endsAt then
  return 0
end
local fields = redis.call('HGETALL', session)
return #fields > 0 and table.concat(fields, '\\n') or 0
`,
})
