//! Names and what they lead to.
//!
//! Only here the DNS library is used. Of a host the IPv4 addresses count, and the IPv6 ones if it has no others: a
//! server with both is one server. Nothing is kept between two look-ups: how long an answer holds is decided by
//! whoever asks.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::DnsError;
pub(super) use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::time::{Instant, timeout, timeout_at};

use super::state::{Answer, MOST, Place, Server};
use crate::config;

/// For one look-up with all that follows from it.
const LIMIT: Duration = Duration::from_secs(5);
/// For one question to a nameserver, which is asked once more.
const QUESTION: Duration = Duration::from_secs(2);
/// How many hosts of a service are looked up at once.
const AT_ONCE: usize = 16;
/// The smallest share of a server whose record says that it should have none.
const LEAST_WEIGHT: f64 = 0.01;

/// Who is asked for names.
#[derive(Clone)]
pub(super) struct Dns(TokioResolver);

/// Addresses, and how long they hold.
struct Addresses {
    found: Vec<IpAddr>,
    ttl: Duration,
}

impl Dns {
    /// Asks the nameserver that is named, or those that the system asks.
    pub(super) fn new(options: &config::Discovery) -> Result<Self, NetError> {
        let mut builder = match options.nameserver() {
            None => TokioResolver::builder_tokio()?,
            Some(address) => {
                TokioResolver::builder_with_config(only(address), TokioRuntimeProvider::default())
                    .with_options(ResolverOpts::default())
            }
        };
        let options = builder.options_mut();
        options.cache_size = 0;
        options.timeout = QUESTION;
        options.attempts = 1;
        options.edns0 = true;
        Ok(Self(builder.build()?))
    }

    /// The servers of a place that is a name.
    pub(super) async fn look_up(&self, place: &Place) -> Result<Answer, String> {
        let answer = timeout(LIMIT, async {
            match place {
                Place::Host(host, port) => self.host(host, *port).await,
                Place::Service(name) => self.service(name).await,
                Place::File(_) | Place::Network(_) => Ok(Answer::default()),
            }
        });
        answer
            .await
            .unwrap_or_else(|_| Err(format!("no answer in {} s", LIMIT.as_secs())))
    }

    /// The addresses of each host, as far as they are known now.
    pub(super) async fn hosts(
        &self,
        hosts: Vec<(String, u16)>,
    ) -> Vec<(String, Option<Vec<SocketAddr>>)> {
        // For all of them.
        let until = Instant::now() + LIMIT;
        let look_up = |(host, port): (String, u16)| async move {
            let addresses = timeout_at(until, self.addresses(&host)).await.ok();
            let addresses = addresses.and_then(Result::ok).map(|addresses| {
                let found = addresses.found.into_iter();
                found.map(|ip| SocketAddr::new(ip, port)).collect()
            });
            (format!("{host}:{port}"), addresses)
        };
        iter(hosts)
            .map(look_up)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await
    }

    async fn host(&self, host: &str, port: u16) -> Result<Answer, String> {
        let Addresses { mut found, ttl } = self.addresses(host).await?;
        // Always the same of too many.
        found.sort_unstable();
        let server = |ip| Server {
            address: SocketAddr::new(ip, port),
            priority: 0,
            weight: 1.0,
        };
        Ok(Answer {
            servers: found.into_iter().map(server).collect(),
            lacks: None,
            ttl,
        })
    }

    async fn service(&self, name: &str) -> Result<Answer, String> {
        let Some(records) = self.records(name, RecordType::SRV).await? else {
            return Ok(Answer::default());
        };
        let ttl = records
            .iter()
            .map(|(_, ttl)| *ttl)
            .min()
            .unwrap_or_default();
        let records = records.into_iter().filter_map(|(data, _)| match data {
            RData::SRV(record) if !record.target.is_root() => Some(record),
            _ => None,
        });
        let mut records: Vec<SRV> = records.collect();
        records.sort_by(|one, other| {
            let order = |record: &SRV| (record.priority, record.port);
            (order(one), &one.target).cmp(&(order(other), &other.target))
        });
        records.truncate(MOST);
        let sum: f64 = records.iter().map(|record| f64::from(record.weight)).sum();
        let mean = sum / f64::from(u32::try_from(records.len()).unwrap_or(u32::MAX));
        let look_up = |record: SRV| async move {
            let addresses = self.addresses(&record.target.to_ascii()).await;
            (record, addresses)
        };
        let mut looked_up = iter(records).map(look_up).buffer_unordered(AT_ONCE);
        let mut answer = Answer {
            ttl,
            ..Answer::default()
        };
        while let Some((record, addresses)) = looked_up.next().await {
            let server = |ip| Server {
                address: SocketAddr::new(ip, record.port),
                priority: i32::from(record.priority),
                weight: weight(record.weight, mean),
            };
            match addresses {
                Ok(Addresses { found, ttl }) => {
                    answer.ttl = answer.ttl.min(ttl);
                    answer.servers.extend(found.into_iter().map(server));
                }
                Err(why) => answer.lacks = Some(format!("{}: {why}", record.target)),
            }
        }
        answer
            .servers
            .sort_by_key(|server| (server.priority, server.address));
        Ok(answer)
    }

    async fn addresses(&self, host: &str) -> Result<Addresses, String> {
        for kind in [RecordType::A, RecordType::AAAA] {
            let Some(records) = self.records(host, kind).await? else {
                continue;
            };
            let ttl = records
                .iter()
                .map(|(_, ttl)| *ttl)
                .min()
                .unwrap_or_default();
            let found = records.into_iter().filter_map(|(data, _)| match data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            });
            let found: Vec<IpAddr> = found.filter(is_of_one).collect();
            if !found.is_empty() {
                return Ok(Addresses { found, ttl });
            }
        }
        Ok(Addresses {
            found: Vec::new(),
            ttl: Duration::ZERO,
        })
    }

    /// `None`: the nameserver says that there are none.
    async fn records(
        &self,
        name: &str,
        kind: RecordType,
    ) -> Result<Option<Vec<(RData, Duration)>>, String> {
        let name = Name::from_utf8(name).map_err(|error| error.to_string())?;
        match self.0.lookup(name, kind).await {
            Ok(found) => {
                let records = found.answers().iter();
                let read = |data: &RData, ttl| (data.clone(), Duration::from_secs(ttl));
                let records = records.map(|record| read(&record.data, u64::from(record.ttl)));
                Ok(Some(records.collect()))
            }
            Err(error) if says_none(&error) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Whether it is an answer, and not a failure to give one.
fn says_none(error: &NetError) -> bool {
    const NONE: [ResponseCode; 2] = [ResponseCode::NoError, ResponseCode::NXDomain];
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => NONE.contains(&none.response_code),
        _ => false,
    }
}

/// Whether a connection to it goes to one machine.
fn is_of_one(ip: &IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// Weights of records are shares of one another; a server of any other source has one.
fn weight(written: u16, mean: f64) -> f64 {
    match mean > 0.0 {
        true => (f64::from(written) / mean).max(LEAST_WEIGHT),
        false => 1.0,
    }
}

fn only(address: SocketAddr) -> ResolverConfig {
    let connection = |protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = address.port();
        connection
    };
    let connections = [ProtocolConfig::Udp, ProtocolConfig::Tcp];
    let server = NameServerConfig::new(address.ip(), true, connections.map(connection).into());
    ResolverConfig::from_parts(None, Vec::new(), vec![server])
}
