import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Puts a session that is about to be signed in last among its user's, as a pending one.
 *
 * KEYS: `userSessions` (sorted set). ARGV: `id`, the session's; `timeToLiveMs`, how long the key
 * must stay; `perUser`, from how many other entries on they are told, empty for never.
 *
 * Reply: the score; 1 or 0, whether there was an entry for the session; the time in epoch ms; how
 * many entries there are; then id, score, id, score … of the others. Scores are texts: a whole
 * number of ms, and a half more while pending.
 */
export const addUserSession: Script<'userSessions', 'id' | 'timeToLiveMs' | 'perUser'> =
  defineScript({
    keys: ['userSessions'],
    args: ['id', 'timeToLiveMs', 'perUser'],
    lua: /* lua */ `
timeToLiveMs, perUser = tonumber(timeToLiveMs), tonumber(perUser)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = redis.call('ZREVRANGE', userSessions, 0, 0, 'WITHSCORES')
-- Strictly increasing, so that the entries have one order for everybody.
local score = now
if last[2] then
  score = math.max(now, math.floor(tonumber(last[2])) + 1)
end
local pending = string.format('%.1f', score + 0.5)
local wasThere = redis.call('ZADD', userSessions, pending, id) == 0 and '1' or '0'
if redis.call('PTTL', userSessions) < timeToLiveMs then
  redis.call('PEXPIRE', userSessions, string.format('%.0f', timeToLiveMs))
end

local count = redis.call('ZCARD', userSessions)
local reply = { pending, wasThere, string.format('%.0f', now), tostring(count) }
if perUser and count > perUser then
  local entries = redis.call('ZRANGE', userSessions, 0, -2, 'WITHSCORES')
  for index = 1, #entries do
    reply[#reply + 1] = entries[index]
  end
end
return reply
`,
  })
