#!lua flags=no-writes
-- Compares one scan step of a key of one generation with the same key of the other, at one instant, within a short time.
--
-- KEYS: the key to scan, the other; the positions of both generations, in the same order. ARGV: the cursor; the approximate
-- number of members to read; the value of a missing counter ('': none); 'all', or 'absent' for only those that the other lacks;
-- the maximum number of differences to return.
-- Returns the next cursor ('0': done), the types of both keys, the number of members of the first, the number read in this
-- step, how many of them differ, the first of these; and the number of streams of both generations at this instant.

local CHUNK = 4000 -- unpack() may put some 8,000 values on Lua's stack

local walked, other, counts_as = KEYS[1], KEYS[2], ARGV[3]
local kind, other_kind = redis.call('TYPE', walked).ok, redis.call('TYPE', other).ok
local WALK = { hash = { 'HSCAN', 'HLEN', 'HMGET' }, zset = { 'ZSCAN', 'ZCARD', 'ZMSCORE' }, set = { 'SSCAN', 'SCARD', 'SMISMEMBER' } }
local walk = WALK[kind]
local known, other_known = redis.call('HLEN', KEYS[3]), redis.call('HLEN', KEYS[4])
if not walk or (other_kind ~= 'none' and other_kind ~= kind) then
  return { '0', kind, other_kind, 0, 0, 0, {}, known, other_known }
end

local step = redis.call(walk[1], walked, ARGV[1], 'COUNT', ARGV[2])
local members, values = {}, {}
local stride = kind == 'set' and 1 or 2
for i = 1, #step[2], stride do
  members[#members + 1] = step[2][i]
  values[#values + 1] = stride == 2 and step[2][i + 1] or 1
end

local function value(of)
  if kind == 'zset' then return tonumber(of) end -- the same number may be written in two ways
  if kind == 'set' then return of == 1 end
  if not of and counts_as ~= '' then return counts_as end
  return of
end

local differ, first = 0, {}
for from = 1, #members, CHUNK do
  local to = math.min(from + CHUNK - 1, #members)
  local others = other_kind == 'none' and {} or redis.call(walk[3], other, unpack(members, from, to))
  for i = from, to do
    local theirs = others[i - from + 1]
    local absent = not theirs or (kind == 'set' and theirs == 0)
    if (absent or ARGV[4] == 'all') and value(values[i]) ~= value(theirs or false) then
      differ = differ + 1
      if #first < tonumber(ARGV[5]) then first[#first + 1] = members[i] end
    end
  end
end
return { step[1], kind, other_kind, redis.call(walk[2], walked), #members, differ, first, known, other_known }
