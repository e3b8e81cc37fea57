//! Turns: of several calls that use one name on one server, one at a time.
//!
//! Owns who has the turn, and who waits for it in the order of coming. It must not know what is done with the name.
//! As many turns are kept as are had or waited for. A call that ends, however it does, gives its turn away.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Server and name.
type Key = (Arc<str>, String);

/// All turns. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<ArcSwap<HashMap<Key, Weak<Semaphore>>>>);

/// It is had until this is dropped; nothing where turns are closed, which they never are.
pub(super) type Turn = Option<OwnedSemaphorePermit>;

impl Turns {
    /// Waits for the turn of this name on this server.
    pub(super) async fn take(&self, server: &Arc<str>, name: &str) -> Turn {
        // Servers do not tell names apart by their case.
        let key = (Arc::clone(server), name.to_ascii_lowercase());
        self.of(&key).acquire_owned().await.ok()
    }

    fn of(&self, key: &Key) -> Arc<Semaphore> {
        let new = Arc::new(Semaphore::new(1));
        let mut one = Arc::clone(&new);
        self.0.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.retain(|_, one| one.strong_count() > 0);
            let there = all.get(key).and_then(Weak::upgrade);
            one = there.unwrap_or_else(|| Arc::clone(&new));
            all.insert(key.clone(), Arc::downgrade(&one));
            all
        });
        one
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_has_the_turn_of_a_name_on_a_server_and_none_is_kept_for_nobody() {
        let (turns, server) = (Turns::default(), Arc::<str>::from("gpu-0"));
        let first = turns.take(&server, "a").await;
        let mut second = Box::pin(turns.take(&server, "a"));
        assert!(second.as_mut().now_or_never().is_none());
        // Whoever gives up waiting is not waited for.
        let mut third = Box::pin(turns.take(&server, "a"));
        assert!(third.as_mut().now_or_never().is_none());
        drop(second);
        for (server, name) in [("gpu-0", "b"), ("gpu-1", "a")] {
            let server = Arc::<str>::from(server);
            let other = turns.take(&server, name).now_or_never();
            assert!(other.is_some(), "{server} {name}");
        }
        drop(first);
        drop(third.await);
        let _last = turns.take(&server, "c").await;
        assert_eq!(turns.0.load().len(), 1);
    }
}
