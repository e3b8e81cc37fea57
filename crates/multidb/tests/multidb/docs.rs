//! Every statement of the README is shown by a test, and its defaults are those of the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use herdsman_multidb::{
    DatabaseConfig, HealthCheckPolicy, InitialHealthCheckPolicy, LagAwareConfig, MultiDbConfig,
};

/// The folder of the crate, which the document's paths begin at.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// The rows of all tables, by cells; heads and rulers are none.
fn rows(document: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = document.lines().collect();
    let is_ruler = |line: Option<&&str>| line.is_some_and(|line| line.starts_with("|---"));
    let rows = lines
        .iter()
        .enumerate()
        .filter(|(at, line)| line.starts_with("| ") && !is_ruler(lines.get(at + 1)));
    rows.map(|(_, line)| {
        let cells = line.trim_matches('|').split(" | ");
        cells.map(str::trim).collect()
    })
    .collect()
}

/// `path.rs::name` in backticks.
fn tests_named_in(text: &str) -> Vec<(&str, &str)> {
    let code = text.split('`').skip(1).step_by(2);
    code.filter_map(|code| code.split_once(".rs::")).collect()
}

/// Whether a file has this test, and it is one: its attributes say so.
fn has_test(source: &str, name: &str) -> bool {
    let Some((before, _)) = source.split_once(&format!("fn {name}(")) else {
        return false;
    };
    let (above, _) = before.rsplit_once('\n').unwrap_or_default();
    let above = above.lines().rev().take_while(|line| {
        let line = line.trim();
        line.starts_with('#') || line.starts_with("//")
    });
    above
        .map(str::trim)
        .any(|line| line == "#[test]" || line.starts_with("#[tokio::test"))
}

#[test]
fn every_test_the_document_names_exists() {
    let document = document();
    let named: BTreeSet<_> = tests_named_in(&document).into_iter().collect();
    assert!(named.len() > 80, "only {} tests are named", named.len());
    let missing: Vec<_> = named
        .iter()
        .filter(|(path, name)| {
            let source = fs::read_to_string(root().join(format!("{path}.rs")));
            !source.is_ok_and(|source| has_test(&source, name))
        })
        .collect();
    assert!(missing.is_empty(), "there is no {missing:#?}");
}

#[test]
fn every_row_of_every_table_is_shown_by_a_test() {
    let document = document();
    // What was measured was measured by the bench.
    let (statements, _) = document.split_once("\n## Measured\n").expect("figures");
    let rows = rows(statements);
    assert!(rows.len() > 80, "only {} rows", rows.len());
    let unshown: Vec<_> = rows
        .iter()
        .filter(|row| {
            row.last()
                .is_none_or(|last| tests_named_in(last).is_empty())
        })
        .collect();
    assert!(unshown.is_empty(), "{unshown:#?}");
}

/// A test with this name in this file is found, anything else with the name is not.
#[test]
fn a_name_alone_is_no_test() {
    let source = "#[test]\n/// Why.\nfn one() {}\n\nfn two() {}\n\n#[tokio::test(flavor = \"x\")]\nasync fn three() {}\n";
    let found = ["one", "two", "three", "four"].map(|name| has_test(source, name));
    assert_eq!(found, [true, false, true, false]);
}

fn shown(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{} s", time.as_secs())
    } else {
        format!("{} ms", time.as_millis())
    }
}

/// What the code has, option by option, as the document would say it.
fn defaults() -> Vec<(&'static str, String)> {
    let database = DatabaseConfig::from_url("redis://a.example");
    let client = MultiDbConfig::new([]);
    let lag = LagAwareConfig::default();
    let policy = match client.health_check_policy {
        HealthCheckPolicy::HealthyAll => "HEALTHY_ALL",
        HealthCheckPolicy::HealthyMajority => "HEALTHY_MAJORITY",
        HealthCheckPolicy::HealthyAny => "HEALTHY_ANY",
    };
    let start = match client.initial_health_check_policy {
        InitialHealthCheckPolicy::AllAvailable => "ALL_AVAILABLE",
        InitialHealthCheckPolicy::MajorityAvailable => "MAJORITY_AVAILABLE",
        InitialHealthCheckPolicy::OneAvailable => "ONE_AVAILABLE",
        InitialHealthCheckPolicy::NoneAvailable => "NONE_AVAILABLE",
    };
    let retry = client.command_retry;
    let none = || "none".to_owned();
    let time = |time: Option<Duration>| time.map_or_else(none, shown);
    vec![
        (
            "command_retry",
            format!(
                "{} retries, {} doubling to at most {}",
                retry.retries,
                shown(retry.base),
                shown(retry.cap)
            ),
        ),
        ("response_timeout", shown(client.response_timeout)),
        ("connect_timeout", shown(client.connect_timeout)),
        ("min_num_failures", client.min_num_failures.to_string()),
        (
            "failure_rate_threshold",
            client.failure_rate_threshold.to_string(),
        ),
        (
            "failures_detection_window",
            shown(client.failures_detection_window),
        ),
        (
            "consecutive_failures",
            client.consecutive_failures.to_string(),
        ),
        ("health_check_interval", shown(client.health_check_interval)),
        (
            "health_check_probes",
            client.health_check_probes.to_string(),
        ),
        ("health_check_delay", shown(client.health_check_delay)),
        ("health_check_timeout", shown(client.health_check_timeout)),
        ("health_check_policy", policy.to_owned()),
        ("success_threshold", client.success_threshold.to_string()),
        ("half_open_slots", client.half_open_slots.to_string()),
        ("last_resort", client.last_resort.to_string()),
        ("failover_attempts", client.failover_attempts.to_string()),
        ("failover_delay", shown(client.failover_delay)),
        (
            "auto_fallback_interval",
            time(client.auto_fallback_interval),
        ),
        ("initial_health_check_policy", start.to_owned()),
        ("initial_deadline", time(client.initial_deadline)),
        ("weight", format!("{:?}", database.weight)),
        ("grace_period", shown(database.grace_period)),
        (
            "health_check_url",
            database.health_check_url.unwrap_or_else(none),
        ),
        (
            "skip_initial_health_check",
            database.skip_initial_health_check.to_string(),
        ),
        ("rest_api_port", lag.rest_api_port.to_string()),
        ("lag_aware_tolerance", shown(lag.lag_aware_tolerance)),
        ("http_timeout", shown(lag.http_timeout)),
        (
            "auth_basic",
            lag.auth_basic.map_or_else(none, |_| "some".to_owned()),
        ),
        ("verify_tls", lag.verify_tls.to_string()),
        ("failback_only", lag.failback_only.to_string()),
    ]
}

#[test]
fn every_default_in_the_document_is_that_of_the_code() {
    let document = document();
    let rows = rows(&document);
    for (option, default) in defaults() {
        let name = format!("`{option}`");
        let row = rows.iter().find(|row| row[0] == name);
        let said = row.unwrap_or_else(|| panic!("{option} is not in the document"))[1];
        // The default may be followed by a word about it.
        let rest = said.strip_prefix(&default);
        let ends = |rest: &str| rest.is_empty() || rest.starts_with([',', ';', ':']);
        assert!(
            rest.is_some_and(ends),
            "{option} is {default}, said is {said}"
        );
    }
}

/// No option is left out: whatever the configuration shows of itself has its row.
#[test]
fn every_option_is_in_the_document() {
    let document = document();
    let rows = rows(&document);
    let shown = format!("{:#?}", MultiDbConfig::new([]));
    let mut options: Vec<&str> = shown
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(": "))
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with(' ') && *name != "databases")
        .collect();
    options.extend(["tls", "server", "settings"]);
    assert!(options.len() > 24, "{options:?}");
    for option in options {
        let name = format!("`{option}`");
        assert!(rows.iter().any(|row| row[0] == name), "{option} is missing");
    }
}

/// The example at its head is the one that is compiled with the module.
#[test]
fn the_example_is_one_that_compiles() {
    let document = document();
    let example = document.split("```rust\n").nth(1).unwrap();
    let example = example.split("\n```").next().unwrap();
    let module = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let compiled: Vec<&str> = module
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    assert!(
        compiled.join("\n").contains(example),
        "the example of the document is not the one of the module"
    );
}
