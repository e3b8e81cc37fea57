//! Who may ask: the servers of this router, by the address from which they connect.
//!
//! Servers send no key. What counts is the connection itself, and a request that has come over a proxy is
//! nobody's, whatever it says of where it comes from.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, Uri};

use super::refusal::Refused;
use crate::gateway::Gateway;
use crate::http::admin::{Peer, is_proxied};
use crate::http::front::ClientAddress;
use crate::mirror::Mirror;

/// What it needs to know.
#[derive(Clone)]
pub(super) struct Guarded {
    pub(super) gateway: Arc<Gateway>,
    pub(super) mirror: Mirror,
}

pub(super) async fn check(
    Shared(guarded): Shared<Guarded>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let Some(address) = peer.and_then(|peer| direct(peer, request.headers())) else {
        let words = "this registry is only for the servers of this router, and over no proxy";
        return Refused::denied(words).answer(request.headers());
    };
    let hosts = hosts(&guarded.gateway);
    if guarded.mirror.serves(address, hosts).await {
        return next.run(request).await;
    }
    tracing::info!(%address, "refused: the mirror is for this router's servers only");
    let words = format!("this registry is only for the servers of this router: {address} is none");
    Refused::denied(words).answer(request.headers())
}

/// Whoever made the connection, if it asks for itself.
fn direct(peer: Peer, headers: &HeaderMap) -> Option<IpAddr> {
    match peer.from {
        ClientAddress::Peer(address) if !is_proxied(headers) => Some(address),
        _ => None,
    }
}

fn hosts(gateway: &Gateway) -> Vec<String> {
    let view = gateway.fleet().view();
    let hosts = view.servers.iter().filter_map(|server| {
        let url: Uri = server.endpoint.url().parse().ok()?;
        url.host().map(str::to_owned)
    });
    hosts.collect()
}
