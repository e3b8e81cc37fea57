//! A MySQL or MariaDB server: its address, how a session with it is set up, and what its errors are.
//!
//! The driver keeps the server's message and drops the number of an error, so the server is asked for
//! it: `GET DIAGNOSTICS` is answered on the same connection before anything else happens there. A
//! connection that cannot answer is thereby known to be dead.

use std::path::PathBuf;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::{AsyncMysqlConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use mysql_async::{Conn, Opts, OptsBuilder, SslOpts};

use super::address;
use super::error::Error;
use super::server::{ABANDONED, Kind, LOCK_TIMEOUT, STATEMENT_TIMEOUT};

/// A connection on which nothing was asked for so long is closed by the server. The only bound MySQL
/// knows on a transaction that was left open; MariaDB has a closer one.
const IDLE: u64 = 120;
/// Milliseconds of silence before the kernel checks whether the other side is alive.
const KEEPALIVE: u32 = 30_000;

/// Where it is and how to talk to it.
pub(super) struct Mysql {
    options: Opts,
}

/// A connection.
pub(super) struct Link(AsyncMysqlConnection);

impl AsMut<AsyncMysqlConnection> for Link {
    fn as_mut(&mut self) -> &mut AsyncMysqlConnection {
        &mut self.0
    }
}

impl From<Link> for AsyncMysqlConnection {
    fn from(link: Link) -> Self {
        link.0
    }
}

impl Mysql {
    pub(super) fn at(address: &str) -> Result<Self, Error> {
        let (rest, taken) = address::take(address, &["ssl-mode", "ssl-ca"]);
        let rest = rest.replacen("mariadb://", "mysql://", 1);
        let given = Opts::from_url(&rest).map_err(|error| Error::Address(error.to_string()))?;
        if given.db_name().is_none_or(str::is_empty) {
            return Err(Error::Address("names no database".to_owned()));
        }
        let mut tls = given.ssl_opts().cloned();
        if let Some(mode) = taken.get("ssl-mode") {
            tls = match mode.to_ascii_uppercase().as_str() {
                "DISABLED" => None,
                "REQUIRED" => Some(
                    SslOpts::default()
                        .with_danger_accept_invalid_certs(true)
                        .with_danger_skip_domain_validation(true),
                ),
                "VERIFY_IDENTITY" => Some(SslOpts::default()),
                // The driver cannot look at the authority without the name.
                _ => {
                    return Err(Error::Address(
                        "ssl-mode must be DISABLED, REQUIRED or VERIFY_IDENTITY".to_owned(),
                    ));
                }
            };
        }
        if let Some(authority) = taken.get("ssl-ca") {
            // Named authorities are the only ones.
            tls = tls.map(|tls| {
                tls.with_root_certs(vec![PathBuf::from(authority).into()])
                    .with_disable_built_in_roots(true)
            });
        }
        let options = OptsBuilder::from_opts(given)
            .ssl_opts(tls)
            .prefer_socket(false)
            .tcp_keepalive(Some(KEEPALIVE))
            // diesel has a cache of its own.
            .stmt_cache_size(0)
            // An update that changes nothing has found its row all the same: the fence counts them.
            .client_found_rows(true)
            .init(setup());
        Ok(Self {
            options: options.into(),
        })
    }
}

/// Read committed, because the default locks gaps between rows, and two routers that add neighbours
/// would each wait for the other. Strict, so that what does not fit is refused and not cut.
fn setup() -> Vec<String> {
    let isolation = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned();
    let bounds = format!(
        "SET SESSION \
             sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', \
             innodb_lock_wait_timeout = {lock}, \
             /*M! max_statement_time = {statement}, idle_transaction_timeout = {abandoned}, */ \
             wait_timeout = {IDLE}",
        lock = LOCK_TIMEOUT.as_secs(),
        statement = STATEMENT_TIMEOUT.as_secs(),
        abandoned = ABANDONED.as_secs(),
    );
    vec![isolation, bounds]
}

impl Kind for Mysql {
    type Connection = AsyncMysqlConnection;
    type Link = Link;

    async fn connect(&self) -> Result<Link, Error> {
        let connection = Conn::new(self.options.clone())
            .await
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Link(AsyncMysqlConnection::try_from(connection).await?))
    }

    async fn classify(link: &mut Link, error: Error) -> Error {
        let error = match error {
            Error::Query(error) => match Error::by_kind(error) {
                Ok(known) => return known,
                Err(error) => error,
            },
            other => return other,
        };
        match diagnosis(&mut link.0).await {
            Ok(Some((number, state))) => meaning(number, &state, error),
            Ok(None) => Error::Query(error),
            // It has not answered this either.
            Err(_) => Error::Unavailable(error.to_string()),
        }
    }
}

#[derive(QueryableByName)]
struct Diagnosis {
    #[diesel(sql_type = Nullable<BigInt>)]
    number: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    state: Option<String>,
}

async fn diagnosis(
    connection: &mut AsyncMysqlConnection,
) -> diesel::QueryResult<Option<(i64, String)>> {
    let ask = "GET DIAGNOSTICS CONDITION 1 @herdsman_number = MYSQL_ERRNO, \
               @herdsman_state = RETURNED_SQLSTATE";
    connection.batch_execute(ask).await?;
    let found: Diagnosis = diesel::sql_query(
        "SELECT CAST(@herdsman_number AS SIGNED) AS number, @herdsman_state AS state",
    )
    .get_result(connection)
    .await?;
    Ok(found.number.zip(found.state))
}

/// MySQL gives the state `HY000` to much that it could name.
fn meaning(number: i64, state: &str, said: diesel::result::Error) -> Error {
    match number {
        // Waited too long for a lock.
        1205 => Error::Contended(said.to_string()),
        // No room on the disk or in memory, a statement that took too long, a read-only server.
        1021 | 1037 | 1038 | 1041 | 1114 | 1290 | 1836 | 1969 | 3024 => {
            Error::Unavailable(said.to_string())
        }
        // Text that is none in the column's encoding.
        1366 => Error::Poison(said.to_string()),
        _ => Error::by_state(state, said),
    }
}
