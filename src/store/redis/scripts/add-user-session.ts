import { defineScript, unexpectedReply, type Script } from '../script.ts'
import { clock, enlist } from './shared.ts'

/** The reply of {@link addUserSession}. */
export interface Added {
  readonly now: number
  /** The number of entries, with this one. */
  readonly count: number
  /** Whether the session had no entry before. */
  readonly isNew: boolean
  /** The entry's score, as text. */
  readonly score: string
  /** Member, score, member, score … of the other entries, if requested. */
  readonly others: readonly string[]
}

/**
 * Adds a session before its sign-in as its user's latest, pending entry: for a user's set on
 * another server, or a limit that must be checked first.
 *
 * KEYS: `userSessions`. ARGV: `member`, the session; `keepMs`, the least time to live of the key;
 * `perUser`, the number of other entries from which the reply lists them, empty for never.
 */
export const addUserSession: Script<'userSessions', 'member' | 'keepMs' | 'perUser', Added> =
  defineScript({
    keys: ['userSessions'],
    args: ['member', 'keepMs', 'perUser'],
    shared: [clock, enlist],
    lua: /* lua */ `
local count, score, isNew = enlist(userSessions, member, keepMs, 0.5)
local entries = { score }
if perUser ~= '' and count > tonumber(perUser) then
  for _, text in ipairs(redis.call('ZRANGE', userSessions, 0, -2, 'WITHSCORES')) do
    entries[#entries + 1] = text
  end
end
return say('added', now, count, isNew and 1 or 0) .. '\\n' .. table.concat(entries, '\\n')
`,
    parse: ({ word, numbers: [now = Number.NaN, count = 0, isNew], text }) => {
      if (word !== 'added') throw unexpectedReply()
      const [score = '', ...others] = text.split('\n')
      return { now, count, isNew: isNew === 1, score, others }
    },
  })
