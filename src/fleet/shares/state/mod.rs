//! What this router has of which pool, and what it tells the ledger: pure, time is an argument.

mod held;
#[cfg(test)]
mod tests;
mod without_ledger;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::slots::{Call, NO_CAP, Notice, Part, Reply, Report};
use held::Held;
pub use held::number;
pub use held::{Asked, Pool, Want};
use without_ledger::WithoutLedger;

/// How often pools are looked at that are not shared evenly.
pub const LOOK: Duration = Duration::from_millis(250);
/// Pools that one call reports, at most: with all routers calling at once, an answer still comes in time.
const MOST_REPORTS: usize = 64;
/// The next call is made after so many times what the last one took: the busier Redis is, the more pools wait for one
/// call, and the fewer calls there are.
const PACE: u32 = 4;
/// How often the router says that it is there.
const BEAT: Duration = Duration::from_secs(1);
/// After a failed call.
const RETRY: Duration = Duration::from_millis(250);
/// How long a share that is more than the even one may lie idle.
const IDLE: Duration = Duration::from_secs(5);
/// How often an idle pool is reported until it is even again.
const REPORTED: Duration = Duration::from_secs(2);
/// After so long without an answer the ledger may have forgotten this router: earlier than it does.
pub const FORGOTTEN: Duration = Duration::from_secs(8);

/// Which pools this router has more or less of than its even share, and the call that is under way.
#[derive(Debug)]
pub struct State<P> {
    run: i64,
    number: i64,
    /// The ledger that answered last.
    born: Option<i64>,
    /// The one that has been told everything.
    told: Option<i64>,
    /// Among how many pools are divided that are not held otherwise; 0: they are not this router's.
    divides: i64,
    /// How many routers there are, as the ledger said last.
    routers: i64,
    held: BTreeMap<Arc<str>, Held<P>>,
    /// To be reported by the next call.
    due: BTreeSet<Arc<str>>,
    out: Option<Out>,
    without_ledger: WithoutLedger,
    /// When to call in any case.
    beat: Instant,
    /// Not before: the last call failed.
    retry: Instant,
    /// Not before: others call as well.
    paced: Instant,
    /// When the last call was made that was answered.
    answered: Instant,
}

/// The call that is under way.
#[derive(Debug)]
struct Out {
    number: i64,
    sent: Instant,
    /// The ledger that knows everything by it.
    told: Option<i64>,
    reported: Vec<Arc<str>>,
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Learnt {
    /// Some share has grown.
    pub grown: bool,
    /// Of some pool more was asked for, and there was none: others may have some.
    pub refused: bool,
    /// Slots are divided among so many now.
    pub divides: Option<u32>,
}

impl<P: Pool> State<P> {
    /// A run of this router, which has nothing yet.
    pub fn new(run: i64, now: Instant) -> Self {
        Self {
            run,
            number: 0,
            born: None,
            told: None,
            divides: 0,
            routers: 0,
            held: BTreeMap::new(),
            due: BTreeSet::new(),
            out: None,
            without_ledger: WithoutLedger::new(now),
            beat: now,
            retry: now,
            paced: now,
            answered: now,
        }
    }

    /// A request found the share used up, or a slot has come back.
    pub fn touch(&mut self, key: &Arc<str>, pool: &P, now: Instant) {
        let even = self.even(pool.slots());
        let held = self.held.entry(Arc::clone(key));
        let held = held.or_insert_with(|| Held::new(Some(pool.clone()), pool.slots(), even, now));
        if held.touch() {
            self.due.insert(Arc::clone(key));
        }
    }

    /// The pool stands for the key from now on.
    pub fn made(&mut self, key: &str, pool: &P) {
        if let Some(held) = self.held.get_mut(key) {
            held.stand(pool.clone());
        }
    }

    /// Of a pool that is not held otherwise more requests run than the even share: that is what is held.
    pub fn adopt(&mut self, key: &Arc<str>, pool: &P, now: Instant) {
        let even = self.even(pool.slots());
        let running = pool.running();
        if running > even && !self.held.contains_key(key) {
            let held = Held::new(Some(pool.clone()), pool.slots(), running, now);
            self.held.insert(Arc::clone(key), held);
            self.due.insert(Arc::clone(key));
        }
    }

    /// Another router has changed something.
    pub fn wake(&mut self, now: Instant) {
        self.beat = now;
    }

    /// Looks at every pool that is held: what lies idle, what is wanted. To be done several times a second.
    pub fn look(&mut self, now: Instant, want: impl Fn(&P) -> Want) {
        let divides = self.divides;
        for (key, held) in &mut self.held {
            held.obey();
            let even = held.even(divides);
            if held.look(even, now, &want, IDLE, REPORTED) {
                self.due.insert(Arc::clone(key));
            }
        }
    }

    /// While no ledger has ever answered: among how many slots are divided now, if that is otherwise. `others` are there,
    /// as the database says.
    pub fn go_on_without_ledger(&mut self, others: usize, now: Instant) -> Option<u32> {
        if self.born.is_some() {
            return None;
        }
        let divides = self.without_ledger.divides(self.divides, others, now);
        if std::mem::replace(&mut self.divides, divides) == divides {
            return None;
        }
        // No ledger knows anything of what is held: it is the even share, or what runs.
        self.held.retain(|_, held| {
            let even = held.even(divides);
            held.begin_anew(even)
        });
        Some(narrow(divides))
    }

    /// The next call, if there is something to say and none is under way.
    pub fn next(
        &mut self,
        now: Instant,
        others: impl FnOnce() -> Option<Vec<Arc<str>>>,
        want: impl Fn(&P) -> Want,
    ) -> Option<Call> {
        if self.out.is_some() || self.due_at(now).is_none_or(|at| now < at) {
            return None;
        }
        let mut reports = Vec::new();
        while reports.len() < MOST_REPORTS
            && let Some(key) = self.due.pop_first()
        {
            if let Some(held) = self.held.get_mut(&key) {
                let even = held.even(self.divides);
                reports.push(held.report(key, even, now, &want));
            }
        }
        let told = match self.due.is_empty() {
            true => self.born,
            false => self.told,
        };
        self.number += 1;
        self.beat = now + BEAT;
        self.out = Some(Out {
            number: self.number,
            sent: now,
            told,
            reported: reports
                .iter()
                .map(|report| Arc::clone(&report.key))
                .collect(),
        });
        Some(Call {
            run: self.run,
            number: self.number,
            born: told,
            divides: self.divides,
            asks: self.routers > 0 && (self.divides == 0 || self.routers < self.divides),
            others: others(),
            leaves: false,
            reports,
        })
    }

    /// When the next call is to be made, unless something happens before.
    pub fn pause(&self, now: Instant) -> Option<Duration> {
        let at = self.due_at(now).filter(|_| self.out.is_none())?;
        Some(at.saturating_duration_since(now))
    }

    fn due_at(&self, now: Instant) -> Option<Instant> {
        let has_something = !self.due.is_empty() || now >= self.beat;
        has_something.then(|| self.retry.max(self.paced))
    }

    /// The last call: after it this router has nothing.
    pub fn leave(&mut self) -> Call {
        self.number += 1;
        Call {
            run: self.run,
            number: self.number,
            born: self.told,
            leaves: true,
            ..Call::default()
        }
    }

    /// The ledger has answered the call of that number.
    pub fn replied(
        &mut self,
        number: i64,
        reply: &Reply,
        now: Instant,
        find: impl Fn(&str) -> Option<P>,
    ) -> Learnt {
        let Some(out) = self.out.take_if(|out| out.number == number) else {
            return Learnt::default();
        };
        let mut learnt = Learnt::default();
        self.answered = out.sent;
        self.paced = now + PACE * now.saturating_duration_since(out.sent);
        self.told = out.told;
        if self.born != Some(reply.born) {
            // It may know nothing of what this router has.
            self.born = Some(reply.born);
            self.due.extend(self.held.keys().cloned());
            self.beat = now;
        }
        for (key, part) in out.reported.iter().zip(&reply.parts) {
            self.answer(key, *part, now, &mut learnt);
        }
        for notice in &reply.notices {
            learnt.grown |= self.noticed(notice, now, &find);
        }
        if reply.more {
            self.beat = now;
        }
        let asked = self.routers;
        self.routers = reply.routers;
        if asked != reply.routers {
            // What one had that is gone may be had now.
            self.due.extend(self.held.keys().cloned());
        }
        let grows = reply.divides > 0 && (self.divides == 0 || reply.divides < self.divides);
        if self.divides > 0 && reply.divides == 0 {
            self.divides = 0;
            learnt.divides = Some(0);
            self.told = None;
            self.due.extend(self.held.keys().cloned());
            self.beat = now;
        } else if self.divides > 0 && reply.routers > self.divides {
            self.divides = reply.routers;
            learnt.divides = Some(narrow(self.divides));
            self.beat = now;
        } else if grows && !reply.more {
            self.divides = reply.divides;
            learnt.divides = Some(narrow(self.divides));
            learnt.grown = true;
        } else if asked == 0 || (reply.gives && reply.routers != asked) {
            self.beat = now;
        }
        learnt
    }

    /// The call of that number came to nothing, as far as is known.
    pub fn failed(&mut self, number: i64, now: Instant) {
        if let Some(out) = self.out.take_if(|out| out.number == number) {
            self.due.extend(out.reported);
            self.retry = now + RETRY;
        }
    }

    /// Whether all others may have forgotten this router. One that was alone has nobody to forget it.
    pub fn is_isolated(&self, now: Instant, is_registered: bool) -> bool {
        let silent = now.saturating_duration_since(self.answered) > FORGOTTEN;
        silent && !is_registered && self.divides != 1
    }

    fn even(&self, slots: i64) -> i64 {
        slots.checked_div(self.divides).unwrap_or(0)
    }

    fn answer(&mut self, key: &Arc<str>, part: Part, now: Instant, learnt: &mut Learnt) {
        let Some(held) = self.held.get_mut(key) else {
            return;
        };
        if part.forgotten {
            held.release();
            self.held.remove(key);
            return;
        }
        let (grown, news) = held.answer(part.granted, part.cap, now);
        if news {
            self.due.insert(Arc::clone(key));
        }
        learnt.grown |= grown;
        learnt.refused |= held.is_lacking();
    }

    fn noticed(
        &mut self,
        notice: &Notice,
        now: Instant,
        find: &impl Fn(&str) -> Option<P>,
    ) -> bool {
        let key = &notice.key;
        let held = self.held.entry(Arc::clone(key));
        let held = held.or_insert_with(|| Held::new(find(key), notice.slots, notice.base, now));
        // It is to be reported in any case: that is how the ledger knows that it is known.
        self.due.insert(Arc::clone(key));
        held.answer(notice.granted, notice.cap, now).0
    }
}

/// As pools count.
fn narrow(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
