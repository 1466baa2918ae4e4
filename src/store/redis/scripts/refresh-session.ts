import { defineScript, unexpectedReply, type Script } from '../script.ts'

/**
 * Records activity for a caller whose secret was good in the head that the app has seen.
 *
 * KEYS: `session`. ARGV: `revision`, of that head; `activity`, state and last activity;
 * `timeToLiveMs`, empty to keep it. Reply: `refreshed`; `changed` if the head has changed since;
 * `ended`; `refused` by a Redis that takes no writes.
 *
 * Sets the time to live first: a full Redis accepts that, and then the activity too. The calls are
 * protected, because a read must work on a replica.
 */
export const refreshSession: Script<
  'session',
  'revision' | 'activity' | 'timeToLiveMs',
  'refreshed' | 'changed' | 'ended' | 'refused'
> = defineScript({
  keys: ['session'],
  args: ['revision', 'activity', 'timeToLiveMs'],
  lua: /* lua */ `
local head = redis.pcall('GETRANGE', session, 0, 13)
if type(head) ~= 'string' or head == '' then
  return 'ended'
end
if string.sub(head, 1, 1) ~= '2' or string.sub(head, 12) ~= revision then
  return 'changed'
end
if timeToLiveMs ~= '' and redis.pcall('PEXPIRE', session, timeToLiveMs) ~= 1 then
  return 'refused'
end
redis.pcall('SETRANGE', session, 1, activity)
return 'refreshed'
`,
  parse: ({ word }) => {
    if (word === 'refreshed' || word === 'changed' || word === 'ended' || word === 'refused') {
      return word
    }
    throw unexpectedReply()
  },
})
