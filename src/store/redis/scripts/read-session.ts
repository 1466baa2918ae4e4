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
local session = KEYS[1]

local endsAt = redis.pcall('HGET', session, 'endsAt')
if type(endsAt) == 'table' and endsAt.err then
  return string.find(endsAt.err, '^WRONGTYPE') and -2 or endsAt
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if endsAt and now >= tonumber(endsAt) then
  return 0
end
local fields = redis.call('HGETALL', session)
return #fields > 0 and table.concat(fields, '\\n') or 0
`,
})
