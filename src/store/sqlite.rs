//! A SQLite file: one connection writes, a few read.
//!
//! One writer, because SQLite has one anyway: a second would only wait. WAL, so that
//! readers never wait for it. `synchronous = FULL`, although WAL with NORMAL cannot be corrupted
//! either: with NORMAL a commit may be lost in a power failure, and by then the journal has deleted
//! what was committed. At about one commit a second the difference cannot be measured.
//!
//! SQLite does not notice that its file was removed or replaced: it goes on writing into what no
//! name leads to any more, and every commit succeeds. So the file's identity is noted when
//! connections are made, compared before they are handed out, and once more after a commit, before
//! it is reported. A replaced file gets new connections. A removed one is an error until it is
//! back or the program starts anew: were an empty one made in its place, usage committed to it
//! would be lost as soon as the operator puts the right one back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use diesel::{ConnectionResult, SqliteConnection};
use diesel_async::pooled_connection::deadpool::{Object, Pool, PoolError};
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use futures_util::FutureExt;

use super::error::Error;
use super::server::within;
use crate::system::files::FileId;

/// One connection. Each call goes through tokio's blocking pool.
pub(super) type Connection = SyncConnectionWrapper<SqliteConnection>;

/// Readers are for pages and reports; more would only warm more page caches.
const READERS: usize = 4;

/// To get the writer. Every call here ends sooner, unless the disk hangs.
const WRITER_TIMEOUT: Duration = Duration::from_secs(30);

/// Waits up to 5 s for a lock that another program holds (`sqlite3`, a backup). First of all,
/// since the next statement may already need it.
const WRITER_SETUP: &str =
    "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
const READER_SETUP: &str = "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON;";

/// The file and the connections to it.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    opened: ArcSwap<Opened>,
}

/// Connections that lead to one and the same file.
struct Opened {
    file: FileId,
    writer: Pool<Connection>,
    readers: Pool<Connection>,
}

/// The writing connection, and the file it writes to. Whoever drops it unsettled, because the call
/// was cancelled, say, closes it: it may stand in the middle of a transaction.
pub(super) struct Writer {
    connection: Option<Object<Connection>>,
    file: FileId,
}

impl Writer {
    /// # Panics
    /// Never: only [`Database::settle`] empties it, and takes it away.
    pub(super) fn connection(&mut self) -> &mut Connection {
        let object = self.connection.as_mut();
        object.expect("it is emptied only when it is settled")
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.connection.take().map(Object::take));
    }
}

impl Database {
    pub(super) async fn open(path: PathBuf) -> Result<Self, Error> {
        let url = path.to_str().ok_or_else(|| Error::File {
            path: path.clone(),
            source: std::io::Error::other("the path is not valid UTF-8"),
        })?;
        drop(connect(url, WRITER_SETUP).await?);
        let opened = Opened::new(url, file_id(&path)?)?;
        Ok(Self {
            opened: ArcSwap::from_pointee(opened),
            path,
        })
    }

    /// The one writing connection, when whoever has it is done.
    pub(super) async fn writer(&self) -> Result<Writer, Error> {
        let opened = self.current()?;
        Ok(Writer {
            connection: Some(checkout(&opened.writer).await?),
            file: opened.file,
        })
    }

    /// A connection that cannot write.
    pub(super) async fn reader(&self) -> Result<Object<Connection>, Error> {
        checkout(&self.current()?.readers).await
    }

    /// Takes the writer back. Its work counts only if `Ok` comes back: a failed connection is
    /// thrown away, and a commit into a file that is no longer ours is none.
    pub(super) fn settle<T>(
        &self,
        mut writer: Writer,
        outcome: Result<T, Error>,
    ) -> Result<T, Error> {
        let value = outcome.map_err(classified)?;
        if file_id(&self.path)? != writer.file {
            return Err(Error::Gone(self.path.clone()));
        }
        drop(writer.connection.take());
        Ok(value)
    }

    fn current(&self) -> Result<Arc<Opened>, Error> {
        let file = file_id(&self.path)?;
        let opened = self.opened.load_full();
        if opened.file == file {
            return Ok(opened);
        }
        tracing::warn!(path = %self.path.display(), "the database file was replaced, opening it anew");
        let url = self.path.to_str().unwrap_or_default();
        let opened = Arc::new(Opened::new(url, file)?);
        self.opened.store(Arc::clone(&opened));
        Ok(opened)
    }
}

impl Opened {
    fn new(url: &str, file: FileId) -> Result<Self, Error> {
        Ok(Self {
            file,
            writer: pool(url, WRITER_SETUP, 1)?,
            readers: pool(url, READER_SETUP, READERS)?,
        })
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

fn pool(url: &str, setup: &'static str, size: usize) -> Result<Pool<Connection>, Error> {
    let mut config = ManagerConfig::default();
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(move |url| connect(url, setup).boxed());
    let manager = AsyncDieselConnectionManager::new_with_config(url, config);
    Pool::builder(manager)
        .max_size(size)
        .build()
        .map_err(|error| Error::Unavailable(error.to_string()))
}

async fn checkout(pool: &Pool<Connection>) -> Result<Object<Connection>, Error> {
    within(WRITER_TIMEOUT, pool.get()).await?.map_err(unpooled)
}

fn unpooled(error: PoolError) -> Error {
    Error::Unavailable(error.to_string())
}

/// What an error means. SQLite's messages are always in English.
pub(super) fn classified(error: Error) -> Error {
    let error = match error {
        Error::Query(error) => match Error::by_kind(error) {
            Ok(known) => return known,
            Err(error) => error,
        },
        other => return other,
    };
    match error.to_string() {
        said if said.contains("locked") => Error::Contended(said),
        said if ["disk", "readonly", "unable to open"]
            .iter()
            .any(|word| said.contains(word)) =>
        {
            Error::Unavailable(said)
        }
        _ => Error::Query(error),
    }
}

async fn connect(url: &str, setup: &str) -> ConnectionResult<Connection> {
    let mut connection = Connection::establish(url).await?;
    connection
        .batch_execute(setup)
        .await
        .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

/// What tells the file from another one under the same name.
fn file_id(path: &Path) -> Result<FileId, Error> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(FileId::from(&metadata)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::Gone(path.to_owned()))
        }
        Err(source) => Err(Error::File {
            path: path.to_owned(),
            source,
        }),
    }
}
