import { lockTurnMs } from '../../session-store.ts'
import { defineScript, unexpectedReply, type Script } from '../script.ts'
import { clock, read } from './shared.ts'

/** The reply of {@link lockSession}. If busy, the text is the head only. */
export type Locked =
  | { readonly status: 'ended' }
  | { readonly status: 'locked' | 'busy'; readonly now: number; readonly text: string }

/**
 * Takes a session's lock, or extends it for its holder, and reads the session.
 *
 * KEYS: `session`; `lock`, the holder's token; `turn`, the token of the first refused claimant, for
 * whom a free lock is reserved for `lockTurnMs`. Both expire. ARGV: `token`, `leaseMs`.
 */
export const lockSession: Script<'session' | 'lock' | 'turn', 'token' | 'leaseMs', Locked> =
  defineScript({
    keys: ['session', 'lock', 'turn'],
    args: ['token', 'leaseMs'],
    constants: { lockTurnMs },
    shared: [clock, read],
    lua: /* lua */ `
local lock, turn = KEYS[2], KEYS[3]
local text, headEnd = read(session)
if not text then
  return 'ended'
end
-- Returns the token in a key, unless the key is not a string or never expires, as ours always do.
local function tokenIn(key)
  local value = redis.pcall('GET', key)
  local isOurs = type(value) == 'string' and (value == token or redis.call('PTTL', key) >= 0)
  return isOurs and value
end
local holder, following = tokenIn(lock), tokenIn(turn)
if (holder or following or token) ~= token then
  if (following or token) == token then
    redis.call('SET', turn, token, 'PX', lockTurnMs)
  end
  return say('busy', now) .. '\\n' .. string.sub(text, 1, headEnd)
end
redis.call('SET', lock, token, 'PX', leaseMs)
if following then
  redis.call('DEL', turn)
end
return say('locked', now) .. '\\n' .. text
`,
    parse: ({ word, numbers: [now = Number.NaN], text }) => {
      if (word === 'locked' || word === 'busy') return { status: word, now, text }
      if (word === 'ended') return { status: word }
      throw unexpectedReply()
    },
  })
