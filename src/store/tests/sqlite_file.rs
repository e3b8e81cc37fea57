//! Cases that exist only for a file.

use std::fs;

use super::*;

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
    let refused = apply(&store, std::slice::from_ref(&one)).await.unwrap_err();
    assert!(refused.to_string().contains("readonly"), "{refused}");
    assert!(store.applied(&[one.id]).await.unwrap().is_empty());
    assert!(store.token_counts().await.unwrap().is_empty());

    operator.batch_execute("DROP TRIGGER no").unwrap();
    assert_eq!(apply(&store, &[one]).await.unwrap().fresh, 1);
    assert_eq!(input_total(&store).await, 5);
}

#[tokio::test]
async fn a_file_moved_away_is_an_error_until_it_is_back() {
    let (dir, store) = migrated().await;
    let (path, aside) = (dir.path().join(SQLITE_FILE), dir.path().join("aside"));
    let producer = Uuid::now_v7();
    apply(&store, &[batch(producer, 1, &[("a", "m:latest", 60, 1)])])
        .await
        .unwrap();

    fs::rename(&path, &aside).unwrap();
    let two = batch(producer, 2, &[("a", "m:latest", 60, 10)]);
    let gone = apply(&store, std::slice::from_ref(&two)).await.unwrap_err();
    assert!(matches!(gone, Error::Gone(_)), "{gone}");
    assert!(matches!(store.token_counts().await, Err(Error::Gone(_))));
    assert!(
        !path.exists(),
        "no empty database takes the place of the right one"
    );

    fs::rename(&aside, &path).unwrap();
    apply(&store, &[two]).await.unwrap();
    assert_eq!(input_total(&store).await, 11);
}

#[tokio::test]
async fn a_file_replaced_by_another_is_opened_anew() {
    let (dir, store) = migrated().await;
    let producer = Uuid::now_v7();
    let one = batch(producer, 1, &[("a", "m:latest", 60, 1)]);
    apply(&store, std::slice::from_ref(&one)).await.unwrap();

    // A backup, made as SQLite's manual says, put back over the file in use.
    let backup = dir.path().join("backup");
    other_program(&dir)
        .batch_execute(&format!("VACUUM INTO '{}'", backup.display()))
        .unwrap();
    let two = batch(producer, 2, &[("a", "m:latest", 60, 10)]);
    apply(&store, std::slice::from_ref(&two)).await.unwrap();
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(dir.path().join(format!("{SQLITE_FILE}{suffix}"))).unwrap();
    }
    fs::rename(&backup, dir.path().join(SQLITE_FILE)).unwrap();

    assert_eq!(
        input_total(&store).await,
        1,
        "the backup has only the first"
    );
    let applied = apply(&store, &[one, two]).await.unwrap();
    assert_eq!(applied, Applied { fresh: 1, known: 1 });
    assert_eq!(input_total(&store).await, 11);
}

#[tokio::test]
async fn an_unsupported_address_is_refused_without_its_password() {
    let dir = tempfile::tempdir().unwrap();
    let error = Store::open("oracle://scott:tiger@db/x", dir.path())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "store.url: `oracle` is not a supported kind of database"
    );
}
