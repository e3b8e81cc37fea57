//! Requests that wait for a server's list of models, since no server lists what they want.

use crate::supervision::Reply;

/// No more wait; others are told at once to go by the last list.
const MOST: usize = 1024;

/// Those that wait. Dropped, it tells all of them.
#[derive(Debug, Default)]
pub(super) struct Relisting(Vec<Reply<()>>);

impl Relisting {
    /// One more; says whether it waits.
    pub(super) fn wait(&mut self, reply: Reply<()>) -> bool {
        if self.0.len() < MOST {
            self.0.push(reply);
            return true;
        }
        let _ = reply.send(());
        false
    }

    /// The list has come, or will not.
    pub(super) fn listed(&mut self) {
        for reply in self.0.drain(..) {
            let _ = reply.send(());
        }
    }
}
