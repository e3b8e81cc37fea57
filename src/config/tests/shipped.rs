//! The shipped `config.toml` says what the code does.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{load_with, tables};
use crate::config::{Alias, Config, Database, Model, Price, Redis, Secret};
use crate::domain::{KeepAlive, ModelName, Rate};

const SHIPPED: &str = include_str!("../../../config.toml");

/// The file with its commented examples switched on: `#key` is an example, `# words` are not.
pub(super) fn with_examples() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(example)
            if example.starts_with(|first: char| first == '[' || first.is_alphabetic()) =>
        {
            example.to_owned()
        }
        _ => line.to_owned(),
    };
    SHIPPED.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// `table.key` of every value, list entries without their numbers.
fn keys(prefix: &str, value: &toml::Value, into: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                keys(&format!("{prefix}.{name}"), value, into);
            }
        }
        toml::Value::Array(list) if list.iter().any(toml::Value::is_table) => {
            for value in list {
                keys(prefix, value, into);
            }
        }
        _ => {
            into.insert(prefix.trim_start_matches('.').to_owned());
        }
    }
}

pub(super) fn keys_of(value: &toml::Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    keys("", value, &mut found);
    found
}

/// A configuration in which every optional table is present.
pub(super) fn full() -> Config {
    Config {
        redis: Some(Redis {
            database: vec![Database::at(Secret::from("redis://127.0.0.1:6379/0"))],
            ..Redis::default()
        }),
        model: vec![Model {
            name: ModelName::parse("llama3.3:70b").unwrap(),
            replicas: 2,
            endpoints: vec!["gpu-1".to_owned(), "gpu-2".to_owned()],
            keep_alive: Some(KeepAlive::parse("24h").unwrap()),
            num_ctx: 8192,
            priority: 0,
        }],
        alias: vec![Alias {
            name: "gpt-4o".to_owned(),
            models: vec!["llama3.3:70b".to_owned(), "qwen3".to_owned()],
        }],
        price: vec![Price {
            model: ModelName::parse("llama3.2").unwrap(),
            input: Rate::from_nano_usd_per_million(50_000_000).unwrap(),
            cached_input: Rate::from_nano_usd_per_million(5_000_000),
            output: Rate::from_nano_usd_per_million(200_000_000).unwrap(),
        }],
        ..Config::default()
    }
}

#[test]
fn the_shipped_file_is_the_default_configuration() {
    assert_eq!(load_with(SHIPPED, &[], &[]).unwrap(), Config::default());
}

#[test]
fn every_key_of_every_struct_is_in_the_shipped_file_and_no_other() {
    let in_file = keys_of(&toml::Value::Table(with_examples().parse().unwrap()));
    let in_code = keys_of(&toml::Value::try_from(full()).unwrap());
    assert_eq!(in_file, in_code);
}

#[test]
fn the_commented_examples_are_true() {
    let parsed: Config = toml::from_str(&with_examples()).unwrap();
    assert_eq!(parsed, full());
}

#[test]
fn every_key_of_the_shipped_file_has_a_comment() {
    for line in with_examples()
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        if line.contains(" = ") || line.starts_with("[[") {
            let comment = line.rsplit_once("# ").map_or("", |(_, comment)| comment);
            assert!(comment.len() > 3, "no comment: {line}");
        }
    }
}

#[test]
fn without_a_file_the_defaults_are_used() {
    let args = crate::config::LoadArgs {
        file: None,
        env: tables(&[]),
        set: Vec::new(),
        servers: Vec::new(),
    };
    // Tests run where the shipped file lies, which is the same.
    assert_eq!(crate::config::load(args).unwrap(), Config::default());
}

#[test]
fn a_named_file_must_be_there() {
    let args = crate::config::LoadArgs {
        file: Some(PathBuf::from("/nonexistent/config.toml")),
        env: tables(&[]),
        set: Vec::new(),
        servers: Vec::new(),
    };
    let problems = crate::config::load(args).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().contains("/nonexistent/config.toml"));
}
