-- Reads holds that are due between two times, oldest first, and makes each due later.
-- KEYS: due, positions. ARGV: from, to, limit, the later time. Returns stream, applied, stream, applied …

local streams = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
local found = {}
for _, stream in ipairs(streams) do
  found[#found + 1] = stream
  found[#found + 1] = redis.call('HGET', KEYS[2], stream) or '0'
  redis.call('ZADD', KEYS[1], ARGV[4], stream)
end
return found
