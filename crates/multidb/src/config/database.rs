//! One database: where it is, how much it is wanted, how it is spoken to.

use std::fmt;
use std::time::Duration;

/// What a database consists of.
#[derive(Clone, PartialEq, Eq)]
pub enum Server {
    /// One server.
    Single {
        /// `redis://[user[:password]@]host[:port][/db]`, `rediss://…` or `unix:///path`.
        url: String,
    },
    /// A Redis Cluster.
    Cluster {
        /// Some of its nodes; the others are found through them.
        urls: Vec<String>,
    },
    /// A group of servers whose master is named by sentinels.
    Sentinel {
        /// The sentinels.
        sentinels: Vec<String>,
        /// The group's name.
        master: String,
        /// Credentials, TLS and database number of the master, as a URL of any host:
        /// `rediss://user:password@any/0`. `None`: none of them.
        master_url: Option<String>,
    },
}

impl fmt::Debug for Server {
    /// Without passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Server {
    /// What people call it: its hosts, without a secret.
    pub fn name(&self) -> String {
        match self {
            Self::Single { url } => host_of(url).to_owned(),
            Self::Cluster { urls } => urls
                .iter()
                .map(|url| host_of(url))
                .collect::<Vec<_>>()
                .join(","),
            Self::Sentinel { master, .. } => master.clone(),
        }
    }
}

/// `host:port` of a URL, however malformed.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    if url.starts_with("unix:") || url.starts_with("redis+unix:") {
        return rest.split('?').next().unwrap_or(rest);
    }
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

/// One database.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// Where it is.
    pub server: Server,
    /// See [`name`](Self::name).
    pub name: Option<String>,
    /// See [`weight`](Self::weight).
    pub weight: f64,
    /// See [`grace_period`](Self::grace_period).
    pub grace_period: Duration,
    /// See [`health_check_url`](Self::health_check_url).
    pub health_check_url: Option<String>,
    /// See [`tls`](Self::tls).
    pub tls: Option<redis::TlsCertificates>,
    /// See [`skip_initial_health_check`](Self::skip_initial_health_check).
    pub skip_initial_health_check: bool,
}

impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseConfig")
            .field("server", &self.server)
            .field("name", &self.name)
            .field("weight", &self.weight)
            .field("grace_period", &self.grace_period)
            .field(
                "health_check_url",
                &self.health_check_url.as_deref().map(host_of),
            )
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl DatabaseConfig {
    /// A single server by its URL (redis-py's `from_url`). ACL user, password, TLS and database
    /// number come from it.
    pub fn from_url(url: impl Into<String>) -> Self {
        Self::new(Server::Single { url: url.into() })
    }

    /// A Redis Cluster, by some of its nodes.
    pub fn cluster<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> Self {
        Self::new(Server::Cluster {
            urls: urls.into_iter().map(Into::into).collect(),
        })
    }

    /// The master that these sentinels name.
    pub fn sentinel<U: Into<String>>(
        sentinels: impl IntoIterator<Item = U>,
        master: impl Into<String>,
    ) -> Self {
        Self::new(Server::Sentinel {
            sentinels: sentinels.into_iter().map(Into::into).collect(),
            master: master.into(),
            master_url: None,
        })
    }

    /// Any of them.
    pub fn new(server: Server) -> Self {
        Self {
            server,
            name: None,
            weight: 1.0,
            grace_period: Duration::from_secs(60),
            health_check_url: None,
            tls: None,
            skip_initial_health_check: true,
        }
    }

    /// Credentials, TLS and database number of a sentinel group's master, as a URL of any host.
    /// Without meaning for other kinds.
    #[must_use]
    pub fn master_url(mut self, url: impl Into<String>) -> Self {
        if let Server::Sentinel { master_url, .. } = &mut self.server {
            *master_url = Some(url.into());
        }
        self
    }

    /// What people call it. Default: its host and port.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Higher is preferred; of equals, who was added first. 1.0.
    #[must_use]
    pub fn weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// How long its circuit stays open before it is tried again. Nothing closes it earlier except
    /// force; see [`last_resort`](super::MultiDbConfig::last_resort) for what happens when there is
    /// no alternative. 60 s (redis-py: 60 s, but ignored).
    #[must_use]
    pub fn grace_period(mut self, grace: Duration) -> Self {
        self.grace_period = grace;
        self
    }

    /// Where a REST health check finds this database's administration,
    /// `https://[user:password@]host`.
    #[must_use]
    pub fn health_check_url(mut self, url: impl Into<String>) -> Self {
        self.health_check_url = Some(url.into());
        self
    }

    /// Root certificates and a client certificate, as PEM. Default: the system's roots.
    #[must_use]
    pub fn tls(mut self, tls: redis::TlsCertificates) -> Self {
        self.tls = Some(tls);
        self
    }

    /// For [`add_database`](super::super::MultiDb::add_database): whether an unhealthy one is added
    /// all the same, its circuit open. True, as in redis-py.
    #[must_use]
    pub fn skip_initial_health_check(mut self, skip: bool) -> Self {
        self.skip_initial_health_check = skip;
        self
    }
}
