-- One total of products, a month's or that of all time, made of its parts and kept up from then on; or, without a total: all are.
--
-- While history goes into a generation, commit.lua writes days alone: months and all time would cost it more than twice as much again.
-- Each total is made in one moment, here, of parts that are kept up themselves, and from that moment commit.lua adds to it as well. So
-- every increment comes to it once, by way of its parts or by itself.
--
-- KEYS: totalled, days, currencies, the registry of generations, then the total and its parts.
-- ARGV: how many days and currencies there were when the parts were chosen; the registry's field of this generation, or ''.
-- Returns 1: done; 0: there are more days or currencies now, choose again; -2: this generation is no more.

local totalled, days, currencies, registry, total = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local days_seen, currencies_seen, entry = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]

if entry ~= '' and redis.call('HEXISTS', registry, entry) == 0 then return -2 end
if redis.call('ZCARD', days) ~= days_seen or redis.call('SCARD', currencies) ~= currencies_seen then return 0 end
if not total then
  redis.call('DEL', totalled)
elseif redis.call('EXISTS', totalled) == 1 and redis.call('SADD', totalled, total) == 1 then
  redis.call('ZUNIONSTORE', total, #KEYS - 5, unpack(KEYS, 6))
  redis.call('ZREMRANGEBYSCORE', total, 0, 0)
end
return 1
