//! The grammar of the command line.

use clap::{CommandFactory as _, Parser as _};

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

fn load(line: &str) -> Result<crate::config::Config, Failure> {
    let cli = parse(line).unwrap();
    let Command::Check(check) = cli.command else {
        panic!("not check: {line}");
    };
    cli.settings.load(check.settings, Environment::new())
}

#[test]
fn the_grammar_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn settings_count_on_both_sides_of_the_command() {
    let config = load(
        "herdsman --set routing.attempts=5 check --set routing.queue_limit=6 --set routing.attempts=7",
    )
    .unwrap();
    assert_eq!(config.routing.queue_limit, 6);
    assert_eq!(config.routing.attempts, 7);
    let twice = load("herdsman --config a check --config b");
    assert!(matches!(twice, Err(Failure::Usage(_))));
}

#[test]
fn a_setting_without_effect_is_a_mistake() {
    for line in [
        "herdsman --set a=b completions zsh",
        "herdsman --config x completions bash",
    ] {
        let settings = parse(line).unwrap().settings;
        assert!(settings.must_be_empty("it").is_err(), "{line}");
    }
    assert!(parse("herdsman completions bash --set a=b").is_err());
}
