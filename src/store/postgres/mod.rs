//! A PostgreSQL server: its address, and how a session with it is set up.
//!
//! Implemented down to the socket for two reasons: the code of an error ([`sqlstate`]), and
//! addresses with several hosts, of which the one that takes writes is wanted. After a failover the
//! next connection therefore finds the new primary by itself.

mod sqlstate;
mod tls;

use std::path::Path;
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::TaskTracker;

use super::address;
use super::error::Error;
use super::server::{ABANDONED, CONNECT_TIMEOUT, Kind, LOCK_TIMEOUT, STATEMENT_TIMEOUT};
use sqlstate::{LastError, Wire, Within};
use tls::Trust;

/// How long an idle connection is silent before the kernel checks whether the other side is alive.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Where it is and how to talk to it.
pub(super) struct Postgres {
    config: Config,
    tls: MakeRustlsConnect,
    /// The tasks that move the bytes. Each ends with its connection.
    tracker: TaskTracker,
}

/// A connection and the code of its last error.
pub(super) struct Link {
    connection: AsyncPgConnection,
    last: LastError,
}

impl AsMut<AsyncPgConnection> for Link {
    fn as_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection
    }
}

impl From<Link> for AsyncPgConnection {
    fn from(link: Link) -> Self {
        link.connection
    }
}

impl Postgres {
    pub(super) fn at(address: &str) -> Result<Self, Error> {
        let (rest, taken) = address::take(address, &["sslmode", "sslrootcert"]);
        let (ssl_mode, trust) = match taken.get("sslmode").map(String::as_str) {
            None | Some("prefer") => (SslMode::Prefer, Trust::Anybody),
            Some("disable") => (SslMode::Disable, Trust::Anybody),
            Some("require") => (SslMode::Require, Trust::Anybody),
            Some("verify-ca") => (SslMode::Require, Trust::Authority),
            Some("verify-full") => (SslMode::Require, Trust::Host),
            Some(_) => {
                return Err(Error::Address(
                    "sslmode must be disable, prefer, require, verify-ca or verify-full".to_owned(),
                ));
            }
        };
        let mut config: Config = rest.parse().map_err(not_understood)?;
        config.ssl_mode(ssl_mode);
        if config.get_hosts().is_empty() {
            return Err(Error::Address("names no host".to_owned()));
        }
        let roots = taken.get("sslrootcert").filter(|path| *path != "system");
        if config.get_application_name().is_none() {
            config.application_name("herdsman");
        }
        Ok(Self {
            config,
            tls: tls::connector(trust, roots.map(Path::new))?,
            tracker: TaskTracker::new(),
        })
    }

    async fn connect_to(&self, at: usize, host: &Host) -> Result<Link, Error> {
        let ports = self.config.get_ports();
        let port = *ports.get(at).or(ports.first()).unwrap_or(&5432);
        let away = |error: std::io::Error| Error::Unavailable(error.to_string());
        match host {
            Host::Tcp(name) => {
                let stream = TcpStream::connect((name.as_str(), port))
                    .await
                    .map_err(away)?;
                let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
                socket2::SockRef::from(&stream)
                    .set_tcp_keepalive(&keepalive)
                    .and_then(|()| stream.set_nodelay(true))
                    .map_err(away)?;
                self.begin(stream, name, self.config.get_ssl_mode()).await
            }
            Host::Unix(folder) => {
                let path = folder.join(format!(".s.PGSQL.{port}"));
                let stream = UnixStream::connect(path).await.map_err(away)?;
                // Nobody listens on a socket in a folder of this machine.
                self.begin(stream, "", SslMode::Disable).await
            }
        }
    }

    async fn begin<S>(&self, stream: S, name: &str, mode: SslMode) -> Result<Link, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut config = self.config.clone();
        config.ssl_mode(mode);
        let last = LastError::default();
        let wire = Wire::new(stream, last.clone(), mode != SslMode::Disable);
        let mut tls = self.tls.clone();
        let tls = MakeTlsConnect::<S>::make_tls_connect(&mut tls, name)
            .map_err(|error| Error::Address(error.to_string()))?;
        let connected = config.connect_raw(wire, Within(tls)).await;
        let (client, driver) = connected.map_err(refused)?;
        self.tracker.spawn(async move {
            if let Err(error) = driver.await {
                // The call that used it fails, too, and its error is logged at a higher level.
                tracing::debug!(%error, "a connection to PostgreSQL ended");
            }
        });
        suitable(&client).await?;
        let connection = AsyncPgConnection::try_from(client).await?;
        Ok(Link { connection, last })
    }
}

impl Kind for Postgres {
    type Connection = AsyncPgConnection;
    type Link = Link;

    async fn connect(&self) -> Result<Link, Error> {
        let mut failures = Vec::new();
        // A host that is silent is left for the next one while there is time.
        let hosts = u32::try_from(self.config.get_hosts().len()).unwrap_or(u32::MAX);
        let share = CONNECT_TIMEOUT / hosts.max(1);
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            let link = tokio::time::timeout(share, self.connect_to(at, host)).await;
            match link {
                Ok(Ok(link)) => return Ok(link),
                Ok(Err(error)) => failures.push(error.to_string()),
                Err(_) => failures.push(format!("no answer within {share:?}")),
            }
        }
        Err(Error::Unavailable(failures.join("; ")))
    }

    async fn classify(link: &mut Link, error: Error) -> Error {
        match error {
            Error::Query(error) => match Error::by_kind(error) {
                Ok(known) => known,
                Err(error) => Error::by_state(&link.last.state(), error),
            },
            other => other,
        }
    }
}

/// Sets the session up, and refuses a server that would not keep what it is given.
async fn suitable(client: &Client) -> Result<(), Error> {
    // What an operator set for everybody is not trusted with exactly-once: a database that commits
    // asynchronously may lose what the journal, told that it is safe, has deleted too.
    let setup = format!(
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED; \
         SET statement_timeout = {}; SET lock_timeout = {}; \
         SET idle_in_transaction_session_timeout = {}; \
         SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') = 'off'; \
         SELECT current_setting('transaction_read_only'), current_setting('server_encoding')",
        STATEMENT_TIMEOUT.as_millis(),
        LOCK_TIMEOUT.as_millis(),
        ABANDONED.as_millis(),
    );
    let said = client.simple_query(&setup).await.map_err(refused)?;
    let row = said.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((row.get(0)?, row.get(1)?)),
        _ => None,
    });
    match row {
        Some(("off", "UTF8")) => Ok(()),
        Some(("off", encoding)) => Err(Error::Address(format!(
            "the database is encoded as {encoding} and cannot keep every name; it must be UTF8"
        ))),
        _ => Err(Error::Unavailable("the server takes no writes".to_owned())),
    }
}

/// Never shows the address.
fn not_understood(error: tokio_postgres::Error) -> Error {
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    Error::Address(cause.unwrap_or_else(|| error.to_string()))
}

fn refused(error: tokio_postgres::Error) -> Error {
    let cause = std::error::Error::source(&error).map_or(String::new(), |c| format!(": {c}"));
    Error::Unavailable(format!("{error}{cause}"))
}
