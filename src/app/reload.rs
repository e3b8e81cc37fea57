//! The configuration, read again while running.
//!
//! Owns what the router runs with now. All three layers are read and validated as at the start, and either
//! all of it is good or nothing changes. Of what is new, the endpoints, what holds for single models, aliases, prices, `access.require_key`,
//! `access.end_users`, `access.outage_grace`, `access.admin_key`, `access.management` and `models.pull` count from this moment; whatever else differs is named in
//! the log, each time, until a restart or until it is as it was. Values are never logged.
//!
//! A file that is gone or empty is not what was meant either: without
//! it nobody would need a key, and the admin calls would need none.

use std::fmt;
use std::time::Duration;

use tokio::time::timeout;

use super::{App, Source, given};
use crate::config::{Config, Routing, Slots};
use crate::watched::Watched;

/// What the router runs with, and where that is read again.
pub struct Reload {
    running: Config,
    source: Source,
    file: Watched,
}

/// How long the fleet may take to change its servers: it does so at once, unless it is being restarted.
const APPLIED: Duration = Duration::from_secs(5);

/// What differs in a new configuration.
#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    /// Counts from now on.
    taken: Vec<&'static str>,
    /// Needs a restart.
    left: Vec<&'static str>,
}

impl Reload {
    /// Of a router that runs with this configuration, which came from there.
    #[must_use]
    pub fn new(running: Config, source: Source) -> Self {
        Self {
            running,
            file: Watched::new(vec![source.file.clone()]),
            source,
        }
    }

    /// Waits until the file is another one than was read. Can be dropped at any moment.
    pub(super) async fn changed(&mut self) {
        self.file.changed().await;
    }

    /// Reads it, and does what can be done about it. A file is read in less time than a request takes to
    /// be answered, and seldom.
    pub async fn now(&mut self, app: &App) {
        let (print, file) = (self.file.now(), self.source.file.display());
        if self.file.had_text() && !print.have_text() {
            tracing::error!(%file, "configuration not reloaded: the file is gone or empty");
            return;
        }
        let read = (self.source.read)();
        if self.file.now() != print {
            tracing::error!(%file, "configuration not reloaded: the file changed while it was read");
            return;
        }
        self.file.set_read(print);
        let config = match read {
            Ok(config) => config,
            Err(problems) => {
                for problem in &problems {
                    tracing::error!("{problem}");
                }
                let problems = problems.len();
                tracing::error!(problems, "configuration not reloaded: nothing is changed");
                return;
            }
        };
        let difference = difference(&self.running, &config);
        let (endpoints, slots) = (config.endpoint.clone(), config.routing.slots);
        // Nothing else is handled meanwhile, not even a signal to stop.
        match timeout(APPLIED, app.inventory.configure(endpoints, slots)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "configuration not reloaded: nothing is changed");
                return;
            }
            Err(_) => {
                tracing::error!(
                    "configuration not reloaded: the endpoints could not be changed in time"
                );
                return;
            }
        }
        if timeout(APPLIED, app.fleet.name(&given::aliases(&config)))
            .await
            .is_err()
        {
            tracing::error!("the aliases could not be changed in time: they change when they can");
        }
        app.gateway.set_models(given::terms(&config));
        if self.running.model != config.model {
            app.replicas.keep(given::kept(&config));
        }
        app.access.reprice(given::prices(&config));
        let access = &config.access;
        app.access.require(access.require_key, access.outage_grace);
        app.access.tell_apart(access.end_users);
        app.admin.set_key(access.admin_key.expose());
        app.joiners.set_key(access.join_key.expose());
        app.managers.set_rule(access.management);
        app.models.set_spread(given::spread(&config));
        adopt(&mut self.running, config);
        if let Some(exposed) = self.running.exposed() {
            tracing::error!("{exposed}");
        }
        let changed = difference.taken.join(", ");
        tracing::info!(changed, "configuration reloaded");
        if !difference.left.is_empty() {
            let differs = difference.left.join(", ");
            tracing::warn!(differs, "this part of the configuration needs a restart");
        }
    }
}

fn difference(old: &Config, new: &Config) -> Difference {
    let (was, is) = (&old.access, &new.access);
    let taken = [
        ("endpoint", old.endpoint != new.endpoint),
        ("model", old.model != new.model),
        ("alias", old.alias != new.alias),
        ("routing.slots", old.routing.slots != new.routing.slots),
        ("price", old.price != new.price),
        ("access.require_key", was.require_key != is.require_key),
        ("access.end_users", was.end_users != is.end_users),
        ("access.outage_grace", was.outage_grace != is.outage_grace),
        ("access.admin_key", was.admin_key != is.admin_key),
        ("access.join_key", was.join_key != is.join_key),
        ("access.management", was.management != is.management),
        ("models.pull", old.models.pull != new.models.pull),
    ];
    let (had, has) = (&old.models, &new.models);
    let left = [
        ("server", old.server != new.server),
        ("routing", without_slots(old) != without_slots(new)),
        ("fleet", old.fleet != new.fleet),
        ("cluster", old.cluster != new.cluster),
        ("discovery", old.discovery != new.discovery),
        ("store", old.store != new.store),
        ("redis", old.redis != new.redis),
        ("spend", old.spend != new.spend),
        (
            "access.when_redis_away",
            was.when_redis_away != is.when_redis_away,
        ),
        ("models.mirror", had.mirror != has.mirror),
        ("models.registry", had.registry != has.registry),
        ("models.cache_size", had.cache_size != has.cache_size),
        ("log", old.log != new.log),
        ("metrics", old.metrics != new.metrics),
    ];
    let names = |all: &[(&'static str, bool)]| {
        let new = all.iter().filter(|(_, differs)| *differs);
        new.map(|(name, _)| *name).collect()
    };
    Difference {
        taken: names(&taken),
        left: names(&left),
    }
}

/// All of `[routing]` that needs a restart.
fn without_slots(config: &Config) -> Routing {
    Routing {
        slots: Slots::Auto,
        ..config.routing.clone()
    }
}

/// What counts from now on is what the router runs with.
fn adopt(running: &mut Config, new: Config) {
    running.endpoint = new.endpoint;
    running.model = new.model;
    running.alias = new.alias;
    running.routing.slots = new.routing.slots;
    running.price = new.price;
    running.access.require_key = new.access.require_key;
    running.access.end_users = new.access.end_users;
    running.access.outage_grace = new.access.outage_grace;
    running.access.admin_key = new.access.admin_key;
    running.access.join_key = new.access.join_key;
    running.access.management = new.access.management;
    running.models.pull = new.models.pull;
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LoadArgs, WhenRedisAway, load};

    fn config(set: &[&str]) -> Config {
        load(LoadArgs {
            file: None,
            env: Vec::new(),
            set: set.iter().map(ToString::to_string).collect(),
            servers: Vec::new(),
        })
        .unwrap()
    }

    #[test]
    fn what_changes_at_once_is_told_from_what_needs_a_restart_until_it_had_one() {
        let mut running = config(&[]);
        let new = config(&[
            "model.0.name=llama3.2",
            "price.0.model=llama3.2",
            "price.0.output=1.0",
            "access.require_key=true",
            "access.admin_key=x",
            "access.join_key=x",
            "access.management=off",
            "models.pull=2",
            "models.cache_size=1GiB",
            "access.when_redis_away=refuse",
            "routing.attempts=2",
            "alias.0.name=gpt-4o",
            "alias.0.models=[\"llama3.2\"]",
        ]);
        let first = difference(&running, &new);
        let taken = [
            "model",
            "alias",
            "price",
            "access.require_key",
            "access.admin_key",
            "access.join_key",
            "access.management",
            "models.pull",
        ];
        assert_eq!(first.taken, taken);
        let left = ["routing", "access.when_redis_away", "models.cache_size"];
        assert_eq!(first.left, left);
        adopt(&mut running, new.clone());
        let again = difference(&running, &new);
        assert!(again.taken.is_empty());
        assert_eq!(again.left, first.left, "reported again");
        assert_eq!(running.access.when_redis_away, WhenRedisAway::LocalShare);
        assert_eq!(
            difference(&running, &running.clone()),
            Difference::default()
        );
    }
}
