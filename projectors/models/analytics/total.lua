-- Computes one total of products, a month's or that of all time, from its parts, and has it maintained from then on; without a total:
-- records that all totals are maintained.
--
-- While a generation applies history, commit.lua writes only days: months and all time would more than double its cost.
-- Each total is computed here atomically, from parts that are maintained themselves, and from then on commit.lua adds to it as well. So
-- every increment is counted once, in its parts or directly.
--
-- KEYS: totalled, days, currencies, the registry of generations, exact, then the total and its parts.
-- ARGV: the number of days and currencies when the parts were chosen; the registry's field of this generation, or ''; its prefix.
-- Returns 1: done; 0: there are more days or currencies now, choose again; -2: this generation has been dropped.

local totalled, days, currencies, registry, exact, total = unpack(KEYS, 1, 6)
local days_seen, currencies_seen, entry, prefix = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]

local function field(key, member) return string.sub(key, #prefix + 2) .. ' ' .. member end

-- Redis adds doubles. That is exact if no part is negative and the sum is below 2^53; all other sums are computed here, digit by digit.
local function correct()
  local members = {}
  local function suspect(key, least, most)
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, least, most)) do members[member] = true end
  end
  suspect(total, EXACT, '+inf')
  for part = 7, #KEYS do suspect(KEYS[part], '-inf', '(0') end
  for member in pairs(members) do
    local sum = '0'
    for part = 7, #KEYS do
      local score = redis.call('ZSCORE', KEYS[part], member)
      if score then sum = plus(sum, of_score(exact, field(KEYS[part], member), tonumber(score))) end
    end
    redis.call('ZADD', total, sum, member)
    if not is_exact(tonumber(sum)) then redis.call('HSET', exact, field(total, member), sum) end
  end
end

if entry ~= '' and redis.call('HEXISTS', registry, entry) == 0 then return -2 end
if redis.call('ZCARD', days) ~= days_seen or redis.call('SCARD', currencies) ~= currencies_seen then return 0 end
if not total then
  redis.call('DEL', totalled)
elseif redis.call('EXISTS', totalled) == 1 and redis.call('SADD', totalled, total) == 1 then
  redis.call('ZUNIONSTORE', total, #KEYS - 6, unpack(KEYS, 7))
  correct()
  redis.call('ZREMRANGEBYSCORE', total, 0, 0)
end
return 1
