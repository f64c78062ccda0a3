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

/** KEYS: rows, parked. ARGV: keys. Answers: the state, rows, why the keys are parked. */
export const loadScript = script(`${chunked}
return {redis.call('HGET', KEYS[1], '\\0state'), fetch('HMGET', KEYS[1], ARGV), fetch('HMGET', KEYS[2], ARGV)}
`)

/** KEYS: rows, the set to read. ARGV: from, to, reverse, limit, whether members are keys. Answers: the state, members, keys, rows. */
export const rangeScript = script(`${chunked}
local from, to = '[' .. ARGV[1], '(' .. ARGV[2]
local members
if ARGV[3] == '1' then members = redis.call('ZREVRANGEBYLEX', KEYS[2], to, from, 'LIMIT', 0, ARGV[4])
else members = redis.call('ZRANGEBYLEX', KEYS[2], from, to, 'LIMIT', 0, ARGV[4]) end
local keys = members
if ARGV[5] == '0' then
  keys = {}
  for i, member in ipairs(members) do keys[i] = string.sub(member, string.find(member, '\\0', 1, true) + 1) end
end
return {redis.call('HGET', KEYS[1], '\\0state'), members, keys, fetch('HMGET', KEYS[1], keys)}
`)

/**
 * One batch, or a part of one. Looks at everything before it writes anything: a script that fails is not rolled back.
 *
 * KEYS: rows, texts, keys, parked, deleted, each index.
 * ARGV: format, the incarnation that must be there (empty: any), the one to give to a new version, first and last partition, the checkpoint
 * that must be there (empty: none), the one to write, its position, 1 if this is the last part; how many rows, parked and taken back; of
 * each row its key, what it was (* for any), its value (of one to delete `<position>::<partition>`), and where there are indexes its texts (each closed by
 * a zero byte); of each parked key and reason; and the keys taken back.
 */
export const applyScript = script(`${chunked}
local rows, texts, keys, parked, deleted = unpack(KEYS, 1, 5)
local format, incarnation, fresh = ARGV[1], ARGV[2], ARGV[3]
local first, last, from, to, reached, isLast = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8], ARGV[9] == '1'
local rowCount, parkCount, backCount = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local indexed = #KEYS > 5
local head, width = 12, indexed and 4 or 3

for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  local want = (i == 3 or i > 5) and 'zset' or 'hash'
  if kind ~= 'none' and kind ~= want then return redis.error_reply('HEADWATER_FOREIGN ' .. key .. ' is a ' .. kind) end
end
local state = redis.call('HGET', rows, '\\0state')
local stored, checkpoints = string.match(state or '', '^([^|]*)|%d*|(.*)$')
if state and stored ~= format then return redis.error_reply('HEADWATER_FORMAT ' .. (stored or state)) end
local met = redis.call('HGET', rows, '\\0incarnation')
if incarnation ~= '' and met ~= incarnation then return {'lost'} end

local runs, covered = {}, 0
for a, b, value in string.gmatch(checkpoints or '', '(%d+)%-(%d+)=([^;]*);') do
  a, b = tonumber(a), tonumber(b)
  runs[#runs + 1] = {a, b, value}
  local inside = math.min(b, last) - math.max(a, first) + 1
  if inside > 0 then
    if value ~= from then return {'lost'} end
    covered = covered + inside
  end
end
if covered ~= (from == '' and 0 or last - first + 1) then return {'lost'} end

-- A row is an object, so what does not end in a brace has no row.
local brace = 125
local match, byte = string.match, string.byte
local names, writes = {}, {}
for i = 1, rowCount do names[i] = ARGV[head + (i - 1) * width + 1] end
local current = fetch('HMGET', rows, names)
for i = 1, rowCount do
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
if not isLast then return {'applied', met} end

local at = head + rowCount * width
local park, back = {}, {}
for i = 1, parkCount * 2 do park[i] = ARGV[at + i] end
for i = 1, backCount do back[i] = ARGV[at + parkCount * 2 + i] end
store('HDEL', parked, back)
store('HSET', parked, park)

-- What an interrupted batch deleted was remembered, so that its repetition would not begin anew; now it is behind the checkpoint.
if redis.call('EXISTS', deleted) == 1 then
  local remembered = redis.call('HGETALL', deleted)
  for i = 1, #remembered, 2 do
    local key, partition = remembered[i], tonumber(remembered[i + 1])
    local value = redis.call('HGET', rows, key)
    local position = value and string.match(value, '^(%d+)::$')
    if partition >= first and partition <= last and not (position and tonumber(position) > tonumber(reached)) then
      if position then redis.call('HDEL', rows, key) end
      redis.call('HDEL', deleted, key)
    end
  end
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
redis.call('HSET', rows, '\\0state', format .. '|' .. redis.call('HLEN', parked) .. '|' .. written)
return {'applied', met}
`)

/** KEYS: all of a version. */
export const dropScript = script(`return redis.call('UNLINK', unpack(KEYS))`)

/** KEYS: all of a version, rows first. Answers: rows, bytes. */
export const sizeScript = script(`
local bytes = 0
for _, key in ipairs(KEYS) do
  local used = redis.pcall('MEMORY', 'USAGE', key)
  if type(used) == 'number' then bytes = bytes + used end
end
return {redis.call('HLEN', KEYS[1]), bytes}
`)

/** KEYS: parked. Answers: key, reason, key, reason. */
export const parkedScript = script(`return redis.call('HGETALL', KEYS[1])`)
