-- The rule of mod.rs, where all routers decide: in Redis. book.rs is the same, line for line.
--
-- KEYS: the routers (a sorted set: last report), the birth of the ledger, then a hash per meter:
--   w window, b base, a base asked at, and for each router R: sR spent, hR held, tR last report.
-- ARGV: me, hold, young, forget, then for each meter: kind of window (0 always, 1 each, 2 since),
--   its number, limit, base, base asked at, of, spent, held, wish; then for each need: how many
--   amounts, and for each of them the place of its meter (from 1) and the amount.
-- Answer: now, routers, birth, one number for each need (0 given, -1 young, else the place that
--   is short), then for each meter: window, extra, free, base, base asked at.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local me, hold, young, forget = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local whole = function(number) return string.format('%.0f', number) end

redis.call('SET', KEYS[2], whole(now), 'NX')
local born = tonumber(redis.call('GET', KEYS[2]))
redis.call('ZADD', KEYS[1], now, me)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. whole(now - hold))
local routers = redis.call('ZCARD', KEYS[1])
local is_young = now - born < young

local arg = 4
local meters = {}
for place = 3, #KEYS do
  local kind, number = ARGV[arg + 1], tonumber(ARGV[arg + 2])
  local meter = {
    key = KEYS[place], given = 0, base = 0, base_at = -1, gone = {},
    limit = tonumber(ARGV[arg + 3]), spent = tonumber(ARGV[arg + 7]), held = tonumber(ARGV[arg + 8]),
    wish = tonumber(ARGV[arg + 9]),
  }
  local base, base_at, of = tonumber(ARGV[arg + 4]), tonumber(ARGV[arg + 5]), tonumber(ARGV[arg + 6])
  arg = arg + 9

  local fields = redis.call('HGETALL', meter.key)
  local book, others = {}, {}
  for at = 1, #fields, 2 do
    book[fields[at]] = tonumber(fields[at + 1])
    if string.sub(fields[at], 1, 1) == 't' then others[#others + 1] = string.sub(fields[at], 2) end
  end

  local asked, begun = 0, true
  if kind == '1' then asked = now - now % number end
  if kind == '2' then asked, begun = number, number <= math.floor(now / 1000) end
  meter.window = book.w
  if meter.window == nil or (asked > meter.window and begun) then
    meter.window, book, others = asked, {}, {}
    redis.call('DEL', meter.key)
  end
  if book.a ~= nil then meter.base, meter.base_at = book.b, book.a end
  if asked == meter.window and base_at > meter.base_at then meter.base, meter.base_at = base, base_at end
  if of ~= meter.window then meter.spent, meter.held = 0, 0 end

  local used = 0
  for _, other in ipairs(others) do
    local seen = book['t' .. other]
    local dead = now - seen > hold
    if dead and meter.base_at >= seen + forget then
      meter.gone[#meter.gone + 1] = other
    elseif other ~= me then
      used = used + book['s' .. other]
      if not dead then used = used + book['h' .. other] end
    end
  end
  meter.free = meter.limit - meter.base - used - meter.spent - meter.held
  meters[#meters + 1] = meter
end

local answer = { now, routers, born }
while arg < #ARGV do
  local amounts = tonumber(ARGV[arg + 1])
  arg = arg + 1
  local verdict = 0
  if is_young then verdict = -1 end
  for at = 0, amounts - 1 do
    local place, amount = tonumber(ARGV[arg + 1 + 2 * at]), tonumber(ARGV[arg + 2 + 2 * at])
    if verdict == 0 and meters[place].free < amount then verdict = place end
  end
  if verdict == 0 then
    for at = 0, amounts - 1 do
      local meter, amount = meters[tonumber(ARGV[arg + 1 + 2 * at])], tonumber(ARGV[arg + 2 + 2 * at])
      meter.free = meter.free - amount
      meter.given = meter.given + amount
    end
  end
  arg = arg + 2 * amounts
  answer[#answer + 1] = verdict
end

for place, meter in ipairs(meters) do
  local extra = 0
  if not is_young and meter.wish > 0 and meter.free > 0 then
    local most = meter.free
    if routers > 1 then most = math.floor(meter.free / (2 * routers)) end
    extra = math.min(meter.wish, most)
  end
  meter.free = meter.free - extra
  for _, other in ipairs(meter.gone) do
    redis.call('HDEL', meter.key, 's' .. other, 'h' .. other, 't' .. other)
  end
  redis.call('HSET', meter.key, 'w', whole(meter.window), 'b', whole(meter.base), 'a', whole(meter.base_at),
    's' .. me, whole(meter.spent), 'h' .. me, whole(meter.held + meter.given + extra), 't' .. me, whole(now))
  redis.call('PEXPIRE', meter.key, 3600000)
  for _, number in ipairs({ meter.window, extra, meter.free, meter.base, meter.base_at }) do
    answer[#answer + 1] = number
  end
end
return answer
