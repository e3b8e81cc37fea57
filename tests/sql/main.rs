//! The program on real database servers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::{Command, Output, Stdio};

use herdsman_test_support::sql::{Flavor, PASSWORD, Server};
use serde_json::Value;

const BOTH: [Flavor; 2] = [Flavor::Postgres, Flavor::MariaDb];

/// With nothing of this machine's settings.
fn herdsman(arguments: &[&str], url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herdsman"));
    command
        .args(arguments)
        .current_dir("/")
        .env_clear()
        .env("HERDSMAN__STORE__URL", url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn applied(output: &Output) -> usize {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    told["applied"].as_array().unwrap().len()
}

#[test]
fn of_many_programs_that_migrate_at_once_one_does() {
    for flavor in BOTH {
        let server = Server::start(flavor);
        server.create("fleet");
        let url = server.url("fleet");
        let programs: Vec<_> = (0..6)
            .map(|_| herdsman(&["migrate", "--json"], &url).spawn().unwrap())
            .collect();
        let applied: Vec<_> = programs
            .into_iter()
            .map(|program| applied(&program.wait_with_output().unwrap()))
            .collect();
        let busy = applied.iter().filter(|count| **count > 0).count();
        assert_eq!(busy, 1, "{applied:?}");
        let count = "SELECT count(*) FROM __diesel_schema_migrations";
        let recorded: usize = server.sql("fleet", count).parse().unwrap();
        assert_eq!(applied.iter().sum::<usize>(), recorded);
    }
}

#[test]
fn a_database_that_is_away_is_named_without_its_password() {
    for flavor in BOTH {
        let mut server = Server::start(flavor);
        server.create("fleet");
        let missing = herdsman(&["migrate"], &server.url("nowhere"))
            .output()
            .unwrap();
        server.kill();
        let away = herdsman(&["migrate"], &server.url("fleet"))
            .output()
            .unwrap();
        for output in [missing, away] {
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("not available"), "{said}");
            assert!(!said.contains(PASSWORD), "{said}");
        }
    }
}
