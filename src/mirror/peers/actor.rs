//! The actor: resolves names in a task, and answers what the state says.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::message::Message;
use super::state::{Known, State};
use crate::config::is_own_address;
use crate::supervision::{Actor, Context, Reply};

/// A resolver may take so long.
const LIMIT: Duration = Duration::from_secs(3);
/// So many wait for it; whoever comes then is nobody.
const MOST_WAITING: usize = 1024;

pub(super) struct Peers {
    state: State,
    waiting: Vec<Waiting>,
    resolving: bool,
}

struct Waiting {
    address: IpAddr,
    hosts: Vec<String>,
    reply: Reply<bool>,
}

impl Actor for Peers {
    type Message = Message;
    type Timer = Infallible;
    type Setup = ();

    fn start((): (), _: &mut Context<Self>) -> Self {
        Self {
            state: State::default(),
            waiting: Vec::new(),
            resolving: false,
        }
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        match message {
            Message::Has {
                address,
                hosts,
                reply,
            } => {
                let own = is_own_address(address);
                match self.state.has(address, &hosts, own, context.now()) {
                    Known::Sure(has) => drop(reply.send(has)),
                    Known::Ask(_) if self.waiting.len() >= MOST_WAITING => drop(reply.send(false)),
                    Known::Ask(names) => {
                        self.waiting.push(Waiting {
                            address,
                            hosts,
                            reply,
                        });
                        self.resolve(names, context);
                    }
                }
            }
            Message::Resolved(names) => {
                self.resolving = false;
                self.state.resolved(names, context.now());
                for waiting in std::mem::take(&mut self.waiting) {
                    let Waiting {
                        address,
                        hosts,
                        reply,
                    } = waiting;
                    let own = is_own_address(address);
                    let _ = reply.send(self.state.has_now(address, &hosts, own));
                }
            }
        }
    }

    fn due(&mut self, timer: Infallible, _: &mut Context<Self>) {
        match timer {}
    }
}

impl Peers {
    fn resolve(&mut self, names: Vec<String>, context: &Context<Self>) {
        if std::mem::replace(&mut self.resolving, true) {
            return;
        }
        context
            .spawn(async move { Message::Resolved(join_all(names.into_iter().map(found)).await) });
    }
}

/// Every address of a name, if the resolver says any.
async fn found(name: String) -> (String, Option<Vec<IpAddr>>) {
    let addresses = match timeout(LIMIT, lookup_host((name.as_str(), 0))).await {
        Ok(Ok(addresses)) => Some(
            addresses
                .map(|address| address.ip().to_canonical())
                .collect(),
        ),
        _ => None,
    };
    (name, addresses)
}
