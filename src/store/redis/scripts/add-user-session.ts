import { defineScript, unexpectedReply } from '../script.ts'
import type { Script } from '../script.ts'
import { clock, enlist } from './shared.ts'

/** What {@link addUserSession} replies. */
export interface Added {
  readonly now: number
  /** How many entries there are then. */
  readonly count: number
  /** Whether there was no entry for the session. */
  readonly isNew: boolean
  /** The score of the entry, a text. */
  readonly score: string
  /** Member, score, member, score … of the others, if they were asked for. */
  readonly others: readonly string[]
}

/**
 * Puts a session that is about to be signed in last among its user's, as a pending one: where the
 * two are on different servers, or the others must be looked at first.
 *
 * KEYS: `userSessions`. ARGV: `member`, the session; `keepMs`, how long the key must stay;
 * `perUser`, from how many other entries on the reply has them, empty for never.
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
