use futures_util::future::join_all;

use super::*;

on_every_database! {
    async fn migrations_go_up_down_and_up_again(fixture: &Fixture) {
        let fixture = Fixture::bare(fixture.on);
        let store = fixture.open().await;
        let pending = store.pending_migrations().await.unwrap();
        assert_eq!(pending.len(), 7);
        assert_eq!(store.migrate().await.unwrap().len(), pending.len());
        assert!(store.pending_migrations().await.unwrap().is_empty());
        assert!(store.migrate().await.unwrap().is_empty());
        apply(&store, &[Arc::new(charge(Uuid::now_v7(), 1, "k", 5))]).await.unwrap();

        assert_eq!(store.revert_all().await.unwrap().len(), pending.len());
        assert_eq!(store.pending_migrations().await.unwrap(), pending);
        store.migrate().await.unwrap();
        assert!(store.token_counts().await.unwrap().is_empty());
        assert!(store.spent(EntityKind::Key).await.unwrap().is_empty());
        assert_eq!(apply(&store, &[Arc::new(charge(Uuid::now_v7(), 1, "k", 5))]).await.unwrap().fresh, 1);
    }

    async fn of_many_routers_that_start_at_once_one_migrates(fixture: &Fixture) {
        let fixture = Fixture::bare(fixture.on);
        // A file has its lock only from the first connection on, so that is made before.
        let stores = join_all((0..6).map(|_| fixture.open())).await;
        let ran = join_all(stores.iter().map(Store::migrate)).await;
        let ran: Vec<_> = ran.into_iter().map(|ran| ran.unwrap().len()).collect();
        assert_eq!(ran.iter().sum::<usize>(), 7, "{ran:?}");
        assert_eq!(ran.iter().filter(|ran| **ran > 0).count(), 1, "{ran:?}");
    }

    async fn what_an_earlier_version_counted_stays_counted(fixture: &Fixture) {
        let fixture = Fixture::bare(fixture.on);
        let store = fixture.open().await;
        store.migrate().await.unwrap();
        let producer = Uuid::now_v7();
        let one = batch(producer, 1, &[("a", "m:latest", 60, 5)]);
        apply(&store, std::slice::from_ref(&one)).await.unwrap();
        // Back to before the producers had a table, and up again.
        for table in [
            "dead_letters", "spend_producers", "flush_leader", "daily_spend", "spend_periods", "spend",
        ] {
            fixture.sql(&format!("DROP TABLE {table}"));
        }
        fixture.sql("ALTER TABLE spend_batches DROP COLUMN records");
        fixture.sql("DELETE FROM __diesel_schema_migrations WHERE version IN ('20261122000000', '20261124000000')");
        assert_eq!(store.migrate().await.unwrap().len(), 2);
        assert_eq!(apply(&store, &[one]).await.unwrap(), Applied { fresh: 0, known: 1 });
        assert_eq!(store.prune_batches(i64::MAX).await.unwrap(), 1);
        assert_eq!(store.applied(&[id(producer, 1)]).await.unwrap().len(), 1);
    }

    async fn a_database_that_is_newer_is_left_as_it_is(fixture: &Fixture) {
        fixture.sql("INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000000')");
        fixture.sql("ALTER TABLE spend ADD COLUMN cached_tokens BIGINT NOT NULL DEFAULT 0");
        let store = fixture.open().await;
        assert!(store.migrate().await.unwrap().is_empty());
        apply(&store, &[Arc::new(charge(Uuid::now_v7(), 1, "k", 5))]).await.unwrap();
        assert_eq!(store.spent(EntityKind::Key).await.unwrap()[0].spend_nano_usd, 5);
    }

    /// diesel's schema against the tables.
    async fn the_schema_in_rust_is_the_schema_in_sql(fixture: &Fixture) {
        let columns = described(fixture);
        insta::allow_duplicates! { insta::assert_snapshot!(columns, @r"
        access_version: singleton# version#
        accounts: kind id name user_id team_id org_id budget_id limit_nano_usd#? period rules metadata blocked# expires_at#? created_at# deleted_at#? version#
        daily_spend: kind entity date api_key model endpoint spend_nano_usd# input_tokens# output_tokens# requests# failed_requests#
        dead_letters: id producer seq# reason payload created_at# replayed_at#?
        endpoint_drains: name model lasting# since#
        endpoints: name url address kind api_key settings draining created_at# updated_at# version#
        flush_leader: singleton# epoch# leader
        model_instances: kind name host port# url run incarnation# stopped# registered_at# seen_at# lease_until# facts
        prices: model input_nano_usd# cached_input_nano_usd# output_nano_usd# updated_at# deleted_at#? version#
        spend: kind entity spend_nano_usd# input_tokens# output_tokens# requests#
        spend_batches: producer seq# applied_at# records#?
        spend_periods: kind entity period_start# spend_nano_usd# input_tokens# output_tokens# requests#
        spend_producers: producer high_water# last_seen# records#? records_through#?
        token_counts: endpoint model input_tokens# output_tokens# total_tokens#
        token_time_series: endpoint model timestamp# input_tokens# output_tokens# total_tokens#
        "); }
    }
}

/// Tables and columns; `#` marks a whole number, `?` one that may be absent.
fn described(fixture: &Fixture) -> String {
    let own = "t.table_name NOT LIKE '\\_\\_%'";
    let mut lines: Vec<String> = match fixture.server() {
        Some(server) => {
            let schema = match fixture.on {
                On::MariaDb => "DATABASE()",
                On::Sqlite | On::Postgres => "'public'",
            };
            let kind = "CASE WHEN t.data_type = 'bigint' THEN '#' ELSE '' END";
            let absent = "CASE WHEN t.is_nullable = 'YES' THEN '?' ELSE '' END";
            let statement = format!(
                "SELECT concat(t.table_name, ' ', t.column_name, {kind}, {absent}) \
                 FROM information_schema.columns t \
                 WHERE t.table_schema = {schema} AND {own} ORDER BY t.table_name, t.ordinal_position"
            );
            let found = server.sql(&fixture.database, &statement);
            found.lines().map(str::to_owned).collect()
        }
        None => {
            #[derive(QueryableByName)]
            struct Row {
                #[diesel(sql_type = diesel::sql_types::Text)]
                described: String,
            }
            let rows: Vec<Row> = diesel::sql_query(
                "SELECT m.name || ' ' || c.name || CASE c.type WHEN 'BIGINT' THEN '#' ELSE '' END \
                 || CASE WHEN c.\"notnull\" THEN '' ELSE '?' END AS described \
                 FROM sqlite_schema m JOIN pragma_table_info(m.name) c \
                 WHERE m.type = 'table' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\' \
                 ORDER BY m.name, c.cid",
            )
            .load(&mut fixture.file())
            .unwrap();
            rows.into_iter().map(|row| row.described).collect()
        }
    };
    let mut tables: Vec<String> = Vec::new();
    for line in lines.drain(..) {
        let (table, column) = line.split_once(' ').unwrap();
        let begin = format!("{table}:");
        match tables.last_mut() {
            Some(last) if last.starts_with(&begin) => {
                last.push(' ');
                last.push_str(column);
            }
            _ => tables.push(format!("{begin} {column}")),
        }
    }
    tables.sort();
    tables.join("\n")
}
