-- Holds whose time has passed, oldest first, each given a later one.
-- KEYS: due, positions. ARGV: now, how many, the later time. Returns stream, applied, stream, applied …

local streams = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
local found = {}
for _, stream in ipairs(streams) do
  found[#found + 1] = stream
  found[#found + 1] = redis.call('HGET', KEYS[2], stream) or '0'
  redis.call('ZADD', KEYS[1], ARGV[3], stream)
end
return found
