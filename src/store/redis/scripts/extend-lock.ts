import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Extends the session's lock, or gives it back.
 *
 * KEYS: `session` (hash). ARGV: `token`, the holder; `leaseMs`, 0 to give it back.
 *
 * Reply: 1; 0 when the lock was not the holder's, or no longer.
 */
export const extendLock: Script<'session', 'token' | 'leaseMs'> = defineScript({
  keys: ['session'],
  args: ['token', 'leaseMs'],
  lua: /* lua */ `
leaseMs = tonumber(leaseMs)

local holder, untilMs = string.match(redis.call('HGET', session, 'x') or '', '^(%S+) (%d+)$')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if holder ~= token or tonumber(untilMs) <= now then
  return 0
end
if leaseMs == 0 then
  redis.call('HDEL', session, 'x')
else
  redis.call('HSET', session, 'x', string.format('%s %.0f', token, now + leaseMs))
end
return 1
`,
})
