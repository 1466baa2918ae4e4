import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Puts a session back among its user's when it is missing there, and lets the key stay as long as
 * the session may live.
 *
 * KEYS: `userSessions` (sorted set). ARGV: `id`, the session's; `score`, which it gets when it is
 * missing, empty to leave it so; `pendingScore`, under which it was added, to be made `score`,
 * empty for none; `timeToLiveMs`, how long the key must stay.
 *
 * Reply: 1.
 */
export const keepUserSession: Script<
  'userSessions',
  'id' | 'timeToLiveMs' | 'score' | 'pendingScore'
> = defineScript({
  keys: ['userSessions'],
  args: ['id', 'timeToLiveMs', 'score', 'pendingScore'],
  lua: /* lua */ `
timeToLiveMs = tonumber(timeToLiveMs)

local present = tonumber(redis.call('ZSCORE', userSessions, id) or nil)
if score ~= '' and (not present or present == tonumber(pendingScore)) then
  redis.call('ZADD', userSessions, score, id)
end
if redis.call('PTTL', userSessions) < timeToLiveMs then
  redis.call('PEXPIRE', userSessions, string.format('%.0f', timeToLiveMs))
end
return 1
`,
})
