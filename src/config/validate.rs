//! What the types cannot say: ranges, what contradicts another key, and what this version lacks.
//!
//! Every rule is asked, whatever the others found. A key that names something this version cannot
//! do is refused and not skipped: an operator who asked for a
//! second database must not be left with one.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::itself::is_itself;
use super::{
    Access, Config, Database, DatabaseKind, Durability, Endpoint, Kind, Redis, Routing, Server,
    alias, discovery, models, store,
};
use crate::domain::ModelName;

/// A value that can be read and not be used.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) key: String,
    pub(super) what: String,
}

/// Longest name of an endpoint: it travels in every answer's headers.
const MAX_NAME: usize = 100;

pub(super) const NOT_A_MODEL: &str = "must be at most 255 visible ASCII characters without spaces";

/// The kinds of server this version supports.
const SUPPORTED: &[Kind] = &[Kind::Ollama, Kind::OpenAi];

/// A segment of the journal is 8 MiB, and one is written while another is being emptied.
const MIN_JOURNAL: u64 = 16 << 20;

/// Everything wrong with a configuration whose every value could be read.
pub(super) fn faults(config: &Config) -> Vec<Fault> {
    let mut faults = Faults(Vec::new());
    server(&config.server, &mut faults);
    for (at, endpoint) in config.endpoint.iter().enumerate() {
        let key = format!("endpoint.{at}");
        self::endpoint(&key, endpoint, &mut faults);
        if is_itself(config.server.listen, &endpoint.url) {
            faults.add(
                format!("{key}.url"),
                format!(
                    "is where this router itself listens (server.listen = \"{}\"): it would send \
                     requests to itself",
                    config.server.listen
                ),
            );
        }
    }
    let names = config.endpoint.iter().map(|endpoint| &endpoint.name);
    faults.unless_unique("endpoint", "name", names);
    each_server_once(&config.endpoint, &mut faults);
    one_cloud(&config.endpoint, &mut faults);
    alias::check(&config.alias, &mut faults);
    models::check_mirror(config, &mut faults);
    discovery::check(&config.discovery, &mut faults);
    intervals(config, &mut faults);
    routing(&config.routing, &mut faults);
    store::check(&config.store, &mut faults);
    if let Some(redis) = &config.redis {
        self::redis(redis, &mut faults);
    }
    if config.spend.journal_size < MIN_JOURNAL {
        faults.add(
            "spend.journal_size",
            "must be at least 16MiB, two of its files",
        );
    }
    if config.spend.durability == Durability::Redis && config.redis.is_none() {
        faults.add("spend.durability", "\"redis\" needs a [redis]");
    }
    access(&config.access, &mut faults);
    let names = config.model.iter().map(|model| &model.name);
    faults.unless_unique("model", "name", names);
    let models = config.price.iter().map(|price| &price.model);
    faults.unless_unique("price", "model", models);
    faults.0
}

/// What is wrong with one server that is not of the file: each key, and what it must be.
#[must_use]
pub fn endpoint_faults(endpoint: &Endpoint) -> Vec<String> {
    let mut faults = Faults(Vec::new());
    self::endpoint("", endpoint, &mut faults);
    if endpoint.cloud && endpoint.kind != Kind::Ollama {
        faults.add("cloud", "is only for kind = \"ollama\"");
    }
    let said = |fault: Fault| format!("{} {}", fault.key.trim_start_matches('.'), fault.what);
    faults.0.into_iter().map(said).collect()
}

/// Under two names it would have its slots twice. One name twice is said already.
fn each_server_once(endpoints: &[Endpoint], faults: &mut Faults) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (at, endpoint) in endpoints.iter().enumerate() {
        let first = *seen.entry(endpoint.address()).or_insert(&endpoint.name);
        if first != endpoint.name {
            let what = format!("is the server \"{first}\" once more: name each server once");
            faults.add(format!("endpoint.{at}.url"), what);
        }
    }
}

fn server(server: &Server, faults: &mut Faults) {
    if server.data_dir.as_os_str().is_empty() {
        faults.add("server.data_dir", "must name a folder");
    }
    if server.max_body == 0 {
        faults.add("server.max_body", "must be above zero");
    }
    match (is_set(&server.tls_cert), is_set(&server.tls_key)) {
        (true, false) => faults.add("server.tls_key", "must name the key of server.tls_cert"),
        (false, true) => faults.add(
            "server.tls_cert",
            "must name the certificate of server.tls_key",
        ),
        _ => {}
    }
    for (at, host) in server.hosts.iter().enumerate() {
        if !is_host(host) {
            faults.add(
                format!("server.hosts.{at}"),
                "must be a name such as \"ollama.example.com\" or \"*.example.com\", without scheme and port",
            );
        }
    }
    for (at, origin) in server.cors_origins.iter().enumerate() {
        if !is_origin(origin) {
            faults.add(
                format!("server.cors_origins.{at}"),
                "must be \"*\" or an origin such as \"https://chat.example.com\", without a path",
            );
        }
    }
}

fn is_set(file: &Path) -> bool {
    !file.as_os_str().is_empty()
}

fn endpoint(key: &str, endpoint: &Endpoint, faults: &mut Faults) {
    if !is_name(&endpoint.name) {
        faults.add(
            format!("{key}.name"),
            format!(
                "must be at most {MAX_NAME} visible ASCII characters without a comma, because it \
                 travels in headers"
            ),
        );
    }
    let kind = endpoint.kind;
    if !SUPPORTED.contains(&kind) {
        faults.lacks(format!("{key}.kind"), &format!("\"{}\"", kind.as_str()));
    }
    if kind.lists_models() && !endpoint.models.is_empty() {
        faults.add(
            format!("{key}.models"),
            format!(
                "is only for servers that cannot list theirs; kind = \"{}\" can",
                kind.as_str()
            ),
        );
    }
    for (at, model) in endpoint.models.iter().enumerate() {
        if ModelName::parse_any(model).is_err() {
            faults.add(format!("{key}.models.{at}"), NOT_A_MODEL);
        }
    }
    for (at, label) in endpoint.labels.iter().enumerate() {
        if !is_name(label) {
            faults.add(
                format!("{key}.labels.{at}"),
                format!("must be at most {MAX_NAME} visible ASCII characters without a comma"),
            );
        }
    }
    faults.unless_weight(format!("{key}.weight"), endpoint.weight);
    if !is_token(endpoint.api_key.expose()) {
        faults.add(format!("{key}.api_key"), NOT_A_TOKEN);
    }
}

/// An account belongs to one server, and what needs it has to know which.
fn one_cloud(endpoints: &[Endpoint], faults: &mut Faults) {
    let mut first = None;
    for (at, endpoint) in endpoints.iter().enumerate() {
        if !endpoint.cloud {
            continue;
        }
        let key = format!("endpoint.{at}.cloud");
        if endpoint.kind != Kind::Ollama {
            faults.add(key, "is only for kind = \"ollama\"");
        } else if let Some(first) = first {
            let what = format!("endpoint.{first} has cloud = true already; at most one can");
            faults.add(key, what);
        } else {
            first = Some(at);
        }
    }
}

fn routing(routing: &Routing, faults: &mut Faults) {
    if routing.attempts == 0 {
        faults.add("routing.attempts", "must be at least 1, the first try");
    }
    if routing.affinity {
        faults.lacks("routing.affinity", "conversation affinity");
    }
    if routing.affinity_ttl != Routing::AFFINITY_TTL {
        faults.add(
            "routing.affinity_ttl",
            "must be left at its default: conversation affinity is not available in this version",
        );
    }
}

fn redis(redis: &Redis, faults: &mut Faults) {
    if redis.database.is_empty() {
        faults.add("redis", "names no database: add a [[redis.database]]");
    }
    for (key, time) in [
        ("redis.response_timeout", redis.response_timeout),
        ("redis.connect_timeout", redis.connect_timeout),
        ("redis.health_interval", redis.health_interval),
        ("redis.health_check_timeout", redis.health_check_timeout),
        (
            "redis.failures_detection_window",
            redis.failures_detection_window,
        ),
    ] {
        faults.unless_positive(key, time);
    }
    for (key, count) in [
        ("redis.health_check_probes", redis.health_check_probes),
        ("redis.success_threshold", redis.success_threshold),
        ("redis.half_open_slots", u32::from(redis.half_open_slots)),
    ] {
        if count == 0 {
            faults.add(key, "must be at least 1");
        }
    }
    if !(0.0..=1.0).contains(&redis.failure_rate_threshold) {
        faults.add("redis.failure_rate_threshold", "must be between 0 and 1");
    }
    let pauses = redis.health_check_probes.saturating_sub(1);
    if redis.health_check_delay.saturating_mul(pauses) >= redis.health_check_timeout {
        let what = "must be longer than the delays between its probes together";
        faults.add("redis.health_check_timeout", what);
    }
    if redis.key_prefix.is_empty() || redis.key_prefix.contains(char::is_whitespace) {
        faults.add("redis.key_prefix", "must be text without spaces");
    }
    let asked = redis
        .database
        .iter()
        .filter(|one| !one.health_check_url.is_empty());
    if ![0, redis.database.len()].contains(&asked.count()) {
        let what = "must be given for every database or for none: it compares them";
        faults.add("redis.database.health_check_url", what);
    }
    for (at, database) in redis.database.iter().enumerate() {
        self::database(&format!("redis.database.{at}"), database, faults);
    }
}

fn database(key: &str, database: &Database, faults: &mut Faults) {
    faults.unless_weight(format!("{key}.weight"), database.weight);
    let sentinel = database.kind == DatabaseKind::Sentinel;
    if sentinel == database.master.is_empty() {
        let what = if sentinel {
            "must name the master, as the sentinels call it"
        } else {
            "is only for kind = \"sentinel\""
        };
        faults.add(format!("{key}.master"), what);
    }
    if !sentinel && !database.master_url.is_empty() {
        faults.add(
            format!("{key}.master_url"),
            "is only for kind = \"sentinel\"",
        );
    }
    if database.kind == DatabaseKind::Single && !database.nodes.is_empty() {
        let what = "is only for kind = \"cluster\" and kind = \"sentinel\"";
        faults.add(format!("{key}.nodes"), what);
    }
}

fn access(access: &Access, faults: &mut Faults) {
    if !is_token(access.admin_key.expose()) {
        faults.add("access.admin_key", NOT_A_TOKEN);
    }
    if let Some(fault) = access.join_key_fault() {
        faults.add("access.join_key", fault);
    }
}

/// Zero is a busy loop, a timeout that always expires, or a lease that is never held.
fn intervals(config: &Config, faults: &mut Faults) {
    let (routing, fleet, spend) = (&config.routing, &config.fleet, &config.spend);
    for (key, duration) in [
        ("server.idle", config.server.idle),
        ("server.reader_timeout", config.server.reader_timeout),
        ("routing.connect_timeout", routing.connect_timeout),
        ("routing.first_byte_timeout", routing.first_byte_timeout),
        ("routing.answer_timeout", routing.answer_timeout),
        ("routing.idle_timeout", routing.idle_timeout),
        ("fleet.probe_interval", fleet.probe_interval),
        ("fleet.loaded_interval", fleet.loaded_interval),
        ("fleet.models_interval", fleet.models_interval),
        ("fleet.stale_after", fleet.stale_after),
        ("spend.seal_interval", spend.seal_interval),
        ("spend.flush_interval", spend.flush_interval),
        ("spend.lease_ttl", spend.lease_ttl),
    ] {
        faults.unless_positive(key, duration);
    }
}

const NOT_A_TOKEN: &str = "must be visible ASCII characters without spaces, as a header carries it";

fn is_token(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Names stand in headers, alone and in comma-separated lists.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_NAME && is_token(text) && !text.contains(',')
}

/// Browsers send `scheme://host[:port]` and nothing more; another form would never match.
fn is_origin(text: &str) -> bool {
    let host = text.split_once("://").map_or("", |(_, host)| host);
    text == "*" || (is_token(text) && !host.is_empty() && !host.contains(['/', '?', '#', '@']))
}

/// As it stands in a `Host` header, but for the port; one `*` may stand for any text.
fn is_host(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed) && text.matches('*').count() <= 1
}

pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, key: impl Into<String>, what: impl Into<String>) {
        self.0.push(Fault {
            key: key.into(),
            what: what.into(),
        });
    }

    fn lacks(&mut self, key: impl Into<String>, what: &str) {
        self.add(key, format!("{what} is not available in this version"));
    }

    fn unless_positive(&mut self, key: &str, duration: Duration) {
        if duration.is_zero() {
            self.add(key, "must be longer than zero");
        }
    }

    fn unless_weight(&mut self, key: String, weight: f64) {
        if !weight.is_finite() || weight <= 0.0 {
            self.add(key, "must be a number above zero");
        }
    }

    pub(super) fn unless_unique<T: Ord + std::fmt::Display>(
        &mut self,
        list: &str,
        name: &str,
        values: impl Iterator<Item = T>,
    ) {
        let mut seen = BTreeMap::new();
        for (at, value) in values.enumerate() {
            let what = match seen.get(&value) {
                Some(first) => {
                    format!("{value} is also the {name} of {list}.{first}; each needs its own")
                }
                None => {
                    seen.insert(value, at);
                    continue;
                }
            };
            self.add(format!("{list}.{at}.{name}"), what);
        }
    }
}
