//! An operator with a client program, who changes rows that routers write to, in an order of his own.

use std::time::Duration;

use super::{Flavor, Server};

/// Rows of a table: its name, and a condition.
pub type Rows<'a> = (&'a str, &'a str);

/// What he added is one nano-USD in each row of each transaction, until he takes it back.
pub struct Operator<'a> {
    server: &'a Server,
    database: &'a str,
}

impl<'a> Operator<'a> {
    /// He works so much besides that the server, when it has to choose who made room for whom, rather
    /// takes back what a router did.
    pub fn of(server: &'a Server, database: &'a str) -> Self {
        let double = "INSERT INTO ballast SELECT n FROM ballast;".repeat(12);
        server.sql(
            database,
            &format!("CREATE TABLE ballast (n BIGINT); INSERT INTO ballast VALUES (1); {double}"),
        );
        Self { server, database }
    }

    /// Adds to these rows, one after the other, in one transaction, and thinks for a while when he has
    /// the first. What the server takes back he does again.
    pub fn adds(&self, rows: &[Rows<'_>], thinks: Duration) {
        self.writes(1, rows, thinks);
    }

    /// Takes back what he added to these with so many transactions.
    pub fn takes_back(&self, times: i64, rows: &[Rows<'_>]) {
        self.writes(-times, rows, Duration::ZERO);
    }

    fn writes(&self, nano_usd: i64, rows: &[Rows<'_>], thinks: Duration) {
        let seconds = thinks.as_secs_f64();
        let think = match self.server.flavor {
            // Who looks for a deadlock first makes room. He does not.
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
        updates.insert(1, think);
        let text = format!(
            "BEGIN; UPDATE ballast SET n = n + 1; {} COMMIT",
            updates.concat()
        );
        while let Err(said) = self.server.try_sql(self.database, &text) {
            assert!(said.to_lowercase().contains("deadlock"), "{said}");
        }
    }
}
