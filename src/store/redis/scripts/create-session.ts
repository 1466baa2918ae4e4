import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Stores a session under an id that is free.
 *
 * KEYS: `session` (hash). ARGV: `untilMs`, after which the caller waits no more, empty for no such
 * time; `timeToLiveMs`, empty for no end; `absoluteTimeoutMs`, empty for none; `signsIn`, 1 or 0;
 * `maxKeys` and `maxBytes` of storage; then field, value, field, value …
 *
 * Reply: the time in epoch ms; 0 when there is such a key; -1 when storage is over a limit. An
 * error `LATE` and the time when it is too late.
 */
export const createSession: Script<
  'session',
  'untilMs' | 'timeToLiveMs' | 'absoluteTimeoutMs' | 'signsIn' | 'maxKeys' | 'maxBytes'
> = defineScript({
  keys: ['session'],
  args: ['untilMs', 'timeToLiveMs', 'absoluteTimeoutMs', 'signsIn', 'maxKeys', 'maxBytes'],
  lua: /* lua */ `
untilMs, maxKeys, maxBytes = tonumber(untilMs), tonumber(maxKeys), tonumber(maxBytes)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if untilMs and now > untilMs then
  return { err = string.format('LATE %.0f', now) }
end

if redis.call('EXISTS', session) == 1 then
  return 0
end

local fields, keys, bytes = {}, 0, 0
for index = 2, #ARGV, 2 do
  local field, value = ARGV[index], ARGV[index + 1]
  fields[#fields + 1] = field
  fields[#fields + 1] = value
  if string.sub(field, 1, 2) == 's:' then
    keys = keys + 1
    bytes = bytes + #field - 2 + #value
  end
end
if keys > maxKeys or bytes > maxBytes then
  return -1
end

local function add(field, number)
  fields[#fields + 1] = field
  fields[#fields + 1] = string.format('%.0f', number)
end
add('b', now)
if signsIn == '1' then
  add('l', now)
end
if absoluteTimeoutMs ~= '' then
  add('e', now + absoluteTimeoutMs)
end
if keys > 0 then
  add('n', keys)
  add('m', bytes)
end
-- In parts, because Lua cannot unpack more than some 8 000 values.
for first = 1, #fields, 4000 do
  redis.call('HSET', session, unpack(fields, first, math.min(first + 3999, #fields)))
end
if timeToLiveMs ~= '' then
  redis.call('PEXPIRE', session, timeToLiveMs)
end
return now
`,
})
