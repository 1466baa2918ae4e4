import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Takes a one-time token from its session, gives the session one more secret for it, and reads and
 * refreshes the session, as one step.
 *
 * KEYS: `session` (hash). ARGV: `untilMs`, after which the caller waits no more, empty for no such
 * time; `otpHash`; `newSecretHash`; `refreshMs`.
 *
 * Reply: as `load-session`, lines of: the time in epoch ms; 1; field, value, field, value …
 * Otherwise 0: no such token, or its time is over, or its session has ended. An error `LATE` and
 * the time when it is too late.
 */
export const redeemOTP: Script<'session', 'untilMs' | 'otpHash' | 'newSecretHash' | 'refreshMs'> =
  defineScript({
    keys: ['session'],
    args: ['untilMs', 'otpHash', 'newSecretHash', 'refreshMs'],
    lua: /* lua */ `
untilMs = tonumber(untilMs)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if untilMs and now > untilMs then
  return { err = string.format('LATE %.0f', now) }
end

local head = redis.pcall('HMGET', session, 'o:' .. otpHash, 'e', 'i')
if head.err then
  return string.find(head.err, '^WRONGTYPE') and 0 or head
end
local goodUntilMs, endsAt, idleTimeoutMs = tonumber(head[1]), tonumber(head[2]), tonumber(head[3])
if not goodUntilMs or now >= goodUntilMs or not head[3] or (endsAt and now >= endsAt) then
  return 0
end
redis.call('HSET', session, 'k:' .. newSecretHash, '0')
redis.call('HDEL', session, 'o:' .. otpHash, 'z')
if idleTimeoutMs then
  redis.call('PEXPIRE', session, string.format('%.0f', idleTimeoutMs + refreshMs))
end
local fields = redis.call('HGETALL', session)
return string.format('%.0f', now) .. '\\n1\\n' .. table.concat(fields, '\\n')
`,
  })
