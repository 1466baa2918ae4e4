import { maxOTPs } from '../../session-store.ts'
import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Gives a session a one-time token, and forgets those that have expired.
 *
 * KEYS: `session` (hash). ARGV: `untilMs`, after which the caller waits no more, empty for no such
 * time; `secretHash`, the request's, empty for a caller that is trusted; `otpHash`; `lifespanMs`.
 * From `maxOTPs` live ones on the first to expire goes.
 *
 * Reply: 1; 0 when the session has ended or the secret is not good. An error `LATE` and the time
 * when it is too late.
 */
export const addOTP: Script<'session', 'untilMs' | 'secretHash' | 'otpHash' | 'lifespanMs'> =
  defineScript({
    keys: ['session'],
    args: ['untilMs', 'secretHash', 'otpHash', 'lifespanMs'],
    constants: { maxOTPs },
    lua: /* lua */ `
untilMs = tonumber(untilMs)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if untilMs and now > untilMs then
  return { err = string.format('LATE %.0f', now) }
end

local head = redis.pcall('HMGET', session, 'k:' .. secretHash, 'e', 'v')
if head.err then
  return string.find(head.err, '^WRONGTYPE') and 0 or head
end
local isOpen = head[1] == '0' or (secretHash == '' and head[3])
-- An end that is no number has come.
if not isOpen or (head[2] and now >= (tonumber(head[2]) or 0)) then
  return 0
end

local dropped, live, first, firstUntil = {}, 0, nil, math.huge
for _, field in ipairs(redis.call('HKEYS', session)) do
  if string.sub(field, 1, 2) == 'o:' then
    local goodUntilMs = tonumber(redis.call('HGET', session, field)) or 0
    if goodUntilMs <= now then
      dropped[#dropped + 1] = field
    else
      live = live + 1
      if goodUntilMs < firstUntil then
        first, firstUntil = field, goodUntilMs
      end
    end
  end
end
if live >= maxOTPs then
  dropped[#dropped + 1] = first
end
redis.call('HSET', session, 'o:' .. otpHash, string.format('%.0f', now + lifespanMs))
if #dropped > 0 then
  redis.call('HDEL', session, unpack(dropped))
end
return 1
`,
  })
