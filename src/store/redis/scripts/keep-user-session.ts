import { defineScript } from '../script.ts'
import type { Script } from '../script.ts'

/**
 * Puts a session back among its user's when it is missing there, and lets the key stay as long as
 * the session may live.
 *
 * KEYS: `userSessions`. ARGV: `member`, the session; `keepMs`, how long the key must stay; `score`,
 * which it gets when it is missing, empty to leave it so; `pendingScore`, under which it was added,
 * to be made `score`, empty for none. Reply: `kept`.
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
