//! The one task that loads and unloads.
//!
//! It serves its queue strictly in order, one request at a time, and while that request waits (for
//! a victim to become idle, for the load) it goes on attending to commands and timers. Timers are
//! lazy: a runner's deadline moves with every request, so the loader looks again when the deadline
//! it last saw has passed, and whoever makes a runner due at once says so.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::clock::Clock;
use crate::counters::Totals;
use crate::fault::{Plan, Stage};

use super::decide::{Decision, Occupant, Room, decide};
use super::runner::{Birth, Runner};
use super::{Ask, Command, KeepAlive, Lease, Loaded, Refusal};

pub struct Loader {
    config: Arc<Config>,
    clock: Clock,
    faults: Arc<Plan>,
    totals: Arc<Totals>,
    loaded: Vec<Arc<Runner>>,
    view: Loaded,
    commands: mpsc::UnboundedSender<Command>,
    inbox: mpsc::UnboundedReceiver<Command>,
    /// How often everything was forgotten; a load that began before is void.
    epoch: u64,
}

impl Loader {
    pub fn new(
        config: Arc<Config>,
        clock: Clock,
        faults: Arc<Plan>,
        totals: Arc<Totals>,
        view: Loaded,
        commands: mpsc::UnboundedSender<Command>,
        inbox: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        Self {
            config,
            clock,
            faults,
            totals,
            loaded: Vec::new(),
            view,
            commands,
            inbox,
            epoch: 0,
        }
    }

    pub async fn run(mut self, mut asks: mpsc::Receiver<Ask>, stop: CancellationToken) {
        let work = async {
            loop {
                tokio::select! {
                    biased;
                    () = self.attend() => {}
                    ask = asks.recv() => match ask {
                        Some(ask) => self.serve(ask).await,
                        None => return,
                    },
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    /// Brings one cold request to its runner, or to its refusal.
    async fn serve(&mut self, mut ask: Ask) {
        let mut reloading = false;
        while !ask.reply.is_closed() {
            match self.decide(&ask) {
                Decision::Use(at) => {
                    let Some(lease) = Lease::join(&self.loaded[at], ask.want.keep_alive) else {
                        // Closed runners are removed before anybody looks; another look is due.
                        continue;
                    };
                    // Dropped with its lease if the client has left meanwhile.
                    let _ = ask.reply.send(Ok(lease));
                    return;
                }
                Decision::Reload(at) => {
                    if !std::mem::replace(&mut reloading, true) {
                        self.totals.reloads_by_signature.fetch_add(1, Relaxed);
                    }
                    self.make_room(at).await;
                }
                Decision::Evict(at) => self.make_room(at).await,
                Decision::Load => {
                    let (epoch, load) = (self.epoch, self.load_time(&ask));
                    let loading = sleep(load);
                    tokio::pin!(loading);
                    loop {
                        tokio::select! {
                            biased;
                            () = ask.reply.closed() => {
                                self.totals.load_aborts.fetch_add(1, Relaxed);
                                return;
                            }
                            () = self.attend() => {}
                            () = &mut loading => break,
                        }
                    }
                    if epoch != self.epoch {
                        return;
                    }
                    if self
                        .faults
                        .take(Stage::Load, Some(&ask.want.entry.name))
                        .is_some()
                    {
                        let _ = ask.reply.send(Err(Refusal::LoadFailed));
                        return;
                    }
                    self.insert(&ask);
                }
            }
        }
    }

    fn decide(&self, ask: &Ask) -> Decision {
        let occupants: Vec<_> = self
            .loaded
            .iter()
            .map(|runner| Occupant {
                name: runner.name(),
                signature: *runner.signature(),
                busy: runner.is_busy(),
                keep_alive: runner.keep_alive(),
                bytes: runner.vram(),
            })
            .collect();
        let room = Room {
            models: self.config.max_loaded,
            bytes: self.config.vram,
        };
        let entry = &ask.want.entry;
        decide(
            &occupants,
            &entry.name,
            &ask.want.signature,
            self.vram_of(entry.model.size),
            room,
        )
    }

    /// What does not fit on the card stays in main memory.
    fn vram_of(&self, size: u64) -> u64 {
        size.min(self.config.vram)
    }

    fn load_time(&self, ask: &Ask) -> std::time::Duration {
        let size = ask.want.entry.model.size;
        self.config.scaled(self.config.load)
            + self
                .config
                .time_for(size, self.config.load_bytes_per_second)
    }

    fn insert(&mut self, ask: &Ask) {
        let entry = ask.want.entry.clone();
        entry.stats.loads.fetch_add(1, Relaxed);
        let default = KeepAlive::from(self.config.keep_alive);
        let runner = Runner::new(Birth {
            vram: self.vram_of(entry.model.size),
            slots: entry.model.slots(self.config.parallel),
            signature: ask.want.signature,
            keep_alive: ask.want.keep_alive.unwrap_or(default),
            clock: self.clock,
            totals: self.totals.clone(),
            commands: self.commands.clone(),
            entry,
        });
        self.loaded.push(Arc::new(runner));
        self.publish();
    }

    /// Sends the victim away, or waits for one event that may let it go.
    async fn make_room(&mut self, at: usize) {
        let victim = &self.loaded[at];
        victim.set_keep_alive(KeepAlive(0));
        if victim.close() {
            self.loaded.remove(at);
            self.publish();
        } else {
            self.attend().await;
        }
    }

    /// Handles one command or one timer.
    async fn attend(&mut self) {
        let look = self.next_look();
        let timer = async {
            match look {
                Some(moment) => sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            command = self.inbox.recv() => self.obey(command),
            () = timer => self.sweep(),
        }
    }

    fn obey(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Look) | None => self.sweep(),
            Some(Command::Unload(name, noted)) => {
                self.retire(|runner| *runner.name() == name);
                // Whoever asked may have left.
                let _ = noted.send(());
            }
            Some(Command::UnloadAll) => self.retire(|_| true),
            Some(Command::Clear(noted)) => {
                self.epoch += 1;
                self.loaded.clear();
                self.publish();
                let _ = noted.send(());
            }
        }
    }

    fn retire(&mut self, which: impl Fn(&Runner) -> bool) {
        let due = |runner: &&Arc<Runner>| which(runner);
        self.loaded.iter().filter(due).for_each(|runner| {
            runner.set_keep_alive(KeepAlive(0));
        });
        self.sweep();
    }

    /// Unloads what is idle and due.
    fn sweep(&mut self) {
        let now = self.clock.micros(Instant::now());
        let before = self.loaded.len();
        self.loaded.retain(|runner| {
            let due = runner.keep_alive().0 == 0 || runner.expires() <= now;
            !(due && runner.close())
        });
        if self.loaded.len() != before {
            self.publish();
        }
    }

    /// When a timer may be due. A busy runner cannot expire before it has been idle for its
    /// time to stay; if that is no time at all, its last user says so.
    fn next_look(&self) -> Option<Instant> {
        let now = Instant::now();
        let look = |runner: &Arc<Runner>| {
            let stay = runner.keep_alive().0;
            if !runner.is_busy() {
                return self.clock.moment(runner.expires());
            }
            let stay = u64::try_from(stay)
                .ok()
                .filter(|stay| (1..i64::MAX as u64).contains(stay))?;
            now.checked_add(std::time::Duration::from_nanos(stay.max(1_000_000)))
        };
        self.loaded.iter().filter_map(look).min()
    }

    fn publish(&self) {
        self.view.store(Arc::new(self.loaded.clone()));
    }
}
