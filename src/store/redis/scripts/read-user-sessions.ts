import { defineScript, linesOf, unexpectedReply, type Script } from '../script.ts'
import { clock } from './shared.ts'

/** The reply of {@link readUserSessions}. */
export interface UserEntries {
  readonly now: number
  /** Member, score, member, score …, in the order of the sign-ins. */
  readonly entries: readonly string[]
}

/** Reads all entries of a user's sessions. KEYS: `userSessions`. */
export const readUserSessions: Script<'userSessions', never, UserEntries> = defineScript({
  keys: ['userSessions'],
  args: [],
  shared: [clock],
  lua: /* lua */ `
local entries = redis.call('ZRANGE', userSessions, 0, -1, 'WITHSCORES')
return say('entries', now) .. '\\n' .. table.concat(entries, '\\n')
`,
  parse: ({ word, numbers: [now = Number.NaN], text }) => {
    if (word !== 'entries') throw unexpectedReply()
    return { now, entries: linesOf(text) }
  },
})
