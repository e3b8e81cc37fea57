use super::*;

fn config() -> MultiDbConfig {
    MultiDbConfig::new([DatabaseConfig::from_url("redis://user:secret@one:6380/2")])
}

#[test]
fn the_defaults_are_valid() {
    assert_eq!(config().validate(), Ok(()));
}

#[test]
fn invalid_options_are_named() {
    let nothing = MultiDbConfig::new([]);
    assert_eq!(nothing.validate(), Err(Invalid::NoDatabases));
    for weight in [f64::NAN, f64::INFINITY, -1.0] {
        let config = MultiDbConfig::new([DatabaseConfig::from_url("redis://one").weight(weight)]);
        assert!(
            matches!(config.validate(), Err(Invalid::Weight { .. })),
            "{weight}"
        );
    }
    let zero = |option| Err(Invalid::Zero { option });
    assert_eq!(
        config().health_check_probes(0).validate(),
        zero("health_check_probes")
    );
    assert_eq!(
        config().success_threshold(0).validate(),
        zero("success_threshold")
    );
    assert_eq!(
        config().half_open_slots(0).validate(),
        zero("half_open_slots")
    );
    for rate in [-0.1, 1.1, f64::NAN] {
        let config = config().failure_rate_threshold(rate);
        assert!(
            matches!(config.validate(), Err(Invalid::Fraction { .. })),
            "{rate}"
        );
    }
    let option = "response_timeout";
    assert_eq!(
        config().response_timeout(Duration::ZERO).validate(),
        Err(Invalid::NoTime { option })
    );
    assert_eq!(
        config()
            .health_check_timeout(Duration::from_secs(1))
            .validate(),
        Err(Invalid::ProbesDoNotFit)
    );
}

#[test]
fn an_address_that_cannot_be_understood_is_named_without_its_secret() {
    let bad = DatabaseConfig::from_url("http://user:secret@one");
    let error = MultiDbConfig::new([bad]).validate().expect_err("not Redis");
    assert!(matches!(error, Invalid::Address { .. }));
    assert!(!error.to_string().contains("secret"), "{error}");
    let empty = DatabaseConfig::cluster(Vec::<String>::new());
    let error = MultiDbConfig::new([empty]).validate();
    assert!(matches!(error, Err(Invalid::NoNodes { .. })));
}

#[test]
fn a_database_is_called_by_its_host_and_shows_no_secret() {
    let name = |config: DatabaseConfig| config.server.name();
    let single = DatabaseConfig::from_url("rediss://user:p@ss@one:6380/2?protocol=resp3");
    assert_eq!(name(single.clone()), "one:6380");
    assert!(!format!("{single:?} {:?}", MultiDbConfig::new([single.clone()])).contains("p@ss"));
    assert_eq!(
        name(DatabaseConfig::from_url("unix:///run/redis.sock")),
        "/run/redis.sock"
    );
    assert_eq!(
        name(DatabaseConfig::cluster(["redis://a:1", "redis://b:2"])),
        "a:1,b:2"
    );
    assert_eq!(
        name(DatabaseConfig::sentinel(["redis://s"], "mymaster")),
        "mymaster"
    );
}

#[test]
fn a_pause_doubles_and_is_capped() {
    let retry = CommandRetry::default();
    assert_eq!(retry.pause(1, 1.0), Duration::from_millis(20));
    assert_eq!(retry.pause(2, 1.0), Duration::from_millis(40));
    assert_eq!(retry.pause(3, 0.5), Duration::from_millis(40));
    assert_eq!(retry.pause(1, 0.0), Duration::ZERO);
    assert_eq!(retry.pause(60, 1.0), retry.cap);
    assert_eq!(retry.pause(u32::MAX, 1.0), retry.cap);
}
