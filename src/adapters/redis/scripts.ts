import { createHash } from 'node:crypto'

/** A script as a server knows it. */
export interface Script {
  readonly text: string
  readonly sha: string
}

function script(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

/** Lua gives a call no more than about 8,000 arguments. */
const chunked = `
local function fetch(command, key, fields)
  local found = {}
  for i = 1, #fields, 1000 do
    local part = redis.call(command, key, unpack(fields, i, math.min(i + 999, #fields)))
    for n = 1, #part do found[i + n - 1] = part[n] end
  end
  return found
end
local function store(command, key, values)
  for i = 1, #values, 1000 do redis.call(command, key, unpack(values, i, math.min(i + 999, #values))) end
end
`

/** What a version is and how far: without that, what lies under our key is nobody's or somebody else's. */
const known = `
local function foreign(key) return redis.error_reply('HEADWATER_FOREIGN ' .. key .. ' is a hash of something else') end
local function whole(rows)
  local found = redis.call('HMGET', rows, '\\0state', '\\0incarnation')
  return found[1], found[2], not found[1] and redis.call('HLEN', rows) > 0
end
`

/** KEYS: rows. For whoever found no state there. */
export const foreignScript = script(`${known}
local _, _, isForeign = whole(KEYS[1])
return isForeign and foreign(KEYS[1]) or 0
`)

/** KEYS: rows, parked. ARGV: keys. Answers: the state, the incarnation, rows, why the keys are parked. */
export const loadScript = script(`${chunked}${known}
local state, incarnation, isForeign = whole(KEYS[1])
if isForeign then return foreign(KEYS[1]) end
return {state, incarnation, fetch('HMGET', KEYS[1], ARGV), fetch('HMGET', KEYS[2], ARGV)}
`)

/**
 * KEYS: rows, the set to read. ARGV: from and to, each with the sign that says whether it is included, reverse, limit, whether members are keys.
 * Answers: the state, the incarnation, members, keys, rows.
 */
export const rangeScript = script(`${chunked}${known}
local state, incarnation, isForeign = whole(KEYS[1])
if isForeign then return foreign(KEYS[1]) end
local from, to = ARGV[1], ARGV[2]
local members
if ARGV[3] == '1' then members = redis.call('ZREVRANGEBYLEX', KEYS[2], to, from, 'LIMIT', 0, ARGV[4])
else members = redis.call('ZRANGEBYLEX', KEYS[2], from, to, 'LIMIT', 0, ARGV[4]) end
local keys = members
if ARGV[5] == '0' then
  keys = {}
  for i, member in ipairs(members) do keys[i] = string.sub(member, string.find(member, '\\0', 1, true) + 1) end
end
return {state, incarnation, members, keys, fetch('HMGET', KEYS[1], keys)}
`)

/** How a state is read: `<format>|<how many keys are parked>|<first>-<last>=<position>:<event>;` and so on. */
const states = `
local function runsOf(state)
  local runs = {}
  local rest = string.gsub(string.match(state, '^%d+|%d+|(.*)$') or '?', '(%d+)%-(%d+)=(%d+:[^;]*);', function(a, b, value)
    runs[#runs + 1] = {tonumber(a), tonumber(b), value}
    return ''
  end)
  if rest == '' then return runs end
end
`

/**
 * One batch, or a part of one. Looks at everything before it writes anything: a script that fails is not rolled back.
 *
 * KEYS: rows, texts, keys, parked, deleted, each index.
 * ARGV: format, the incarnation that must be there (empty: any), the one to give to a new version, first and last partition, the checkpoint
 * that must be there (empty: none), the one to write, how often keys were taken back until now (empty: it does not matter), 1 if this is the last
 * part; how many rows, parked, taken back and parked already; of each row its key, what it was (* for any), its value (of one to delete
 * `<position>::<partition>`), and where there are indexes its texts (each closed by a zero byte); of each parked key and reason; the keys taken back; and
 * those that must be parked already. Answers: `applied`, the incarnation, how many deleted rows are remembered; or `lost`; or `again`, if keys were taken back.
 */
export const applyScript = script(`${chunked}${known}${states}
local rows, texts, keys, parked, deleted = unpack(KEYS, 1, 5)
local format, incarnation, fresh = ARGV[1], ARGV[2], ARGV[3]
local first, last, from, to, taken, isLast = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8], ARGV[9] == '1'
local rowCount, parkCount, backCount, stillCount = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local indexed = #KEYS > 5
local head, width = 13, indexed and 4 or 3

for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  local want = (i == 3 or i > 5) and 'zset' or 'hash'
  if kind ~= 'none' and kind ~= want then return redis.error_reply('HEADWATER_FOREIGN ' .. key .. ' is a ' .. kind) end
end
local state, met, isForeign = whole(rows)
local stored = state and string.match(state, '^(%d+)|')
if stored and stored ~= format then return redis.error_reply('HEADWATER_FORMAT ' .. stored) end
local runs = {}
if state then runs = runsOf(state) end
if isForeign or state and not (met and runs) then return foreign(rows) end
if incarnation ~= '' and met ~= incarnation then return {'lost'} end

local covered = 0
for _, run in ipairs(runs) do
  local inside = math.min(run[2], last) - math.max(run[1], first) + 1
  if inside > 0 then
    if run[3] ~= from then return {'lost'} end
    covered = covered + inside
  end
end
if covered ~= (from == '' and 0 or last - first + 1) then return {'lost'} end
if taken ~= '' and taken ~= (redis.call('HGET', rows, '\\0taken') or '0') then return {'again'} end

local at = head + rowCount * width
local park, back = {}, {}
for i = 1, parkCount * 2 do park[i] = ARGV[at + i] end
at = at + parkCount * 2
for i = 1, backCount do back[i] = ARGV[at + i] end
at = at + backCount
for i = 1, stillCount do
  if redis.call('HEXISTS', parked, ARGV[at + i]) == 0 then return {'lost'} end
end

-- A row is an object, so what does not end in a brace has no row.
local brace = 125
local match, byte = string.match, string.byte
local begun = tonumber(match(from, '^%d+') or '-1')
-- A deleted row that the checkpoint has passed is only not yet forgotten.
local function isThere(value) return value and (byte(value, -1) == brace or tonumber(match(value, '^%d+')) > begun) end

if not isLast then
  -- Written before the checkpoint moves, by one who slept, it would set aside a key that another owner has already got beyond that event.
  for i = 1, #park, 2 do
    local row = redis.call('HGET', rows, park[i])
    if isThere(row) and tonumber(match(row, '^%d+')) >= tonumber(match(park[i + 1], '^{"position":(%d+)')) then return {'lost'} end
  end
end

local names, writes = {}, {}
for i = 1, rowCount do names[i] = ARGV[head + (i - 1) * width + 1] end
local current = fetch('HMGET', rows, names)
for i = 1, rowCount do
  if not isThere(current[i]) then current[i] = false end
  local at = head + (i - 1) * width
  local was, value = ARGV[at + 2], ARGV[at + 3]
  local position = current[i] and match(current[i], '^%d+') or '0'
  if position == was then writes[#writes + 1] = i
  else
    local isNewer = tonumber(position) < tonumber(match(value, '^%d+'))
    if was == '*' then
      if isNewer then writes[#writes + 1] = i end
    elseif isNewer and not (position == '0' and byte(value, -1) ~= brace) then return {'lost'} end
  end
end

local function split(text)
  local parts, at = {}, 1
  while at <= #text do
    local zero = string.find(text, '\\0', at, true)
    parts[#parts + 1] = string.sub(text, at, zero - 1)
    at = zero + 1
  end
  return parts
end

if not met then
  redis.call('HSET', rows, '\\0state', format .. '|0|', '\\0incarnation', fresh)
  met = fresh
end
local old = indexed and fetch('HMGET', texts, names) or {}
local set, unset, setTexts, unsetTexts, enter, leave, remember = {}, {}, {}, {}, {}, {}, {}
local out, into = {}, {}
for n = 6, #KEYS do out[n], into[n] = {}, {} end
local function add(list, a, b)
  list[#list + 1] = a
  if b then list[#list + 1] = b end
end
local none, filled = {}, 0
for _, i in ipairs(writes) do
  local at = head + (i - 1) * width
  local key, value = names[i], ARGV[at + 3]
  local after = none
  if byte(value, -1) == brace then
    set[filled + 1], set[filled + 2] = key, value
    filled = filled + 2
    if not (current[i] and byte(current[i], -1) == brace) then add(enter, '0', key) end
    if indexed then
      after = split(ARGV[at + 4])
      add(setTexts, key, ARGV[at + 4])
    end
  else
    add(leave, key)
    if indexed then add(unsetTexts, key) end
    if isLast then add(unset, key)
    else
      local position, partition = match(value, '^(%d+)::(%d*)$')
      add(set, key, position .. '::')
      filled = filled + 2
      add(remember, key, partition)
    end
  end
  local before = old[i] and split(old[i]) or none
  for n = 6, #KEYS do
    local gone, come = before[n - 5], after[n - 5]
    if gone ~= come then
      if gone then add(out[n], gone .. '\\0' .. key) end
      if come then add(into[n], '0', come .. '\\0' .. key) end
    end
  end
end
store('HSET', rows, set)
store('HDEL', rows, unset)
store('HSET', texts, setTexts)
store('HDEL', texts, unsetTexts)
store('ZADD', keys, enter)
store('ZREM', keys, leave)
store('HSET', deleted, remember)
for n = 6, #KEYS do
  store('ZREM', KEYS[n], out[n])
  store('ZADD', KEYS[n], into[n])
end
local freed = 0
for i = 1, #back, 1000 do freed = freed + redis.call('HDEL', parked, unpack(back, i, math.min(i + 999, #back))) end
if freed > 0 then redis.call('HINCRBY', rows, '\\0taken', 1) end
store('HSET', parked, park)
local function tell(checkpoints)
  redis.call('HSET', rows, '\\0state', format .. '|' .. redis.call('HLEN', parked) .. '|' .. checkpoints)
end
if not isLast then
  if #park > 0 or freed > 0 then tell(state and match(state, '|%d+|(.*)$') or '') end
  return {'applied', met}
end

local pieces = {}
for _, run in ipairs(runs) do
  if run[1] < first then add(pieces, {run[1], math.min(run[2], first - 1), run[3]}) end
  if run[2] > last then add(pieces, {math.max(run[1], last + 1), run[2], run[3]}) end
end
add(pieces, {first, last, to})
table.sort(pieces, function(a, b) return a[1] < b[1] end)
local joined = {}
for _, piece in ipairs(pieces) do
  local neighbour = joined[#joined]
  if neighbour and neighbour[2] + 1 == piece[1] and neighbour[3] == piece[3] then neighbour[2] = piece[2]
  else add(joined, piece) end
end
local written = ''
for _, run in ipairs(joined) do written = written .. run[1] .. '-' .. run[2] .. '=' .. run[3] .. ';' end
tell(written)
return {'applied', met, redis.call('HLEN', deleted)}
`)

/** KEYS: rows, parked. ARGV: keys. Answers: the incarnation, how often keys were taken back, 1 if all these keys are parked. */
export const parkedAllScript = script(`
local found = redis.call('HMGET', KEYS[1], '\\0incarnation', '\\0taken')
for _, key in ipairs(ARGV) do
  if redis.call('HEXISTS', KEYS[2], key) == 0 then return {found[1] or '', found[2] or '0', 0} end
end
return {found[1] or '', found[2] or '0', 1}
`)

/**
 * What an interrupted batch deleted is remembered, so that its repetition does not begin anew; what is behind the checkpoint of its partition is not needed
 * any more, whoever deleted it. KEYS: rows, deleted. ARGV: keys.
 */
export const forgetScript = script(`${chunked}${states}
local rows, deleted = KEYS[1], KEYS[2]
local state = redis.call('HGET', rows, '\\0state')
local runs = state and runsOf(state)
if not runs then return 0 end
local reached = {}
for _, run in ipairs(runs) do
  for partition = run[1], run[2] do reached[partition] = tonumber(string.match(run[3], '^%d+')) end
end
local partitions, values = fetch('HMGET', deleted, ARGV), fetch('HMGET', rows, ARGV)
local gone, forgotten = {}, {}
for i, key in ipairs(ARGV) do
  local position = values[i] and string.match(values[i], '^(%d+)::$')
  local upTo = reached[tonumber(partitions[i] or '')]
  if partitions[i] and not (position and not (upTo and tonumber(position) <= upTo)) then
    if position then gone[#gone + 1] = key end
    forgotten[#forgotten + 1] = key
  end
end
store('HDEL', rows, gone)
store('HDEL', deleted, forgotten)
return #forgotten
`)

/** KEYS: a hash. ARGV: cursor. Answers: the next cursor; field, value, field, value. */
export const scanScript = script(`return redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', 500)`)

/** KEYS: all of a version. */
export const dropScript = script(`return redis.call('UNLINK', unpack(KEYS))`)

/** KEYS: all of a version. Answers: rows, bytes. */
export const sizeScript = script(`
local bytes = 0
for _, key in ipairs(KEYS) do
  local used = redis.pcall('MEMORY', 'USAGE', key)
  if type(used) == 'number' then bytes = bytes + used end
end
return {redis.call('ZCARD', KEYS[3]), bytes}
`)
