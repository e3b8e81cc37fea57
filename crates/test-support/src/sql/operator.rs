//! An operator with a client program, who changes rows that routers write to, in another order.

use std::time::Duration;

use super::{Flavor, Server};

/// Rows of a table: its name, and a condition.
pub type Rows<'a> = (&'a str, &'a str);

/// It adds one nano-USD to each row in each transaction, until it is taken back.
pub struct Operator<'a> {
    server: &'a Server,
    database: &'a str,
}

impl<'a> Operator<'a> {
    /// Each of its transactions writes so many other rows that the server, when it has to choose the
    /// victim of a deadlock, rolls back the router's.
    pub fn of(server: &'a Server, database: &'a str) -> Self {
        let double = "INSERT INTO ballast SELECT n FROM ballast;".repeat(12);
        server.sql(
            database,
            &format!("CREATE TABLE ballast (n BIGINT); INSERT INTO ballast VALUES (1); {double}"),
        );
        Self { server, database }
    }

    /// Adds to these rows, one after the other, in one transaction, with a pause after the first. What
    /// the server rolls back is done again.
    pub fn adds(&self, rows: &[Rows<'_>], pause: Duration) {
        self.writes(1, rows, pause);
    }

    /// Takes back what so many transactions added to these rows.
    pub fn takes_back(&self, times: i64, rows: &[Rows<'_>]) {
        self.writes(-times, rows, Duration::ZERO);
    }

    fn writes(&self, nano_usd: i64, rows: &[Rows<'_>], pause: Duration) {
        let seconds = pause.as_secs_f64();
        let pausing = match self.server.flavor {
            // The session that detects a deadlock first is rolled back. The operator waits longer.
            Flavor::Postgres => {
                format!("SET LOCAL deadlock_timeout = '20s'; SELECT pg_sleep({seconds});")
            }
            Flavor::MariaDb => format!("DO SLEEP({seconds});"),
        };
        let updates = rows.iter().map(|(table, which)| {
            format!(
                "UPDATE {table} SET spend_nano_usd = spend_nano_usd + {nano_usd} WHERE {which};"
            )
        });
        let mut updates: Vec<_> = updates.collect();
        updates.insert(1, pausing);
        let text = format!(
            "BEGIN; UPDATE ballast SET n = n + 1; {} COMMIT",
            updates.concat()
        );
        while let Err(said) = self.server.try_sql(self.database, &text) {
            assert!(said.to_lowercase().contains("deadlock"), "{said}");
        }
    }
}
