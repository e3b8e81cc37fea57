-- The rule of mod.rs, where all routers decide: in Redis. ledger.rs is the same, line for line.
-- What its keys, arguments and answers look like has a number, VERSION in redis.rs: read there before changing it.
--
-- KEYS: the fleet (a hash: born, and for each router R: mR, packed {called or false, seen or false, run, number,
--   born or false, divides}), the pools (a hash: packed {slots, at, {router: {base, granted, given, demand, cap,
--   credit, reported}}} by key), what is to be told (a hash: packed list of pools by router).
-- ARGV: me, the channel of a router without its name, run, number, born (-1 none), divides, asks, leaves (0 or 1),
--   hold, seen, minimum age, moment (-1: by the clock of Redis), most notices, how many others (-1: not known) and
--   those, how many reports and for each key, slots, base, granted, given, demand, forget.
-- Answer: {born, routers, divides, gives, more}, {granted, cap, forgotten} of all reports one after the other,
--   {key, slots, base, granted, cap} for each notice. A number when a later call of this router was
--   answered already: of which run.

local INERTIA, LONGEST, MOST_OWED, NO_CAP = 500, 1000, 60000, -1
local arg = 0
local next_arg = function() arg = arg + 1 return ARGV[arg] end
local next_number = function() return tonumber(next_arg()) end
local me, channel, run, number = next_arg(), next_arg(), next_number(), next_number()
local known, divides, asks, leaves = next_number(), next_number(), next_number(), next_number()
local hold, seen_for, min_age, now, most = next_number(), next_number(), next_number(), next_number(), next_number()
local clock = redis.call('TIME')
if now == -1 then now = clock[1] * 1000 + math.floor(clock[2] / 1000) end
local whole = function(value) return string.format('%.0f', value) end
local hour = 3600000

-- The fleet.
local members, born, packed_before = {}, nil, {}
local fields = redis.call('HGETALL', KEYS[1])
for at = 1, #fields, 2 do
  if fields[at] == 'born' then
    born = tonumber(fields[at + 1])
  else
    local who, kept = string.sub(fields[at], 2), cmsgpack.unpack(fields[at + 1])
    packed_before[who] = fields[at + 1]
    members[who] = {
      called = kept[1], seen = kept[2], run = kept[3], number = kept[4], born = kept[5], divides = kept[6],
    }
  end
end
local last = members[me]
if last and last.run and (last.run > run or (last.run == run and last.number > number)) then return last.run end

-- Those that are written back.
local pool_of, changed = {}, {}
local open = function(key, packed)
  if pool_of[key] == nil then
    packed = packed or redis.call('HGET', KEYS[2], key)
    if packed then
      local kept = cmsgpack.unpack(packed)
      pool_of[key] = { slots = kept[1], at = kept[2], shares = {} }
      for who, share in pairs(kept[3]) do
        pool_of[key].shares[who] = {
          base = share[1], granted = share[2], given = share[3], demand = share[4], cap = share[5], credit = share[6],
          reported = share[7],
        }
      end
    else
      pool_of[key] = false
    end
  end
  return pool_of[key]
end
local open_all = function()
  local all = redis.call('HGETALL', KEYS[2])
  for at = 1, #all, 2 do open(all[at], all[at + 1]) end
end
local told_of, told_changed = {}, {}
local told = function(who)
  if told_of[who] == nil then
    told_of[who] = {}
    local packed = redis.call('HGET', KEYS[3], who)
    if packed then
      for _, key in ipairs(cmsgpack.unpack(packed)) do told_of[who][key] = true end
    end
  end
  return told_of[who]
end
local tell = function(who, key)
  told(who)[key] = true
  told_changed[who] = true
end
local drop_shares = function(who)
  open_all()
  for key, pool in pairs(pool_of) do
    if pool and pool.shares[who] then
      pool.shares[who], changed[key] = nil, true
      if next(pool.shares) == nil then pool_of[key] = false end
    end
  end
end
local unheard = function() return { called = false, seen = false, run = false, number = false, born = false, divides = 0 } end

local wake, gone = {}, {}
local calls = function(member) return member.called and now - member.called <= hold end
local abandoned = true
for who, member in pairs(members) do
  if member.called then member.called = math.min(member.called, now) end
  if member.seen then member.seen = math.min(member.seen, now) end
  if not calls(member) and not (member.seen and now - member.seen <= seen_for) then gone[#gone + 1] = who end
end
for _, who in ipairs(gone) do members[who] = nil end
for _, member in pairs(members) do
  if calls(member) then abandoned = false end
end
if born == nil or abandoned or known > born or born > now then born = now end

local count = function()
  local counted = 0
  for _ in pairs(members) do counted = counted + 1 end
  return counted
end
local before = count()
-- It was silent for too long: others may have been given what it had.
local is_forgotten = members[me] == nil and known == born
local member = members[me] or unheard()
members[me] = member
local restarted, otherwise = member.run ~= run, member.divides ~= divides
member.called, member.run, member.number = now, run, number
if is_forgotten then
  member.born, member.divides = false, 0
else
  member.born, member.divides = known ~= -1 and known, divides
end
if restarted then
  told_of[me] = {}
  told_changed[me] = true
  drop_shares(me)
end
if otherwise then
  for who, each in pairs(members) do
    if each.divides == 0 then wake[who] = true end
  end
end
if leaves == 1 then
  members[me] = nil
  gone[#gone + 1] = me
  drop_shares(me)
end
if count() ~= before then
  for who in pairs(members) do wake[who] = true end
end
local others = next_number()
for _ = 1, others do
  local other = next_arg()
  if other ~= me then
    members[other] = members[other] or unheard()
    members[other].seen = now
  end
end
local routers = count()
local complete = others >= 0
for _, each in pairs(members) do
  if each.born ~= born then complete = false end
end
local gives = complete or now - born >= min_age

if gives and asks == 1 and members[me] then
  local waits = false
  for who, each in pairs(members) do
    if who ~= me and each.divides ~= 0 and each.divides < routers then waits = true end
  end
  local former = member.divides
  if not waits and not (former > 0 and former <= routers) then
    member.divides = routers
    open_all()
    for key, pool in pairs(pool_of) do
      if pool then
        local base = 0
        if former > 0 then base = math.floor(pool.slots / former) end
        -- Nothing has to be said of a share that is the even one before and after.
        if pool.shares[me] == nil and base ~= math.floor(pool.slots / routers) then
          pool.shares[me] = { base = base, granted = 0, given = 0, demand = 0, cap = NO_CAP, credit = 0 }
          changed[key] = true
        end
        if pool.shares[me] and not pool.shares[me].reported then tell(me, key) end
      end
    end
  end
end

local even = function(who, slots)
  local each = members[who]
  if each == nil then return 0 end
  if each.divides == 0 then
    if each.called then return 0 end
    return math.floor(slots / math.max(routers, 1))
  end
  return math.floor(slots / each.divides)
end
local held_of = function(share) return share.base + share.granted - share.given end

-- Places from the largest key to the smallest, equals in the order of their names.
local by = function(places, key)
  local order, keys = {}, {}
  for at, place in ipairs(places) do
    order[at], keys[at] = at, key(place)
  end
  table.sort(order, function(one, other)
    if keys[one] ~= keys[other] then return keys[one] > keys[other] end
    return one < other
  end)
  return order
end

local divide = function(places, slots, wanted, since)
  local left = slots
  for _, place in ipairs(places) do
    local earned = math.floor(slots * place.demand * since / wanted) - math.min(place.held, slots) * since
    if place.demand > 0 then
      place.credit = math.max(-MOST_OWED, math.min(MOST_OWED, place.credit + earned))
    else
      place.credit = 0
    end
    place.target = math.floor(slots * place.demand / wanted)
    left = left - place.target
  end
  local owed = function(place)
    if place.held > place.target then return place.credit + INERTIA end
    return place.credit
  end
  for _, at in ipairs(by(places, owed)) do
    if left > 0 and places[at].demand > places[at].target then
      places[at].target = places[at].target + 1
      left = left - 1
    end
  end
end

local decide = function(places, slots, since)
  local wanted, held = 0, 0
  for _, place in ipairs(places) do
    wanted, held = wanted + place.demand, held + place.held
  end
  local contended = wanted > slots
  if contended then
    divide(places, slots, wanted, math.max(0, math.min(LONGEST, since)))
  else
    for _, place in ipairs(places) do place.target, place.credit = place.demand, 0 end
  end
  local free, lacking = slots - held, 0
  for _, at in ipairs(by(places, function(place) return place.target - place.held end)) do
    local place = places[at]
    local lack = math.max(place.target - place.held, 0)
    if gives and place.is_reached then
      place.granted = math.min(lack, math.max(free, 0))
      free = free - place.granted
    end
    lacking = lacking + lack - place.granted
  end
  lacking = lacking - free
  for _, at in ipairs(by(places, function(place) return place.held - place.target end)) do
    local place = places[at]
    local spare = math.max(place.held - place.target, 0)
    if contended and spare > 0 then
      place.cap = place.target
    elseif lacking > 0 and spare > 0 then
      place.cap = place.held - math.min(spare, lacking)
      lacking = lacking - math.min(spare, lacking)
    end
  end
  return contended
end

local prefetch = function(places, slots, mine)
  local held, my_place = 0, nil
  for _, place in ipairs(places) do
    held = held + place.held + place.granted
    if place.who == me then my_place = place end
  end
  local free = math.max(slots - held, 0)
  if my_place then
    local ahead = 0
    if my_place.demand >= my_place.held then
      ahead = math.min(math.max(math.floor(my_place.demand / 2), 1), math.floor(free / math.max(routers, 1)))
    end
    local want = math.max(mine, my_place.demand + ahead) - my_place.held - my_place.granted
    my_place.granted = my_place.granted + math.max(0, math.min(free, want))
  end
end

local names = {}
for who in pairs(members) do names[#names + 1] = who end
table.sort(names)
local parts = {}
for _ = 1, next_number() do
  local key, slots, base = next_arg(), next_number(), next_number()
  local granted, given, demand, forget = next_number(), next_number(), next_number(), next_number()
  if told(me)[key] then
    told(me)[key] = nil
    told_changed[me] = true
  end
  local pool = open(key) or { slots = 0, at = now, shares = {} }
  pool_of[key], changed[key] = pool, true
  pool.slots = slots
  for who in pairs(pool.shares) do
    if members[who] == nil then pool.shares[who] = nil end
  end
  local share = pool.shares[me] or { granted = 0, given = 0, cap = NO_CAP, credit = 0 }
  share.base, share.demand, share.reported = base, demand, true
  share.granted, share.given = math.max(share.granted, granted), math.max(share.given, given)
  pool.shares[me] = share
  local forgotten = forget == 1 and held_of(share) == even(me, slots)
  if forgotten then pool.shares[me] = nil end
  local part = { 0, NO_CAP, forgotten and 1 or 0 }
  if next(pool.shares) == nil then
    pool_of[key] = false
  else
    local places = {}
    for _, who in ipairs(names) do
      local has = pool.shares[who]
      -- Who has nothing of it and wants nothing takes no part: with more routers than slots those are nearly all.
      local held = has and held_of(has) or even(who, slots)
      if has or held > 0 then
        places[#places + 1] = {
          -- What it gave others may have; of it nothing is asked before it is known here again.
          who = who, is_reached = members[who].called and not (forgotten and who == me), held = held, demand = has and has.demand or 0,
          target = 0, credit = has and has.credit or 0, granted = 0, cap = NO_CAP,
        }
      end
    end
    local contended = decide(places, slots, now - pool.at)
    if gives and not contended and not forgotten then prefetch(places, slots, even(me, slots)) end
    pool.at = now
    for _, place in ipairs(places) do
      local former = pool.shares[place.who]
      local capped = place.cap ~= NO_CAP and place.cap < place.held + place.granted
      if former or (capped and place.is_reached) then
        former = former or { base = place.held, granted = 0, given = 0, demand = 0, cap = NO_CAP, credit = 0 }
        local news = place.granted > 0 or (capped and place.cap ~= former.cap)
        former.granted = former.granted + place.granted
        former.cap, former.credit = place.cap, place.credit
        pool.shares[place.who] = former
        if place.who == me then
          part[1], part[2] = former.granted, former.cap
        elseif news then
          tell(place.who, key)
          wake[place.who] = true
        end
      end
    end
  end
  parts[#parts + 1], parts[#parts + 2], parts[#parts + 3] = part[1], part[2], part[3]
end

local notices, more, keys = {}, 0, {}
for key in pairs(told(me)) do keys[#keys + 1] = key end
table.sort(keys)
for _, key in ipairs(keys) do
  local pool = open(key)
  local share = pool and pool.shares[me]
  if share then
    if #notices == most then
      more = 1
      break
    end
    notices[#notices + 1] = { key, pool.slots, share.base, share.granted, share.cap }
  end
end

-- What has changed.
for _, who in ipairs(gone) do
  if members[who] == nil then
    redis.call('HDEL', KEYS[1], 'm' .. who)
    redis.call('HDEL', KEYS[3], who)
    told_changed[who] = nil
  end
end
redis.call('HSET', KEYS[1], 'born', whole(born))
for who, each in pairs(members) do
  local packed = cmsgpack.pack({ each.called, each.seen, each.run, each.number, each.born, each.divides })
  if packed ~= packed_before[who] then redis.call('HSET', KEYS[1], 'm' .. who, packed) end
end
for key in pairs(changed) do
  local pool = pool_of[key]
  if pool then
    local shares = {}
    for who, share in pairs(pool.shares) do
      shares[who] = { share.base, share.granted, share.given, share.demand, share.cap, share.credit, share.reported or false }
    end
    redis.call('HSET', KEYS[2], key, cmsgpack.pack({ pool.slots, pool.at, shares }))
  else
    redis.call('HDEL', KEYS[2], key)
  end
end
for who in pairs(told_changed) do
  local list = {}
  for key in pairs(told_of[who]) do list[#list + 1] = key end
  if #list > 0 then
    redis.call('HSET', KEYS[3], who, cmsgpack.pack(list))
  else
    redis.call('HDEL', KEYS[3], who)
  end
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, hour) end
wake[me] = nil
for who in pairs(wake) do redis.call('PUBLISH', channel .. who, '') end
local mine = members[me] and members[me].divides or 0
return { { born, routers, mine, gives and 1 or 0, more }, parts, notices }
