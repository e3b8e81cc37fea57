//! What follows from the registrations. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::view::RouterFacts;
use super::{Identity, TERM};
use crate::domain::ServerFacts;
use crate::store::{InstanceKind, InstanceRow};

/// After nobody could renew anything, everybody has so long to do it.
pub(super) const GRACE: Duration = TERM.saturating_add(Duration::from_secs(2));

/// A server whose agent is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// How it is called.
    pub name: String,
    /// Its root.
    pub url: String,
    /// What its agent says of it.
    pub facts: ServerFacts,
}

/// What the actor knows.
#[derive(Debug)]
pub(super) struct Registrations {
    pub(super) rows: Vec<InstanceRow>,
    /// The database was in trouble then: until a grace has passed, whoever was there counts as there.
    trouble: Instant,
    /// The other router that should not be there, as last said.
    conflict: Option<String>,
}

impl Registrations {
    /// At the start nobody knows who could renew before: it counts as trouble.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            rows: Vec::new(),
            trouble: now,
            conflict: None,
        }
    }

    /// Something could not be read or written.
    pub(super) fn failed(&mut self, now: Instant) {
        self.trouble = now;
    }

    /// These were read.
    pub(super) fn read(&mut self, rows: Vec<InstanceRow>) {
        self.rows = rows;
    }

    /// The servers of the agents that count as there.
    pub(super) fn servers(&self, now: Instant) -> Vec<Registered> {
        let in_grace = now < self.trouble + GRACE;
        let counts = |row: &&InstanceRow| {
            row.key.kind == InstanceKind::Agent && (row.is_alive() || (in_grace && !row.stopped))
        };
        let registered = |row: &InstanceRow| Registered {
            name: row.key.name.clone(),
            url: row.url.clone(),
            // What is not understood is not said.
            facts: serde_json::from_str(&row.facts).unwrap_or_default(),
        };
        self.rows.iter().filter(counts).map(registered).collect()
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
    use crate::store::InstanceKey;

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
        let mut state = Registrations::new(start);
        let stopped = InstanceRow {
            stopped: true,
            ..row(InstanceKind::Agent, "stopped", 5)
        };
        state.read(vec![
            row(InstanceKind::Agent, "alive", 5),
            row(InstanceKind::Agent, "over", 0),
            stopped,
            row(InstanceKind::Worker, "worker", 5),
        ]);
        let late = start + GRACE;
        assert_eq!(names(&state, start), ["alive", "over"]);
        assert_eq!(names(&state, late), ["alive"]);
        state.failed(late);
        assert_eq!(
            names(&state, late),
            ["alive", "over"],
            "the database is away"
        );
        assert_eq!(names(&state, late + GRACE), ["alive"]);
    }

    #[test]
    fn facts_that_are_not_understood_are_left_out_and_the_server_stays() {
        let mut state = Registrations::new(Instant::now());
        let mut odd = row(InstanceKind::Agent, "odd", 5);
        odd.facts = "[1".to_owned();
        state.read(vec![odd]);
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
        let mut state = Registrations::new(Instant::now());
        state.read(vec![other(false, 5)]);
        assert!(state.new_conflict(&own(true)).is_some());
        assert!(state.new_conflict(&own(true)).is_none(), "said once");
    }
}
