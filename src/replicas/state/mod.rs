//! Which copies are to be loaded now, and which renewed: pure, time is an argument.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::Kept;
use crate::domain::ModelName;
use crate::fleet::Place;
use crate::supervision::Backoff;

/// A copy that somebody has unloaded is loaded again after this.
const REST: Duration = Duration::from_secs(60);
/// What has failed is tried again after a pause that grows, and elsewhere at once.
const RETRIES: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(300));
/// A copy that its server would let go of sooner is renewed.
const RENEWED_BELOW: Duration = Duration::from_secs(60);
/// And never more often.
const BETWEEN_RENEWALS: Duration = Duration::from_secs(5);
/// A copy that is gone so soon after a load on its server has made room for that.
const DISPLACED_WITHIN: Duration = Duration::from_secs(15);
/// What has no room beside another model is tried again after this: there may be room by now.
const DISPLACED_FOR: Duration = Duration::from_secs(600);

/// One model on one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Copy {
    /// The model.
    pub model: ModelName,
    /// The server, by its generation.
    pub server: u64,
}

/// A server that has a model, as the fleet shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) server: u64,
    pub(super) is_up: bool,
    pub(super) is_loaded: bool,
    /// It loads this model.
    pub(super) is_loading: bool,
    /// It loads another one.
    pub(super) is_busy: bool,
    /// No request uses the model there.
    pub(super) is_idle: bool,
    /// How often requests have had it unloaded there.
    pub(super) unloads: u64,
    /// How long it keeps the model when nothing uses it, if it says so.
    pub(super) left: Option<Duration>,
}

/// Load, or renew, this model there: by their places in what was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) model: usize,
    pub(super) spot: usize,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Copies that were loaded when looked at last, and how often requests had had them unloaded until then.
    had: HashMap<Copy, u64>,
    /// Copies that somebody unloaded: until when they are left alone.
    resting: HashMap<Copy, Instant>,
    /// Loads that run.
    running: HashMap<Copy, Run>,
    failed: HashMap<Copy, Failed>,
    /// The last load on each server, renewals not counted.
    ended: HashMap<u64, (ModelName, Instant)>,
    /// Copies that would make a more important one leave: until when that is taken to be so.
    displaces: HashMap<Copy, Instant>,
    renewed: HashMap<Copy, Instant>,
    next: Option<Instant>,
}

/// What is asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// To load a model.
    Load,
    /// To keep one for longer, which makes none leave.
    Renewal,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    times: u32,
    until: Instant,
}

impl Copy {
    pub(super) fn of(model: &ModelName, place: &Place) -> Self {
        Self::on(model, place.endpoint.id().generation)
    }

    fn on(model: &ModelName, server: u64) -> Self {
        Self {
            model: model.clone(),
            server,
        }
    }
}

impl State {
    /// Other models are wanted: what was learnt of the former ones no longer counts. Loads go on.
    pub(super) fn begin_anew(&mut self) {
        *self = Self {
            running: std::mem::take(&mut self.running),
            ..Self::default()
        };
    }

    /// A load is over.
    pub(super) fn loaded(&mut self, copy: Copy, done: bool, now: Instant) {
        let run = self.running.remove(&copy);
        if done {
            self.failed.remove(&copy);
            if run != Some(Run::Renewal) {
                self.ended.insert(copy.server, (copy.model, now));
            }
            return;
        }
        let times = self.failed.get(&copy).map_or(0, |failed| failed.times) + 1;
        let until = now + RETRIES.delay(times, 0.5);
        self.failed.insert(copy, Failed { times, until });
    }

    /// What is to be loaded and renewed. `kept` is in the order of importance, `seen` has for each the servers
    /// that have it, the best for one more copy first.
    pub(super) fn look(&mut self, kept: &[Kept], seen: &[Vec<Spot>], now: Instant) -> Vec<Load> {
        self.next = None;
        self.forget(kept, seen, now);
        self.notice_losses(kept, seen, now);
        let mut loads = Vec::new();
        for (model, (kept, spots)) in kept.iter().zip(seen).enumerate() {
            self.place(model, kept, spots, now, &mut loads);
            self.renew(model, kept, spots, now, &mut loads);
        }
        let waits = self.resting.values().chain(self.displaces.values());
        for at in waits.copied().collect::<Vec<_>>() {
            self.look_at(at);
        }
        for at in self
            .failed
            .values()
            .map(|failed| failed.until)
            .collect::<Vec<_>>()
        {
            if at > now {
                self.look_at(at);
            }
        }
        loads
    }

    /// When to look again, if nothing changes before.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        self.next.map(|at| at.max(now + Duration::from_millis(100)))
    }

    fn look_at(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// Of servers and models that are gone nothing is remembered.
    fn forget(&mut self, kept: &[Kept], seen: &[Vec<Spot>], now: Instant) {
        let pairs = kept.iter().zip(seen);
        let known: HashSet<Copy> = pairs
            .flat_map(|(kept, spots)| spots.iter().map(|spot| Copy::on(&kept.model, spot.server)))
            .collect();
        let servers: HashSet<u64> = known.iter().map(|copy| copy.server).collect();
        self.resting
            .retain(|copy, until| known.contains(copy) && *until > now);
        self.failed.retain(|copy, _| known.contains(copy));
        self.displaces
            .retain(|copy, until| known.contains(copy) && *until > now);
        self.renewed.retain(|copy, _| known.contains(copy));
        self.ended.retain(|server, _| servers.contains(server));
    }

    /// What was loaded and is not: its server is lost, or has made room for another model that is kept, or somebody
    /// unloaded it. Of more copies than are wanted some may go.
    fn notice_losses(&mut self, kept: &[Kept], seen: &[Vec<Spot>], now: Instant) {
        let mut has = HashMap::new();
        for (rank, (wanted, spots)) in kept.iter().zip(seen).enumerate() {
            let up = spots.iter().filter(|spot| spot.is_up);
            let (there, gone): (Vec<&Spot>, Vec<&Spot>) =
                up.partition(|spot| spot.is_loaded || spot.is_loading);
            for spot in &there {
                let copy = Copy::on(&wanted.model, spot.server);
                self.resting.remove(&copy);
                has.insert(copy, spot.unloads);
            }
            let gone = gone.into_iter().filter_map(|spot| {
                let copy = Copy::on(&wanted.model, spot.server);
                let unloads = self.had.get(&copy)?;
                Some((copy, *unloads != spot.unloads))
            });
            let gone: Vec<(Copy, bool)> = gone.collect();
            let missing = wanted.replicas.saturating_sub(there.len());
            for (copy, was_unloaded) in gone.into_iter().take(missing) {
                match was_unloaded {
                    true => drop(self.resting.insert(copy, now + REST)),
                    false => self.lost(copy, rank, kept, now),
                }
            }
        }
        self.had = has;
    }

    fn lost(&mut self, copy: Copy, rank: usize, kept: &[Kept], now: Instant) {
        match self.loaded_lately(&copy, now) {
            Some(other) => {
                let other_rank = kept.iter().position(|kept| kept.model == other);
                // Both do not fit there: the more important one stays.
                let leaves = match other_rank.is_some_and(|other_rank| other_rank > rank) {
                    true => Copy::on(&other, copy.server),
                    false => copy,
                };
                tracing::warn!(
                    model = %leaves.model,
                    "not kept loaded on a server where another kept model has no room beside it"
                );
                self.displaces.insert(leaves, now + DISPLACED_FOR);
            }
            None => {
                self.resting.insert(copy, now + REST);
            }
        }
    }

    /// Another model that was loaded on the copy's server just now, or is being loaded.
    fn loaded_lately(&self, copy: &Copy, now: Instant) -> Option<ModelName> {
        let is_other = |other: &&Copy| other.server == copy.server && other.model != copy.model;
        let loads = self.running.iter().filter(|(_, run)| **run == Run::Load);
        let running = loads.map(|(copy, _)| copy).find(is_other);
        let ended = self.ended.get(&copy.server).filter(|(model, at)| {
            *model != copy.model && now.saturating_duration_since(*at) < DISPLACED_WITHIN
        });
        running
            .map(|other| other.model.clone())
            .or_else(|| ended.map(|(model, _)| model.clone()))
    }

    fn place(
        &mut self,
        model: usize,
        kept: &Kept,
        spots: &[Spot],
        now: Instant,
        loads: &mut Vec<Load>,
    ) {
        let copy = |spot: &Spot| Copy::on(&kept.model, spot.server);
        let counts = |spot: &&Spot| {
            let copy = copy(spot);
            let is_there = spot.is_loaded || spot.is_loading || self.running.contains_key(&copy);
            spot.is_up && (is_there || self.resting.contains_key(&copy))
        };
        let there = spots.iter().filter(counts).count();
        for _ in there..kept.replicas {
            let free = spots
                .iter()
                .position(|spot| self.is_free(&copy(spot), spot, now));
            let Some(spot) = free else {
                return; // whatever makes one free is a change of the fleet, or is waited for
            };
            self.running.insert(copy(&spots[spot]), Run::Load);
            loads.push(Load { model, spot });
        }
    }

    fn is_free(&self, copy: &Copy, spot: &Spot, now: Instant) -> bool {
        let is_there = spot.is_loaded || spot.is_loading || self.resting.contains_key(copy);
        let is_failing = |failed: &Failed| failed.until > now;
        spot.is_up
            && !is_there
            && !spot.is_busy
            && !self.running.keys().any(|other| other.server == copy.server)
            && !self.displaces.contains_key(copy)
            && !self.failed.get(copy).is_some_and(is_failing)
    }

    /// Copies that their servers will let go of soon, as many as are wanted.
    fn renew(
        &mut self,
        model: usize,
        kept: &Kept,
        spots: &[Spot],
        now: Instant,
        loads: &mut Vec<Load>,
    ) {
        let duration = kept.keep_alive.as_ref().and_then(|kept| kept.duration());
        let below = duration.map_or(RENEWED_BELOW, |kept| RENEWED_BELOW.min(kept / 2));
        let loaded = spots.iter().enumerate();
        let loaded = loaded.filter(|(_, spot)| spot.is_up && spot.is_loaded);
        for (spot, seen) in loaded.take(kept.replicas) {
            let Some(left) = seen.left else {
                continue;
            };
            let copy = Copy::on(&kept.model, seen.server);
            if left > below {
                self.look_at(now + (left - below));
                continue;
            }
            let renewed = self.renewed.get(&copy);
            let lately =
                renewed.is_some_and(|at| now.saturating_duration_since(*at) < BETWEEN_RENEWALS);
            if lately || !seen.is_idle || self.running.contains_key(&copy) {
                self.look_at(now + BETWEEN_RENEWALS);
                continue;
            }
            self.renewed.insert(copy.clone(), now);
            self.running.insert(copy, Run::Renewal);
            loads.push(Load { model, spot });
        }
    }
}
