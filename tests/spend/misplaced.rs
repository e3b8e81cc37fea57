//! Usage that LiteLLM puts in the wrong place (`M1` to `M4`): here it is where it belongs.

use std::time::Duration;

use herdsman::domain::{Charge, EntityKind, Payer, UsageRecord};

use crate::support::{Fixture, On, Router, record};

fn paid_by(entity: &str, period: i64, nano_usd: i64) -> UsageRecord {
    UsageRecord {
        charge: Charge {
            nano_usd,
            api_key: "".into(),
            payers: [Payer {
                kind: EntityKind::TeamMember,
                entity: entity.into(),
                period,
            }]
            .into(),
        },
        failed: false,
        ..record(0)
    }
}

async fn count(router: &Router, records: impl IntoIterator<Item = UsageRecord>) {
    for record in records {
        router.spend.record(record).await.unwrap();
    }
    router.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_spend_that_arrives_late_is_in_the_period_in_which_it_was_spent() {
    let fixture = Fixture::on(On::Sqlite).await;
    let mut plan = fixture.plan("a");
    plan.seal_interval = Duration::from_secs(3_600);
    let late = fixture.start(plan).await;
    late.spend.record(paid_by("ann", 1_000, 7)).await.unwrap();
    let mut plan = late.crash().await;
    plan.seal_interval = Duration::from_millis(10);
    // The budget is reset, and the next period's spend is in the database before that of the last.
    let other = fixture.leader("b").await;
    count(&other, [paid_by("ann", 2_000, 5)]).await;
    count(&fixture.start(plan).await, [paid_by("ann", 2_000, 2)]).await;
    let periods = fixture
        .database
        .directly()
        .await
        .spent_in_periods(0)
        .await
        .unwrap();
    let periods: Vec<_> = periods
        .iter()
        .map(|row| (row.period_start, row.spend_nano_usd))
        .collect();
    assert_eq!(periods, [(1_000, 7), (2_000, 7)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_names_with_separators_in_them_are_not_mixed_up() {
    let fixture = Fixture::on(On::Sqlite).await;
    let router = fixture.leader("a").await;
    let names = [
        "a::b", "a:", ":b", "a_b", "a/b", "a", "b", "a\"b", "a,b", "ä", "A",
    ];
    count(&router, names.map(|name| paid_by(name, 0, 3))).await;
    let store = fixture.database.directly().await;
    let mut found: Vec<_> = store
        .spent(EntityKind::TeamMember)
        .await
        .unwrap()
        .into_iter()
        .map(|row| (row.entity, row.spend_nano_usd))
        .collect();
    found.sort();
    let mut expected = names.map(|name| (name.to_owned(), 3));
    expected.sort();
    assert_eq!(found, expected);
}

/// Every table is written in the transaction in which the others are.
#[tokio::test(flavor = "multi_thread")]
async fn m3_the_tables_agree_at_every_moment() {
    let fixture = Fixture::on(On::Postgres).await;
    let router = fixture.leader("a").await;
    let ask = "SELECT \
        (SELECT coalesce(sum(spend_nano_usd), 0) FROM spend) || ' ' || \
        (SELECT coalesce(sum(spend_nano_usd), 0) FROM daily_spend) || ' ' || \
        (SELECT coalesce(sum(input_tokens), 0) FROM token_counts) || ' ' || \
        (SELECT coalesce(sum(input_tokens), 0) FROM token_time_series)";
    // At least until something of it was seen while more was being written.
    let (mut seen, mut round) = (0, 0);
    while seen == 0 || round < 20 {
        router.record(round * 100..round * 100 + 100).await;
        round += 1;
        let sums = fixture.database.sql(ask);
        let sums: Vec<u64> = sums.split(' ').map(|sum| sum.parse().unwrap()).collect();
        assert_eq!((sums[0], sums[2]), (sums[1], sums[3]));
        seen = sums[0];
    }
    router.settle().await;
    fixture.must_be(&(0..round * 100).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m4_a_sum_does_not_depend_on_the_order_of_its_parts() {
    let fixture = Fixture::on(On::MariaDb).await;
    let router = fixture.leader("a").await;
    let (large, small) = (900_000_000_000_000, 1);
    count(&router, [large, small, small].map(|n| paid_by("up", 0, n))).await;
    count(
        &router,
        [small, small, large].map(|n| paid_by("down", 0, n)),
    )
    .await;
    let store = fixture.database.directly().await;
    let rows = store.spent(EntityKind::TeamMember).await.unwrap();
    let sums: Vec<_> = rows.iter().map(|row| row.spend_nano_usd).collect();
    assert_eq!(sums, [large + 2, large + 2]);
}
