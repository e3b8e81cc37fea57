//! What follows from the registrations. Pure.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::view::RouterFacts;
use super::{Identity, RENEWAL, TERM};
use crate::domain::ServerFacts;
use crate::store::{InstanceKey, InstanceKind, InstanceRow};

/// After nobody could renew anything, everybody has so long to do it.
pub(super) const GRACE: Duration = TERM.saturating_add(Duration::from_secs(2));

/// A reading, or the time between two, that is longer than this says that this router stood still, or its database:
/// who renews through it could not.
const STANDSTILL: Duration = RENEWAL;

/// A server whose agent is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// How it is called.
    pub name: String,
    /// Its root.
    pub url: String,
    /// How its agent says it is to be used.
    pub facts: ServerFacts,
}

/// What the actor knows.
#[derive(Debug)]
pub(super) struct Registrations {
    rows: Arc<[InstanceRow]>,
    /// When they were read.
    read_at: Instant,
    /// The database or this router was in trouble then: until a grace has passed, whoever was there counts as there.
    trouble: Instant,
    /// Who was gone before that: it says nothing of them.
    gone: Vec<InstanceKey>,
    /// The other router that should not be there, as last said.
    conflict: Option<String>,
}

impl Registrations {
    /// Goes on with what an earlier incarnation has read. At the start nobody knows who could renew before: it counts
    /// as trouble.
    pub(super) fn new(rows: Arc<[InstanceRow]>, now: Instant) -> Self {
        Self {
            rows,
            read_at: now,
            trouble: now,
            gone: Vec::new(),
            conflict: None,
        }
    }

    /// Something could not be read or written.
    pub(super) fn failed(&mut self, now: Instant) {
        if !self.is_in_grace(now) {
            let gone = self.rows.iter().filter(|row| !row.is_alive());
            self.gone = gone.map(|row| row.key.clone()).collect();
        }
        self.trouble = now;
    }

    /// These were read, by a reading that began then.
    pub(super) fn read(&mut self, rows: Arc<[InstanceRow]>, began: Instant, now: Instant) {
        let stood_still = |since: Instant| now.saturating_duration_since(since) > STANDSTILL;
        if stood_still(self.read_at) || stood_still(began) {
            self.failed(now);
        }
        self.rows = rows;
        self.read_at = now;
    }

    /// Those whose time is over may not have been able to renew it.
    pub(super) fn is_in_grace(&self, now: Instant) -> bool {
        now < self.trouble + GRACE
    }

    /// The servers of the agents that count as there, in the order in which they have registered: of two at one
    /// address the first counts.
    pub(super) fn servers(&self, now: Instant) -> Vec<Registered> {
        let in_grace = self.is_in_grace(now);
        let counts = |row: &&InstanceRow| {
            let could_renew = !in_grace || row.stopped || self.gone.contains(&row.key);
            row.key.kind == InstanceKind::Agent && (row.is_alive() || !could_renew)
        };
        let mut rows: Vec<&InstanceRow> = self.rows.iter().filter(counts).collect();
        rows.sort_by_key(|row| (!row.is_alive(), row.registered_at, &row.key.name));
        let registered = |row: &InstanceRow| Registered {
            name: row.key.name.clone(),
            url: row.url.clone(),
            facts: of_use(&row.facts),
        };
        rows.into_iter().map(registered).collect()
    }

    /// Another router on this database that accounts apart from this one; said once.
    pub(super) fn new_conflict(&mut self, own: &Identity) -> Option<String> {
        let conflict = stranger(&self.rows, own).map(described);
        if self.conflict == conflict {
            return None;
        }
        self.conflict.clone_from(&conflict);
        conflict
    }
}

/// What is not understood is not said.
fn of_use(facts: &str) -> ServerFacts {
    let facts: ServerFacts = serde_json::from_str(facts).unwrap_or_default();
    facts.of_use()
}

/// A router that is there, and may not be together with this one: routers share a database only if all of them have
/// `[redis]`, since limits and budgets would hold for each of them apart.
pub(super) fn stranger<'a>(rows: &'a [InstanceRow], own: &Identity) -> Option<&'a InstanceRow> {
    let others = rows.iter().filter(|row| {
        row.key.kind == InstanceKind::Router && row.is_alive() && row.key.name != own.folder
    });
    let mut apart = others.filter(|row| !(own.facts.shares && facts(row).shares));
    apart.next()
}

pub(super) fn facts(row: &InstanceRow) -> RouterFacts {
    serde_json::from_str(&row.facts).unwrap_or_default()
}

/// A router, for people.
pub(super) fn described(row: &InstanceRow) -> String {
    let listen = facts(row).listen;
    format!("the router at {listen} (run {})", row.run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: InstanceKind, name: &str, left_ms: i64) -> InstanceRow {
        InstanceRow {
            key: InstanceKey {
                kind,
                name: name.to_owned(),
                host: String::new(),
                port: 0,
            },
            url: format!("http://{name}:11434"),
            run: "run".to_owned(),
            incarnation: 1,
            stopped: false,
            age_ms: 0,
            left_ms,
            registered_at: 0,
            seen_at: 0,
            facts: "{}".to_owned(),
        }
    }

    fn own(shares: bool) -> Identity {
        Identity {
            folder: "own".to_owned(),
            run: "run-own".into(),
            facts: RouterFacts {
                shares,
                ..RouterFacts::default()
            },
        }
    }

    fn names(state: &Registrations, now: Instant) -> Vec<String> {
        let servers = state.servers(now).into_iter();
        servers.map(|server| server.name).collect()
    }

    #[test]
    fn who_could_not_renew_counts_for_one_more_term() {
        let start = Instant::now();
        let stopped = InstanceRow {
            stopped: true,
            ..row(InstanceKind::Agent, "stopped", 5)
        };
        let rows = [
            row(InstanceKind::Agent, "alive", 5),
            row(InstanceKind::Agent, "over", 0),
            stopped,
            row(InstanceKind::Worker, "worker", 5),
        ];
        let mut state = Registrations::new(rows.into(), start);
        let late = start + GRACE;
        assert_eq!(names(&state, start), ["alive", "over"]);
        assert_eq!(names(&state, late), ["alive"]);
        state.failed(late);
        assert_eq!(
            names(&state, late),
            ["alive"],
            "who was gone before the database was stays gone"
        );
        state.read([row(InstanceKind::Agent, "alive", -1)].into(), late, late);
        assert_eq!(names(&state, late), ["alive"], "it could not renew");
        assert!(names(&state, late + GRACE).is_empty());
    }

    #[test]
    fn a_router_that_stood_still_counts_nobody_as_gone_who_could_not_renew_meanwhile() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let rows = |left_ms| [row(InstanceKind::Agent, "gpu", left_ms)].into();
        let settled = |left_ms| {
            let mut state = Registrations::new(rows(5), start);
            for second in 1..=20 {
                state.read(rows(left_ms), at(second * 1_000), at(second * 1_000 + 10));
            }
            state
        };
        let late = 34_000;
        // Stopped between two readings, and within one that was answered before.
        let mut between = settled(5);
        between.read(rows(-4_000), at(late), at(late + 10));
        let mut within = settled(5);
        within.read(rows(5), at(21_000), at(late));
        within.read(rows(-4_000), at(late + 10), at(late + 20));
        for mut state in [between, within] {
            assert_eq!(names(&state, at(late + 20)), ["gpu"]);
            let grace = 12_000;
            for second in 1..=12 {
                let now = late + second * 1_000;
                state.read(rows(-4_000), at(now), at(now + 10));
            }
            assert!(names(&state, at(late + grace + 20)).is_empty());
        }
        // Readings as they should be: the agent's silence is its own.
        assert!(names(&settled(-1), at(20_020)).is_empty());
    }

    #[test]
    fn who_has_registered_first_comes_first_whatever_it_is_called() {
        let now = Instant::now();
        let mut early = row(InstanceKind::Agent, "z", 5);
        let mut late = row(InstanceKind::Agent, "a", 5);
        (early.registered_at, late.registered_at) = (1, 2);
        let state = Registrations::new([late.clone(), early.clone()].into(), now);
        assert_eq!(names(&state, now), ["z", "a"]);
        early.left_ms = -1;
        let state = Registrations::new([late, early].into(), now);
        assert_eq!(
            names(&state, now),
            ["a", "z"],
            "who is there, before who was"
        );
    }

    #[test]
    fn facts_that_are_not_understood_are_left_out_and_the_server_stays() {
        let mut odd = row(InstanceKind::Agent, "odd", 5);
        odd.facts = "[1".to_owned();
        let state = Registrations::new([odd].into(), Instant::now());
        let servers = state.servers(Instant::now());
        assert_eq!(servers[0].facts, ServerFacts::default());
    }

    #[test]
    fn routers_share_a_database_only_if_all_of_them_account_together() {
        let other = |shares: bool, left_ms| InstanceRow {
            facts: format!(r#"{{"shares":{shares}}}"#),
            ..row(InstanceKind::Router, "other", left_ms)
        };
        for (mine, theirs, left_ms, apart) in [
            (true, true, 5, false),
            (true, false, 5, true),
            (false, true, 5, true),
            (false, false, 5, true),
            (false, false, 0, false),
        ] {
            let rows = [other(theirs, left_ms)];
            let found = stranger(&rows, &own(mine)).is_some();
            assert_eq!(found, apart, "{mine} {theirs} {left_ms}");
        }
        let before = row(InstanceKind::Router, "own", 5);
        assert!(stranger(&[before], &own(false)).is_none(), "an earlier run");
        let mut state = Registrations::new([other(false, 5)].into(), Instant::now());
        assert!(state.new_conflict(&own(true)).is_some());
        assert!(state.new_conflict(&own(true)).is_none(), "said once");
    }
}
