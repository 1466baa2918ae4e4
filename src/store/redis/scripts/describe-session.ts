import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Reads what is known of a session but its content, which counts as nothing.
 *
 * KEYS: `session` (hash). ARGV: `refreshMs`.
 *
 * Reply: one bulk string, lines of: the time in epoch ms; the last activity; 1 or 0, whether it is
 * postponed; field, value, field, value … of those that it has. Otherwise 0: there is no session;
 * -2: the key holds something else.
 */
export const describeSession: Script<'session', 'refreshMs'> = defineScript({
  keys: ['session'],
  args: ['refreshMs'],
  lua: /* lua */ `
local names = { 'v', 'a', 'b', 'l', 'e', 'i', 'u', 'c', 'c1', 'c2', 'c3', 'z' }
local values = redis.pcall('HMGET', session, unpack(names))
if values.err then
  return string.find(values.err, '^WRONGTYPE') and -2 or values
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local endsAt, idleTimeoutMs = tonumber(values[5]), tonumber(values[6])
if not values[6] or (endsAt and now >= endsAt) then
  return 0
end
-- The time to live is written at an activity.
local remainingMs = redis.call('PTTL', session)
local activeAt = (remainingMs < 0 or not idleTimeoutMs) and now or math.min(now, now + remainingMs - idleTimeoutMs - refreshMs)
local isPostponed = values[#names] and '1' or '0'
local lines = { string.format('%.0f', now), string.format('%.0f', activeAt), isPostponed }
for index = 1, #names - 1 do
  if values[index] then
    lines[#lines + 1], lines[#lines + 2] = names[index], values[index]
  end
end
return table.concat(lines, '\\n')
`,
})
