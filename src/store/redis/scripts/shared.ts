/**
 * Lua that scripts share.
 *
 * @module
 */

/** `now`, Redis' time in epoch ms, and `say(word, ...)`, which makes a reply. */
export const clock = /* lua */ `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function say(word, ...)
  for _, number in ipairs({ ... }) do
    word = word .. ' ' .. string.format('%.0f', number)
  end
  return word
end`

/** Refuses what arrives when its caller has stopped waiting, at `untilMs`. */
export const fence = /* lua */ `
if now > tonumber(untilMs) then
  return say('late', now)
end`

/**
 * `read(key)`, which returns a session's text and where its head ends, or `nil` where the key holds
 * none. Anything that begins as a session does is one here: whether it can be read is for the app
 * to say.
 */
export const read = /* lua */ `
local function read(key)
  local text = redis.pcall('GET', key)
  if type(text) ~= 'string' then
    return nil
  end
  return text, (string.find(text, '\\n', 1, true) or #text + 1) - 1
end`

/**
 * `others(userSessions, count, perUser)`, which returns all entries of a user but the last one,
 * lines of member and score, where there are more than `perUser`, a text that is empty for never.
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
 * `enlist(userSessions, member, keepMs, pending)`, which makes a session its user's last one, and
 * returns its score and how many there are. Scores strictly increase, so that the sessions have one
 * order for everybody.
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
