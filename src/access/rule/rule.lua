-- The rule of mod.rs, where all routers decide: in Redis. ledger is the same, line for line.
-- What its keys and answers look like has a number, VERSION in redis.rs: read there before changing it.
--
-- KEYS: the fleet (a hash: born (when this ledger was created), and for each router R: tR last report, nR its number, mR 1 while it
--   has more to tell), then a hash per meter: w window, b base, a base asked at, and for each router
--   R that has something of it: sR spent, hR held, tR last report.
-- ARGV: me, number of this call, creation known (-1 none), more to tell (0 or 1), hold, minimum age,
--   forget, moment (-1: by the clock of Redis), then for each meter: kind of window (0 always, 1 each,
--   2 since), its number, limit, base, base asked at, of, spent, held, prefetch; then for each need: how
--   many amounts, and for each of them the place of its meter (from 1) and the amount.
-- Answer: now, routers, creation, new (0 or 1), one number for each need (0 given, -1 too new, else
--   the place that is short), then for each meter: window, extra, free, base, base asked at. Nothing at
--   all when a later call of this router has been answered already.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local me, called, known, more = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local hold, min_age, forget = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
if ARGV[8] ~= '-1' then now = tonumber(ARGV[8]) end
local whole = function(number) return string.format('%.0f', number) end
local hour = 3600000

local fleet = {}
local fields = redis.call('HGETALL', KEYS[1])
for at = 1, #fields, 2 do fleet[fields[at]] = tonumber(fields[at + 1]) end
if (fleet['n' .. me] or -1) > called then return {} end
local reporting, routers, telling = 0, 1, more
for field, seen in pairs(fleet) do
  if string.sub(field, 1, 1) == 't' then
    local other = string.sub(field, 2)
    if now - seen > hold then
      redis.call('HDEL', KEYS[1], 't' .. other, 'n' .. other, 'm' .. other)
    else
      reporting = reporting + 1
      if other ~= me then
        routers = routers + 1
        telling = telling + fleet['m' .. other]
      end
    end
  end
end
local created = fleet['born']
if created == nil or reporting == 0 or known > created or created > now then created = now end
redis.call('HSET', KEYS[1], 'born', whole(created), 't' .. me, whole(now), 'n' .. me, whole(called), 'm' .. me, more)
redis.call('PEXPIRE', KEYS[1], hour)
local age = now - created
local is_new = age < min_age or (age < hold and telling > 0)

local arg = 8
local meters = {}
for place = 2, #KEYS do
  local kind, number = ARGV[arg + 1], tonumber(ARGV[arg + 2])
  local meter = {
    key = KEYS[place], given = 0, base = 0, base_at = -1, gone = {},
    limit = tonumber(ARGV[arg + 3]), spent = tonumber(ARGV[arg + 7]), held = tonumber(ARGV[arg + 8]),
    prefetch = tonumber(ARGV[arg + 9]),
  }
  local base, base_at, of = tonumber(ARGV[arg + 4]), tonumber(ARGV[arg + 5]), tonumber(ARGV[arg + 6])
  arg = arg + 9

  local stored, others = {}, {}
  fields = redis.call('HGETALL', meter.key)
  for at = 1, #fields, 2 do
    stored[fields[at]] = tonumber(fields[at + 1])
    if string.sub(fields[at], 1, 1) == 't' then others[#others + 1] = string.sub(fields[at], 2) end
  end

  local asked, begun, ahead = 0, true, false
  meter.window = stored.w
  if kind == '1' then
    asked = now - now % number
    ahead = meter.window ~= nil and meter.window > now
  end
  if kind == '2' then
    asked, begun = number, number <= math.floor(now / 1000)
    ahead = meter.window ~= nil and meter.window > math.floor(now / 1000)
  end
  if meter.window == nil or (begun and (asked > meter.window or ahead)) then
    meter.window, stored, others = asked, {}, {}
    redis.call('DEL', meter.key)
  end
  if stored.a ~= nil then meter.base, meter.base_at = stored.b, stored.a end
  local newer = base_at > meter.base_at or meter.base_at > now
  if asked == meter.window and base_at >= 0 and base_at <= now and newer then
    meter.base, meter.base_at = base, base_at
  end
  if of ~= meter.window then meter.spent, meter.held = 0, 0 end

  local used = 0
  for _, other in ipairs(others) do
    local seen, spent = stored['t' .. other], stored['s' .. other]
    local expired = now - seen > hold
    if expired and (spent == 0 or meter.base_at >= seen + forget) then
      meter.gone[#meter.gone + 1] = other
    elseif other ~= me then
      used = used + spent
      if not expired then used = used + stored['h' .. other] end
    end
  end
  meter.free = meter.limit - meter.base - used - meter.spent - meter.held
  meters[#meters + 1] = meter
end

local answer = { now, routers, created, is_new and 1 or 0 }
while arg < #ARGV do
  local amounts = tonumber(ARGV[arg + 1])
  arg = arg + 1
  local verdict = 0
  if is_new then verdict = -1 end
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

for _, meter in ipairs(meters) do
  local extra = 0
  if not is_new and meter.prefetch > 0 and meter.free > 0 then
    local most = meter.free
    if routers > 1 then most = math.floor(meter.free / (2 * routers)) end
    extra = math.min(meter.prefetch, most)
  end
  meter.free = meter.free - extra
  local held = meter.held + meter.given + extra
  meter.gone[#meter.gone + 1] = me
  for _, other in ipairs(meter.gone) do
    redis.call('HDEL', meter.key, 's' .. other, 'h' .. other, 't' .. other)
  end
  redis.call('HSET', meter.key, 'w', whole(meter.window), 'b', whole(meter.base), 'a', whole(meter.base_at))
  if meter.spent ~= 0 or held ~= 0 then
    redis.call('HSET', meter.key, 's' .. me, whole(meter.spent), 'h' .. me, whole(held), 't' .. me, whole(now))
  end
  redis.call('PEXPIRE', meter.key, hour)
  for _, number in ipairs({ meter.window, extra, meter.free, meter.base, meter.base_at }) do
    answer[#answer + 1] = number
  end
end
return answer
