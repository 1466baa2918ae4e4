import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Removes entries of sessions that have ended or are not the user's.
 *
 * KEYS: `userSessions` (sorted set). ARGV: id, score, id, score …; an entry with another score than
 * this one stays, because its session was signed in again; an empty score is any.
 *
 * Reply: how many were removed.
 */
export const removeUserSessions: Script<'userSessions', never> = defineScript({
  keys: ['userSessions'],
  args: [],
  lua: /* lua */ `
local removed = 0
for index = 1, #ARGV, 2 do
  local id, score = ARGV[index], tonumber(ARGV[index + 1])
  local present = tonumber(redis.call('ZSCORE', userSessions, id) or nil)
  if present and (not score or present == score) then
    removed = removed + redis.call('ZREM', userSessions, id)
  end
end
return removed
`,
})
