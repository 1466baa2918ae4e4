import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Reads all entries of a user's sessions.
 *
 * KEYS: `userSessions` (sorted set).
 *
 * Reply: the time in epoch ms; then id, score, id, score …, the first sign-in first.
 */
export const readUserSessions: Script<'userSessions', never> = defineScript({
  keys: ['userSessions'],
  args: [],
  lua: /* lua */ `
local time = redis.call('TIME')
local reply = { string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)) }
local entries = redis.call('ZRANGE', userSessions, 0, -1, 'WITHSCORES')
for index = 1, #entries do
  reply[#reply + 1] = entries[index]
end
return reply
`,
})
