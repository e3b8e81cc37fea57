//! What Redis does in one step, so that no other command comes in between.

use redis::{RedisResult, Script, aio::ConnectionLike};

use super::state::{Asked, Renewed};

/// Takes what is free or ours already, under a new epoch above the floor; else says, negative, for
/// how many milliseconds it is still somebody's. A key without an end, which none of us writes, gets
/// one.
const ACQUIRE: &str = r"
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
    local left = redis.call('PTTL', KEYS[1])
    if left < 0 then
        redis.call('PEXPIRE', KEYS[1], ARGV[2])
        left = tonumber(ARGV[2])
    end
    return -math.max(left, 1)
end
local epoch = redis.call('INCR', KEYS[2])
local floor = tonumber(ARGV[3])
if epoch <= floor then
    epoch = floor + 1
    redis.call('SET', KEYS[2], string.format('%.0f', epoch))
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return epoch
";

const RENEW: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
";

const RELEASE: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
";

/// The scripts, and the keys they are about.
#[derive(Clone, Debug)]
pub(super) struct Scripts {
    lease: String,
    epoch: String,
    owner: String,
    ttl_ms: u64,
}

impl Scripts {
    pub(super) fn new(prefix: &str, name: &str, owner: &str, ttl: std::time::Duration) -> Self {
        Self {
            // In one slot of a cluster: a script takes no others together.
            lease: format!("{{{prefix}:{name}}}:lease"),
            epoch: format!("{{{prefix}:{name}}}:epoch"),
            owner: owner.to_owned(),
            ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1),
        }
    }

    pub(super) async fn acquire<C: ConnectionLike>(&self, connection: &mut C, floor: u64) -> Asked {
        let reply: RedisResult<i64> = Script::new(ACQUIRE)
            .key(&self.lease)
            .key(&self.epoch)
            .arg(&self.owner)
            .arg(self.ttl_ms)
            .arg(floor)
            .invoke_async(connection)
            .await;
        match reply {
            Ok(epoch) if epoch > 0 => Asked::Granted(epoch.unsigned_abs()),
            Ok(left) => Asked::Taken(std::time::Duration::from_millis(left.unsigned_abs())),
            Err(error) => {
                tracing::debug!(%error, key = self.lease, "cannot ask Redis for the lease");
                Asked::NoAnswer
            }
        }
    }

    pub(super) async fn renew<C: ConnectionLike>(&self, connection: &mut C) -> Renewed {
        let reply: RedisResult<bool> = Script::new(RENEW)
            .key(&self.lease)
            .arg(&self.owner)
            .arg(self.ttl_ms)
            .invoke_async(connection)
            .await;
        match reply {
            Ok(true) => Renewed::Ours,
            Ok(false) => Renewed::Lost,
            Err(error) => {
                tracing::debug!(%error, key = self.lease, "the lease is not renewed yet");
                Renewed::NoAnswer
            }
        }
    }

    pub(super) async fn release<C: ConnectionLike>(&self, connection: &mut C) {
        let reply: RedisResult<()> = Script::new(RELEASE)
            .key(&self.lease)
            .arg(&self.owner)
            .invoke_async(connection)
            .await;
        if let Err(error) = reply {
            tracing::debug!(%error, key = self.lease, "cannot release the lease; it expires by itself");
        }
    }
}
