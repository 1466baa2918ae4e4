import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Counts as activity, as loading does, without reading.
 *
 * KEYS: `session` (hash). ARGV: `secretHash`, empty for a caller that is trusted; `refreshMs`.
 *
 * Reply: lines of: the time in epoch ms; 1 or 0, whether it was refreshed; the idle timeout in ms;
 * the last sign-in in epoch ms, 0 for none; the user, escaped. Otherwise 0: the session has ended
 * or the secret is not good.
 */
export const touchSession: Script<'session', 'secretHash' | 'refreshMs'> = defineScript({
  keys: ['session'],
  args: ['secretHash', 'refreshMs'],
  lua: /* lua */ `
local names = { 'k:' .. secretHash, 'e', 'i', 'z', 'l', 'u', 'v' }
local head = redis.pcall('HMGET', session, unpack(names))
if head.err then
  return string.find(head.err, '^WRONGTYPE') and 0 or head
end
local endsAt, idleTimeoutMs = tonumber(head[2]), tonumber(head[3])
local isOpen = head[1] == '0' or (secretHash == '' and head[7])
if not isOpen or not head[3] then
  return 0
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if endsAt and now >= endsAt then
  return 0
end
local refreshed = '0'
if head[4] then
  redis.call('HDEL', session, 'z')
end
if idleTimeoutMs and (head[4] or redis.call('PTTL', session) < idleTimeoutMs) then
  redis.call('PEXPIRE', session, string.format('%.0f', idleTimeoutMs + refreshMs))
  refreshed = '1'
end
local user = { string.format('%.0f', now), refreshed, head[3], head[5] or '0', head[6] or '' }
return table.concat(user, '\\n')
`,
})
