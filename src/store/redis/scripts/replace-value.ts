import { defineScript, unexpectedReply, type Script } from '../script.ts'
import { clock, deadline } from './shared.ts'

/** The reply of {@link replaceValue}. */
export type Replaced =
  | { readonly status: 'late'; readonly now: number }
  /** The head, or the entry at that place, has changed since, or Redis is full. */
  | { readonly status: 'changed' }
  | { readonly status: 'committed'; readonly now: number }

/**
 * Overwrites a value of storage by one of the same length, in place: nothing is moved or copied,
 * however large the session is.
 *
 * KEYS: `session`. ARGV: `untilMs`, when the caller stops waiting; `revision`, of the head that the
 * app has seen; `at`, the byte at which the entry begins; then the start of the entry: a line
 * break, the name and a TAB; then the JSON.
 */
export const replaceValue: Script<'session', 'untilMs' | 'revision' | 'at', Replaced> =
  defineScript({
    keys: ['session'],
    args: ['untilMs', 'revision', 'at'],
    shared: [clock, deadline],
    lua: /* lua */ `
local name, json = ARGV[2], ARGV[3]
local head = redis.pcall('GETRANGE', session, 0, 13)
if type(head) ~= 'string' or string.sub(head, 1, 1) ~= '2' or string.sub(head, 12) ~= revision then
  return 'changed'
end
-- Up to the next entry's line break, or to the end of the text.
local entry = redis.call('GETRANGE', session, at, at + #name + #json)
local stop = string.find(entry, '\\n', #name + 1, true) or #entry + 1
if string.sub(entry, 1, #name) ~= name or stop ~= #name + #json + 1 then
  return 'changed'
end
-- A full Redis may refuse this write; the commit script has another way.
local reply = redis.pcall('SETRANGE', session, at + #name, json)
return type(reply) == 'number' and say('committed', now) or 'changed'
`,
    parse: ({ word, numbers: [now = Number.NaN] }) => {
      if (word === 'committed' || word === 'late') return { status: word, now }
      if (word === 'changed') return { status: word }
      throw unexpectedReply()
    },
  })
