import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Changes what a user's session is granted, without its secret.
 *
 * KEYS: `session` (hash). ARGV: `untilMs`, after which the caller waits no more, empty for no such
 * time; `userName`, escaped, whose the session must be; `clears`, 1 when all grants go first; then
 * field, value, field, value … to set, or nothing.
 *
 * Reply: 1; 0 when there is no such session, or it is not that user's. An error `LATE` and the time
 * when it is too late.
 */
export const grantSession: Script<'session', 'untilMs' | 'userName' | 'clears'> = defineScript({
  keys: ['session'],
  args: ['untilMs', 'userName', 'clears'],
  lua: /* lua */ `
untilMs = tonumber(untilMs)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if untilMs and now > untilMs then
  return { err = string.format('LATE %.0f', now) }
end

local head = redis.pcall('HMGET', session, 'u', 'e')
if head.err then
  return string.find(head.err, '^WRONGTYPE') and 0 or head
end
local endsAt = tonumber(head[2])
if head[1] ~= userName or (endsAt and now >= endsAt) then
  return 0
end

local set, isSet, dropped = {}, {}, {}
for index = 2, #ARGV do
  set[#set + 1] = ARGV[index]
end
for index = 1, #set, 2 do
  isSet[set[index]] = true
end
if clears == '1' then
  for _, field in ipairs(redis.call('HKEYS', session)) do
    local kind = string.match(field, '^(%a+):') or field
    if (kind == 'u' or kind == 'p' or kind == 'r') and not isSet[field] then
      dropped[#dropped + 1] = field
    end
  end
end
-- The growing command first: when memory is short it fails before anything is half done.
for first = 1, #set, 4000 do
  redis.call('HSET', session, unpack(set, first, math.min(first + 3999, #set)))
end
for first = 1, #dropped, 4000 do
  redis.call('HDEL', session, unpack(dropped, first, math.min(first + 3999, #dropped)))
end
return 1
`,
})
