// Lua that several scripts share.

/** Defines `now`, Redis' time in epoch ms, and `say(word, ...)`, which returns a reply. */
export const clock = /* lua */ `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function say(word, ...)
  for _, number in ipairs({ ... }) do
    word = word .. ' ' .. string.format('%.0f', number)
  end
  return word
end`

/** Refuses a call that arrives after `untilMs`, when its caller has stopped waiting. */
export const deadline = /* lua */ `
if now > tonumber(untilMs) then
  return say('late', now)
end`

/** Defines `read(key)`, which returns a text and where its head ends, or `nil` without a string. */
export const read = /* lua */ `
local function read(key)
  local text = redis.pcall('GET', key)
  if type(text) ~= 'string' then
    return nil
  end
  return text, (string.find(text, '\\n', 1, true) or #text + 1) - 1
end`

/**
 * Defines `others(userSessions, count, perUser)`, which returns the members and scores of all
 * entries but the last one as lines, if there are more than `perUser`, which is empty for never.
 */
export const others = /* lua */ `
local function others(userSessions, count, perUser)
  if perUser == '' or count <= tonumber(perUser) then
    return ''
  end
  local entries = redis.call('ZRANGE', userSessions, 0, -2, 'WITHSCORES')
  return '\\n' .. table.concat(entries, '\\n')
end`

/**
 * Defines `enlist(userSessions, member, keepMs, pending)`, which makes a session its user's latest
 * one, and returns the number of entries, the session's score, and whether it is new. Scores
 * strictly increase, so that all readers see one order.
 */
export const enlist = /* lua */ `
local function enlist(userSessions, member, keepMs, pending)
  local last = redis.call('ZREVRANGE', userSessions, 0, 0, 'WITHSCORES')
  local score = last[2] and math.max(now, math.floor(last[2]) + 1) or now
  score = string.format('%.1f', score + pending)
  local isNew = redis.call('ZADD', userSessions, score, member) == 1
  if redis.call('PTTL', userSessions) < tonumber(keepMs) then
    redis.call('PEXPIRE', userSessions, keepMs)
  end
  return redis.call('ZCARD', userSessions), score, isNew
end`
