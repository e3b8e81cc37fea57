//! The rule in Rust. `rule.lua` is the same, line for line.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::division::{Place, decide, prefetch};
use super::{Call, NO_CAP, NOTICES, Notice, Part, Reply, Report, Terms};

/// Who has how much of which pool.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    born: Option<i64>,
    members: BTreeMap<Arc<str>, Member>,
    pools: BTreeMap<Arc<str>, Pool>,
}

/// The reply, and who else is to call soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The reply.
    pub reply: Reply,
    /// Routers that have something to learn.
    pub wake: BTreeSet<Arc<str>>,
}

#[derive(Clone, Debug)]
struct Member {
    /// Its last call; nothing while it has made none.
    called: Option<i64>,
    /// When another has seen it in the database.
    seen: Option<i64>,
    run: i64,
    number: i64,
    born: Option<i64>,
    divides: i64,
    /// Pools it has to be told of.
    told: BTreeSet<Arc<str>>,
}

#[derive(Clone, Debug)]
struct Pool {
    slots: i64,
    at: i64,
    shares: BTreeMap<Arc<str>, Share>,
}

#[derive(Clone, Copy, Debug)]
struct Share {
    base: i64,
    granted: i64,
    given: i64,
    demand: i64,
    cap: i64,
    credit: i64,
    /// The router knows that the ledger knows it.
    reported: bool,
}

impl Ledger {
    /// Takes a call and answers it; nothing when a later one of the same router was answered already.
    pub fn settle(
        &mut self,
        terms: &Terms,
        me: &Arc<str>,
        now: i64,
        call: &Call,
    ) -> Option<Answer> {
        let last = self.members.get(me);
        if last.is_some_and(|last| (last.run, last.number) > (call.run, call.number)) {
            return None;
        }
        let mut wake = BTreeSet::new();
        let born = self.begin(terms, now, call);
        let before = self.members.len();
        if self.note_caller(me, now, born, call) {
            // They may have waited for it.
            let waiting = self.members.iter().filter(|(_, other)| other.divides == 0);
            wake.extend(waiting.map(|(who, _)| Arc::clone(who)));
        }
        if call.leaves {
            self.members.remove(me);
            self.drop_shares(me);
        }
        if self.members.len() != before {
            wake.extend(self.members.keys().cloned());
        }
        for other in call.others.iter().flatten().filter(|other| *other != me) {
            let member = self.members.entry(Arc::clone(other));
            member.or_insert_with(Member::unheard).seen = Some(now);
        }
        let routers = i64::try_from(self.members.len()).unwrap_or(i64::MAX);
        let knows = |member: &Member| member.born == Some(born);
        let complete = call.others.is_some() && self.members.values().all(knows);
        let gives = complete || now - born >= terms.min_age_ms;
        if gives && call.asks {
            self.divide_anew(me, routers);
        }

        let mut parts = Vec::with_capacity(call.reports.len());
        for report in &call.reports {
            parts.push(self.reported(me, now, report, gives, &mut wake));
        }
        let (notices, more) = self.notices(me);
        wake.remove(me);
        let reply = Reply {
            born,
            routers,
            divides: self.members.get(me).map_or(0, |member| member.divides),
            gives,
            parts,
            notices,
            more,
        };
        Some(Answer { reply, wake })
    }

    /// How many pools it knows.
    #[must_use]
    pub fn pools(&self) -> usize {
        self.pools.len()
    }

    /// Who is not there any more is forgotten. Since when all who are there have reported to this ledger.
    fn begin(&mut self, terms: &Terms, now: i64, call: &Call) -> i64 {
        for member in self.members.values_mut() {
            member.called = member.called.map(|called| called.min(now));
            member.seen = member.seen.map(|seen| seen.min(now));
        }
        let calls = |member: &Member| member.called.is_some_and(|at| now - at <= terms.hold_ms);
        let seen = |member: &Member| member.seen.is_some_and(|at| now - at <= terms.seen_ms);
        self.members
            .retain(|_, member| calls(member) || seen(member));
        let abandoned = !self.members.values().any(calls);
        let stays =
            |born: &i64| !abandoned && call.born.is_none_or(|known| known <= *born) && *born <= now;
        let born = self.born.filter(stays).unwrap_or(now);
        self.born = Some(born);
        born
    }

    /// Says whether it divides otherwise than before.
    fn note_caller(&mut self, me: &Arc<str>, now: i64, born: i64, call: &Call) -> bool {
        // It was silent for too long: others may have been given what it had.
        let is_forgotten = !self.members.contains_key(me) && call.born == Some(born);
        let member = self
            .members
            .entry(Arc::clone(me))
            .or_insert_with(Member::unheard);
        let restarted = member.run != call.run;
        let otherwise = member.divides != call.divides;
        member.called = Some(now);
        (member.run, member.number) = (call.run, call.number);
        (member.born, member.divides) = match is_forgotten {
            true => (None, 0),
            false => (call.born, call.divides),
        };
        if restarted {
            member.told.clear();
            self.drop_shares(me);
        }
        otherwise
    }

    /// Once nobody divides by a smaller number, the caller divides by that of all routers. Of the pools that the
    /// ledger knows it has what it had.
    fn divide_anew(&mut self, me: &Arc<str>, routers: i64) {
        let others = || self.members.iter().filter(|(who, _)| *who != me);
        let waits = |member: &Member| member.divides != 0 && member.divides < routers;
        if others().any(|(_, member)| waits(member)) {
            return;
        }
        let Some(member) = self.members.get_mut(me) else {
            return;
        };
        let former = member.divides;
        if former > 0 && former <= routers {
            return;
        }
        member.divides = routers;
        for (key, pool) in &mut self.pools {
            let base = if former > 0 { pool.slots / former } else { 0 };
            // Nothing has to be said of a share that is the even one before and after.
            if pool.shares.contains_key(me) || base != pool.slots / routers {
                let share = pool.shares.entry(Arc::clone(me));
                if !share.or_insert_with(|| Share::of(base)).reported {
                    member.told.insert(Arc::clone(key));
                }
            }
        }
    }

    fn drop_shares(&mut self, of: &Arc<str>) {
        self.pools.retain(|_, pool| {
            pool.shares.remove(of);
            !pool.shares.is_empty()
        });
    }

    fn reported(
        &mut self,
        me: &Arc<str>,
        now: i64,
        report: &Report,
        gives: bool,
        wake: &mut BTreeSet<Arc<str>>,
    ) -> Part {
        if let Some(member) = self.members.get_mut(me) {
            member.told.remove(&report.key);
        }
        let routers = i64::try_from(self.members.len()).unwrap_or(i64::MAX);
        let pool = self.pools.remove(&report.key);
        let mut pool = pool.unwrap_or_else(|| Pool::new(now));
        pool.slots = report.slots;
        let members = &self.members;
        pool.shares.retain(|who, _| members.contains_key(who));
        let mut share = pool.shares.get(me).copied().unwrap_or(Share::of(0));
        share.base = report.base;
        share.granted = share.granted.max(report.granted);
        share.given = share.given.max(report.given);
        share.demand = report.demand;
        share.reported = true;
        pool.shares.insert(Arc::clone(me), share);

        let even = |who: &Arc<str>| members.get(who).map_or(0, |m| m.even(pool.slots, routers));
        let mut part = Part {
            granted: 0,
            cap: NO_CAP,
            forgotten: report.forget && share.held() == even(me),
        };
        if part.forgotten {
            pool.shares.remove(me);
            if pool.shares.is_empty() {
                return part;
            }
        }
        // Who has nothing of it and wants nothing takes no part: with more routers than slots those are nearly all.
        let mut places: Vec<Place> = members
            .iter()
            .map(|(who, member)| (who, member, pool.shares.get(who), even(who)))
            .filter(|(_, _, share, even)| share.is_some() || *even > 0)
            .map(|(who, member, share, even)| place(who, member, share, even))
            .collect();
        if part.forgotten {
            // What it gave others may have; of it nothing is asked before it is known here again.
            let mine = places.iter_mut().filter(|place| place.who == *me);
            mine.for_each(|place| place.is_reached = false);
        }
        let contended = decide(&mut places, pool.slots, now - pool.at, gives);
        if gives && !contended && !part.forgotten {
            prefetch(&mut places, pool.slots, routers, me, even(me));
        }
        pool.at = now;
        for place in places {
            let former = pool.shares.get(&place.who);
            let capped = place.cap != NO_CAP && place.cap < place.held + place.granted;
            if former.is_none() && !(capped && place.is_reached) {
                continue;
            }
            let mut share = former.copied().unwrap_or(Share::of(place.held));
            let news = place.granted > 0 || (capped && place.cap != share.cap);
            share.granted += place.granted;
            share.cap = place.cap;
            share.credit = place.credit;
            pool.shares.insert(Arc::clone(&place.who), share);
            if place.who == *me {
                part.granted = share.granted;
                part.cap = share.cap;
            } else if news && let Some(member) = self.members.get_mut(&place.who) {
                member.told.insert(Arc::clone(&report.key));
                wake.insert(place.who);
            }
        }
        self.pools.insert(Arc::clone(&report.key), pool);
        part
    }

    fn notices(&self, me: &Arc<str>) -> (Vec<Notice>, bool) {
        let told = self.members.get(me).map(|member| &member.told);
        let mut notices = Vec::new();
        for key in told.into_iter().flatten() {
            let Some(pool) = self.pools.get(key) else {
                continue;
            };
            let Some(share) = pool.shares.get(me) else {
                continue;
            };
            if notices.len() == NOTICES {
                return (notices, true);
            }
            notices.push(Notice {
                key: Arc::clone(key),
                slots: pool.slots,
                base: share.base,
                granted: share.granted,
                cap: share.cap,
            });
        }
        (notices, false)
    }
}

// === impl Member ===

impl Member {
    /// One that has made no call yet.
    fn unheard() -> Self {
        Self {
            called: None,
            seen: None,
            run: i64::MIN,
            number: i64::MIN,
            born: None,
            divides: 0,
            told: BTreeSet::new(),
        }
    }

    /// What it has of a pool that the ledger does not know.
    fn even(&self, slots: i64, routers: i64) -> i64 {
        match (self.divides, self.called) {
            (0, Some(_)) => 0,
            (0, None) => slots / routers.max(1),
            (divides, _) => slots / divides,
        }
    }
}

// === impl Pool ===

impl Pool {
    fn new(now: i64) -> Self {
        Self {
            slots: 0,
            at: now,
            shares: BTreeMap::new(),
        }
    }
}

// === impl Share ===

impl Share {
    fn of(base: i64) -> Self {
        Self {
            base,
            granted: 0,
            given: 0,
            demand: 0,
            cap: NO_CAP,
            credit: 0,
            reported: false,
        }
    }

    fn held(&self) -> i64 {
        self.base + self.granted - self.given
    }
}

fn place(who: &Arc<str>, member: &Member, share: Option<&Share>, even: i64) -> Place {
    Place {
        who: Arc::clone(who),
        is_reached: member.called.is_some(),
        held: share.map_or(even, Share::held),
        demand: share.map_or(0, |share| share.demand),
        target: 0,
        credit: share.map_or(0, |share| share.credit),
        granted: 0,
        cap: NO_CAP,
    }
}
