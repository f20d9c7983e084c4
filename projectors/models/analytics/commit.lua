-- One commit, atomically: Redis runs no other command meanwhile, and every check precedes the first write.
--
-- KEYS: positions, held, due, progress, currencies, days, names, line-names, discarded, totalled, the registry of generations, exact, first,
-- counted, then those that the sums refer to.
-- ARGV[1]: the commit as MessagePack; projectors/models/analytics/script.py encodes it and defines its format.
-- Returns 1: applied; 0: a position is not the expected one, or a total that was left out is maintained by now;
-- -2: this generation has been dropped.

local CHUNK = 1000 -- unpack() may put some 8,000 values on Lua's stack

local positions, held, due, progress = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local currencies, days, names, line_names = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local discarded, totalled, registry, exact, first, counted = KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[14]
local commit = cmsgpack.unpack(ARGV[1])

if commit.entry and redis.call('HEXISTS', registry, commit.entry) == 0 then return -2 end
if commit.days_only and redis.call('SCARD', totalled) ~= 1 then return 0 end

local function chunks(list, size) -- the bounds of each part of a list
  local from = 1 - size
  return function()
    from = from + size
    if from <= #list then return from, math.min(from + size - 1, #list) end
  end
end
local function call(command, key, list) -- for commands that take any number of pairs or members
  for from, to in chunks(list, 2 * CHUNK) do redis.call(command, key, unpack(list, from, to)) end
end

for from, to in chunks(commit.streams, CHUNK) do
  local applied = redis.call('HMGET', positions, unpack(commit.streams, from, to))
  for i = from, to do
    if tonumber(applied[i - from + 1] or 0) ~= commit.expected[i] then return 0 end
  end
end

-- The results of sums are computed before anything is written: to read, add and write many members per call takes half the time, and half
-- the append-only file, of one increment per member. A member that becomes zero is deleted, a bucket's counter is not.
local changes = {}
local function change(command, key, arguments) changes[#changes + 1] = { command, key, arguments } end

local corrected, dropped = {}, {} -- of the hash `exact`
local function exactly(sum, key, member, old, increment)
  local field = sum.scored and string.sub(key, #commit.prefix + 2) .. ' ' .. member
  local known = field and of_score(exact, field, tonumber(old)) or old
  local new = plus(known, sum.texts and increment or string.format('%.0f', increment))
  local number = tonumber(new)
  if is_exact(number) then
    if field and not is_exact(tonumber(old)) then dropped[#dropped + 1] = field end
    return number
  end
  if field then
    corrected[#corrected + 1] = field
    corrected[#corrected + 1] = new
  end
  return new
end

local function add(sum, key)
  local members, increments, scored, texts = sum.members, sum.increments, sum.scored, sum.texts
  local changed, gone, n = {}, {}, 0
  for from, to in chunks(members, CHUNK) do
    local found = redis.call(scored and 'ZMSCORE' or 'HMGET', key, unpack(members, from, to))
    for i = from, to do
      local member, before = members[i], tonumber(found[i - from + 1] or 0)
      local new = before + increments[i]
      if texts or new >= EXACT or new <= -EXACT or before >= EXACT or before <= -EXACT then
        new = exactly(sum, key, member, found[i - from + 1] or '0', increments[i])
      end
      if new == 0 and not sum.counter then
        gone[#gone + 1] = member
      else
        changed[n + 1] = scored and new or member
        changed[n + 2] = scored and member or new
        n = n + 2
      end
    end
  end
  change(scored and 'ZADD' or 'HSET', key, changed)
  change(scored and 'ZREM' or 'HDEL', key, gone)
end

-- Totals of products by month and for all time are deferred while a generation applies history: see total.lua.
local all_kept_up = redis.call('EXISTS', totalled) == 0
for _, sum in ipairs(commit.sums) do
  for _, key in ipairs(sum.keys) do add(sum, KEYS[key]) end
  for _, key in ipairs(sum.totals) do
    if all_kept_up or redis.call('SISMEMBER', totalled, KEYS[key]) == 1 then add(sum, KEYS[key]) end
  end
end
change('HSET', exact, corrected)
change('HDEL', exact, dropped)

-- From here on everything is written. A stream that advances is released, unless it is held again below.

local moved, somebody_is_held = {}, redis.call('EXISTS', held) == 1
local function free(stream)
  redis.call('HDEL', held, stream)
  redis.call('ZREM', due, stream)
end
for i, stream in ipairs(commit.streams) do
  if commit.versions[i] > commit.expected[i] then
    moved[#moved + 1] = stream
    moved[#moved + 1] = commit.versions[i]
    if somebody_is_held then free(stream) end
  end
end
call('HSET', positions, moved)
for _, stream in ipairs(commit.released) do free(stream) end
for _, hold in ipairs(commit.holds) do
  redis.call('HSET', held, hold.stream, hold.hold)
  if hold.due_at then redis.call('ZADD', due, hold.due_at, hold.stream) else redis.call('ZREM', due, hold.stream) end
end
for _, letter in ipairs(commit.told) do
  local stream, version, attempts = letter[1], letter[2], letter[3]
  local kept = redis.call('HGET', held, stream)
  local hold = kept and cjson.decode(kept)
  if hold and hold.status == 'dead' and hold.version == version and hold.attempts == attempts then
    redis.call('ZREM', due, stream)
  end
end
for _, pair in ipairs(commit.discarded) do
  local stream, version = pair[1], tostring(pair[2])
  local known = redis.call('HGET', discarded, stream)
  if not known then
    redis.call('HSET', discarded, stream, version)
  elseif not string.find(' ' .. known .. ' ', ' ' .. version .. ' ', 1, true) then
    redis.call('HSET', discarded, stream, known .. ' ' .. version)
  end
end

for _, each in ipairs(changes) do call(unpack(each)) end

if #commit.currencies > 0 and redis.call('EXISTS', first) == 0 then
  local known = redis.call('SMEMBERS', currencies) -- written by older code, which recorded no first currency
  table.sort(known)
  redis.call('HSET', first, 'currency', known[1] or commit.currencies[1])
end
call('SADD', currencies, commit.currencies)
call('ZADD', days, commit.days)
call('HSET', names, commit.names)

-- Of a product's names in order lines the greatest, byte by byte, is kept: so the result does not depend on the order of events. (Lua's own
-- < depends on the locale.) Mostly a product has one name, and nothing is written.
local function greater(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return #a > #b
end
for from, to in chunks(commit.line_names.products, CHUNK) do
  local old = redis.call('HMGET', line_names, unpack(commit.line_names.products, from, to))
  local new = {}
  for i = from, to do
    local name, known = commit.line_names.names[i], old[i - from + 1] or ''
    if name ~= known and greater(name, known) then
      new[#new + 1] = commit.line_names.products[i]
      new[#new + 1] = name
    end
  end
  if #new > 0 then redis.call('HSET', line_names, unpack(new)) end
end

-- as_of is text of one width, so that it sorts as time does.
for _, step in ipairs(commit.progress) do
  if step.as_of and step.as_of > (redis.call('HGET', progress, step.lane .. ':as_of') or '') then
    redis.call('HSET', progress, step.lane .. ':as_of', step.as_of)
  end
  redis.call('HINCRBY', progress, step.lane .. ':events_applied', step.events)
  redis.call('HINCRBY', counted, 'sales', step.events)
end

return 1
