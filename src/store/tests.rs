use std::fs;
use std::sync::Arc;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

use super::{Applied, BatchId, BatchRow, Error, SQLITE_FILE, SealedBatch, Store};
use crate::domain::{ModelName, TokenCounts};

async fn migrated() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open("", dir.path()).await.unwrap();
    store.migrate().await.unwrap();
    (dir, store)
}

/// What the operator's `sqlite3` would be: another connection to the same file.
fn other_program(dir: &TempDir) -> SqliteConnection {
    SqliteConnection::establish(dir.path().join(SQLITE_FILE).to_str().unwrap()).unwrap()
}

fn model(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

fn batch(producer: Uuid, seq: u64, rows: &[(&str, &str, i64, u64)]) -> Arc<SealedBatch> {
    Arc::new(SealedBatch {
        id: BatchId { producer, seq },
        rows: rows
            .iter()
            .map(|&(endpoint, model, minute, input)| BatchRow {
                endpoint: endpoint.into(),
                model: model.into(),
                minute,
                tokens: TokenCounts { input, output: 1 },
            })
            .collect(),
        spend: Vec::new(),
        daily: Vec::new(),
        records: rows.len() as u64,
        oldest: 0,
    })
}

async fn input_total(store: &Store) -> i64 {
    let counts = store.token_counts().await.unwrap();
    counts.iter().map(|row| row.input_tokens).sum()
}

#[tokio::test]
async fn migrations_go_up_down_and_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open("", dir.path()).await.unwrap();
    let pending = store.pending_migrations().await.unwrap();
    assert!(!pending.is_empty());
    assert_eq!(store.migrate().await.unwrap().len(), pending.len());
    assert!(store.pending_migrations().await.unwrap().is_empty());
    assert!(store.migrate().await.unwrap().is_empty());
    assert_eq!(store.revert_all().await.unwrap().len(), pending.len());
    assert_eq!(store.pending_migrations().await.unwrap(), pending);
    store.migrate().await.unwrap();
    assert!(store.token_counts().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_schema_in_rust_is_the_schema_in_sql() {
    #[derive(QueryableByName, Debug)]
    struct Column {
        #[diesel(sql_type = diesel::sql_types::Text)]
        described: String,
    }
    let (dir, _store) = migrated().await;
    let columns: Vec<Column> = diesel::sql_query(
        "SELECT m.name || '.' || c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || c.pk AS described \
         FROM sqlite_schema m JOIN pragma_table_info(m.name) c \
         WHERE m.type = 'table' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\' ORDER BY m.name, c.cid",
    )
    .load(&mut other_program(&dir))
    .unwrap();
    let columns: Vec<_> = columns.into_iter().map(|c| c.described).collect();
    insta::assert_snapshot!(columns.join("\n"), @r"
    spend_batches.producer TEXT 1 1
    spend_batches.seq BIGINT 1 2
    spend_batches.applied_at BIGINT 1 0
    token_counts.endpoint TEXT 1 1
    token_counts.model TEXT 1 2
    token_counts.input_tokens BIGINT 1 0
    token_counts.output_tokens BIGINT 1 0
    token_counts.total_tokens BIGINT 1 0
    token_time_series.endpoint TEXT 1 1
    token_time_series.model TEXT 1 2
    token_time_series.timestamp BIGINT 1 3
    token_time_series.input_tokens BIGINT 1 0
    token_time_series.output_tokens BIGINT 1 0
    token_time_series.total_tokens BIGINT 1 0
    ");
}

#[tokio::test]
async fn a_batch_is_added_once_however_often_it_comes() {
    let (_dir, store) = migrated().await;
    let producer = Uuid::now_v7();
    let one = batch(
        producer,
        1,
        &[("a", "m:latest", 60, 5), ("a", "m:latest", 120, 7)],
    );
    let two = batch(
        producer,
        2,
        &[("a", "m:latest", 60, 100), ("b", "n:1b", 60, 1)],
    );

    let first = store.apply(&[one.clone(), one.clone()]).await.unwrap();
    assert_eq!(first, Applied { fresh: 1, known: 1 });
    let both = store.apply(&[one.clone(), two.clone()]).await.unwrap();
    assert_eq!(both, Applied { fresh: 1, known: 1 });
    let again = store.apply(&[two.clone(), one.clone()]).await.unwrap();
    assert_eq!(again, Applied { fresh: 0, known: 2 });

    let counts = store.token_counts().await.unwrap();
    let counts: Vec<_> = counts
        .iter()
        .map(|r| {
            (
                &*r.endpoint,
                &*r.model,
                r.input_tokens,
                r.output_tokens,
                r.total_tokens,
            )
        })
        .collect();
    assert_eq!(
        counts,
        [("a", "m:latest", 112, 3, 115), ("b", "n:1b", 1, 1, 2)]
    );
    assert_eq!(
        store.token_counts_of(&model("n:1b")).await.unwrap().len(),
        1
    );

    let minutes = store.time_series(&model("m"), u32::MAX).await.unwrap();
    let minutes: Vec<_> = minutes
        .iter()
        .map(|r| (r.timestamp, r.input_tokens))
        .collect();
    assert_eq!(minutes, [(120, 7), (60, 105)], "newest first");
    assert_eq!(store.time_series(&model("m"), 1).await.unwrap().len(), 1);

    let unknown = BatchId {
        producer: Uuid::now_v7(),
        seq: 1,
    };
    let applied = store.applied(&[one.id, two.id, unknown]).await.unwrap();
    assert_eq!(applied, [one.id, two.id].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_flushes_of_the_same_batches_at_once_add_them_once() {
    let (dir, store) = migrated().await;
    let elsewhere = Store::open("", dir.path()).await.unwrap();
    let producer = Uuid::now_v7();
    let batches: Vec<_> = (1..=50)
        .map(|seq| batch(producer, seq, &[("a", "m:latest", 60, 1)]))
        .collect();
    let (here, there) = tokio::join!(store.apply(&batches), elsewhere.apply(&batches));
    assert_eq!(here.unwrap().fresh + there.unwrap().fresh, 50);
    assert_eq!(input_total(&store).await, 50);
}

#[tokio::test]
async fn more_rows_than_one_statement_takes_are_all_added() {
    let (_dir, store) = migrated().await;
    let names: Vec<String> = (0..1_203).map(|at| format!("m{at}:latest")).collect();
    let rows: Vec<_> = names
        .iter()
        .map(|name| ("a", name.as_str(), 60, 2))
        .collect();
    store
        .apply(&[batch(Uuid::now_v7(), 1, &rows)])
        .await
        .unwrap();
    assert_eq!(store.token_counts().await.unwrap().len(), 1_203);
    assert_eq!(input_total(&store).await, 2_406);
}

#[tokio::test]
async fn a_transaction_refused_half_way_leaves_nothing_and_can_be_repeated() {
    let (dir, store) = migrated().await;
    let mut operator = other_program(&dir);
    operator
        .batch_execute(
            "CREATE TRIGGER no BEFORE INSERT ON token_time_series \
             BEGIN SELECT RAISE(ABORT, 'attempt to write a readonly database'); END;",
        )
        .unwrap();
    let one = batch(Uuid::now_v7(), 1, &[("a", "m:latest", 60, 5)]);
    let refused = store.apply(std::slice::from_ref(&one)).await.unwrap_err();
    assert!(refused.to_string().contains("readonly"), "{refused}");
    assert!(store.applied(&[one.id]).await.unwrap().is_empty());
    assert!(store.token_counts().await.unwrap().is_empty());

    operator.batch_execute("DROP TRIGGER no").unwrap();
    assert_eq!(store.apply(&[one]).await.unwrap().fresh, 1);
    assert_eq!(input_total(&store).await, 5);
}

#[tokio::test]
async fn a_file_moved_away_is_an_error_until_it_is_back() {
    let (dir, store) = migrated().await;
    let (path, aside) = (dir.path().join(SQLITE_FILE), dir.path().join("aside"));
    let producer = Uuid::now_v7();
    store
        .apply(&[batch(producer, 1, &[("a", "m:latest", 60, 1)])])
        .await
        .unwrap();

    fs::rename(&path, &aside).unwrap();
    let two = batch(producer, 2, &[("a", "m:latest", 60, 10)]);
    let gone = store.apply(std::slice::from_ref(&two)).await.unwrap_err();
    assert!(matches!(gone, Error::Gone(_)), "{gone}");
    assert!(matches!(store.token_counts().await, Err(Error::Gone(_))));
    assert!(
        !path.exists(),
        "no empty database takes the place of the right one"
    );

    fs::rename(&aside, &path).unwrap();
    store.apply(&[two]).await.unwrap();
    assert_eq!(input_total(&store).await, 11);
}

#[tokio::test]
async fn a_file_replaced_by_another_is_opened_anew() {
    let (dir, store) = migrated().await;
    let producer = Uuid::now_v7();
    let one = batch(producer, 1, &[("a", "m:latest", 60, 1)]);
    store.apply(std::slice::from_ref(&one)).await.unwrap();

    // A backup, made as SQLite's manual says, put back over the file in use.
    let backup = dir.path().join("backup");
    other_program(&dir)
        .batch_execute(&format!("VACUUM INTO '{}'", backup.display()))
        .unwrap();
    let two = batch(producer, 2, &[("a", "m:latest", 60, 10)]);
    store.apply(std::slice::from_ref(&two)).await.unwrap();
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(dir.path().join(format!("{SQLITE_FILE}{suffix}"))).unwrap();
    }
    fs::rename(&backup, dir.path().join(SQLITE_FILE)).unwrap();

    assert_eq!(
        input_total(&store).await,
        1,
        "the backup has only the first"
    );
    let applied = store.apply(&[one, two]).await.unwrap();
    assert_eq!(applied, Applied { fresh: 1, known: 1 });
    assert_eq!(input_total(&store).await, 11);
}

#[tokio::test]
async fn an_address_we_do_not_speak_is_refused_without_its_password() {
    let dir = tempfile::tempdir().unwrap();
    let error = Store::open("oracle://scott:tiger@db/x", dir.path())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "store.url: `oracle` is not a supported kind of database"
    );
}
