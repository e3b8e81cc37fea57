//! The grammar of the command line.

use clap::{CommandFactory as _, Parser as _};

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

fn load(line: &str) -> Result<crate::config::Config, Failure> {
    let cli = parse(line).unwrap();
    let Some(Command::Check(check)) = cli.command else {
        panic!("not check: {line}");
    };
    cli.settings.load(check.settings, Environment::new())
}

#[test]
fn the_grammar_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn no_command_is_serve() {
    assert!(parse("herdsman").unwrap().command.is_none());
    assert!(parse("herdsman --set server.grace=1s").is_ok());
}

#[test]
fn servers_may_be_named_with_and_without_the_command() {
    for line in [
        "herdsman gpu-1 http://10.0.0.7",
        "herdsman serve gpu",
        "herdsman 10.0.0.7 --set a.b=c",
    ] {
        let read = Cli::read(line.split(' ').map(Into::into)).unwrap();
        assert!(matches!(read.command, Some(Command::Serve(_))), "{line}");
    }
    let meant = Cli::read(["herdsman", "chekc"].map(Into::into)).unwrap_err();
    assert_eq!(meant.exit_code(), 2);
    assert!(meant.to_string().contains("'check'"), "{meant}");
    assert!(Cli::read(["herdsman", "serve", "gpu-1:0"].map(Into::into)).is_err());
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
        "herdsman --set a=b demo",
        "herdsman --config x completions bash",
    ] {
        let settings = parse(line).unwrap().settings;
        assert!(settings.must_be_empty("it").is_err(), "{line}");
    }
    assert!(parse("herdsman simulate --set a=b").is_err());
}

#[test]
fn speeds_and_durations_are_checked_while_parsing() {
    assert!(parse("herdsman simulate --load 500ms --prefill-rate 1e4 --model a --model b").is_ok());
    for wrong in [
        "--load fast",
        "--prefill-rate -1",
        "--time-scale nan",
        "--port 70000",
    ] {
        assert!(
            parse(&format!("herdsman simulate {wrong}")).is_err(),
            "{wrong}"
        );
    }
}
