//! Whether a server is known already under another host name.
//!
//! What is written tells most of it ([`Wanted::plan`](super::state::Wanted)); here names are looked up, for a
//! limited time, and only those of servers on the same port. A name that cannot be looked up now is another
//! server's. So is one behind a common address on the ports of the web: there, proxies tell servers apart by
//! their names.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::Refused;
use super::state::Wanted;
use crate::config::{Endpoint, is_itself};

/// For all look-ups of one change.
const LIMIT: Duration = Duration::from_secs(2);
/// How many names are looked up at once.
const AT_ONCE: usize = 16;

/// Refuses what leads to a server that is in the list under another name, or to this router.
pub(super) async fn check(wanted: &Wanted, endpoint: &Endpoint) -> Result<(), Refused> {
    let port = port(endpoint);
    if matches!(port, 80 | 443) {
        return Ok(());
    }
    let looked = timeout(LIMIT, async {
        let ours = addresses(endpoint).await;
        let urls = ours
            .iter()
            .filter_map(|address| format!("http://{address}").parse().ok());
        if urls.into_iter().any(|url| is_itself(wanted.listen, &url)) {
            return Err(Refused::Itself);
        }
        let path = endpoint.root().path().to_owned();
        let others = wanted
            .others(Some(&endpoint.name))
            .filter(|other| self::port(other) == port && other.root().path() == path);
        let others: Vec<Endpoint> = others.cloned().collect();
        let mut others = iter(others).map(looked_up).buffer_unordered(AT_ONCE);
        while let Some((name, theirs)) = others.next().await {
            if theirs.iter().any(|address| ours.contains(address)) {
                let what = "url leads to a server that is known";
                return Err(Refused::Taken { what, name });
            }
        }
        Ok(())
    });
    // What takes too long says nothing.
    looked.await.unwrap_or(Ok(()))
}

async fn looked_up(endpoint: Endpoint) -> (String, Vec<SocketAddr>) {
    let addresses = addresses(&endpoint).await;
    (endpoint.name, addresses)
}

async fn addresses(endpoint: &Endpoint) -> Vec<SocketAddr> {
    match lookup_host(endpoint.url.reached()).await {
        Ok(found) => found.collect(),
        Err(_) => Vec::new(),
    }
}

fn port(endpoint: &Endpoint) -> u16 {
    let reached = endpoint.url.reached();
    let port = reached.rsplit_once(':').map(|(_, port)| port.parse());
    port.and_then(Result::ok).unwrap_or_default()
}
