use super::*;

/// Applied alone, after which a good one still goes through.
async fn refused(fixture: &Fixture, change: impl FnOnce(&mut SealedBatch)) -> Error {
    let store = fixture.open().await;
    let mut bad = charge(Uuid::now_v7(), 1, "bad", 5);
    change(&mut bad);
    let error = apply(&store, &[Arc::new(bad)]).await.unwrap_err();
    let good = charge(Uuid::now_v7(), 1, "good", 1);
    assert_eq!(apply(&store, &[Arc::new(good)]).await.unwrap().fresh, 1);
    error
}

fn assert_poison(error: &Error) {
    assert!(matches!(error, Error::Poison(_)), "{error:?}");
}

on_every_database! {
    async fn what_no_database_keeps_whole_is_poison(fixture: &Fixture) {
        assert_poison(&refused(fixture, |b| b.spend[0].entity = "a\0b".into()).await);
        assert_poison(&refused(fixture, |b| b.spend[0].entity = "x".repeat(256).into()).await);
        assert_poison(&refused(fixture, |b| b.daily[0].model = "m\u{fc}:latest".into()).await);
        assert_poison(&refused(fixture, |b| b.daily[0].endpoint = "e".repeat(129).into()).await);
        assert_poison(&refused(fixture, |b| b.daily[0].api_key = "k".repeat(129).into()).await);
        assert_poison(&refused(fixture, |b| b.daily[0].at = i64::MAX).await);
        assert_poison(&refused(fixture, |b| b.spend[0].period = -1).await);
        assert_poison(&refused(fixture, |b| b.spend[0].spent.nano_usd = 1 << 62).await);
        assert_poison(&refused(fixture, |b| b.rows[0].tokens.input = u64::MAX).await);
        assert_poison(&refused(fixture, |b| b.id.seq = u64::MAX).await);
        let store = fixture.open().await;
        assert!(store.spent(EntityKind::Key).await.unwrap().iter().all(|row| row.entity == "good"));
    }

    async fn a_sum_that_grows_too_large_is_poison_and_never_wrong(fixture: &Fixture) {
        let store = fixture.open().await;
        let most = (1 << 62) - 1;
        let producer = Uuid::now_v7();
        apply(&store, &[Arc::new(charge(producer, 1, "k", most))]).await.unwrap();
        let one_more = Arc::new(charge(producer, 2, "k", 1));
        assert_poison(&apply(&store, std::slice::from_ref(&one_more)).await.unwrap_err());
        assert!(store.applied(&[one_more.id]).await.unwrap().is_empty());
        let spent = store.spent(EntityKind::Key).await.unwrap();
        assert_eq!((spent[0].spend_nano_usd, spent[0].requests), (most as i64, 1));
        // Others go on.
        let free = Arc::new(charge(producer, 3, "k2", 0));
        assert_eq!(apply(&store, &[free]).await.unwrap().fresh, 1);
    }

    async fn a_rule_of_the_operator_that_forbids_content_is_poison(fixture: &Fixture) {
        match fixture.on {
            On::Sqlite => fixture.sql(
                "CREATE TABLE barred (entity TEXT PRIMARY KEY, CHECK (entity <> 'bad')); \
                 CREATE TRIGGER bar BEFORE INSERT ON spend \
                 BEGIN INSERT INTO barred SELECT 'bad' WHERE NEW.entity = 'bad'; END;",
            ),
            On::Postgres | On::MariaDb => {
                fixture.sql("ALTER TABLE spend ADD CONSTRAINT barred CHECK (entity <> 'bad')");
            }
        }
        assert_poison(&refused(fixture, |_| {}).await);
    }

    async fn a_missing_table_is_an_error_and_not_poison(fixture: &Fixture) {
        fixture.sql("ALTER TABLE daily_spend RENAME TO elsewhere");
        let store = fixture.open().await;
        let one = Arc::new(charge(Uuid::now_v7(), 1, "k", 5));
        let refused = apply(&store, std::slice::from_ref(&one)).await.unwrap_err();
        assert!(matches!(refused, Error::Query(_)), "{refused:?}");
        assert!(store.token_counts().await.unwrap().is_empty(), "all or nothing");
        fixture.sql("ALTER TABLE elsewhere RENAME TO daily_spend");
        assert_eq!(apply(&store, &[one]).await.unwrap().fresh, 1);
    }
}

/// What the server says is not always in English.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_code_decides_and_not_the_message() {
    for (on, raise) in [
        (
            On::Postgres,
            "RAISE EXCEPTION 'deadlock detected' USING ERRCODE",
        ),
        (On::MariaDb, "SIGNAL SQLSTATE"),
    ] {
        for (code, poison) in [
            ("22003", true),
            ("22P05", true),
            ("40P01", false),
            ("45000", false),
        ] {
            let fixture = Fixture::new(on).await;
            fixture.sql(&match on {
                On::Postgres => format!(
                    "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                     IF NEW.entity = 'bad' THEN {raise} = '{code}'; END IF; RETURN NEW; END $$; \
                     CREATE TRIGGER no BEFORE INSERT ON spend FOR EACH ROW EXECUTE FUNCTION no()"
                ),
                On::MariaDb | On::Sqlite => format!(
                    "CREATE TRIGGER no BEFORE INSERT ON spend FOR EACH ROW \
                     IF NEW.entity = 'bad' THEN {raise} '{code}'; END IF"
                ),
            });
            let error = refused(&fixture, |_| {}).await;
            assert_eq!(
                matches!(error, Error::Poison(_)),
                poison,
                "{on:?} {code}: {error:?}"
            );
        }
    }
}
