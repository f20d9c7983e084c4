#!lua flags=no-writes
-- What some members are worth in both generations, at one instant, and how many streams each knows at that instant.
--
-- KEYS: the positions of both generations; then, for each member, its key in the one and in the other. ARGV: for each
-- member its name, and what a counter that is not there counts as ('': nothing).
-- Returns how many streams the two know; then, for each member, both values (nil: it is not there).

local function value(key, member, counts_as)
  local kind = redis.call('TYPE', key).ok
  local found = false
  if kind == 'hash' then
    found = redis.call('HGET', key, member)
  elseif kind == 'zset' then
    found = redis.call('ZSCORE', key, member)
    found = found and string.format('%.17g', tonumber(found))
  elseif kind == 'set' then
    found = redis.call('SISMEMBER', key, member) == 1 and '1'
  elseif kind ~= 'none' then
    found = kind
  end
  if not found and counts_as ~= '' then return counts_as end
  return found
end

local found = { redis.call('HLEN', KEYS[1]), redis.call('HLEN', KEYS[2]) }
for i = 1, #ARGV / 2 do
  local member, counts_as = ARGV[2 * i - 1], ARGV[2 * i]
  found[#found + 1] = value(KEYS[2 * i + 1], member, counts_as)
  found[#found + 1] = value(KEYS[2 * i + 2], member, counts_as)
end
return found
