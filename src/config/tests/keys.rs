//! Every key acts, or is refused unless it has its neutral value.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::load_with;
use super::shipped::{full, keys_of, with_examples};

/// What becomes of a key.
enum Effect {
    /// Shipped code below this folder or file of `src` reads the value by this expression.
    Acts(&'static str, &'static str),
    /// Each of these values is refused; only the value of the shipped file is taken.
    Refused(&'static [&'static str]),
}

use Effect::{Acts, Refused};

const KEYS: &[(&str, Effect)] = &[
    ("server.listen", Acts("app", "server.listen")),
    ("server.data_dir", Acts("app", "server.data_dir")),
    ("server.grace", Acts("app", "server.grace")),
    ("server.lead_in", Acts("app", "server.lead_in")),
    ("server.idle", Acts("app", "server.idle")),
    (
        "server.reader_timeout",
        Acts("app", "server.reader_timeout"),
    ),
    ("server.cors_origins", Acts("app", "server.cors_origins")),
    ("server.hosts", Acts("app", "server.hosts")),
    ("server.tls_cert", Acts("config/server.rs", "self.tls_cert")),
    ("server.tls_key", Acts("config/server.rs", "self.tls_key")),
    (
        "server.trusted_proxies",
        Acts("app", "server.trusted_proxies"),
    ),
    ("server.advertise", Acts("app", "server.advertise")),
    ("server.max_body", Acts("app", "server.max_body")),
    ("endpoint.url", Acts("inventory", "endpoint.url")),
    ("endpoint.name", Acts("inventory", "endpoint.name")),
    ("endpoint.kind", Acts("inventory", "endpoint.kind")),
    ("endpoint.slots", Acts("inventory", "endpoint.slots")),
    ("endpoint.weight", Acts("inventory", "endpoint.weight")),
    ("endpoint.priority", Acts("inventory", "endpoint.priority")),
    ("endpoint.api_key", Acts("inventory", "endpoint.api_key")),
    ("endpoint.models", Acts("inventory", "endpoint.models")),
    ("endpoint.labels", Acts("inventory", "endpoint.labels")),
    ("endpoint.cloud", Acts("inventory", "endpoint.cloud")),
    ("cluster.slots", Acts("app", "config.cluster.slots")),
    ("discovery.dns", Acts("discovery", "options.dns")),
    ("discovery.srv", Acts("discovery", "options.srv")),
    ("discovery.file", Acts("discovery", "options.file")),
    ("discovery.mdns", Acts("discovery", "options.mdns")),
    (
        "discovery.nameserver",
        Acts("discovery", "options.nameserver"),
    ),
    ("models.pull", Acts("app", "models.pull")),
    ("models.mirror", Acts("app", "models.mirror")),
    ("models.registry", Acts("app", "models.registry")),
    ("models.cache_size", Acts("app", "models.cache_size")),
    ("model.name", Acts("app", "model.name")),
    ("model.replicas", Acts("app", "model.replicas")),
    ("model.endpoints", Acts("app", "model.endpoints")),
    ("model.keep_alive", Acts("app", "model.keep_alive")),
    ("model.num_ctx", Acts("app", "model.num_ctx")),
    ("model.priority", Acts("app", "model.priority")),
    ("alias.name", Acts("app", "alias.name")),
    ("alias.models", Acts("app", "alias.models")),
    ("routing.slots", Acts("app", "routing.slots")),
    ("routing.queue_limit", Acts("app", "routing.queue_limit")),
    (
        "routing.queue_timeout",
        Acts("app", "routing.queue_timeout"),
    ),
    ("routing.affinity", Refused(&["true"])),
    ("routing.affinity_ttl", Refused(&["6m", "0s"])),
    ("routing.attempts", Acts("app", "routing.attempts")),
    (
        "routing.connect_timeout",
        Acts("app", "routing.connect_timeout"),
    ),
    (
        "routing.first_byte_timeout",
        Acts("app", "routing.first_byte_timeout"),
    ),
    (
        "routing.answer_timeout",
        Acts("app", "routing.answer_timeout"),
    ),
    ("routing.idle_timeout", Acts("app", "routing.idle_timeout")),
    ("fleet.probe_interval", Acts("app", "fleet.probe_interval")),
    (
        "fleet.loaded_interval",
        Acts("app", "fleet.loaded_interval"),
    ),
    (
        "fleet.models_interval",
        Acts("app", "fleet.models_interval"),
    ),
    ("fleet.stale_after", Acts("app", "fleet.stale_after")),
    ("store.url", Acts("app", "store.url")),
    ("store.keep_minutes", Acts("app", "store.keep_minutes")),
    ("store.keep_days", Acts("app", "store.keep_days")),
    ("redis.key_prefix", Acts("app", ".key_prefix")),
    (
        "redis.response_timeout",
        Acts("app/redis", "redis.response_timeout"),
    ),
    (
        "redis.connect_timeout",
        Acts("app/redis", "redis.connect_timeout"),
    ),
    (
        "redis.command_retries",
        Acts("app/redis", "redis.command_retries"),
    ),
    (
        "redis.command_retry_base",
        Acts("app/redis", "redis.command_retry_base"),
    ),
    (
        "redis.command_retry_cap",
        Acts("app/redis", "redis.command_retry_cap"),
    ),
    (
        "redis.health_interval",
        Acts("app/redis", "redis.health_interval"),
    ),
    (
        "redis.health_check_probes",
        Acts("app/redis", "redis.health_check_probes"),
    ),
    (
        "redis.health_check_delay",
        Acts("app/redis", "redis.health_check_delay"),
    ),
    (
        "redis.health_check_timeout",
        Acts("app/redis", "redis.health_check_timeout"),
    ),
    (
        "redis.health_check_policy",
        Acts("app/redis", "redis.health_check_policy"),
    ),
    (
        "redis.initial_health_check_policy",
        Acts("app/redis", "redis.initial_health_check_policy"),
    ),
    (
        "redis.initial_deadline",
        Acts("app/redis", "redis.initial_deadline"),
    ),
    (
        "redis.min_num_failures",
        Acts("app/redis", "redis.min_num_failures"),
    ),
    (
        "redis.failure_rate_threshold",
        Acts("app/redis", "redis.failure_rate_threshold"),
    ),
    (
        "redis.failures_detection_window",
        Acts("app/redis", "redis.failures_detection_window"),
    ),
    (
        "redis.consecutive_failures",
        Acts("app/redis", "redis.consecutive_failures"),
    ),
    (
        "redis.success_threshold",
        Acts("app/redis", "redis.success_threshold"),
    ),
    (
        "redis.half_open_slots",
        Acts("app/redis", "redis.half_open_slots"),
    ),
    ("redis.last_resort", Acts("app/redis", "redis.last_resort")),
    (
        "redis.failover_attempts",
        Acts("app/redis", "redis.failover_attempts"),
    ),
    (
        "redis.failover_delay",
        Acts("app/redis", "redis.failover_delay"),
    ),
    (
        "redis.auto_fallback_interval",
        Acts("app/redis", "redis.auto_fallback_interval"),
    ),
    ("redis.database.url", Acts("app/redis", "database.url")),
    ("redis.database.kind", Acts("app/redis", "database.kind")),
    ("redis.database.nodes", Acts("app/redis", "database.nodes")),
    (
        "redis.database.master",
        Acts("app/redis", "database.master"),
    ),
    (
        "redis.database.master_url",
        Acts("app/redis", "database.master_url"),
    ),
    ("redis.database.name", Acts("app/redis", "database.name")),
    (
        "redis.database.weight",
        Acts("app/redis", "database.weight"),
    ),
    (
        "redis.database.grace_period",
        Acts("app/redis", "database.grace_period"),
    ),
    (
        "redis.database.health_check_url",
        Acts("app/redis", "database.health_check_url"),
    ),
    ("spend.durability", Acts("app", "spend.durability")),
    ("spend.seal_interval", Acts("app", "spend.seal_interval")),
    ("spend.flush_interval", Acts("app", "spend.flush_interval")),
    ("spend.lease_ttl", Acts("app", "spend.lease_ttl")),
    ("spend.journal_size", Acts("app", "spend.journal_size")),
    ("access.require_key", Acts("app", "access.require_key")),
    ("access.admin_key", Acts("app", "access.admin_key")),
    ("access.join_key", Acts("app", "access.join_key")),
    ("access.management", Acts("app", "access.management")),
    ("access.end_users", Acts("app", "access.end_users")),
    ("access.outage_grace", Acts("app", "access.outage_grace")),
    (
        "access.when_redis_away",
        Acts("app", "access.when_redis_away"),
    ),
    ("price.model", Acts("app", "price.model")),
    ("price.input", Acts("config/price.rs", "input: self.input")),
    (
        "price.cached_input",
        Acts("config/price.rs", "cached_input: self.cached_input"),
    ),
    (
        "price.output",
        Acts("config/price.rs", "output: self.output"),
    ),
    ("log.access", Acts("app", "log.access")),
    (
        "metrics.litellm_names",
        Acts("app", "metrics.litellm_names"),
    ),
];

#[test]
fn the_table_holds_every_key_once() {
    let keys: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    let once: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    assert_eq!(once.len(), keys.len(), "a key stands twice in {keys:?}");
    assert_eq!(
        once,
        keys_of(&toml::Value::try_from(full()).unwrap()),
        "every key needs an entry that says what it does"
    );
}

#[test]
fn what_acts_is_read() {
    for (key, fate) in KEYS {
        if let Acts(place, expression) = fate {
            let place = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("src")
                .join(place);
            assert!(
                shipped(&place).iter().any(|code| reads(code, expression)),
                "{key}: nothing in {} reads {expression}",
                place.display()
            );
        }
    }
}

#[test]
fn what_does_not_act_is_refused_unless_it_is_neutral() {
    let file = with_examples();
    load_with(&file, &[], &[]).unwrap();
    for (key, fate) in KEYS {
        let Refused(values) = fate else { continue };
        assert!(!values.is_empty(), "{key}");
        for value in *values {
            // An entry of a list is named by its number.
            let key = match key.strip_prefix("endpoint.") {
                Some(name) => format!("endpoint.0.{name}"),
                None => (*key).to_owned(),
            };
            let refused = load_with(&file, &[], &[&format!("{key}={value}")]);
            let problems = refused.expect_err(&format!("{key}={value} is taken"));
            let told: Vec<&str> = problems.iter().map(|one| one.key.as_str()).collect();
            assert_eq!(told, [key.as_str()], "{problems:?}");
        }
    }
}

/// The code of a file, or of all files below a folder, without tests.
fn shipped(place: &Path) -> Vec<String> {
    let mut files: Vec<PathBuf> = vec![place.to_owned()];
    let mut code = Vec::new();
    while let Some(place) = files.pop() {
        if place.is_dir() {
            files.extend(fs::read_dir(&place).unwrap().map(|one| one.unwrap().path()));
        } else if place.file_stem().is_some_and(|stem| stem != "tests") {
            let text = fs::read_to_string(&place).unwrap();
            let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
            let lines = shipped.lines().map(str::trim_start);
            code.push(lines.filter(|line| !line.starts_with("//")).collect());
        }
    }
    code
}

/// Whether the expression stands there whole: `a.master` is not in `a.master_url`.
fn reads(code: &str, expression: &str) -> bool {
    let goes_on = |rest: &str| rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
    code.match_indices(expression)
        .any(|(at, found)| !goes_on(&code[at + found.len()..]))
}
