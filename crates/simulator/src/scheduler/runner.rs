//! One loaded model: its slots, its users, its `keep_alive`.
//!
//! Users join and leave by atomic steps, without the loader. The one decision that needs both sides
//! to agree is whether an idle runner may be unloaded: the count of users and the closed mark are
//! one word, so a runner is closed only without users, and no user joins a closed one.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::SeqCst};

use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::catalogue::Entry;
use crate::clock::Clock;
use crate::counters::Totals;
use crate::name::ModelName;
use crate::tokens::prompt_tokens;

use super::{Command, KeepAlive, Signature};

const CLOSED: usize = 1 << (usize::BITS - 1);
/// Prompts remembered as cached, at most.
const PREFIXES: usize = 256;

/// See the module.
pub struct Runner {
    entry: Arc<Entry>,
    signature: Signature,
    /// Bytes of graphics memory it takes.
    vram: u64,
    slots: Semaphore,
    users: AtomicUsize,
    keep_alive: AtomicI64,
    /// Microseconds of the server's clock; what `/api/ps` shows. Moved only when it becomes idle.
    expires: AtomicI64,
    /// Hashes of prompts it has read, each in the place its value says.
    prefixes: Box<[AtomicU64]>,
    clock: Clock,
    totals: Arc<Totals>,
    commands: mpsc::UnboundedSender<Command>,
}

pub(super) struct RunnerSetup {
    pub entry: Arc<Entry>,
    pub signature: Signature,
    pub vram: u64,
    pub slots: usize,
    pub keep_alive: KeepAlive,
    pub clock: Clock,
    pub totals: Arc<Totals>,
    pub commands: mpsc::UnboundedSender<Command>,
}

impl Runner {
    pub(super) fn new(setup: RunnerSetup) -> Self {
        let runner = Self {
            entry: setup.entry,
            signature: setup.signature,
            vram: setup.vram,
            slots: Semaphore::new(setup.slots),
            users: AtomicUsize::new(0),
            keep_alive: AtomicI64::new(setup.keep_alive.0),
            expires: AtomicI64::new(0),
            prefixes: (0..PREFIXES).map(|_| AtomicU64::new(0)).collect(),
            clock: setup.clock,
            totals: setup.totals,
            commands: setup.commands,
        };
        runner.restart_timer();
        runner
    }

    /// The model's canonical name.
    pub fn name(&self) -> &ModelName {
        &self.entry.name
    }

    /// The model.
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// What it was loaded with.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Bytes of graphics memory.
    pub fn vram(&self) -> u64 {
        self.vram
    }

    /// When it may be unloaded, as wall time in Unix nanoseconds.
    pub fn expires_at(&self) -> i128 {
        self.clock.wall_of_micros(self.expires.load(SeqCst))
    }

    pub(super) fn expires(&self) -> i64 {
        self.expires.load(SeqCst)
    }

    pub(super) fn slots(&self) -> &Semaphore {
        &self.slots
    }

    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(super) fn is_busy(&self) -> bool {
        self.users.load(SeqCst) & !CLOSED != 0
    }

    pub(super) fn keep_alive(&self) -> KeepAlive {
        KeepAlive(self.keep_alive.load(SeqCst))
    }

    /// The last writer wins. Returns whether that changed anything.
    pub(super) fn set_keep_alive(&self, keep_alive: KeepAlive) -> bool {
        self.keep_alive.swap(keep_alive.0, SeqCst) != keep_alive.0
    }

    /// One more user, unless it is closed.
    pub(super) fn join(&self) -> bool {
        self.users
            .fetch_update(SeqCst, SeqCst, |users| {
                (users & CLOSED == 0).then_some(users + 1)
            })
            .is_ok()
    }

    /// One user fewer. The last one starts the timer and wakes the loader if it is due at once:
    /// the loader may wait for just that.
    pub(super) fn leave(&self) {
        loop {
            let users = self.users.load(SeqCst);
            // Before leaving: while there is a user the loader cannot find it idle and due.
            if users == 1 {
                self.restart_timer();
            }
            if self
                .users
                .compare_exchange(users, users - 1, SeqCst, SeqCst)
                .is_err()
            {
                continue;
            }
            if users == 1 && self.keep_alive().0 == 0 {
                self.wake_loader();
            }
            return;
        }
    }

    /// Wakes the loader because a deadline is earlier than it knows.
    pub(super) fn wake_loader(&self) {
        // A loader that is gone needs no waking.
        let _ = self.commands.send(Command::Recheck);
    }

    /// Closes it if it has no user.
    pub(super) fn close(&self) -> bool {
        self.users
            .compare_exchange(0, CLOSED, SeqCst, SeqCst)
            .is_ok()
    }

    fn restart_timer(&self) {
        let now = self.clock.micros(Instant::now());
        self.expires
            .store(now.saturating_add(self.keep_alive().0 / 1000), SeqCst);
    }

    /// How many tokens at the beginning of this prompt it has read before; from now on it has read
    /// all of it. Prefixes are told apart at the borders of the parts, by hash.
    pub fn cached_tokens(&self, parts: &[String]) -> u64 {
        let mut hash = DefaultHasher::new();
        let mut cached = 0;
        for (index, part) in parts.iter().enumerate() {
            part.hash(&mut hash);
            if self.remember(hash.finish()) {
                cached = prompt_tokens(parts[..=index].iter().map(String::as_str));
            }
        }
        cached
    }

    fn remember(&self, hash: u64) -> bool {
        let place = &self.prefixes[usize::try_from(hash % PREFIXES as u64).unwrap_or_default()];
        // 0 is the empty place.
        place.swap(hash | 1, SeqCst) == hash | 1
    }
}
