//! Access control: who may call, how fast, and for how much.
//!
//! Owns the [`View`](view) of all accounts ([`register`]), this router's shares of every limit
//! ([`sharing`], by the [`rule`] all routers keep), and the two questions a request asks: *who is
//! this* ([`Access::identify`]), answered from memory, and *may it* ([`Access::admit`]), answered
//! from memory as long as no limit is near. Being let in is a [`Reservation`], which holds what the
//! request may use at most, and turns into the [`Charge`](crate::domain::Charge) of what it did use.
//!
//! It must not know servers, bodies, or how usage reaches the database.
//!
//! It fails closed. A key that cannot be checked is no key; keys that were known before the database
//! went away stay known for `outage_grace` and not longer. A budget of which nobody knows what is
//! spent gives nothing. Where no keys are required and no limits set, nothing here can keep a
//! request out.

mod caller;
mod clock;
mod key;
mod meter;
mod names;
mod options;
mod output;
mod refused;
mod register;
mod reservation;
mod rule;
mod scope;
mod sharing;
mod stats;
mod tag;
mod view;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use caller::Known;
pub use caller::{AccessRequest, Caller};
pub use key::{key_id, new_key};
pub use meter::{Owner, What};
pub use options::Options;
pub use refused::Refused;
pub use register::{POLL, SWEEP, Unreadable};
pub use reservation::Reservation;
pub use rule::{
    Call, Failure, Ledger, MeterReport, Need, Part, RedisLedger, Reply, Shared, Terms, Verdict,
    Window,
};
pub use scope::Scope;
pub use sharing::{AppliedUntil, REPLY_TIMEOUT, TERMS};
pub use stats::AccessStats;
pub use tag::{MOST_TAGS, is_tag, tags, tags_of};

use crate::domain::{AccountKind, EntityKind, ModelName, Price};
use crate::store::Store;
use crate::supervision::{Backoff, RestartPolicy, StartError};
use clock::Clock;
use output::Outputs;
use view::View;

/// Requests wait for these actors, so the pause is short.
const RESTARTS: RestartPolicy = RestartPolicy {
    max: 10,
    within: Duration::from_secs(30),
    backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(1)),
};
/// How long the start waits for the accounts. Without them every key is refused until they come.
const FIRST_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// A key that is not in the view is unknown only if the view was current so recently; else it may
/// have been created meanwhile.
const RECENT_MS: i64 = 5_000;

/// Access control. Clones share one state.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    options: Options,
    rule: ArcSwap<Rule>,
    clock: Clock,
    register: register::Handle,
    sharing: sharing::Handle,
    outputs: Outputs,
    known: Known,
    stats: AccessStats,
}

/// Whether keys are required; changes while running.
#[derive(Clone, Copy, Debug)]
struct Rule {
    require_key: bool,
    outage_grace: Duration,
}

impl Access {
    /// Reads the accounts and starts. A database that cannot be read now does not keep the router
    /// from starting: it keeps out whoever needs a key.
    ///
    /// # Errors
    /// When the actors cannot be started.
    pub async fn start(
        options: Options,
        store: Store,
        shared: Option<Arc<dyn Shared>>,
        applied_until: AppliedUntil,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let clock = Clock::new();
        let sharing = sharing::Handle::start(
            RESTARTS,
            sharing::Dependencies {
                me: Arc::clone(&options.router),
                shared,
                policy: options.when_redis_away,
                applied_until,
                clock: clock.clone(),
                tracker: tracker.clone(),
            },
        )
        .await?;
        let register = register::Handle::start(
            RESTARTS,
            register::Dependencies {
                store: store.clone(),
                sharing: sharing.clone(),
                clock: clock.clone(),
                prices: options.prices.clone(),
                sweep: options.sweep,
            },
            tracker,
        )
        .await?;
        let outcome = timeout(FIRST_READ_TIMEOUT, register.refresh()).await;
        if !matches!(outcome, Ok(Ok(()))) {
            tracing::warn!("accounts are not read yet: keys are refused until they are");
        }
        let known = Known::new(options.end_users);
        let accounts = Arc::clone(&register.view());
        recall(&store, &accounts, &known).await;
        Ok(Self(Arc::new(Inner {
            stats: AccessStats::new(Arc::clone(register.published()), sharing.sharers()),
            rule: ArcSwap::from_pointee(Rule {
                require_key: options.require_key,
                outage_grace: options.outage_grace,
            }),
            options,
            clock,
            register,
            sharing,
            outputs: Outputs::default(),
            known,
        })))
    }

    /// Who shows this key, or shows none.
    ///
    /// # Errors
    /// [`Refused`], when keys are required and this is none, or cannot be checked.
    pub fn identify(&self, key: Option<&str>) -> Result<Caller, Refused> {
        let known = self.known(key);
        known.inspect_err(|refused| self.0.stats.refused(refused))
    }

    fn known(&self, key: Option<&str>) -> Result<Caller, Refused> {
        let Rule {
            require_key: required,
            outage_grace,
        } = **self.0.rule.load();
        let Some(key) = key else {
            return if required {
                Err(Refused::NoKey)
            } else {
                Ok(Caller::anonymous())
            };
        };
        let age_ms = self.0.register.age_ms(self.0.clock.local_ms());
        let view = self.0.register.view();
        let Some(entry) = view.get(AccountKind::Key, &key_id(key)) else {
            return match age_ms {
                // Programs that must send something send anything.
                _ if !required => Ok(Caller::anonymous()),
                Some(age_ms) if age_ms <= RECENT_MS => Err(Refused::UnknownKey),
                _ => Err(Refused::KeysAway),
            };
        };
        let grace_ms = i64::try_from(outage_grace.as_millis()).unwrap_or(i64::MAX);
        if required && age_ms.is_none_or(|age_ms| age_ms > grace_ms.max(RECENT_MS)) {
            return Err(Refused::KeysAway);
        }
        Caller::with(Arc::clone(entry), self.0.clock.now().unix())
    }

    /// Lets a request in, and holds for it what it may use. Awaits nothing but memory, unless one
    /// of its limits is so near, or what all share so new, that all routers have to decide together.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn admit(
        &self,
        caller: &Caller,
        request: &AccessRequest<'_>,
    ) -> Result<Reservation, Refused> {
        let reservation = Reservation::open(self, caller, request).await;
        reservation.inspect_err(|refused| self.0.stats.refused(refused))
    }

    /// An account has been changed through this router. Returns when requests see it.
    ///
    /// # Errors
    /// [`Unreadable`], when the database cannot be read now; it is seen when it can.
    pub async fn refresh(&self) -> Result<(), Unreadable> {
        self.0.register.refresh().await
    }

    /// An account has been changed through another router.
    pub fn changed(&self) {
        self.0.register.refresh_soon();
    }

    /// The configuration's prices, from this moment on.
    pub fn reprice(&self, prices: Vec<(ModelName, Price)>) {
        self.0.register.reprice(prices);
    }

    /// Whether every inference call needs a key, and how long known ones outlive the database, from this
    /// moment on.
    pub fn require(&self, require_key: bool, outage_grace: Duration) {
        self.0.rule.store(Arc::new(Rule {
            require_key,
            outage_grace,
        }));
    }

    /// Whether every inference call, list and count needs a key.
    #[must_use]
    pub fn requires_key(&self) -> bool {
        self.0.rule.load().require_key
    }

    /// How many names of end users are told apart, from this moment on.
    pub fn tell_apart(&self, end_users: usize) {
        self.0.known.end_users.limit(end_users);
    }

    /// The metrics.
    #[must_use]
    pub fn stats(&self) -> &AccessStats {
        &self.0.stats
    }

    /// Kills both actors as panics would. For fault injection.
    pub fn kill_actors(&self) {
        self.0.register.kill();
        self.0.sharing.kill();
    }
}

/// Whoever was told apart before the restart is so after it. Without the database, whoever comes first is.
async fn recall(store: &Store, view: &View, known: &Known) {
    for (account, kind, names) in [
        (AccountKind::EndUser, EntityKind::EndUser, &known.end_users),
        (AccountKind::Tag, EntityKind::Tag, &known.tags),
    ] {
        // Whoever has an account takes no place, nor does the row for all others.
        let most = names
            .room()
            .saturating_add(view.count(account))
            .saturating_add(1);
        match store.entities(kind, most).await {
            Ok(entities) => {
                let made_up = entities
                    .iter()
                    .filter(|name| view.get(account, name).is_none());
                made_up.for_each(|name| {
                    names.booked(name);
                });
            }
            Err(error) => tracing::debug!(%error, %kind, "names are not recalled"),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("options", &self.0.options)
            .field("rule", &self.0.rule)
            .finish_non_exhaustive()
    }
}
