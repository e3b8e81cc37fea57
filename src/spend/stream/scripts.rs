//! What Redis does in one step. The backlog (bytes, rows) is a hash beside the stream, and gone with
//! it: an empty stream has none, so that no drift survives.

/// Appends as many batches as there is room for, and returns their entries' ids.
///
/// `KEYS`: stream, backlog. `ARGV`: most entries, most bytes; then of each batch its id, the version
/// of its text, its rows, its text.
pub(super) const APPEND: &str = r"
local entries = redis.call('XLEN', KEYS[1])
local bytes = 0
if entries == 0 then
    redis.call('DEL', KEYS[2])
else
    bytes = tonumber(redis.call('HGET', KEYS[2], 'bytes') or '0')
end
local taken, added, rows = {}, 0, 0
for i = 3, #ARGV, 4 do
    local size = #ARGV[i + 3]
    local full = bytes + added + size > tonumber(ARGV[2]) and entries > 0
    if full or entries >= tonumber(ARGV[1]) then
        break
    end
    taken[#taken + 1] = redis.call('XADD', KEYS[1], '*',
        'id', ARGV[i], 'v', ARGV[i + 1], 'rows', ARGV[i + 2], 'body', ARGV[i + 3])
    entries = entries + 1
    added = added + size
    rows = rows + tonumber(ARGV[i + 2])
end
if #taken > 0 then
    redis.call('HINCRBY', KEYS[2], 'bytes', added)
    redis.call('HINCRBY', KEYS[2], 'rows', rows)
end
return taken
";

/// Acknowledges entries and deletes them. Returns how many were there.
///
/// `KEYS`: stream, backlog. `ARGV`: group; then of each entry its id, its bytes, its rows.
pub(super) const REMOVE: &str = r"
local gone, bytes, rows = 0, 0, 0
for i = 2, #ARGV, 3 do
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
    if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then
        gone = gone + 1
        bytes = bytes + tonumber(ARGV[i + 1])
        rows = rows + tonumber(ARGV[i + 2])
    end
end
if gone > 0 then
    if redis.call('XLEN', KEYS[1]) == 0 then
        redis.call('DEL', KEYS[2])
    else
        redis.call('HINCRBY', KEYS[2], 'bytes', -bytes)
        redis.call('HINCRBY', KEYS[2], 'rows', -rows)
    end
end
return gone
";

/// Of each entry whether it is still there, and still that batch: another database numbers its
/// entries by the same clock.
///
/// `KEYS`: stream. `ARGV`: of each entry its id, and its batch's id.
pub(super) const PRESENT: &str = r"
local present = {}
for i = 1, #ARGV, 2 do
    local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
    present[#present + 1] = (entry and entry[2][2] == ARGV[i + 1]) and 1 or 0
end
return present
";
