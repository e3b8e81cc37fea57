//! What to tell the ledger, and what to make of its answer: pure, apart from the shares, which are
//! memory.
//!
//! One call is out at a time. What comes up meanwhile waits for the next one, so that under load
//! calls become larger and not more.

mod agenda;
mod answer;
mod report;
#[cfg(test)]
mod tests;
mod tracked;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use crate::access::clock::Moment;
use crate::access::meter::{Cell, Taken};
use crate::access::rule::{Call, Ledger, Reply, Terms};
use crate::config::WhenRedisAway;
use agenda::Agenda;

/// Meters in one call: what Redis works off within a millisecond or so.
const MOST_LINES: usize = 128;
/// Requests decided by one call.
const MOST_NEEDS: usize = 256;
/// After a failure the shared ledger is tried again no sooner.
const RETRY_MS: i64 = 500;
/// A young ledger is asked again after this.
const YOUNG_MS: i64 = 250;
/// What a young ledger will decide is waited for so much longer than it takes to grow up: until it is
/// asked again, if need be after an answer that got lost.
const GROWN_MS: i64 = 1_000;
/// For how long it is remembered up to when the database had everything.
const REMEMBERED_MS: i64 = 120_000;
/// A share that lies idle while others may need it is looked at again after this.
const TIGHT_MS: i64 = 250;
/// For how long "there is not so much" is believed without asking again.
const SHORT_MS: i64 = 100;

/// Why a request does not get what it wants.
#[derive(Clone, Debug)]
pub enum Short {
    /// There is not so much left of this.
    Of(Arc<Cell>),
    /// It could not be found out.
    Unknown,
}

/// What the shell has to do now.
#[derive(Debug)]
pub enum Next {
    /// Nothing.
    Rest,
    /// Ask the shared ledger.
    Send(Arc<Call>),
}

struct Ask<R> {
    wants: Vec<(Arc<Cell>, i64)>,
    /// By the local clock.
    since_ms: i64,
    reply: R,
}

/// A call and what its places mean.
struct Flight<R> {
    call: Arc<Call>,
    cells: Vec<Arc<Cell>>,
    asks: Vec<Ask<R>>,
}

type Answer<R> = (R, Result<Vec<Taken>, Short>);

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judge {
    /// The ledger that all routers share.
    Shared,
    /// This router's own, because there is no other.
    Own,
    /// This router's own, because the other is away: within its part.
    Deputy,
}

/// See the module.
pub struct State<R> {
    terms: Terms,
    me: Arc<str>,
    policy: WhenRedisAway,
    shared: bool,
    own: Ledger,
    agenda: Agenda,
    dirty: Vec<Arc<Cell>>,
    asks: VecDeque<Ask<R>>,
    flight: Option<Flight<R>>,
    answers: Vec<Answer<R>>,
    /// Routers that share, when last heard.
    routers: i64,
    /// Whether the shared ledger, old enough to give, has ever been heard. Before that nobody knows among
    /// how many the limits are shared, nor what the others use of them.
    heard: bool,
    /// The shared ledger answers, and gives nothing yet: it is no use asking it before `retry_ms`, but
    /// worth waiting for.
    young: bool,
    /// The last call had no answer.
    missed: bool,
    born_ms: Option<i64>,
    /// When the shared ledger was last told anything, by the local clock.
    sent_ms: Option<i64>,
    /// The shared ledger is away or gives nothing, and is asked again at this moment of the local
    /// clock.
    retry_ms: Option<i64>,
    /// The ledger's clock, as far as it is known.
    ledger_ms: i64,
    /// At this moment of the ledger's clock, everything before that second was in the database.
    applied: VecDeque<(i64, i64)>,
}

impl<R> State<R> {
    pub fn new(terms: Terms, me: Arc<str>, policy: WhenRedisAway, shared: bool) -> Self {
        Self {
            terms,
            me,
            policy,
            shared,
            own: Ledger::default(),
            agenda: Agenda::default(),
            dirty: Vec::new(),
            asks: VecDeque::new(),
            flight: None,
            answers: Vec::new(),
            routers: 1,
            heard: false,
            young: false,
            missed: false,
            born_ms: None,
            sent_ms: None,
            retry_ms: None,
            ledger_ms: 0,
            applied: VecDeque::new(),
        }
    }

    /// A request lacks these.
    pub fn ask(&mut self, now: Moment, wants: Vec<(Arc<Cell>, i64)>, reply: R) {
        self.asks.push_back(Ask {
            wants,
            since_ms: now.local_ms,
            reply,
        });
    }

    /// This share is low or owes, or its limit has changed.
    pub fn touch(&mut self, cell: Arc<Cell>) {
        self.dirty.push(cell);
    }

    /// All that this router counted before `until` (Unix seconds) is in the database, as was seen
    /// at `ledger_ms`.
    pub fn applied(&mut self, ledger_ms: i64, until: i64) {
        if self.applied.back().is_some_and(|(at, _)| *at > ledger_ms) {
            // The clock was set back: what was noted by the former one means nothing.
            self.applied.clear();
        }
        self.applied.push_back((ledger_ms, until));
        while let Some((at, _)) = self.applied.front()
            && ledger_ms - at > REMEMBERED_MS
        {
            self.applied.pop_front();
        }
    }

    /// Those do not wait any more.
    pub fn forget_asks(&mut self, gone: impl Fn(&R) -> bool) {
        self.asks.retain(|ask| !gone(&ask.reply));
    }

    /// Whether requests wait until the shared ledger is grown, because nobody else may decide.
    pub fn waits(&self) -> bool {
        self.young && !self.may_deputise()
    }

    /// What has been decided since the last call.
    pub fn answers(&mut self) -> Vec<Answer<R>> {
        mem::take(&mut self.answers)
    }

    /// What to do now.
    pub fn next(&mut self, now: Moment, ledger_ms: i64) -> Next {
        self.ledger_ms = ledger_ms;
        if !self.shared {
            while let Some(flight) = self.depart(now, Judge::Own) {
                let reply = self
                    .own
                    .settle(&self.own_terms(), &self.me, ledger_ms, &flight.call);
                self.land(now, flight, &reply, Judge::Own);
            }
            return Next::Rest;
        }
        if let Some(retry_ms) = self.retry_ms {
            self.deputise(now, ledger_ms);
            if now.local_ms < retry_ms {
                return Next::Rest;
            }
        }
        if self.flight.is_some() {
            return Next::Rest;
        }
        let quiet = self
            .sent_ms
            .is_none_or(|sent_ms| now.local_ms - sent_ms >= self.presence_ms());
        // A young ledger decides nothing, and whoever asks puts all on the table: so nobody does before
        // it is grown.
        let flight = match self.young {
            true => Some(self.flight(now, Judge::Shared, Vec::new())),
            false => self.depart(now, Judge::Shared),
        };
        // A router that has nothing to say says that it is there: the others have to know how many
        // share, it has to know when the ledger has forgotten it, and one that is away is asked whether
        // it is back.
        let flight = flight.or_else(|| {
            (quiet || self.retry_ms.is_some()).then(|| self.flight(now, Judge::Shared, Vec::new()))
        });
        match flight {
            Some(flight) => {
                let call = Arc::clone(&flight.call);
                self.flight = Some(flight);
                self.sent_ms = Some(now.local_ms);
                Next::Send(call)
            }
            None => Next::Rest,
        }
    }

    /// Routers that share, this one included, as far as they are known; none while the shared ledger
    /// is away or gives nothing.
    pub fn sharers(&self) -> i64 {
        match (
            self.shared,
            self.retry_ms.is_some() || self.born_ms.is_none(),
        ) {
            (true, true) => 0,
            _ => self.routers,
        }
    }

    /// A router is silent no longer than this.
    fn presence_ms(&self) -> i64 {
        self.terms.hold_ms / 10
    }

    /// The shared ledger has answered.
    pub fn replied(&mut self, now: Moment, reply: &Reply) {
        let Some(flight) = self.flight.take() else {
            return;
        };
        let forgetful = self.born_ms.replace(reply.born_ms) != Some(reply.born_ms);
        let was_away = self.retry_ms.take().is_some();
        (self.young, self.missed) = (reply.young, false);
        if forgetful || (was_away && !reply.young) {
            // It knows nothing of us, or nothing new: all of it, now.
            self.agenda.all_again();
        }
        if reply.young {
            // It gives nothing yet: until then the deputy decides, by what was known before.
            let pause_ms = if self.agenda.is_behind() { 0 } else { YOUNG_MS };
            self.retry_ms = Some(now.local_ms + pause_ms);
            self.routers = self.routers.max(reply.routers);
        } else {
            self.routers = reply.routers.max(1);
            self.heard = true;
        }
        if was_away && !reply.young {
            self.own = Ledger::default();
            for tracked in self.agenda.each() {
                tracked.frozen = None;
            }
        }
        self.land(now, flight, reply, Judge::Shared);
    }

    /// The shared ledger has not answered. True when that is news.
    pub fn failed(&mut self, now: Moment) -> bool {
        let news = self.retry_ms.replace(now.local_ms + RETRY_MS).is_none();
        // Once is no news of who has just said that there is something to wait for.
        self.young &= !mem::replace(&mut self.missed, true);
        if let Some(flight) = self.flight.take() {
            for ask in flight.asks.into_iter().rev() {
                self.asks.push_front(ask);
            }
            for cell in flight.cells {
                self.agenda.again(cell.key());
            }
        }
        news
    }

    /// Decides here what cannot be asked there. A router that was started meanwhile has no part: were it to
    /// take itself for the only one, each of a fleet that is restarted would give out the whole limit.
    /// But what a young ledger will decide soon is left to it, for as long as it takes to grow up.
    fn deputise(&mut self, now: Moment, ledger_ms: i64) {
        if !self.may_deputise() {
            let patience_ms = match self.young {
                true => self.terms.young_ms + GROWN_MS,
                false => 0,
            };
            // Whoever came first waits at the front.
            let over = |ask: &mut Ask<R>| now.local_ms - ask.since_ms >= patience_ms;
            while let Some(ask) = self.asks.pop_front_if(over) {
                self.answers.push((ask.reply, Err(Short::Unknown)));
            }
            return;
        }
        while !self.asks.is_empty()
            && let Some(flight) = self.depart(now, Judge::Deputy)
        {
            let reply = self
                .own
                .settle(&self.own_terms(), &self.me, ledger_ms, &flight.call);
            self.land(now, flight, &reply, Judge::Deputy);
        }
    }

    fn may_deputise(&self) -> bool {
        self.policy == WhenRedisAway::LocalShare && self.heard
    }

    /// Nobody else writes into this router's own ledger, so nobody can have been forgotten.
    fn own_terms(&self) -> Terms {
        Terms {
            young_ms: 0,
            ..self.terms
        }
    }
}
