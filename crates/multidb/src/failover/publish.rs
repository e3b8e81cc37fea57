//! A decision becomes visible: first the views, then the events, then the waiting commands.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::actor::Actor;
use super::message::Message;
use super::state::{ConfirmMode, Effect};
use crate::Active;
use crate::database::{Database, DatabaseId};
use crate::event::Event;
use crate::health::confirm;
use crate::health::watcher::Pace;
use crate::member::connector::ConnectorMessage;
use crate::metrics::Switch;
use crate::views::{Path, Route, Views};

impl Actor {
    /// Does what was decided.
    pub(super) fn apply_effects(&mut self, now: Instant) {
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
            self.apply_effect(effect);
        }
    }

    fn abandon(&mut self, id: DatabaseId, silent: bool) {
        if let Some(member_tasks) = self.members.get_mut(&id)
            && let Some(link) = member_tasks.link.take()
        {
            // A database that answers, if only slowly, may answer what it has been sent.
            let drain_timeout = if silent {
                Duration::ZERO
            } else {
                self.context.options.timeouts.response
            };
            let link = link.id();
            member_tasks.tell_connector(ConnectorMessage::Abandon {
                link,
                drain_timeout,
            });
        }
    }

    fn apply_effect(&mut self, effect: Effect) {
        let views = Arc::clone(&self.context.views);
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
                views.emit(Event::ActiveDatabaseChanged { old, new, reason });
            }
            Effect::Circuit {
                database,
                from,
                to,
                cause,
            } => {
                tracing::info!(%database, %from, %to, %cause, "circuit changed");
                views.emit(Event::CircuitChanged {
                    database,
                    from,
                    to,
                    cause,
                });
            }
            Effect::AllDown => {
                tracing::warn!("no database is available");
                views.emit(Event::AllDatabasesUnavailable);
            }
            Effect::Confirm { id, mode } => self.confirm(id, mode),
            Effect::Settled(id) => {
                if let Some(member_tasks) = self.members.get_mut(&id) {
                    member_tasks.settle();
                }
            }
            Effect::Wake(id) => {
                if let Some(member_tasks) = self.members.get(&id) {
                    member_tasks.wake();
                    member_tasks.tell_connector(ConnectorMessage::RetryNow);
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
        let views = &self.context.views;
        views.switches.store(Arc::new(switches.collect()));
    }

    fn confirm(&self, id: DatabaseId, mode: ConfirmMode) {
        let Some(member_tasks) = self.members.get(&id) else {
            return;
        };
        let target = Arc::clone(&member_tasks.target);
        let checks = self.checks();
        let most = self.context.options.timeouts.response;
        self.spawn_background(async move {
            if mode == ConfirmMode::NewConnection {
                target.forget();
            }
            let limit = match mode {
                ConfirmMode::FullTimeout => most,
                ConfirmMode::ShortTimeout | ConfirmMode::NewConnection => {
                    target.short_timeout(most)
                }
            };
            let report = confirm(&target, &checks, limit).await;
            Message::Confirmed { id, report }
        });
    }

    pub(super) fn emit_failure(&self, id: DatabaseId, commands: Arc<str>, error: Arc<str>) {
        if let Some(member_tasks) = self.members.get(&id) {
            self.context.views.emit(Event::CommandsFailed {
                database: member_tasks.member.database().clone(),
                commands,
                error,
            });
        }
    }

    pub(super) fn publish(&mut self, now: Instant) {
        let views = Arc::clone(&self.context.views);
        let mut members: Vec<_> = self
            .members
            .values()
            .map(|member_tasks| &member_tasks.member)
            .collect();
        members.sort_by_key(|member| member.id());
        views
            .members
            .store(Arc::new(members.into_iter().cloned().collect()));
        views.status.store(Arc::new(self.state.status()));
        views.set_route(self.route(now));
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
            return Route::Unavailable { since };
        };
        let member_tasks = self.members.get(&chosen.id);
        match member_tasks
            .and_then(|member_tasks| Some((member_tasks, member_tasks.link.as_ref()?)))
        {
            Some((member_tasks, link)) => {
                self.undecided_since = None;
                Route::Open(Path {
                    member: Arc::clone(&member_tasks.member),
                    link: Arc::clone(link),
                    episode: chosen.episode,
                    trial: chosen.trial.then_some(self.context.half_open_slots),
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

/// The last state that is published.
pub(super) fn end(views: &Views) {
    views.set_route(Route::Closed);
    views.active.send_if_modified(|active| {
        let changed = active.database.is_some();
        active.database = None;
        active.generation += u64::from(changed);
        changed
    });
}
