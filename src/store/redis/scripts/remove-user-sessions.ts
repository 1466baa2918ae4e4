import { defineScript, type Script } from '../script.ts'

/**
 * Removes entries of sessions that have ended or belong to another user.
 *
 * KEYS: `userSessions`. ARGV: member, score, member, score … An entry with another score stays,
 * because its session was signed in again; an empty score matches any. Reply: `removed` and a
 * count.
 */
export const removeUserSessions: Script<'userSessions', never, number> = defineScript({
  keys: ['userSessions'],
  args: [],
  lua: /* lua */ `
local removed = 0
for index = 1, #ARGV, 2 do
  local member, score = ARGV[index], tonumber(ARGV[index + 1])
  local present = tonumber(redis.call('ZSCORE', userSessions, member) or nil)
  if present and (not score or present == score) then
    removed = removed + redis.call('ZREM', userSessions, member)
  end
end
return 'removed ' .. removed
`,
  parse: ({ numbers: [removed = 0] }) => removed,
})
