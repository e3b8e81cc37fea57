//! The alert rules that are shipped name only metrics that exist.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use herdsman::access::{Access, Options, SWEEP};
use herdsman::config::WhenRedisAway;
use herdsman::metrics::PREFIX;
use herdsman::models::Meters;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio_util::task::TaskTracker;

use crate::support::{Fixture, On};

const RULES: &str = include_str!("../../deploy/prometheus/alerts.yml");

/// One rule: what it is called, and what it asks.
#[derive(Debug)]
struct Rule {
    alert: String,
    expr: String,
}

/// The rules, in the little of YAML they are written in; anything else in the file fails.
fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let lines = RULES.lines().enumerate();
    for (number, line) in lines.filter(|(_, line)| !line.trim_start().starts_with('#')) {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        let at = format!("line {}: {line}", number + 1);
        match (indent, text.split_once(':')) {
            (_, None) => assert!(text.is_empty(), "{at}"),
            (0, Some((key, rest))) => assert_eq!((key, rest), ("groups", ""), "{at}"),
            (2, Some((key, _))) => assert_eq!(key, "- name", "{at}"),
            (4, Some((key, rest))) => assert_eq!((key, rest), ("rules", ""), "{at}"),
            (6, Some((key, value))) => {
                assert_eq!(key, "- alert", "{at}");
                rules.push(Rule {
                    alert: value.trim().to_owned(),
                    expr: String::new(),
                });
            }
            (8, Some(("expr", value))) => {
                rules.last_mut().unwrap().expr = value.trim().to_owned();
            }
            (8, Some((key, _))) => {
                let known = ["for", "labels", "annotations", "keep_firing_for"];
                assert!(known.contains(&key), "{at}");
            }
            (10, Some((key, value))) => {
                let known = ["severity", "summary", "description"];
                assert!(known.contains(&key) && !value.trim().is_empty(), "{at}");
            }
            _ => panic!("{at}"),
        }
    }
    rules
}

#[tokio::test(flavor = "multi_thread")]
async fn every_alert_asks_for_metrics_there_are() {
    let fixture = Fixture::on(On::Sqlite).await;
    let router = fixture.leader("a").await;
    let mut registry = Registry::with_prefix(PREFIX);
    router.spend.stats().register(&mut registry);
    let options = Options {
        require_key: false,
        end_users: 10,
        outage_grace: Duration::from_secs(60),
        when_redis_away: WhenRedisAway::LocalShare,
        prices: Vec::new(),
        sweep: SWEEP,
        router: "a".into(),
    };
    let store = fixture.database.directly().await;
    let access = Access::start(options, store, None, Arc::new(|| 0), TaskTracker::new());
    access.await.unwrap().stats().register(&mut registry);
    drop(Meters::register(&mut registry));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let names: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split([' ', '{']).next())
        .collect();
    let rules = rules();
    assert!(rules.len() >= 8, "{rules:?}");
    let mut alerts = BTreeSet::new();
    for rule in &rules {
        assert!(alerts.insert(&rule.alert), "{} twice", rule.alert);
        let words = rule
            .expr
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let asked: Vec<&str> = words.filter(|word| word.starts_with("herdsman_")).collect();
        assert!(!asked.is_empty(), "{rule:?}");
        for name in asked {
            assert!(names.contains(name), "{}: there is no {name}", rule.alert);
        }
    }
}
