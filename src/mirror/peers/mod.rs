//! For whom the mirror is: the servers, by the addresses from which they connect.
//!
//! Owns what the names of servers were resolved to. It must not know which servers there are: whoever asks says so. A
//! name that cannot be resolved is for a while what it was, and then nobody's. It fails by being restarted empty; names are resolved anew.

mod actor;
mod message;
mod state;

use std::net::IpAddr;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use actor::Peers;
use message::Message;

use crate::supervision::{Child, Mailbox, RestartPolicy, StartError, Supervisor};

/// The way to it.
#[derive(Clone)]
pub(super) struct Handle {
    mailbox: Mailbox<Message>,
    _supervisor: Arc<Supervisor>,
}

impl Handle {
    pub(super) async fn start(
        restarts: RestartPolicy,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let mailbox = Mailbox::new();
        let children = vec![Child::new::<Peers>("mirror/peers", &mailbox, ())];
        let supervisor = Supervisor::start(restarts, tracker, children).await?;
        Ok(Self {
            mailbox,
            _supervisor: Arc::new(supervisor),
        })
    }

    /// Whether one of these hosts has the address.
    pub(super) async fn has(&self, address: IpAddr, hosts: Vec<String>) -> bool {
        let has = self.mailbox.call(|reply| Message::Has {
            address,
            hosts,
            reply,
        });
        has.await.unwrap_or(false)
    }
}
