//! Finding a database in the list of all, by where it is reached.
//!
//! A name says more than an address: the databases of one cluster share its nodes, hence their
//! addresses, but each has a name of its own. So names decide, and addresses only when no name
//! does. What is still found twice is not guessed at.

use std::net::IpAddr;

use serde::Deserialize;

/// Why there is no such database.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotFound {
    #[error("the list of databases cannot be read: {0}")]
    Unreadable(String),
    #[error("no database is reached at {0}")]
    Nowhere(String),
    #[error("several databases are reached at {hosts}: {uids:?}")]
    Ambiguous { hosts: String, uids: Vec<u64> },
}

#[derive(Deserialize)]
struct Bdb {
    uid: u64,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(default)]
    dns_name: Option<String>,
    #[serde(default)]
    addr: Vec<String>,
}

/// The number of the database with an endpoint at one of `hosts`.
pub(super) fn find(list: &[u8], hosts: &[String]) -> Result<u64, NotFound> {
    let all: Vec<Bdb> =
        serde_json::from_slice(list).map_err(|error| NotFound::Unreadable(error.to_string()))?;
    let reached = |by: fn(&Endpoint, &str) -> bool| -> Vec<u64> {
        let at = |endpoint: &Endpoint| hosts.iter().any(|host| by(endpoint, host));
        all.iter()
            .filter(|bdb| bdb.endpoints.iter().any(at))
            .map(|bdb| bdb.uid)
            .collect()
    };
    let mut uids = reached(Endpoint::is_named);
    if uids.is_empty() {
        uids = reached(Endpoint::is_at);
    }
    match uids[..] {
        [uid] => Ok(uid),
        [] => Err(NotFound::Nowhere(hosts.join(", "))),
        _ => Err(NotFound::Ambiguous {
            hosts: hosts.join(", "),
            uids,
        }),
    }
}

impl Endpoint {
    fn is_named(&self, host: &str) -> bool {
        let bare = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
        self.dns_name
            .as_deref()
            .is_some_and(|name| !name.is_empty() && bare(name) == bare(host))
    }

    fn is_at(&self, host: &str) -> bool {
        let ip = |text: &str| text.parse::<IpAddr>().ok();
        self.addr
            .iter()
            .any(|addr| addr == host || ip(addr).is_some_and(|addr| ip(host) == Some(addr)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = br#"[
        {"uid": 1, "name": "one", "endpoints": [
            {"uid": "1:1", "dns_name": "redis-1.a.example.", "addr": ["10.0.0.1", "10.0.0.2"], "port": 12000}]},
        {"uid": 2, "endpoints": [
            {"dns_name": "redis-2.a.example", "addr": ["10.0.0.2"]},
            {"dns_name": "redis-2.internal.a.example", "addr": ["fd00::0:2"]}]},
        {"uid": 3}
    ]"#;

    fn at(hosts: &[&str]) -> Result<u64, NotFound> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        find(LIST, &hosts)
    }

    #[test]
    fn a_database_is_found_by_its_name_however_it_is_written() {
        assert_eq!(at(&["redis-1.a.example"]), Ok(1));
        assert_eq!(at(&["Redis-2.Internal.A.Example."]), Ok(2));
    }

    #[test]
    fn every_configured_host_is_looked_for() {
        assert_eq!(at(&["elsewhere", "redis-2.a.example"]), Ok(2));
    }

    #[test]
    fn a_name_goes_before_an_address() {
        assert_eq!(at(&["10.0.0.1", "redis-2.a.example"]), Ok(2));
        assert_eq!(at(&["10.0.0.1"]), Ok(1));
        assert_eq!(at(&["fd00:0::2"]), Ok(2));
    }

    #[test]
    fn an_address_that_several_databases_share_says_nothing() {
        let hosts = "10.0.0.2".to_owned();
        let uids = vec![1, 2];
        assert_eq!(at(&["10.0.0.2"]), Err(NotFound::Ambiguous { hosts, uids }));
    }

    #[test]
    fn what_is_not_in_the_list_is_not_found() {
        assert_eq!(at(&["x", "y"]), Err(NotFound::Nowhere("x, y".into())));
        assert_eq!(at(&[""]), Err(NotFound::Nowhere(String::new())));
        assert!(matches!(find(b"{}", &[]), Err(NotFound::Unreadable(_))));
    }
}
