import { renewedMemoryMs } from '../../session-store.ts'
import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Verifies a secret, reads the session and refreshes its time to live when that is due.
 *
 * KEYS: `session` (hash). ARGV: `secretHash`, empty for a caller that is trusted; `refreshMs`;
 * `isActivity`, 1 or 0.
 *
 * Reply: the session as one bulk string, lines of: the time in epoch ms; 1 or 0, whether it was
 * refreshed; field, value, field, value … Otherwise 0: no such session or secret; -1: the secret
 * was renewed away a moment ago; -2: the key holds something else.
 */
export const loadSession: Script<'session', 'secretHash' | 'refreshMs' | 'isActivity'> =
  defineScript({
    keys: ['session'],
    args: ['secretHash', 'refreshMs', 'isActivity'],
    constants: { renewedMemoryMs },
    // Protected calls where a write or a foreign value could fail: reading must work on a Redis that is
    // full, read-only or a replica, and a key of another type is no error.
    lua: /* lua */ `
local names = { 'k:' .. secretHash, 'e', 'i', 'z', 'v' }
local head = redis.pcall('HMGET', session, unpack(names))
if head.err then
  return string.find(head.err, '^WRONGTYPE') and -2 or head
end
local isTrusted = secretHash == ''
local renewedAt = isTrusted and head[5] and 0 or tonumber(head[1])
local endsAt, idleTimeoutMs = tonumber(head[2]), tonumber(head[3])
if not renewedAt then
  local isForeign = head[1] or (not head[5] and redis.call('EXISTS', session) == 1)
  return isForeign and -2 or 0
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if endsAt and now >= endsAt then
  redis.pcall('DEL', session)
  return 0
end
if renewedAt ~= 0 then
  return now - renewedAt <= renewedMemoryMs and -1 or 0
end

local refreshed = '0'
local isPostponed = isActivity == '1' and head[4]
if isPostponed then
  redis.pcall('HDEL', session, 'z')
end
if isActivity == '1' and idleTimeoutMs and (isPostponed or redis.call('PTTL', session) < idleTimeoutMs) then
  local reply = redis.pcall('PEXPIRE', session, string.format('%.0f', idleTimeoutMs + refreshMs))
  refreshed = reply == 1 and '1' or '0'
end
local fields = redis.call('HGETALL', session)
return string.format('%.0f', now) .. '\\n' .. refreshed .. '\\n' .. table.concat(fields, '\\n')
`,
  })
