//! Requests that wait for a server's list of models: since no server lists what they want, or since they have
//! changed it.

use crate::supervision::Reply;

/// No more wait; others are told at once to go by the last list.
const MOST: usize = 1024;

/// Those that wait. Dropped, it tells all of them.
#[derive(Debug, Default)]
pub(super) struct Relisting {
    waiting: Vec<Reply<()>>,
    /// For the list after the one that is on its way, which may be older than what they have changed.
    next: Vec<Reply<()>>,
}

impl Relisting {
    /// One more; says whether it waits.
    pub(super) fn wait(&mut self, reply: Reply<()>) -> bool {
        push(&mut self.waiting, reply)
    }

    /// One more, that does not go by a list that is on its way.
    pub(super) fn wait_for_next(&mut self, reply: Reply<()>) {
        push(&mut self.next, reply);
    }

    /// The list has come, or will not. Says whether it is to be asked for again.
    pub(super) fn listed(&mut self) -> bool {
        for reply in self.waiting.drain(..) {
            let _ = reply.send(());
        }
        self.waiting.append(&mut self.next);
        !self.waiting.is_empty()
    }
}

fn push(queue: &mut Vec<Reply<()>>, reply: Reply<()>) -> bool {
    if queue.len() < MOST {
        queue.push(reply);
        return true;
    }
    let _ = reply.send(());
    false
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn a_change_is_shown_by_a_list_that_was_asked_for_after_it() {
        let mut relisting = Relisting::default();
        let [(first, mut one), (second, mut two), (third, mut three)] =
            std::array::from_fn(|_| oneshot::channel());
        assert!(relisting.wait(first));
        relisting.wait_for_next(second);
        assert!(relisting.listed(), "ask again");
        assert!(one.try_recv().is_ok() && two.try_recv().is_err());
        relisting.wait(third);
        assert!(!relisting.listed());
        assert!(two.try_recv().is_ok() && three.try_recv().is_ok());
    }
}
