//! What was spent, summed by every database alike.

use super::*;

/// One request of `key`, by its team and two tags, on a day.
fn spent(seq: u64, key: &str, at: i64, model: &str, nano_usd: u64) -> Arc<SealedBatch> {
    let spent = SpendSums {
        nano_usd,
        input: 10 * nano_usd,
        output: nano_usd,
        requests: 1,
    };
    let accounts = [
        (EntityKind::Key, key),
        (EntityKind::Team, "blue"),
        (EntityKind::Tag, "a, \"b\""),
        (EntityKind::Tag, "Ü"),
    ];
    Arc::new(SealedBatch {
        spend: accounts
            .map(|(kind, entity)| SpendRow {
                kind,
                entity: entity.into(),
                period: 0,
                spent,
            })
            .into(),
        daily: accounts
            .map(|(kind, entity)| DailyRow {
                kind,
                entity: entity.into(),
                at,
                api_key: key.into(),
                model: model.into(),
                endpoint: "gpu-0".into(),
                spent,
                failed_requests: nano_usd % 2,
            })
            .into(),
        records: 1,
        ..SealedBatch::empty(id(Uuid::nil(), seq))
    })
}

const DAY: i64 = 86_400;

async fn filled(fixture: &Fixture) -> Store {
    let store = fixture.open().await;
    let batches = [
        spent(1, "k1", 0, "m:latest", 1),
        spent(2, "k1", DAY, "m:latest", 20),
        spent(3, "k2", DAY, "n:latest", 300),
        spent(4, "k2", 2 * DAY, "m:latest", 4_000),
    ];
    apply(&store, &batches).await.unwrap();
    store
}

fn by(groups: &[Group]) -> SpendQuery {
    SpendQuery {
        by: groups.to_vec(),
        limit: 100,
        ..SpendQuery::default()
    }
}

/// A line for each row: what it is about, and its sums.
async fn told(store: &Store, query: &SpendQuery) -> String {
    let report = store.spend_report(query).await.unwrap();
    let lines = report.rows.iter().map(|row| {
        let names = [
            &row.kind,
            &row.entity,
            &row.date,
            &row.api_key,
            &row.model,
            &row.endpoint,
        ];
        let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
        let failed = row
            .failed_requests
            .map_or("-".to_owned(), |n| n.to_string());
        let sums = (row.spend_nano_usd, row.input_tokens, row.output_tokens);
        let names = names.into_iter().map(String::as_str).collect::<Vec<_>>();
        format!("{} {sums:?} {} {failed}", names.join("|"), row.requests)
    });
    let source = format!("{:?}, more: {}", report.source, report.more);
    std::iter::once(source)
        .chain(lines)
        .collect::<Vec<_>>()
        .join("\n")
}

on_every_database! {
    async fn sums_are_by_whatever_is_asked(fixture: &Fixture) {
        let store = filled(fixture).await;
        let accounts = told(&store, &by(&[Group::Kind, Group::Entity])).await;
        let mut keys = by(&[Group::Date, Group::Model]);
        keys.kind = Some(EntityKind::Key);
        let days = told(&store, &keys).await;
        let mut some = by(&[Group::ApiKey]);
        some.kind = Some(EntityKind::Team);
        some.entity = Some("blue".to_owned());
        some.model = Some("m:latest".to_owned());
        some.endpoint = Some("gpu-0".to_owned());
        some.from = Some("1970-01-02".parse().unwrap());
        some.to = Some("1970-01-03".parse().unwrap());
        let some = told(&store, &some).await;
        let mut first = by(&[Group::Endpoint, Group::ApiKey]);
        first.kind = Some(EntityKind::Key);
        first.order = vec![Order { by: OrderBy::Measure(Measure::FailedRequests), down: true }];
        first.limit = 1;
        let first = told(&store, &first).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!([accounts, days, some, first].join("\n"), @r#"
            Spend, more: false
            tag|a, "b" (4321, 43210, 4321) 4 -
            tag|Ü (4321, 43210, 4321) 4 -
            team|blue (4321, 43210, 4321) 4 -
            key|k2 (4300, 43000, 4300) 2 -
            key|k1 (21, 210, 21) 2 -
            DailySpend, more: false
            1970-01-01|m:latest (1, 10, 1) 1 1
            1970-01-02|n:latest (300, 3000, 300) 1 0
            1970-01-02|m:latest (20, 200, 20) 1 0
            1970-01-03|m:latest (4000, 40000, 4000) 1 0
            DailySpend, more: false
            k2 (4000, 40000, 4000) 1 0
            k1 (20, 200, 20) 1 0
            DailySpend, more: true
            k1|gpu-0 (21, 210, 21) 2 1
            "#);
        }
        let mut nobody = by(&[Group::Model]);
        nobody.entity = Some("' OR 1 = 1 --".to_owned());
        let none = store.spend_report(&nobody).await.unwrap();
        assert_eq!((none.rows.len(), none.more), (0, false));
    }

    async fn a_sum_that_no_number_holds_is_an_error_and_never_wrong(fixture: &Fixture) {
        let store = fixture.open().await;
        let most = (1 << 62) - 1;
        for (n, key) in ["a", "b", "c"].into_iter().enumerate() {
            let mut large = charge(Uuid::nil(), n as u64 + 1, key, most);
            large.spend.truncate(1);
            large.daily.truncate(1);
            apply(&store, &[Arc::new(large)]).await.unwrap();
        }
        let sum = store.spend_report(&by(&[Group::Kind])).await.unwrap_err();
        assert!(matches!(sum, Error::Query(_)), "{sum:?}");
        let each = store.spend_report(&by(&[Group::Kind, Group::Entity])).await.unwrap();
        assert!(each.rows.iter().all(|row| row.spend_nano_usd == most as i64));
    }
}
