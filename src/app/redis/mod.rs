//! `[redis]` as the multi-database client understands it.
//!
//! The only place that knows both sets of options; they have the same names.

mod gauges;

use std::sync::Arc;

use super::Error;
use crate::config::{self, DatabaseKind};
pub(super) use gauges::Gauges as RedisGauges;
use herdsman_multidb::{
    CommandRetry, DatabaseConfig, HealthCheck, HealthCheckPolicy, InitialHealthCheckPolicy,
    LagAwareConfig, LagAwareHealthCheck, MultiDb, MultiDbConfig, PingHealthCheck,
    WritableHealthCheck,
};

/// Connects to the databases, as far as they are there.
pub(super) async fn connect(redis: &config::Redis) -> Result<MultiDb, Error> {
    let client = MultiDb::connect(client_config(redis)?).await;
    client.map_err(|error| Error::Redis(error.to_string()))
}

fn client_config(redis: &config::Redis) -> Result<MultiDbConfig, Error> {
    let deadline = redis.initial_deadline;
    let client = MultiDbConfig::new(redis.database.iter().map(database))
        .response_timeout(redis.response_timeout)
        .connect_timeout(redis.connect_timeout)
        .command_retry(CommandRetry {
            retries: redis.command_retries,
            base: redis.command_retry_base,
            cap: redis.command_retry_cap,
        })
        .health_check_interval(redis.health_interval)
        .health_check_probes(redis.health_check_probes)
        .health_check_delay(redis.health_check_delay)
        .health_check_timeout(redis.health_check_timeout)
        .health_check_policy(policy(redis.health_check_policy))
        .initial_health_check_policy(initial_policy(redis.initial_health_check_policy))
        .initial_deadline((!deadline.is_zero()).then_some(deadline))
        .min_num_failures(redis.min_num_failures)
        .failure_rate_threshold(redis.failure_rate_threshold)
        .failures_detection_window(redis.failures_detection_window)
        .consecutive_failures(redis.consecutive_failures)
        .success_threshold(redis.success_threshold)
        .half_open_slots(redis.half_open_slots)
        .last_resort(redis.last_resort)
        .failover_attempts(redis.failover_attempts)
        .failover_delay(redis.failover_delay)
        .auto_fallback_interval(Some(redis.auto_fallback_interval));
    Ok(match lag(redis)? {
        Some(lag) => {
            let ping: Arc<dyn HealthCheck> = Arc::new(PingHealthCheck);
            client.health_checks([ping, Arc::new(WritableHealthCheck), lag])
        }
        None => client,
    })
}

fn policy(policy: config::HealthCheckPolicy) -> HealthCheckPolicy {
    match policy {
        config::HealthCheckPolicy::HealthyAll => HealthCheckPolicy::HealthyAll,
        config::HealthCheckPolicy::HealthyMajority => HealthCheckPolicy::HealthyMajority,
        config::HealthCheckPolicy::HealthyAny => HealthCheckPolicy::HealthyAny,
    }
}

fn initial_policy(policy: config::InitialHealthCheckPolicy) -> InitialHealthCheckPolicy {
    match policy {
        config::InitialHealthCheckPolicy::AllAvailable => InitialHealthCheckPolicy::AllAvailable,
        config::InitialHealthCheckPolicy::MajorityAvailable => {
            InitialHealthCheckPolicy::MajorityAvailable
        }
        config::InitialHealthCheckPolicy::OneAvailable => InitialHealthCheckPolicy::OneAvailable,
        config::InitialHealthCheckPolicy::NoneAvailable => InitialHealthCheckPolicy::NoneAvailable,
    }
}

fn database(database: &config::Database) -> DatabaseConfig {
    let url = database.url.expose();
    let nodes = || {
        let further = database.nodes.iter().map(|node| elsewhere(url, node));
        std::iter::once(url.to_owned()).chain(further)
    };
    let mut client = match database.kind {
        DatabaseKind::Single => DatabaseConfig::from_url(url),
        DatabaseKind::Cluster => DatabaseConfig::cluster(nodes()),
        DatabaseKind::Sentinel => DatabaseConfig::sentinel(nodes(), &database.master),
    };
    // Unless something else is said, the master is connected to like its sentinels.
    if !database.master_url.is_empty() {
        client = client.master_url(database.master_url.expose());
    } else if database.kind == DatabaseKind::Sentinel {
        client = client.master_url(url);
    }
    if !database.name.is_empty() {
        client = client.name(&database.name);
    }
    if !database.health_check_url.is_empty() {
        client = client.health_check_url(database.health_check_url.expose());
    }
    client
        .weight(database.weight)
        .grace_period(database.grace_period)
}

/// The same user, password, number and TLS, at another `host:port`.
fn elsewhere(url: &str, node: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let user = authority.rfind('@').map_or("", |at| &authority[..=at]);
    format!("{scheme}://{user}{node}{path}")
}

/// The check for lag, if the databases have a REST interface to ask.
fn lag(redis: &config::Redis) -> Result<Option<Arc<LagAwareHealthCheck>>, Error> {
    let mut databases = redis.database.iter();
    if databases.all(|one| one.health_check_url.is_empty()) {
        return Ok(None);
    }
    // User and password stand in each address, and are for that address alone.
    let check = LagAwareHealthCheck::new(LagAwareConfig::default());
    let check = check.map_err(|error| Error::Redis(error.to_string()))?;
    Ok(Some(Arc::new(check)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use herdsman_multidb::Server;

    #[test]
    fn further_nodes_are_connected_to_like_the_first() {
        let elsewhere = |url| elsewhere(url, "b:7001");
        assert_eq!(elsewhere("redis://a:7000"), "redis://b:7001");
        assert_eq!(
            elsewhere("rediss://me:p%40ss@a:7000/2?protocol=resp3"),
            "rediss://me:p%40ss@b:7001/2?protocol=resp3"
        );
    }

    #[test]
    fn every_database_keeps_the_rest_interface_and_the_password_it_was_given() {
        let at = |url: &str, rest: &str| config::Database {
            health_check_url: rest.into(),
            ..config::Database::at(url.into())
        };
        let rests = ["https://me:one@a.example:9443", "https://you:two@b.example"];
        let redis = config::Redis {
            database: vec![at("redis://a", rests[0]), at("redis://b", rests[1])],
            ..config::Redis::default()
        };
        let client = client_config(&redis).unwrap();
        let given = client
            .databases
            .iter()
            .map(|one| one.health_check_url.as_deref());
        assert_eq!(given.collect::<Vec<_>>(), rests.map(Some));
        assert!(lag(&redis).unwrap().is_some());
        assert!(lag(&config::Redis::default()).unwrap().is_none());
    }

    #[test]
    fn the_master_of_a_sentinel_group_is_connected_to_like_its_sentinels_unless_configured_otherwise()
     {
        let like = |master_url: &str| {
            let client = database(&config::Database {
                kind: DatabaseKind::Sentinel,
                master: "mymaster".into(),
                master_url: master_url.into(),
                ..config::Database::at("rediss://me:secret@watch.example:26379".into())
            });
            match client.server {
                Server::Sentinel { master_url, .. } => master_url,
                other => panic!("{other:?}"),
            }
        };
        let same = "rediss://me:secret@watch.example:26379";
        assert_eq!(like("").as_deref(), Some(same));
        assert_eq!(
            like("redis://master/1").as_deref(),
            Some("redis://master/1")
        );
    }

    #[test]
    fn the_defaults_of_the_configuration_are_a_valid_client() {
        let redis = config::Redis {
            database: vec![config::Database::at("redis://127.0.0.1:6379/0".into())],
            ..config::Redis::default()
        };
        client_config(&redis).unwrap().validate().unwrap();
    }
}
