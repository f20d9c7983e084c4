-- Integers of any size. Prepended to commit.lua and total.lua.
--
-- A Lua number and a score are doubles, which are exact only below 2^53. A larger figure is stored as decimal text: in a hash as the value;
-- for a sorted set in the hash `exact`, beside a score that is the nearest double.

local EXACT = 2 ^ 53
local LIMB = 1e15 -- 15 digits: limbs, and the sum of two, are exact

local function limbs(text)
  local sign, digits = string.match(text, '^(-?)(%d+)$')
  local high, low = tonumber(string.sub(digits, 1, -16)) or 0, tonumber(string.sub(digits, -15))
  if sign == '-' then return -high, -low end
  return high, low
end

local function plus(one, other)
  local high, low = limbs(one)
  local other_high, other_low = limbs(other)
  high, low = high + other_high, low + other_low
  local carry = math.floor(low / LIMB)
  high, low = high + carry, low - carry * LIMB
  if high < 0 and low > 0 then high, low = high + 1, low - LIMB end -- both of one sign
  if high == 0 then return string.format('%.0f', low) end
  return string.format('%.0f%015.0f', high, math.abs(low))
end

local function is_exact(number) return number < EXACT and number > -EXACT end

-- A member's figure as text, given its score. A text that does not match the score is ignored: older code, which writes only scores, has
-- written since.
local function of_score(exact, field, score)
  local text = not is_exact(score) and redis.call('HGET', exact, field)
  if text and tonumber(text) == score then return text end
  return string.format('%.0f', score)
end

