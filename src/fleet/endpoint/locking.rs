//! A load, among several routers: the server's lock before it, and news of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Refusal;
use super::actor::{EndpointActor, Timer};
use super::message::Message;
use crate::cluster::loads::LoadLocks;
use crate::fleet::lease::Lease;
use crate::fleet::slot_pool::SlotPool;
use crate::supervision::{Context, Reply};

/// How long a load counts, unless it is said again: whoever does it may be gone.
const COUNTS: Duration = Duration::from_secs(10);
/// How often it is said again.
const RENEWAL: Duration = Duration::from_secs(3);
/// When to look whether another router has given a lock back, if nothing is heard of it.
const AGAIN: Duration = Duration::from_millis(500);

/// The locks of all servers.
#[derive(Clone)]
pub struct Locks(pub Arc<dyn LoadLocks>);

impl fmt::Debug for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locks").finish_non_exhaustive()
    }
}

impl EndpointActor {
    /// A request needs a load: whoever else comes meanwhile waits for what becomes of it.
    pub(super) fn lock(
        &mut self,
        pool: &Arc<SlotPool>,
        reply: Reply<Result<Lease, Refusal>>,
        context: &Context<Self>,
    ) {
        let locks = self.setup.locks.as_ref().filter(|_| !self.is_locking);
        let Some(Locks(locks)) = locks else {
            drop(reply.send(Err(Refusal::Loading)));
            return;
        };
        self.is_locking = true;
        let taking = locks.take(self.setup.endpoint.identity(), COUNTS);
        let pool = Arc::clone(pool);
        context.spawn(async move {
            let taken = taking.await;
            Message::Locked { pool, reply, taken }
        });
    }

    /// The lock is ours, or another router's.
    pub(super) fn locked(
        &mut self,
        pool: &Arc<SlotPool>,
        reply: Reply<Result<Lease, Refusal>>,
        taken: bool,
        context: &mut Context<Self>,
    ) {
        self.is_locking = false;
        if taken {
            self.grant(pool, reply, context);
            if self.state.loading() == 0 {
                self.unlock(context);
            }
        } else {
            drop(reply.send(Err(Refusal::Loading)));
        }
        // Who came meanwhile was refused: it is looked again now, or soon.
        match taken {
            true => self.setup.queues.freed(),
            false => context.arm(Timer::Lock, AGAIN),
        }
    }

    /// Says when a load of this router begins, and when it is over. Before the cells show it.
    pub(super) fn tell_of_load(&mut self, context: &mut Context<Self>) {
        let now = self.state.loading();
        let before = std::mem::replace(&mut self.told_load, now);
        if before == now {
            return;
        }
        let pools = self.setup.endpoint.pools();
        let pool_of = |serial: u64| pools.iter().find(|pool| pool.serial() == serial);
        if let Some(pool) = pool_of(before) {
            self.tell_loaded(pool.model());
            self.unlock(context);
        }
        if let Some(pool) = pool_of(now) {
            self.tell_load(pool.model(), COUNTS);
            context.arm(Timer::Renew, RENEWAL);
        }
    }

    /// A load goes on: its lock is kept, and it is said again.
    pub(super) fn renew_load(&self, context: &mut Context<Self>) {
        let loading = self.state.loading();
        let pools = self.setup.endpoint.pools();
        let Some(pool) = pools.iter().find(|pool| pool.serial() == loading) else {
            return;
        };
        self.tell_load(pool.model(), COUNTS);
        if let Some(Locks(locks)) = &self.setup.locks {
            let taking = locks.take(self.setup.endpoint.identity(), COUNTS);
            context.tracker().spawn(taking);
        }
        context.arm(Timer::Renew, RENEWAL);
    }

    fn unlock(&self, context: &Context<Self>) {
        if let Some(Locks(locks)) = &self.setup.locks {
            let giving = locks.give(self.setup.endpoint.identity());
            context.tracker().spawn(giving);
        }
    }
}
