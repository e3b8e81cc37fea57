//! Redis: one call after the other, each of which takes as long as the script does.

use std::sync::Arc;

use herdsman::cluster::slots::{Answer, Call, Ledger, Reply, TERMS};

use super::events::Moment;

/// How long the script runs, in microseconds, as the simulation supposes.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Any call.
    pub call: f64,
    /// For each router there is.
    pub router: f64,
    /// For each pool that is reported.
    pub report: f64,
    /// For each router, of each pool that is reported.
    pub share: f64,
}

/// As `herd --redis` found it with three and with fifty routers: within a tenth, on two cores of a virtual machine.
pub const COST: Cost = Cost {
    call: 40.0,
    router: 1.2,
    report: 18.0,
    share: 0.6,
};

/// What it has done since the measurement began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Calls.
    pub calls: u64,
    /// Pools that were reported.
    pub reports: u64,
    /// Messages over pub/sub.
    pub wakes: u64,
    /// How long it was at work, in microseconds.
    pub busy: f64,
    /// The most pools that were in the ledger.
    pub pools: usize,
}

/// One Redis.
#[derive(Debug)]
pub struct Redis {
    cost: Cost,
    ledger: Ledger,
    /// When it is through with what has come.
    free: Moment,
    /// What it has done.
    pub done: Done,
    /// So many calls more are recorded.
    pub to_record: usize,
    /// Those that were.
    pub recorded: Vec<Recorded>,
}

/// One call, as it was answered.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// By whom.
    pub me: Arc<str>,
    /// When, by the clock of Redis.
    pub now: i64,
    /// The call.
    pub call: Arc<Call>,
    /// The answer.
    pub reply: Option<Reply>,
}

/// The milliseconds of its clock.
pub fn clock(moment: Moment) -> i64 {
    1_000_000 + i64::try_from(moment / 1_000).unwrap_or(i64::MAX)
}

impl Redis {
    /// Empty.
    pub fn new(cost: Cost) -> Self {
        Self {
            cost,
            ledger: Ledger::default(),
            free: 0,
            done: Done::default(),
            to_record: 0,
            recorded: Vec::new(),
        }
    }

    /// It forgets everything.
    pub fn wipe(&mut self) {
        self.ledger = Ledger::default();
    }

    /// A call comes. When it is answered, and what.
    pub fn take(&mut self, now: Moment, me: &Arc<str>, call: &Call) -> (Moment, Option<Answer>) {
        let begins = self.free.max(now);
        let answer = self.ledger.settle(&TERMS, me, clock(begins), call);
        if self.recorded.len() < self.to_record {
            self.recorded.push(Recorded {
                me: Arc::clone(me),
                now: clock(begins),
                call: Arc::new(call.clone()),
                reply: answer.as_ref().map(|answer| answer.reply.clone()),
            });
        }
        let routers = answer.as_ref().map_or(0, |answer| answer.reply.routers);
        let took = self.cost.of(routers as f64, call.reports.len() as f64);
        self.free = begins + took.ceil() as Moment;
        let done = &mut self.done;
        done.calls += 1;
        done.reports += call.reports.len() as u64;
        done.busy += took;
        if let Some(answer) = &answer {
            done.wakes += answer.wake.len() as u64;
        }
        done.pools = done.pools.max(self.ledger.pools());
        (self.free, answer)
    }
}

impl Cost {
    /// Of one call.
    pub fn of(&self, routers: f64, reports: f64) -> f64 {
        let each = self.report + self.share * routers;
        self.call + self.router * routers + each * reports
    }
}
