//! What can happen.

use herdsman::cluster::slots::{Call, Reply};

use super::events::Moment;

/// One thing that happens; routers by their numbers.
#[derive(Debug)]
pub enum Event {
    Arrive,
    Finish {
        pool: usize,
        number: u64,
    },
    Look(usize),
    Call(usize),
    AtRedis {
        router: usize,
        sent: Moment,
        call: Box<Call>,
        lost: bool,
    },
    Replied {
        router: usize,
        number: i64,
        reply: Box<Reply>,
    },
    Failed {
        router: usize,
        number: i64,
    },
    Wake(usize),
    Measure,
    Kill,
    Join,
    Wipe,
    Unregister(usize),
}
