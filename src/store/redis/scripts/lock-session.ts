import { lockTurnMs } from '../../session-store.ts'
import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Takes the session's lock, or extends it for whoever has it, and reads the session.
 *
 * KEYS: `session` (hash). ARGV: `secretHash`, empty for a caller that is trusted; `token`, the
 * holder; `leaseMs`. For `lockTurnMs` a free lock is kept for whoever was refused first.
 *
 * Reply: the session as one bulk string, lines of: the time in epoch ms; field, value, field, value
 * … Otherwise 0: no such session or secret; -1: somebody else has the lock or the next turn.
 */
export const lockSession: Script<'session', 'secretHash' | 'token' | 'leaseMs'> = defineScript({
  keys: ['session'],
  args: ['secretHash', 'token', 'leaseMs'],
  constants: { lockTurnMs },
  lua: /* lua */ `
leaseMs = tonumber(leaseMs)

local head = redis.pcall('HMGET', session, 'k:' .. secretHash, 'e', 'x', 'y', 'v')
if head.err then
  return string.find(head.err, '^WRONGTYPE') and 0 or head
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local isOpen = head[1] == '0' or (secretHash == '' and head[5])
-- An end that is no number has come.
if not isOpen or (head[2] and now >= (tonumber(head[2]) or 0)) then
  return 0
end

-- Of both fields: who, and until when.
local function holderOf(field)
  local holder, untilMs = string.match(field or '', '^(%S+) (%d+)$')
  return holder and tonumber(untilMs) > now and holder or nil
end
local holder, nextHolder = holderOf(head[3]), holderOf(head[4])
if (holder and holder ~= token) or (not holder and nextHolder and nextHolder ~= token) then
  if not nextHolder or nextHolder == token then
    redis.call('HSET', session, 'y', string.format('%s %.0f', token, now + lockTurnMs))
  end
  return -1
end

redis.call('HSET', session, 'x', string.format('%s %.0f', token, now + leaseMs))
if nextHolder == token then
  redis.call('HDEL', session, 'y')
end
local fields = redis.call('HGETALL', session)
return string.format('%.0f', now) .. '\\n' .. table.concat(fields, '\\n')
`,
})
