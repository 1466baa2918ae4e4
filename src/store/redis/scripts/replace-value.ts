import { defineScript, unexpectedReply } from '../script.ts'
import type { Script } from '../script.ts'
import { clock, fence } from './shared.ts'

/** What {@link replaceValue} replies. */
export type Replaced =
  | { readonly status: 'late'; readonly now: number }
  /** The head, or the entry at that place, is another one by now, or Redis is full. */
  | { readonly status: 'changed' }
  | { readonly status: 'committed'; readonly now: number }

/**
 * Changes a value of storage into one of the same length, in its place: it moves and copies
 * nothing, however large the session is.
 *
 * KEYS: `session`. ARGV: `untilMs`, after which the caller no longer waits; `revision`, that of the
 * head that the app has seen; `at`, the byte of the text at which the entry begins; then how the
 * entry begins: a line break, the name and a TAB; then the JSON.
 */
export const replaceValue: Script<'session', 'untilMs' | 'revision' | 'at', Replaced> =
  defineScript({
    keys: ['session'],
    args: ['untilMs', 'revision', 'at'],
    shared: [clock, fence],
    lua: /* lua */ `
local name, json = ARGV[2], ARGV[3]
local head = redis.pcall('GETRANGE', session, 0, 13)
if type(head) ~= 'string' or string.sub(head, 1, 1) ~= '2' or string.sub(head, 12) ~= revision then
  return 'changed'
end
-- Up to the line break of the next entry, or to the end of the text.
local entry = redis.call('GETRANGE', session, at, at + #name + #json)
local stop = string.find(entry, '\\n', #name + 1, true) or #entry + 1
if string.sub(entry, 1, #name) ~= name or stop ~= #name + #json + 1 then
  return 'changed'
end
-- What a full Redis refuses here, the commit script can do in another way.
local reply = redis.pcall('SETRANGE', session, at + #name, json)
return type(reply) == 'number' and say('committed', now) or 'changed'
`,
    parse: ({ word, numbers: [now = Number.NaN] }) => {
      if (word === 'committed' || word === 'late') return { status: word, now }
      if (word === 'changed') return { status: word }
      throw unexpectedReply()
    },
  })
