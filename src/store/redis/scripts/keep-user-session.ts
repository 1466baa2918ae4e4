import { defineScript, type Script } from '../script.ts'

/**
 * Adds a session to its user's sessions if it is missing there, confirms a pending one, and keeps
 * the key as long as the session may live.
 *
 * KEYS: `userSessions`. ARGV: `member`, the session; `keepMs`, the least time to live of the key;
 * `score`, for a missing session, empty not to add it; `pendingScore`, to become `score`, or empty.
 * Reply: `kept`.
 */
export const keepUserSession: Script<
  'userSessions',
  'member' | 'keepMs' | 'score' | 'pendingScore',
  void
> = defineScript({
  keys: ['userSessions'],
  args: ['member', 'keepMs', 'score', 'pendingScore'],
  lua: /* lua */ `
local present = tonumber(redis.call('ZSCORE', userSessions, member) or nil)
if score ~= '' and (not present or present == tonumber(pendingScore)) then
  redis.call('ZADD', userSessions, score, member)
end
if redis.call('PTTL', userSessions) < tonumber(keepMs) then
  redis.call('PEXPIRE', userSessions, keepMs)
end
return 'kept'
`,
  parse: () => undefined,
})
