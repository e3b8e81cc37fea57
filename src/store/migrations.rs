//! The migrations, carried inside the program: a folder for each kind of database, with equal names.
//!
//! Any number of routers may start at once: one migrates, the others wait for it and find nothing to
//! do. On PostgreSQL and SQLite a migration happens or does not; MySQL cannot take back a `CREATE`,
//! so there each statement can be repeated. A database that is newer than the program is left as it
//! is: see `docs/src/databases.md` for the rule that makes this work.

use diesel::backend::Backend;
use diesel::migration::Result as Migrated;
use diesel_async::{AsyncMigrationHarness, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::Store;
use super::dialect::Dialect;
use super::error::Error;
use super::pool::Pool;
use super::server::{Kind, PING_TIMEOUT, Server, within};

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
const MYSQL: EmbeddedMigrations = embed_migrations!("migrations/mysql");

#[derive(Clone, Copy)]
enum Task {
    Run,
    List,
    #[cfg(test)]
    Revert,
}

impl Store {
    /// Runs what is pending, one after the other. Returns their names.
    ///
    /// # Errors
    /// When one fails; those before it stay, except with SQLite, where none does.
    pub async fn migrate(&self) -> Result<Vec<String>, Error> {
        self.perform(Task::Run).await
    }

    /// The names of the migrations that [`Store::migrate`] would run.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, Error> {
        self.perform(Task::List).await
    }

    /// Takes back everything [`Store::migrate`] made.
    #[cfg(test)]
    pub(super) async fn revert_all(&self) -> Result<Vec<String>, Error> {
        self.perform(Task::Revert).await
    }

    async fn perform(&self, task: Task) -> Result<Vec<String>, Error> {
        match &*self.pool {
            Pool::Sqlite(database) => {
                let mut writer = database.writer().await?;
                let work = writer.connection().spawn_blocking(move |connection| {
                    let done = connection.immediate_transaction(|connection| {
                        perform(connection, SQLITE, task).map_err(Failed::Migration)
                    });
                    Ok(done)
                });
                let done = match work.await {
                    Ok(done) => done.map_err(Error::from),
                    Err(error) => Err(error.into()),
                };
                database.settle(writer, done)
            }
            Pool::Postgres(server) => on_server(server, POSTGRES, task).await,
            Pool::Mysql(server) => on_server(server, MYSQL, task).await,
        }
    }
}

async fn on_server<K: Kind>(
    server: &Server<K>,
    migrations: EmbeddedMigrations,
    task: Task,
) -> Result<Vec<String>, Error>
where
    K::Connection: Dialect + 'static,
    AsyncMigrationHarness<K::Connection>:
        MigrationHarness<<K::Connection as diesel_async::AsyncConnectionCore>::Backend>,
    <K::Connection as diesel_async::AsyncConnectionCore>::Backend: Backend,
{
    let mut connection = server.alone().await?;
    connection.lock_migrations().await?;
    // The lock goes with the connection, and the connection with the harness.
    let work = tokio::task::spawn_blocking(move || {
        let mut harness = AsyncMigrationHarness::new(connection);
        let done = perform(&mut harness, migrations, task);
        (done, harness.into_inner())
    });
    match work.await {
        Ok((Ok(done), _)) => Ok(done),
        Ok((Err(error), mut connection)) => {
            // A server that went away in the middle says nothing about the migration.
            match within(PING_TIMEOUT, connection.batch_execute("SELECT 1")).await {
                Ok(Ok(())) => Err(Error::Migration(error.to_string())),
                Ok(Err(_)) | Err(_) => Err(Error::Unavailable(error.to_string())),
            }
        }
        Err(interrupted) => Err(Error::Migration(interrupted.to_string())),
    }
}

fn perform<B: Backend, H: MigrationHarness<B>>(
    harness: &mut H,
    migrations: EmbeddedMigrations,
    task: Task,
) -> Migrated<Vec<String>> {
    match task {
        Task::Run => {
            let ran = harness.run_pending_migrations(migrations)?;
            Ok(ran.iter().map(ToString::to_string).collect())
        }
        Task::List => {
            let pending = harness.pending_migrations(migrations)?;
            Ok(pending.iter().map(|m| m.name().to_string()).collect())
        }
        #[cfg(test)]
        Task::Revert => {
            let reverted = harness.revert_all_migrations(migrations)?;
            Ok(reverted.iter().map(ToString::to_string).collect())
        }
    }
}

/// A migration or the transaction around it did not work.
enum Failed {
    Migration(Box<dyn std::error::Error + Send + Sync>),
    Transaction(diesel::result::Error),
}

impl From<diesel::result::Error> for Failed {
    fn from(error: diesel::result::Error) -> Self {
        Self::Transaction(error)
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Migration(error) => Self::Migration(error.to_string()),
            Failed::Transaction(error) => Self::Query(error),
        }
    }
}
