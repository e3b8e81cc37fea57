//! A decision becomes visible: first the views, then the events, then whoever waited for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::actor::Actor;
use super::message::Message;
use super::state::{Asking, Effect};
use crate::Active;
use crate::database::{Database, DatabaseId};
use crate::event::Event;
use crate::health::confirm;
use crate::health::watcher::Pace;
use crate::member::keeper::Order;
use crate::metrics::Switch;
use crate::views::{Route, Views, Way};

impl Actor {
    /// Does what was decided.
    pub(super) fn carry_out(&mut self, now: Instant) {
        let effects = self.state.take_effects();
        // Connections first: the route must not lead over one that is given up.
        for effect in &effects {
            if let Effect::Abandon { id, silent } = effect {
                self.abandon(*id, *silent);
            }
        }
        if self.state.take_changed() {
            self.publish(now);
        }
        for effect in effects {
            self.follow(effect);
        }
    }

    fn abandon(&mut self, id: DatabaseId, silent: bool) {
        if let Some(crew) = self.crews.get_mut(&id)
            && let Some(link) = crew.link.take()
        {
            // Who answers, if only slowly, may answer what it has been sent.
            let patience = if silent {
                Duration::ZERO
            } else {
                self.ground.manners.timeouts.response
            };
            let link = link.id();
            crew.order(Order::Abandon { link, patience });
        }
    }

    fn follow(&mut self, effect: Effect) {
        let views = Arc::clone(&self.ground.views);
        match effect {
            Effect::Abandon { .. } => {}
            Effect::Switched { old, new, reason } => {
                let switch = Switch {
                    from: old.clone(),
                    to: new.clone(),
                    reason,
                };
                *self.switches.entry(switch).or_default() += 1;
                self.show_switches();
                tracing::info!(
                    old = old.as_ref().map(|old| &*old.name),
                    new = new.as_ref().map(|new| &*new.name),
                    reason = reason.as_str(),
                    "active database changed"
                );
                views.tell(Event::ActiveDatabaseChanged { old, new, reason });
            }
            Effect::Circuit {
                database,
                from,
                to,
                cause,
            } => {
                tracing::info!(%database, %from, %to, %cause, "circuit changed");
                views.tell(Event::CircuitChanged {
                    database,
                    from,
                    to,
                    cause,
                });
            }
            Effect::AllDown => {
                tracing::warn!("no database is available");
                views.tell(Event::AllDatabasesUnavailable);
            }
            Effect::Confirm { id, asking } => self.confirm(id, asking),
            Effect::Settled(id) => {
                if let Some(crew) = self.crews.get_mut(&id) {
                    crew.settle();
                }
            }
            Effect::Poke(id) => {
                if let Some(crew) = self.crews.get(&id) {
                    crew.poke();
                    crew.order(Order::Now);
                }
            }
        }
    }

    /// Numbers are never used twice, so what is counted about removed ones would grow without end.
    pub(super) fn forget_switches(&mut self, id: DatabaseId) {
        let speaks_of =
            |database: &Option<Database>| database.as_ref().is_some_and(|it| it.id == id);
        self.switches
            .retain(|switch, _| !speaks_of(&switch.from) && !speaks_of(&switch.to));
        self.show_switches();
    }

    fn show_switches(&self) {
        let switches = self.switches.iter();
        let switches = switches.map(|(switch, count)| (switch.clone(), *count));
        let views = &self.ground.views;
        views.switches.store(Arc::new(switches.collect()));
    }

    fn confirm(&self, id: DatabaseId, asking: Asking) {
        let Some(crew) = self.crews.get(&id) else {
            return;
        };
        let target = Arc::clone(&crew.target);
        let checks = self.checks();
        let most = self.ground.manners.timeouts.response;
        self.send_out(async move {
            if asking == Asking::Anew {
                target.forget();
            }
            let limit = match asking {
                Asking::Patiently => most,
                Asking::Quickly | Asking::Anew => target.little_time(most),
            };
            let report = confirm(&target, &checks, limit).await;
            Message::Confirmed { id, report }
        });
    }

    pub(super) fn tell_failure(&self, id: DatabaseId, commands: Arc<str>, error: Arc<str>) {
        if let Some(crew) = self.crews.get(&id) {
            self.ground.views.tell(Event::CommandsFailed {
                database: crew.member.database().clone(),
                commands,
                error,
            });
        }
    }

    pub(super) fn publish(&mut self, now: Instant) {
        let views = Arc::clone(&self.ground.views);
        let mut members: Vec<_> = self.crews.values().map(|crew| &crew.member).collect();
        members.sort_by_key(|member| member.id());
        views
            .members
            .store(Arc::new(members.into_iter().cloned().collect()));
        views.status.store(Arc::new(self.state.status()));
        views.lead(self.route(now));
        let (database, since, generation) = self.state.active();
        let active = Active {
            database,
            generation,
            since,
        };
        views.active.send_if_modified(|shown| {
            let changed = *shown != active;
            *shown = active;
            changed
        });
        let pace = if self.state.is_urgent() {
            Pace::Urgent
        } else {
            Pace::Steady
        };
        self.pace
            .send_if_modified(|shown| std::mem::replace(shown, pace) != pace);
    }

    fn route(&mut self, now: Instant) -> Route {
        let Some(chosen) = self.state.chosen() else {
            self.undecided_since = None;
            let since = self.state.down_since().unwrap_or(now);
            return Route::Nobody { since };
        };
        let crew = self.crews.get(&chosen.id);
        match crew.and_then(|crew| Some((crew, crew.link.as_ref()?))) {
            Some((crew, link)) => {
                self.undecided_since = None;
                Route::Open(Way {
                    member: Arc::clone(&crew.member),
                    link: Arc::clone(link),
                    episode: chosen.episode,
                    trial: chosen.trial.then_some(self.ground.half_open_slots),
                    down_since: self.state.down_since(),
                })
            }
            None => Route::Undecided {
                since: *self
                    .undecided_since
                    .get_or_insert(self.state.down_since().unwrap_or(now)),
            },
        }
    }
}

/// The last word.
pub(super) fn end(views: &Views) {
    views.lead(Route::Closed);
    views.active.send_if_modified(|active| {
        let changed = active.database.is_some();
        active.database = None;
        active.generation += u64::from(changed);
        changed
    });
}
