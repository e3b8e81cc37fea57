//! What does not add up is found, on every database.

use super::*;

async fn charged(store: &Store, producer: Uuid, seqs: impl IntoIterator<Item = u64>) {
    for seq in seqs {
        let one = Arc::new(charge(producer, seq, "k", 100));
        apply(store, &[one]).await.unwrap();
    }
}

on_every_database! {
    async fn tables_that_were_only_written_by_us_agree(fixture: &Fixture) {
        let store = fixture.open().await;
        charged(&store, Uuid::now_v7(), 1..=5).await;
        assert_eq!(store.accounts_that_disagree().await.unwrap(), []);
        assert_eq!(store.tokens_that_disagree().await.unwrap(), []);
    }

    async fn an_account_that_is_not_the_sum_of_its_days_is_named(fixture: &Fixture) {
        let store = fixture.open().await;
        charged(&store, Uuid::now_v7(), 1..=3).await;
        fixture.sql("UPDATE daily_spend SET spend_nano_usd = spend_nano_usd - 1 WHERE kind = 'key'");
        fixture.sql("DELETE FROM spend WHERE kind = 'team'");
        let mut found = store.accounts_that_disagree().await.unwrap();
        found.sort_by(|one, other| one.of.cmp(&other.of));
        let compared = |kind: &str, entity: &str, total, rows| Compared {
            of: [kind.to_owned(), entity.to_owned()],
            total,
            rows,
        };
        assert_eq!(found, [
            compared("key", "k", [300, 30, 3, 3], [299, 30, 3, 3]),
            compared("team", "shepherds", [0; 4], [300, 30, 3, 3]),
        ]);
    }

    async fn so_is_a_model_that_is_not_the_sum_of_its_minutes(fixture: &Fixture) {
        let store = fixture.open().await;
        charged(&store, Uuid::now_v7(), 1..=3).await;
        fixture.sql("UPDATE token_counts SET total_tokens = total_tokens + 1");
        let found = store.tokens_that_disagree().await.unwrap();
        assert_eq!(found, [Compared {
            of: ["a".to_owned(), "m:latest".to_owned()],
            total: [30, 3, 34, 0],
            rows: [30, 3, 33, 0],
        }]);
    }

    /// Were each compared with each, the server would end the statement.
    async fn twenty_thousand_accounts_are_looked_at_one_by_one(fixture: &Fixture) {
        let store = fixture.open().await;
        let one = charge(Uuid::now_v7(), 1, "k", 100);
        let (spend, daily) = (&one.spend[1], &one.daily[1]);
        let name = |n: u32| format!("shepherds-{n}");
        let (accounts, batch) = (20_000, SealedBatch::empty(one.id));
        let batch = SealedBatch {
            spend: (0..accounts)
                .map(|n| SpendRow { entity: name(n).into(), ..spend.clone() })
                .collect(),
            daily: (0..accounts)
                .map(|n| DailyRow { entity: name(n).into(), ..daily.clone() })
                .collect(),
            records: 1,
            ..batch
        };
        apply(&store, &[Arc::new(batch)]).await.unwrap();
        fixture.sql("UPDATE daily_spend SET requests = 7 WHERE entity = 'shepherds-19999'");
        let found = store.accounts_that_disagree().await.unwrap();
        assert_eq!(found, [Compared {
            of: ["team".to_owned(), name(19_999)],
            total: [100, 10, 1, 1],
            rows: [100, 10, 1, 7],
        }]);
    }

    async fn a_batch_that_lacks_is_known_by_its_number_pruned_or_not(fixture: &Fixture) {
        let store = fixture.open().await;
        let (whole, holed) = (Uuid::from_u128(1), Uuid::from_u128(2));
        charged(&store, whole, 1..=6).await;
        charged(&store, holed, [1, 2, 3, 6, 7, 9]).await;
        let told = async || {
            let progress = store.progress().await.unwrap();
            progress.into_iter().map(|one| (one.through, one.newest, one.missing)).collect::<Vec<_>>()
        };
        let expected = [(6, 6, vec![]), (3, 9, vec![(4, 5), (8, 8)])];
        assert_eq!(told().await, expected);
        store.prune_batches(i64::MAX).await.unwrap();
        assert_eq!(told().await, expected);
        charged(&store, holed, [8, 5, 4]).await;
        assert_eq!(told().await[1], (9, 9, vec![]));
    }

    /// A version that does not count what is in a batch leaves the columns as they are.
    async fn how_many_requests_a_producer_brought_is_known_unless_an_older_version_wrote_some(
        fixture: &Fixture
    ) {
        let store = fixture.open().await;
        let [ours, written, pruned] = [1, 2, 3].map(Uuid::from_u128);
        for producer in [ours, written, pruned] {
            charged(&store, producer, 1..=4).await;
        }
        let told = async || {
            let progress = store.progress().await.unwrap();
            progress.into_iter().map(|one| one.records).collect::<Vec<_>>()
        };
        assert_eq!(told().await, [Some(4); 3]);
        fixture.sql(&format!("UPDATE spend_batches SET records = NULL WHERE producer = '{written}' AND seq = 2"));
        fixture.sql(&format!("UPDATE spend_producers SET high_water = 2 WHERE producer = '{pruned}'"));
        fixture.sql(&format!("DELETE FROM spend_batches WHERE producer = '{pruned}' AND seq <= 2"));
        assert_eq!(told().await, [Some(4), None, None]);
        store.prune_batches(i64::MAX).await.unwrap();
        assert_eq!(told().await, [Some(4), None, None]);
        charged(&store, ours, [5]).await;
        charged(&store, written, [5]).await;
        assert_eq!(told().await, [Some(5), None, None]);
    }
}
