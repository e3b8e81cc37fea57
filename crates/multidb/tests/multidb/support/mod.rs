//! A fixture for every scenario: databases behind networks that break, one client over them, and a
//! workload of users whose every command is accounted for.

mod fault;
mod fixture;
mod storm;
mod tally;
mod workload;

pub use fault::Fault;
pub use fixture::{Fixture, ProxiedServer, quick};
pub use storm::storm;
pub use tally::Tally;
pub use workload::Workload;

use herdsman_multidb::{Event, SwitchReason};
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

use herdsman_test_support::TEST_TIMEOUT;

/// A change of the active database: from, to (by name), why.
pub type Change = (Option<String>, Option<String>, SwitchReason);

/// Every change of the active database that is already in the stream.
pub fn changes(events: &mut Receiver<Event>) -> Vec<Change> {
    std::iter::from_fn(|| events.try_recv().ok())
        .filter_map(|event| change(&event))
        .collect()
}

/// Waits for the next change of the active database.
pub async fn next_change(events: &mut Receiver<Event>) -> Change {
    timeout(TEST_TIMEOUT, async {
        loop {
            let event = events.recv().await.expect("events go on");
            if let Some(change) = change(&event) {
                return change;
            }
        }
    })
    .await
    .expect("a change of the active database")
}

/// Waits for the first event that `wanted` makes something of.
pub async fn next_event<T>(events: &mut Receiver<Event>, wanted: impl Fn(Event) -> Option<T>) -> T {
    timeout(TEST_TIMEOUT, async {
        loop {
            let event = events.recv().await.expect("events go on");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    })
    .await
    .expect("the event")
}

fn change(event: &Event) -> Option<Change> {
    let Event::ActiveDatabaseChanged { old, new, reason } = event else {
        return None;
    };
    let name = |database: &herdsman_multidb::Database| database.name.to_string();
    Some((old.as_ref().map(name), new.as_ref().map(name), *reason))
}

/// From one to another, by name.
pub fn moved(from: &str, to: &str, reason: SwitchReason) -> Change {
    (Some(from.to_owned()), Some(to.to_owned()), reason)
}
