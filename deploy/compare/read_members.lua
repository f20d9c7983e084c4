#!lua flags=no-writes
-- Reads some members in both generations, and the number of streams of each, at one instant.
--
-- KEYS: the positions of both generations; then, for each member, its key in the one and in the other. ARGV: for each
-- member its name, and the value of a missing counter ('': none).
-- Returns the number of streams of both; then, for each member, both values (nil: missing).

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
