import { renewedMemoryMs } from '../../session-store.ts'
import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Applies changes to a session that is there, all or none.
 *
 * KEYS: `session` (hash). ARGV: `untilMs`, after which the caller waits no more, empty for no such
 * time; `secretHash`, the request's, empty for a caller that is trusted; `maxKeys` and `maxBytes`
 * of storage; `timeToLiveMs`, empty to leave it; `removedCount`, how many fields to delete, empty
 * for none; `lockToken`, empty when the changes were made without lock; `leaseMs`, empty to give
 * the lock back; `newSecretHash`, empty for none; `asksFor`, `rights` or `secret` or empty;
 * `clears`, 1 when all grants go first; `userName`, escaped, whose the request takes the session
 * for, where it asks for rights; `absoluteTimeoutMs`, empty when this is no sign-in, `none` for a
 * sign-in without limit; then field, value, field, value … to set, and the fields to delete.
 *
 * Reply: the time in epoch ms, negative when the new secret was not taken; for a sign-in a list of
 * the time and the idle timeout in ms; with a lock that is extended the session as one bulk string,
 * lines of: the time; field, value … Otherwise 0: the session has ended or never knew the secret;
 * 1: the secret was renewed away, and the changes ask for what it cannot have; 2: storage is over a
 * limit; 3: the lock is not the holder's, or no longer. An error `LATE` and the time when it is too
 * late.
 */
export const commitSession: Script<
  'session',
  | 'untilMs'
  | 'secretHash'
  | 'maxKeys'
  | 'maxBytes'
  | 'timeToLiveMs'
  | 'removedCount'
  | 'lockToken'
  | 'leaseMs'
  | 'newSecretHash'
  | 'asksFor'
  | 'clears'
  | 'userName'
  | 'absoluteTimeoutMs'
> = defineScript({
  keys: ['session'],
  args: [
    'untilMs',
    'secretHash',
    'maxKeys',
    'maxBytes',
    'timeToLiveMs',
    'removedCount',
    'lockToken',
    'leaseMs',
    'newSecretHash',
    'asksFor',
    'clears',
    'userName',
    'absoluteTimeoutMs',
  ],
  constants: { renewedMemoryMs },
  lua: /* lua */ `
untilMs, maxKeys, maxBytes = tonumber(untilMs), tonumber(maxKeys), tonumber(maxBytes)
leaseMs = tonumber(leaseMs) or 0
local lastSet = #ARGV - (tonumber(removedCount) or 0)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if untilMs and now > untilMs then
  return { err = string.format('LATE %.0f', now) }
end

local names = { 'k:' .. secretHash, 'e', 'u', 'n', 'm', 'x', 'v' }
local head = redis.pcall('HMGET', session, unpack(names))
if head.err then
  return string.find(head.err, '^WRONGTYPE') and 0 or head
end
local renewedAt = secretHash == '' and head[7] and 0 or tonumber(head[1])
local endsAt, owner = tonumber(head[2]), head[3]
if not renewedAt or (endsAt and now >= endsAt) then
  return 0
end
local isRenewed = renewedAt ~= 0
if isRenewed and now - renewedAt > renewedMemoryMs then
  return 0
end
if lockToken ~= '' then
  local holder, untilMs = string.match(head[6] or '', '^(%S+) (%d+)$')
  if holder ~= lockToken or tonumber(untilMs) <= now then
    return 3
  end
end
local joins = isRenewed and asksFor == 'rights' and userName ~= '' and userName == owner
if isRenewed and asksFor ~= '' and not joins then
  return 1
end

local set, isSet, dropped = {}, {}, {}
local function put(field, value)
  set[#set + 1], set[#set + 2] = field, value
  isSet[field] = true
end
local function putNumber(field, number)
  put(field, string.format('%.0f', number))
end

local oldKeys, oldBytes = tonumber(head[4]) or 0, tonumber(head[5]) or 0
local keys, bytes = oldKeys, oldBytes
local function count(field, length)
  local oldLength = redis.call('HSTRLEN', session, field)
  if oldLength > 0 then
    keys, bytes = keys - 1, bytes - #field + 2 - oldLength
  end
  if length > 0 then
    keys, bytes = keys + 1, bytes + #field - 2 + length
  end
end
for index = 2, lastSet, 2 do
  local field, value = ARGV[index], ARGV[index + 1]
  put(field, value)
  if string.sub(field, 1, 2) == 's:' then
    count(field, #value)
  end
end
for index = lastSet + 1, #ARGV do
  dropped[#dropped + 1] = ARGV[index]
  count(ARGV[index], 0)
end
if (keys > maxKeys and keys > oldKeys) or (bytes > maxBytes and bytes > oldBytes) then
  return 2
end
if keys ~= oldKeys or bytes ~= oldBytes then
  putNumber('n', keys)
  putNumber('m', bytes)
end

if absoluteTimeoutMs ~= '' then
  putNumber('l', now)
end
if absoluteTimeoutMs == 'none' then
  dropped[#dropped + 1] = 'e'
elseif absoluteTimeoutMs ~= '' then
  putNumber('e', now + absoluteTimeoutMs)
end

local takesSecret = newSecretHash ~= '' and (joins or not isRenewed)
if takesSecret or clears == '1' then
  for _, field in ipairs(redis.call('HKEYS', session)) do
    local kind = string.match(field, '^(%a+):') or field
    if kind == 'k' and takesSecret then
      -- What is no number counts as forgotten.
      local since = tonumber(redis.call('HGET', session, field)) or 1
      if since == 0 and not joins then
        putNumber(field, now)
      elseif since ~= 0 and now - since > renewedMemoryMs then
        dropped[#dropped + 1] = field
      end
    elseif kind == 'o' and takesSecret and not joins then
      dropped[#dropped + 1] = field
    elseif (kind == 'u' or kind == 'p' or kind == 'r') and clears == '1' and not isSet[field] then
      dropped[#dropped + 1] = field
    end
  end
end
if takesSecret then
  put('k:' .. newSecretHash, '0')
end

if lockToken ~= '' and leaseMs > 0 then
  put('x', string.format('%s %.0f', lockToken, now + leaseMs))
elseif lockToken ~= '' then
  dropped[#dropped + 1] = 'x'
end

-- The growing command first: when memory is short it fails before anything is half done. In parts,
-- because Lua cannot unpack more than some 8 000 values.
for first = 1, #set, 4000 do
  redis.call('HSET', session, unpack(set, first, math.min(first + 3999, #set)))
end
for first = 1, #dropped, 4000 do
  redis.call('HDEL', session, unpack(dropped, first, math.min(first + 3999, #dropped)))
end
if timeToLiveMs ~= '' then
  redis.call('PEXPIRE', session, timeToLiveMs)
end
if isRenewed and not joins then
  return -now
end
if lockToken == '' or leaseMs == 0 then
  return absoluteTimeoutMs ~= '' and { now, redis.call('HGET', session, 'i') } or now
end
local fields = redis.call('HGETALL', session)
return string.format('%.0f', now) .. '\\n' .. table.concat(fields, '\\n')
`,
})
