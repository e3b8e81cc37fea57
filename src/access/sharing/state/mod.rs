//! What to tell the ledger, and what to make of its answer: pure, apart from the shares, which are
//! memory.
//!
//! One call is out at a time. What comes up meanwhile waits for the next one, so that under load
//! calls become larger and not more.

mod answer;
mod report;
mod schedule;
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
use schedule::Schedule;

/// Meters in one call: what Redis works off within a millisecond or so.
const MOST_REPORTS: usize = 128;
/// Requests decided by one call.
const MOST_NEEDS: usize = 256;
/// After a failure the shared ledger is tried again no sooner.
const RETRY_MS: i64 = 500;
/// A new ledger is asked again after this.
const NEW_LEDGER_RETRY_MS: i64 = 250;
/// What a new ledger will decide is waited for so much longer than its minimum age: until it is asked
/// again, if need be after an answer that got lost.
const NEW_LEDGER_MARGIN_MS: i64 = 1_000;
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

/// What the actor has to do now.
#[derive(Debug)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// Ask the shared ledger.
    Send(Arc<Call>),
}

struct WaitingRequest<R> {
    wants: Vec<(Arc<Cell>, i64)>,
    /// By the local clock.
    since_ms: i64,
    reply: R,
}

/// A call that is out, and what its places mean.
struct PendingCall<R> {
    call: Arc<Call>,
    cells: Vec<Arc<Cell>>,
    waiting: Vec<WaitingRequest<R>>,
}

type Answer<R> = (R, Result<Vec<Taken>, Short>);

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Authority {
    /// The ledger that all routers share.
    Shared,
    /// This router's own, because there is no other.
    Own,
    /// This router's own, because the other is away: within its part.
    Interim,
}

/// See the module.
pub struct State<R> {
    terms: Terms,
    me: Arc<str>,
    policy: WhenRedisAway,
    shared: bool,
    own: Ledger,
    schedule: Schedule,
    dirty: Vec<Arc<Cell>>,
    waiting: VecDeque<WaitingRequest<R>>,
    pending: Option<PendingCall<R>>,
    answers: Vec<Answer<R>>,
    /// Routers that share, as of the last answer.
    routers: i64,
    /// Whether the shared ledger, old enough to give, has ever answered. Before that it is not known among
    /// how many the limits are shared, nor what the others use of them.
    ever_answered: bool,
    /// The shared ledger answers, and gives nothing yet: it is no use asking it before `retry_ms`, but
    /// worth waiting for.
    ledger_is_new: bool,
    /// The last call had no answer.
    missed: bool,
    created_ms: Option<i64>,
    /// When the last call was sent to the shared ledger, by the local clock.
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
            schedule: Schedule::default(),
            dirty: Vec::new(),
            waiting: VecDeque::new(),
            pending: None,
            answers: Vec::new(),
            routers: 1,
            ever_answered: false,
            ledger_is_new: false,
            missed: false,
            created_ms: None,
            sent_ms: None,
            retry_ms: None,
            ledger_ms: 0,
            applied: VecDeque::new(),
        }
    }

    /// A request lacks these.
    pub fn ask(&mut self, now: Moment, wants: Vec<(Arc<Cell>, i64)>, reply: R) {
        self.waiting.push_back(WaitingRequest {
            wants,
            since_ms: now.local_ms,
            reply,
        });
    }

    /// This share is low or has a debt, or its limit has changed.
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
    pub fn forget_waiting(&mut self, gone: impl Fn(&R) -> bool) {
        self.waiting.retain(|request| !gone(&request.reply));
    }

    /// Whether requests wait until the shared ledger is old enough, because nobody else may decide.
    pub fn waits(&self) -> bool {
        self.ledger_is_new && !self.may_decide_alone()
    }

    /// What has been decided since the last call.
    pub fn answers(&mut self) -> Vec<Answer<R>> {
        mem::take(&mut self.answers)
    }

    /// What to do now.
    pub fn next(&mut self, now: Moment, ledger_ms: i64) -> Next {
        self.ledger_ms = ledger_ms;
        if !self.shared {
            while let Some(pending) = self.next_call(now, Authority::Own) {
                let reply = self
                    .own
                    .settle(&self.own_terms(), &self.me, ledger_ms, &pending.call);
                self.apply_reply(now, pending, &reply, Authority::Own);
            }
            return Next::Nothing;
        }
        if let Some(retry_ms) = self.retry_ms {
            self.decide_alone(now, ledger_ms);
            if now.local_ms < retry_ms {
                return Next::Nothing;
            }
        }
        if self.pending.is_some() {
            return Next::Nothing;
        }
        let quiet = self
            .sent_ms
            .is_none_or(|sent_ms| now.local_ms - sent_ms >= self.presence_ms());
        // A new ledger decides nothing, and a request that asks gives up the free part of its shares: so
        // none does before it is old enough.
        let pending = match self.ledger_is_new {
            true => Some(self.build_call(now, Authority::Shared, Vec::new())),
            false => self.next_call(now, Authority::Shared),
        };
        // A router that has nothing to report sends an empty report: the others have to know how many
        // share, it has to know when the ledger has forgotten it, and one that is away is asked whether
        // it is back.
        let pending = pending.or_else(|| {
            (quiet || self.retry_ms.is_some())
                .then(|| self.build_call(now, Authority::Shared, Vec::new()))
        });
        match pending {
            Some(pending) => {
                let call = Arc::clone(&pending.call);
                self.pending = Some(pending);
                self.sent_ms = Some(now.local_ms);
                Next::Send(call)
            }
            None => Next::Nothing,
        }
    }

    /// Routers that share, this one included, as far as they are known; none while the shared ledger
    /// is away or gives nothing.
    pub fn sharers(&self) -> i64 {
        match (
            self.shared,
            self.retry_ms.is_some() || self.created_ms.is_none(),
        ) {
            (true, true) => 0,
            _ => self.routers,
        }
    }

    /// A router reports at least this often.
    fn presence_ms(&self) -> i64 {
        self.terms.hold_ms / 10
    }

    /// The shared ledger has answered.
    pub fn replied(&mut self, now: Moment, reply: &Reply) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        let forgotten = self.created_ms.replace(reply.created_ms) != Some(reply.created_ms);
        let was_away = self.retry_ms.take().is_some();
        (self.ledger_is_new, self.missed) = (reply.is_new, false);
        if forgotten || (was_away && !reply.is_new) {
            // It knows nothing of us, or nothing new: all of it, now.
            self.schedule.all_again();
        }
        if reply.is_new {
            // It gives nothing yet: until then the interim authority decides, by what was known before.
            let pause_ms = if self.schedule.is_behind() {
                0
            } else {
                NEW_LEDGER_RETRY_MS
            };
            self.retry_ms = Some(now.local_ms + pause_ms);
            self.routers = self.routers.max(reply.routers);
        } else {
            self.routers = reply.routers.max(1);
            self.ever_answered = true;
        }
        if was_away && !reply.is_new {
            self.own = Ledger::default();
            for tracked in self.schedule.each() {
                tracked.frozen = None;
            }
        }
        self.apply_reply(now, pending, reply, Authority::Shared);
    }

    /// The shared ledger has not answered. True for the first failure of an outage.
    pub fn failed(&mut self, now: Moment) -> bool {
        let first = self.retry_ms.replace(now.local_ms + RETRY_MS).is_none();
        // One failure may be an accident: a ledger that has just answered is still waited for.
        self.ledger_is_new &= !mem::replace(&mut self.missed, true);
        if let Some(pending) = self.pending.take() {
            for request in pending.waiting.into_iter().rev() {
                self.waiting.push_front(request);
            }
            for cell in pending.cells {
                self.schedule.again(cell.key());
            }
        }
        first
    }

    /// Decides here while the shared ledger cannot. A router that was started meanwhile has no part: were it to
    /// assume that it is the only one, each of a fleet that is restarted would give out the whole limit.
    /// But what a new ledger will decide soon is left to it, until it has reached its minimum age.
    fn decide_alone(&mut self, now: Moment, ledger_ms: i64) {
        if !self.may_decide_alone() {
            let wait_limit_ms = match self.ledger_is_new {
                true => self.terms.min_age_ms + NEW_LEDGER_MARGIN_MS,
                false => 0,
            };
            // Whoever came first waits at the front.
            let over =
                |request: &mut WaitingRequest<R>| now.local_ms - request.since_ms >= wait_limit_ms;
            while let Some(request) = self.waiting.pop_front_if(over) {
                self.answers.push((request.reply, Err(Short::Unknown)));
            }
            return;
        }
        while !self.waiting.is_empty()
            && let Some(pending) = self.next_call(now, Authority::Interim)
        {
            let reply = self
                .own
                .settle(&self.own_terms(), &self.me, ledger_ms, &pending.call);
            self.apply_reply(now, pending, &reply, Authority::Interim);
        }
    }

    fn may_decide_alone(&self) -> bool {
        self.policy == WhenRedisAway::LocalShare && self.ever_answered
    }

    /// Nobody else writes into this router's own ledger, so nobody can have been forgotten.
    fn own_terms(&self) -> Terms {
        Terms {
            min_age_ms: 0,
            ..self.terms
        }
    }
}
