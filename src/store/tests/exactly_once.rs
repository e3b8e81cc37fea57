use super::*;

fn fence(epoch: u64) -> Fence {
    Fence {
        epoch,
        leader: format!("router-{epoch}"),
    }
}

async fn lead(store: &Store, epoch: u64, batches: &[Arc<SealedBatch>]) -> Result<Applied, Error> {
    let fence = fence(epoch);
    let flush = Flush {
        batches,
        fence: Some(&fence),
        letters: &[],
    };
    store.apply(flush).await
}

on_every_database! {
    async fn a_batch_is_added_once_however_often_it_comes(fixture: &Fixture) {
        let store = fixture.open().await;
        let producer = Uuid::now_v7();
        let one = batch(producer, 1, &[("a", "m:latest", 60, 5), ("a", "m:latest", 120, 7)]);
        let two = batch(producer, 2, &[("a", "m:latest", 60, 100), ("b", "n:1b", 60, 1)]);

        let first = apply(&store, &[one.clone(), one.clone()]).await.unwrap();
        assert_eq!(first, Applied { fresh: 1, known: 1 });
        let both = apply(&store, &[one.clone(), two.clone()]).await.unwrap();
        assert_eq!(both, Applied { fresh: 1, known: 1 });
        let again = apply(&store, &[two.clone(), one.clone()]).await.unwrap();
        assert_eq!(again, Applied { fresh: 0, known: 2 });

        let counts = store.token_counts().await.unwrap();
        let counts: Vec<_> = counts
            .iter()
            .map(|r| (&*r.endpoint, &*r.model, r.input_tokens, r.output_tokens, r.total_tokens))
            .collect();
        assert_eq!(counts, [("a", "m:latest", 112, 3, 115), ("b", "n:1b", 1, 1, 2)]);
        assert_eq!(store.token_counts_of(&model("n:1b")).await.unwrap().len(), 1);

        let minutes = store.time_series(&model("m"), u32::MAX).await.unwrap();
        let minutes: Vec<_> = minutes.iter().map(|r| (r.timestamp, r.input_tokens)).collect();
        assert_eq!(minutes, [(120, 7), (60, 105)], "newest first");
        assert_eq!(store.time_series(&model("m"), 1).await.unwrap().len(), 1);

        let ids = [one.id, two.id, id(Uuid::now_v7(), 1), id(producer, 3)];
        let applied = store.applied(&ids).await.unwrap();
        assert_eq!(applied, [one.id, two.id].into());
    }

    async fn spend_is_added_to_its_entity_its_period_and_its_day(fixture: &Fixture) {
        let store = fixture.open().await;
        let producer = Uuid::now_v7();
        let mut late = charge(producer, 2, "k1", 7);
        for row in &mut late.spend {
            row.period = 0;
        }
        for row in &mut late.daily {
            row.at = 86_399;
            row.failed_requests = 3;
        }
        let batches = [charge(producer, 1, "k1", 5), late, charge(producer, 3, "k2", 11)];
        apply(&store, &batches.map(Arc::new)).await.unwrap();

        let keys = store.spent(EntityKind::Key).await.unwrap();
        let keys: Vec<_> = keys
            .iter()
            .map(|r| (&*r.entity, r.spend_nano_usd, r.input_tokens, r.output_tokens, r.requests))
            .collect();
        assert_eq!(keys, [("k1", 12, 20, 2, 2), ("k2", 11, 10, 1, 1)]);
        assert_eq!(store.spent(EntityKind::Team).await.unwrap()[0].spend_nano_usd, 23);
        assert!(store.spent(EntityKind::Tag).await.unwrap().is_empty());

        let periods = store.spent_in_periods(0).await.unwrap();
        let periods: Vec<_> = periods
            .iter()
            .map(|r| (&*r.kind, &*r.entity, r.period_start, r.spend_nano_usd))
            .collect();
        let expected = [("key", "k1", 86_400, 5), ("key", "k2", 86_400, 11), ("team", "shepherds", 86_400, 16)];
        assert_eq!(periods, expected);
        assert!(store.spent_in_periods(86_401).await.unwrap().is_empty());

        let days = store.daily_spent("1970-01-01", "1970-01-02", 100).await.unwrap();
        let days: Vec<_> = days
            .iter()
            .map(|r| (&*r.kind, &*r.entity, &*r.date, &*r.api_key, r.spend_nano_usd, r.failed_requests))
            .collect();
        let expected = [
            ("key", "k1", "1970-01-01", "k1", 7, 3),
            ("key", "k1", "1970-01-02", "k1", 5, 0),
            ("key", "k2", "1970-01-02", "k2", 11, 0),
            ("team", "shepherds", "1970-01-01", "k1", 7, 3),
            ("team", "shepherds", "1970-01-02", "k1", 5, 0),
            ("team", "shepherds", "1970-01-02", "k2", 11, 0),
        ];
        assert_eq!(days, expected);
        assert_eq!(store.daily_spent("1970-01-01", "1970-01-01", 100).await.unwrap().len(), 2);
    }

    async fn names_are_kept_to_the_letter(fixture: &Fixture) {
        let store = fixture.open().await;
        let producer = Uuid::now_v7();
        let long = "\u{1f411}".repeat(255);
        // Pairs that some database by default takes for one: case, accent, trailing space, width.
        let names = ["a", "A", "\u{e4}", "a\u{308}", "a ", "'", "\\", "%_", "\u{1f411}", "", &long];
        let batches: Vec<_> = (1..)
            .zip(names)
            .map(|(seq, name)| Arc::new(charge(producer, seq, "", 1)).renamed(name))
            .collect();
        apply(&store, &batches).await.unwrap();
        let kept = store.spent(EntityKind::Key).await.unwrap();
        let mut kept: Vec<_> = kept.iter().map(|row| &*row.entity).collect();
        let mut names = names.to_vec();
        kept.sort_unstable();
        names.sort_unstable();
        assert_eq!(kept, names);
    }

    async fn two_flushes_of_the_same_batches_at_once_add_them_once(fixture: &Fixture) {
        let (store, elsewhere) = (fixture.open().await, fixture.open().await);
        let producer = Uuid::now_v7();
        let batches: Vec<_> = (1..=50)
            .map(|seq| batch(producer, seq, &[("a", "m:latest", 60, 1)]))
            .collect();
        let (here, there) = tokio::join!(apply(&store, &batches), apply(&elsewhere, &batches));
        assert_eq!(here.unwrap().fresh + there.unwrap().fresh, 50);
        assert_eq!(input_total(&store).await, 50);
    }

    async fn more_rows_than_one_statement_takes_are_all_added(fixture: &Fixture) {
        let store = fixture.open().await;
        let names: Vec<String> = (0..2_503).map(|at| format!("m{at}:latest")).collect();
        let rows: Vec<_> = names.iter().map(|name| ("a", name.as_str(), 60, 2)).collect();
        apply(&store, &[batch(Uuid::now_v7(), 1, &rows)]).await.unwrap();
        assert_eq!(store.token_counts().await.unwrap().len(), 2_503);
        assert_eq!(input_total(&store).await, 5_006);
    }

    async fn an_earlier_leader_writes_nothing(fixture: &Fixture) {
        let (old, new) = (fixture.open().await, fixture.open().await);
        let producer = Uuid::now_v7();
        let one = batch(producer, 1, &[("a", "m:latest", 60, 1)]);
        let two = batch(producer, 2, &[("a", "m:latest", 60, 10)]);
        assert_eq!(old.last_leader().await.unwrap().epoch, 0);
        lead(&old, 7, std::slice::from_ref(&one)).await.unwrap();
        lead(&old, 7, std::slice::from_ref(&one)).await.unwrap();
        lead(&new, 8, &[]).await.unwrap();

        let refused = lead(&old, 7, std::slice::from_ref(&two)).await.unwrap_err();
        assert!(matches!(refused, Error::Fenced { epoch: 7 }), "{refused}");
        assert!(new.applied(&[two.id]).await.unwrap().is_empty());
        assert_eq!(input_total(&new).await, 1);
        assert_eq!(new.last_leader().await.unwrap(), fence(8));
        // Another one with the same number has it from a Redis that knew nothing of the first.
        let same_epoch = Fence { epoch: 8, leader: "router-9".to_owned() };
        let flush = Flush { batches: std::slice::from_ref(&two), fence: Some(&same_epoch), letters: &[] };
        let refused = old.apply(flush).await.unwrap_err();
        assert!(matches!(refused, Error::Fenced { epoch: 8 }), "{refused}");
        assert_eq!(new.last_leader().await.unwrap(), fence(8));
        // A router that writes only its own batches needs no lease, and affects no other.
        assert_eq!(apply(&old, std::slice::from_ref(&two)).await.unwrap().fresh, 1);
        assert_eq!(lead(&new, 8, &[two]).await.unwrap().known, 1);
        assert_eq!(input_total(&new).await, 11);
    }

    async fn what_is_pruned_is_still_known_and_what_is_missing_is_still_taken(fixture: &Fixture) {
        let store = fixture.open().await;
        let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
        let make = |producer, seq| batch(producer, seq, &[("a", "m:latest", 60, 1)]);
        let there: Vec<_> = [1, 2, 3, 5, 6].map(|seq| make(one, seq)).into();
        apply(&store, &there).await.unwrap();
        apply(&store, &[make(other, 2)]).await.unwrap();

        assert_eq!(store.prune_batches(0).await.unwrap(), 0, "none is that old");
        assert_eq!(store.prune_batches(i64::MAX).await.unwrap(), 3, "up to the gap");
        assert_eq!(fixture.number("SELECT count(*) AS number FROM spend_batches"), 3);
        let ids: Vec<_> = (1..=7).map(|seq| id(one, seq)).collect();
        let known = store.applied(&ids).await.unwrap();
        let missing: Vec<_> = ids.iter().filter(|id| !known.contains(id)).collect();
        assert_eq!(missing, [&ids[3], &ids[6]]);

        let late: Vec<_> = (1..=6).map(|seq| make(one, seq)).collect();
        assert_eq!(apply(&store, &late).await.unwrap(), Applied { fresh: 1, known: 5 });
        assert_eq!(store.prune_batches(i64::MAX).await.unwrap(), 3);
        assert_eq!(apply(&store, &late).await.unwrap(), Applied { fresh: 0, known: 6 });
        assert_eq!(store.prune_batches(i64::MAX).await.unwrap(), 0, "the first of the other is not there");
        assert_eq!(apply(&store, &[make(other, 1)]).await.unwrap().fresh, 1);
        assert_eq!(store.prune_batches(i64::MAX).await.unwrap(), 2);
        let marks: Vec<_> = store.producers().await.unwrap().into_iter().map(|p| p.1).collect();
        assert_eq!(marks, [6, 2]);
        assert_eq!(input_total(&store).await, 8);
    }

    async fn a_batch_that_comes_again_while_it_is_pruned_is_added_once(fixture: &Fixture) {
        let (store, elsewhere) = (fixture.open().await, fixture.open().await);
        let producer = Uuid::now_v7();
        let batches: Vec<_> = (1..=300)
            .map(|seq| batch(producer, seq, &[("a", "m:latest", 60, 1)]))
            .collect();
        // InnoDB is looked at twice, with a pause in between.
        let times = if fixture.on == On::MariaDb { 1 } else { 5 };
        for chunk in batches.chunks(30) {
            apply(&store, chunk).await.unwrap();
            let again = async {
                for _ in 0..times {
                    let applied = apply(&elsewhere, chunk).await.unwrap();
                    assert_eq!(applied, Applied { fresh: 0, known: 30 });
                    let ids: Vec<_> = chunk.iter().map(|batch| batch.id).collect();
                    assert_eq!(elsewhere.applied(&ids).await.unwrap().len(), 30);
                }
            };
            let (pruned, ()) = tokio::join!(store.prune_batches(i64::MAX), again);
            assert_eq!(pruned.unwrap(), 30);
        }
        assert_eq!(input_total(&store).await, 300);
    }

    async fn a_dry_run_returns_what_would_happen_and_changes_nothing(fixture: &Fixture) {
        let store = fixture.open().await;
        let one = Arc::new(charge(Uuid::now_v7(), 1, "k", 5));
        let flush = Flush {
            batches: std::slice::from_ref(&one),
            ..Flush::default()
        };
        for _ in 0..3 {
            assert_eq!(store.dry_run(flush).await.unwrap(), Applied { fresh: 1, known: 0 });
        }
        assert!(store.applied(&[one.id]).await.unwrap().is_empty());
        assert!(store.spent(EntityKind::Key).await.unwrap().is_empty());
        assert!(store.producers().await.unwrap().is_empty());
        assert_eq!(store.apply(flush).await.unwrap().fresh, 1);
    }

    async fn a_dead_letter_is_kept_with_its_batch_and_replayed_once(fixture: &Fixture) {
        let store = fixture.open().await;
        let one = Arc::new(charge(Uuid::now_v7(), 1, "k", 5));
        let letter = DeadLetter {
            id: Uuid::now_v7(),
            batch: one.id,
            reason: "zero \0 byte".to_owned(),
            payload: r#"{"e":"\u0000"}"#.to_owned(),
            created_at: 100,
            replayed_at: None,
        };
        let flush = Flush {
            batches: std::slice::from_ref(&one),
            fence: None,
            letters: std::slice::from_ref(&letter),
        };
        store.apply(flush).await.unwrap();
        // Its answer was lost; and another leader found the same record at fault.
        let other = DeadLetter { id: Uuid::now_v7(), ..letter.clone() };
        for letters in [&letter, &other].map(std::slice::from_ref) {
            let again = store.apply(Flush { letters, ..flush }).await.unwrap();
            assert_eq!(again, Applied { fresh: 0, known: 1 });
        }
        store.add_dead_letters(std::slice::from_ref(&letter)).await.unwrap();
        let kept = store.dead_letters(true, 10).await.unwrap();
        let expected = DeadLetter { reason: "zero \u{fffd} byte".to_owned(), ..letter.clone() };
        assert_eq!(kept, [expected]);

        let replay = Arc::new(charge(letter.id, 1, "k", 100));
        for fresh in [1, 0] {
            let again = apply(&store, std::slice::from_ref(&replay)).await.unwrap();
            assert_eq!(again.fresh, fresh);
        }
        assert!(store.mark_replayed(letter.id, 200).await.unwrap());
        assert!(!store.mark_replayed(letter.id, 300).await.unwrap());
        assert!(!store.mark_replayed(Uuid::now_v7(), 300).await.unwrap());
        assert!(store.dead_letters(true, 10).await.unwrap().is_empty());
        assert_eq!(store.dead_letters(false, 10).await.unwrap()[0].replayed_at, Some(200));
        assert_eq!(store.spent(EntityKind::Key).await.unwrap()[0].spend_nano_usd, 105);
    }
}

trait Renamed {
    fn renamed(self, entity: &str) -> Self;
}

impl Renamed for Arc<SealedBatch> {
    fn renamed(self, entity: &str) -> Self {
        let mut batch = Arc::unwrap_or_clone(self);
        batch.spend.truncate(1);
        batch.daily.truncate(1);
        batch.spend[0].entity = entity.into();
        batch.daily[0].entity = entity.into();
        Arc::new(batch)
    }
}
