//! Making a connection.

use std::fmt;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, select_ok};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    RedisError, RedisResult, TlsCertificates,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::cluster;
use super::sentinel;
use super::stream::{self, Stream};
use super::tls;
use super::wire::Wire;
use crate::config::{DatabaseConfig, Server};

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
}

/// Knows where a database is, and makes connections to it.
pub(crate) struct Dialer {
    pub(super) location: Location,
    hosts: Vec<String>,
    tls: Option<Arc<ClientConfig>>,
    pub(super) timeouts: Timeouts,
}

pub(super) enum Location {
    Single(ConnectionInfo),
    Cluster {
        nodes: Vec<ConnectionInfo>,
        certificates: Option<TlsCertificates>,
    },
    Sentinel {
        sentinels: Vec<ConnectionInfo>,
        master: String,
        template: ConnectionInfo,
    },
}

/// A connection, and what must be polled to drive it.
pub(crate) struct Dialed {
    pub(crate) wire: Wire,
    /// Ends with the connection; dropping it ends the connection and every wait on it.
    pub(crate) driver: BoxFuture<'static, ()>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

impl Dialer {
    pub(super) fn new(config: &DatabaseConfig, timeouts: Timeouts) -> RedisResult<Self> {
        let parse = |urls: &[String]| -> RedisResult<Vec<ConnectionInfo>> {
            urls.iter().map(|url| info(url)).collect()
        };
        let (location, addresses) = match &config.server {
            Server::Single { url } => {
                let info = info(url)?;
                (Location::Single(info.clone()), vec![info])
            }
            Server::Cluster { urls } => {
                let nodes = parse(urls)?;
                let location = Location::Cluster {
                    nodes: nodes.clone(),
                    certificates: config.tls.clone(),
                };
                (location, nodes)
            }
            Server::Sentinel {
                sentinels,
                master,
                master_url,
            } => {
                let sentinels = parse(sentinels)?;
                let template = info(master_url.as_deref().unwrap_or("redis://master"))?;
                let addresses = sentinels.iter().chain([&template]).cloned().collect();
                let location = Location::Sentinel {
                    sentinels,
                    master: master.clone(),
                    template,
                };
                (location, addresses)
            }
        };
        let is_tls = |info: &ConnectionInfo| matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let tls = addresses
            .iter()
            .any(is_tls)
            .then(|| tls::client_config(config.tls.as_ref()).map(Arc::new))
            .transpose()?;
        Ok(Self {
            hosts: addresses.iter().filter_map(host).collect(),
            location,
            tls,
            timeouts,
        })
    }

    pub(crate) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.location, Location::Cluster { .. })
    }

    /// The database number that commands find themselves in.
    pub(crate) fn db(&self) -> i64 {
        match &self.location {
            Location::Single(info) | Location::Sentinel { template: info, .. } => {
                info.redis_settings().db()
            }
            Location::Cluster { .. } => 0,
        }
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// A connection for commands that may each stay unanswered for `response`.
    pub(crate) async fn connect(&self, response: Option<Duration>) -> RedisResult<Dialed> {
        in_time(self.timeouts.connect, async {
            match &self.location {
                Location::Cluster {
                    nodes,
                    certificates,
                } => {
                    let (wire, driver) = cluster::connect(
                        nodes,
                        certificates.as_ref(),
                        self.timeouts.connect,
                        response,
                    )
                    .await?;
                    Ok(Dialed {
                        wire: Wire::Cluster(wire),
                        driver,
                    })
                }
                _ => self.single(&self.locate().await?, response).await,
            }
        })
        .await
    }

    /// Where the one server is now.
    pub(super) async fn locate(&self) -> RedisResult<ConnectionInfo> {
        match &self.location {
            Location::Single(info) => Ok(info.clone()),
            Location::Sentinel {
                sentinels,
                master,
                template,
            } => {
                let tries = sentinels
                    .iter()
                    .map(|at| self.ask_sentinel(at, master).boxed());
                let ((host, port), _) = select_ok(tries).await?;
                Ok(template.clone().set_addr(match template.addr() {
                    ConnectionAddr::TcpTls {
                        insecure,
                        tls_params,
                        ..
                    } => ConnectionAddr::TcpTls {
                        host,
                        port,
                        insecure: *insecure,
                        tls_params: tls_params.clone(),
                    },
                    _ => ConnectionAddr::Tcp(host, port),
                }))
            }
            Location::Cluster { nodes, .. } => nodes
                .first()
                .cloned()
                .ok_or_else(|| (ErrorKind::InvalidClientConfig, "no node is named").into()),
        }
    }

    async fn ask_sentinel(&self, at: &ConnectionInfo, master: &str) -> RedisResult<(String, u16)> {
        let Dialed { mut wire, driver } = self.single(at, Some(self.timeouts.connect)).await?;
        // Answered or over, whichever comes first; the connection is for this one question.
        tokio::select! {
            biased;
            answer = sentinel::master_of(&mut wire, master) => answer,
            () = driver => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
        }
    }

    async fn single(
        &self,
        info: &ConnectionInfo,
        response: Option<Duration>,
    ) -> RedisResult<Dialed> {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(response)
            .set_pipeline_buffer_size(256);
        let stream = self.open(info).await?;
        let (connection, driver) =
            MultiplexedConnection::new_with_config(info.redis_settings(), stream, config).await?;
        let mut dialed = Dialed {
            wire: Wire::Single(connection),
            driver: driver.boxed(),
        };
        if let Location::Sentinel { sentinels, .. } = &self.location
            && !sentinels
                .iter()
                .any(|sentinel| sentinel.addr() == info.addr())
        {
            tokio::select! {
                biased;
                master = sentinel::must_be_master(&mut dialed.wire) => master?,
                () = &mut dialed.driver => {
                    return Err(io::Error::from(io::ErrorKind::ConnectionReset).into());
                }
            }
        }
        Ok(dialed)
    }

    pub(super) async fn open(&self, info: &ConnectionInfo) -> RedisResult<Stream> {
        match info.addr() {
            ConnectionAddr::Tcp(host, port) => Ok(Stream::Tcp(self.tcp(host, *port).await?)),
            ConnectionAddr::TcpTls { host, port, .. } => {
                let config = self.tls.clone().ok_or((
                    ErrorKind::InvalidClientConfig,
                    "TLS was not configured for this address",
                ))?;
                let name = ServerName::try_from(host.clone())?;
                let stream = self.tcp(host, *port).await?;
                let stream = TlsConnector::from(config).connect(name, stream).await?;
                Ok(Stream::Tls(Box::new(stream)))
            }
            ConnectionAddr::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
            _ => Err((ErrorKind::InvalidClientConfig, "unknown kind of address").into()),
        }
    }

    /// All addresses of a name at once; the first that answers.
    async fn tcp(&self, host: &str, port: u16) -> RedisResult<TcpStream> {
        let mut tries: Vec<_> = tokio::net::lookup_host((host, port))
            .await?
            .map(|address| TcpStream::connect(address).boxed())
            .collect();
        let stream = match (tries.pop(), tries.is_empty()) {
            (None, _) => return Err(io::Error::from(io::ErrorKind::AddrNotAvailable).into()),
            (Some(only), true) => only.await?,
            (Some(last), false) => select_ok(tries.into_iter().chain([last])).await?.0,
        };
        stream::configure(&stream, self.timeouts.connect + self.timeouts.response)?;
        Ok(stream)
    }
}

/// A driver for a connection that is driven elsewhere: it lasts until dropped.
pub(super) fn held<G: Send + 'static>(guard: G) -> BoxFuture<'static, ()> {
    async move {
        let _guard = guard;
        pending().await
    }
    .boxed()
}

/// The parts of an address that this client can honour.
fn info(url: &str) -> RedisResult<ConnectionInfo> {
    let info = url.into_connection_info()?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        return Err((
            ErrorKind::InvalidClientConfig,
            "#insecure is not supported; name a root certificate instead",
        )
            .into());
    }
    Ok(info)
}

fn host(info: &ConnectionInfo) -> Option<String> {
    match info.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => Some(host.clone()),
        _ => None,
    }
}

pub(super) async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(RedisError::from(io::Error::from(io::ErrorKind::TimedOut))))
}
