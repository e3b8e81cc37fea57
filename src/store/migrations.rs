//! The migrations, carried inside the program.

use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::Store;
use super::error::Error;
use super::pool::Pool;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

impl Store {
    /// Runs what is pending, each migration in a transaction of its own. Returns their names.
    ///
    /// # Errors
    /// When one fails; those before it stay.
    pub async fn migrate(&self) -> Result<Vec<String>, Error> {
        self.with_harness(|harness| {
            let ran = harness.run_pending_migrations(SQLITE)?;
            Ok(ran.iter().map(ToString::to_string).collect())
        })
        .await
    }

    /// The names of the migrations that [`Store::migrate`] would run.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, Error> {
        self.with_harness(|harness| {
            let pending = harness.pending_migrations(SQLITE)?;
            Ok(pending.iter().map(|m| m.name().to_string()).collect())
        })
        .await
    }

    /// Takes back everything [`Store::migrate`] made.
    #[cfg(test)]
    pub(super) async fn revert_all(&self) -> Result<Vec<String>, Error> {
        self.with_harness(|harness| {
            let reverted = harness.revert_all_migrations(SQLITE)?;
            Ok(reverted.iter().map(ToString::to_string).collect())
        })
        .await
    }

    async fn with_harness(
        &self,
        work: impl FnOnce(&mut diesel::SqliteConnection) -> diesel::migration::Result<Vec<String>>
        + Send
        + 'static,
    ) -> Result<Vec<String>, Error> {
        match &*self.pool {
            Pool::Sqlite(database) => {
                let mut writer = database.writer().await?;
                let outcome = writer
                    .connection
                    .spawn_blocking(|connection| {
                        Ok(work(connection).map_err(|error| Error::Migration(error.to_string())))
                    })
                    .await;
                database.settle(writer, outcome?)
            }
        }
    }
}
