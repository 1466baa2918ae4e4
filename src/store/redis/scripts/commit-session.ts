import { defineScript, linesOf, unexpectedReply, type Script } from '../script.ts'
import { clock, enlist, deadline, others, read } from './shared.ts'

/** The reply of {@link commitSession}. */
export type Committed =
  | { readonly status: 'late'; readonly now: number }
  /** The head has changed since. Nothing was stored. */
  | { readonly status: 'changed'; readonly head: string }
  | { readonly status: 'ended' | 'unlocked' | 'tooLarge' }
  | {
      readonly status: 'committed'
      readonly now: number
      /** As in `Created`. */
      readonly count: number
      /** As in `Created`, but empty if `text` was requested. */
      readonly others: readonly string[]
      /** The session's new text, if requested. */
      readonly text: string
    }

const args = [
  'untilMs',
  'revision',
  'maxKeys',
  'maxBytes',
  'lockToken',
  'leaseMs',
  'tells',
  'newRevision',
  'rest',
  'activity',
  'timeToLiveMs',
  'mayGrow',
  'member',
  'keepMs',
  'perUser',
] as const

/**
 * Changes a session, all or nothing, if its head is still the one that the app has seen. The app
 * provides the new head; the script merges the entries, so that no other request's change is lost.
 *
 * KEYS: `session`; `lock`, for changes under it; `userSessions`, as in `create-session`. ARGV:
 * `untilMs`, when the caller stops waiting; `revision`, of the head that the app has seen, empty if
 * only the lock changes; `maxKeys` and `maxBytes` of storage; `lockToken`, or empty; `leaseMs`, 0
 * to release the lock; `tells`, 1 for the text in the reply; `newRevision` and `rest`, the new head
 * after `activity`, empty to keep it; `activity`, state and last activity, empty to keep them;
 * `timeToLiveMs`, empty to keep it; `mayGrow`, 1 if even a full Redis must take a longer text;
 * `member`, `keepMs` and `perUser`, as in `create-session`; then name, JSON, name, JSON …, with
 * empty JSON for a name to remove.
 */
export const commitSession: Script<
  'session' | 'lock' | 'userSessions',
  (typeof args)[number],
  Committed
> = defineScript({
  keys: ['session', 'lock', 'userSessions'],
  args,
  shared: [clock, deadline, read, enlist, others],
  lua: /* lua */ `
local find, sub = string.find, string.sub
local lock, userSessions = KEYS[2], KEYS[#KEYS]
if lockToken ~= '' and redis.call('GET', lock) ~= lockToken then
  return redis.call('EXISTS', session) == 1 and 'unlocked' or 'ended'
end

-- Returns where each entry and its successor begin, by name. Of two with one name the first counts.
local function placesIn(text, headEnd)
  local places, from = {}, headEnd + 1
  while from <= #text do
    local stop = find(text, '\\n', from + 1, true) or #text + 1
    local name = string.match(text, '^(\\n[^\\t\\n]*\\t)', from)
    if name and not places[name] then
      places[name] = { from, stop }
    end
    from = stop
  end
  return places
end

-- Returns the text after the changes, or nil when it exceeds a limit.
local function merge(text, headEnd)
  local keysEnd = find(text, '\\t', 15, true) or headEnd + 1
  local oldKeys = tonumber(sub(text, 15, keysEnd - 1)) or 0
  local keys, cuts, added = oldKeys, {}, {}
  -- Searching for many names one by one would block Redis for minutes.
  local places = #ARGV > 64 and placesIn(text, headEnd)
  for index = 2, #ARGV, 2 do
    local name, json = '\\n' .. ARGV[index] .. '\\t', ARGV[index + 1]
    local from, stop
    if places then
      from, stop = unpack(places[name] or {})
    else
      from = find(text, name, headEnd + 1, true)
      stop = from and (find(text, '\\n', from + #name, true) or #text + 1)
    end
    if from then
      keys = json == '' and keys - 1 or keys
      cuts[#cuts + 1] = { from, stop, json == '' and '' or name .. json }
    elseif json ~= '' then
      keys = keys + 1
      added[#added + 1] = name .. json
    end
  end
  table.sort(cuts, function(one, other) return one[1] < other[1] end)

  local state = activity ~= '' and activity or sub(text, 2, 11)
  local oldRest = rest == '' and sub(text, keysEnd, headEnd) or rest
  local head = '2' .. state .. (newRevision ~= '' and newRevision or revision) .. keys .. oldRest
  local parts, at = { head }, headEnd + 1
  for _, cut in ipairs(cuts) do
    parts[#parts + 1] = sub(text, at, cut[1] - 1)
    parts[#parts + 1] = cut[3]
    at = cut[2]
  end
  parts[#parts + 1] = sub(text, at)
  local new = table.concat(parts) .. table.concat(added)
  local oldBytes, bytes = #text - headEnd - 2 * oldKeys, #new - #head - 2 * keys
  if (keys > tonumber(maxKeys) and keys > oldKeys)
    or (bytes > tonumber(maxBytes) and bytes > oldBytes) then
    return nil
  end
  return new
end

-- Writes the text. Even a full Redis takes one that is not longer, or that removes rights.
local function write(text, new)
  local reply
  if timeToLiveMs == '' then
    reply = redis.pcall('SET', session, new, 'KEEPTTL')
  else
    reply = redis.pcall('SET', session, new, 'PX', timeToLiveMs)
  end
  if not reply.err then
    return nil
  end
  if not find(reply.err, 'OOM', 1, true) or (#new > #text and mayGrow == '') then
    return reply
  end
  -- Redis never refuses a delete, nor any write of a script that has already written.
  local leftMs = timeToLiveMs ~= '' and tonumber(timeToLiveMs) or redis.call('PTTL', session)
  redis.call('DEL', session)
  redis.call('SET', session, new)
  if leftMs >= 0 then
    redis.call('PEXPIRE', session, math.max(1, leftMs))
  end
  return nil
end

local new, count = '', 0
if revision ~= '' then
  local text, headEnd = read(session)
  if not text then
    return 'ended'
  end
  if sub(text, 1, 1) ~= '2' or sub(text, 12, 14) ~= revision then
    return 'changed\\n' .. sub(text, 1, headEnd)
  end
  new = merge(text, headEnd)
  if not new then
    return 'tooLarge'
  end
  if member ~= '' then
    count = enlist(userSessions, member, keepMs, 0)
  end
  local failure = write(text, new)
  if failure then
    return failure
  end
elseif redis.call('EXISTS', session) == 0 then
  return 'ended'
end
if leaseMs == '0' then
  redis.call('DEL', lock)
elseif leaseMs ~= '' then
  redis.call('PEXPIRE', lock, leaseMs)
end
if tells ~= '' then
  return say('told', now, count) .. '\\n' .. new
end
return say('committed', now, count) .. others(userSessions, count, perUser)
`,
  parse: ({ word, numbers: [now = Number.NaN, count = 0], text }) => {
    if (word === 'told') return { status: 'committed', now, count, others: [], text }
    if (word === 'committed') return { status: word, now, count, others: linesOf(text), text: '' }
    if (word === 'changed') return { status: word, head: text }
    if (word === 'late') return { status: word, now }
    if (word === 'ended' || word === 'unlocked' || word === 'tooLarge') return { status: word }
    throw unexpectedReply()
  },
})
