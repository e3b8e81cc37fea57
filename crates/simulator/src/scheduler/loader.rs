//! The one task that loads and unloads.
//!
//! It serves its queue strictly in order, one request at a time, and while that request waits (for
//! a victim to become idle, for the load) it goes on handling commands and timers. Timers are
//! lazy: a runner's deadline moves with every request, so the loader checks again when the deadline
//! it last saw has passed, and a request that makes a runner due at once wakes it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::clock::Clock;
use crate::counters::Totals;
use crate::fault::{Plan, Stage};

use super::decide::{Decision, LoadedModel, Room, decide};
use super::runner::{Runner, RunnerSetup};
use super::{Command, KeepAlive, Lease, LoadRequest, Loaded, Refusal};

pub struct Loader {
    config: Arc<Config>,
    clock: Clock,
    faults: Arc<Plan>,
    totals: Arc<Totals>,
    loaded: Vec<Arc<Runner>>,
    view: Loaded,
    commands: mpsc::UnboundedSender<Command>,
    inbox: mpsc::UnboundedReceiver<Command>,
    /// How often the state was cleared; a load that began before is discarded.
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

    pub async fn run(mut self, mut requests: mpsc::Receiver<LoadRequest>, stop: CancellationToken) {
        let work = async {
            loop {
                tokio::select! {
                    biased;
                    () = self.handle_event() => {}
                    request = requests.recv() => match request {
                        Some(request) => self.serve(request).await,
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

    /// Gives one cold request a runner, or refuses it.
    async fn serve(&mut self, mut request: LoadRequest) {
        let mut reloading = false;
        while !request.reply.is_closed() {
            match self.decide(&request) {
                Decision::Use(at) => {
                    let Some(lease) = Lease::join(&self.loaded[at], request.want.keep_alive) else {
                        // Closed runners are removed before they are read; check again.
                        continue;
                    };
                    // Dropped with its lease if the client has left meanwhile.
                    let _ = request.reply.send(Ok(lease));
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
                    let (epoch, load) = (self.epoch, self.load_time(&request));
                    let loading = sleep(load);
                    tokio::pin!(loading);
                    loop {
                        tokio::select! {
                            biased;
                            () = request.reply.closed() => {
                                self.totals.load_aborts.fetch_add(1, Relaxed);
                                return;
                            }
                            () = self.handle_event() => {}
                            () = &mut loading => break,
                        }
                    }
                    if epoch != self.epoch {
                        return;
                    }
                    if self
                        .faults
                        .take(Stage::Load, Some(&request.want.entry.name))
                        .is_some()
                    {
                        let _ = request.reply.send(Err(Refusal::LoadFailed));
                        return;
                    }
                    self.insert(&request);
                }
            }
        }
    }

    fn decide(&self, request: &LoadRequest) -> Decision {
        let loaded_models: Vec<_> = self
            .loaded
            .iter()
            .map(|runner| LoadedModel {
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
        let entry = &request.want.entry;
        decide(
            &loaded_models,
            &entry.name,
            &request.want.signature,
            self.vram_of(entry.model.size),
            room,
        )
    }

    /// What does not fit on the card stays in main memory.
    fn vram_of(&self, size: u64) -> u64 {
        size.min(self.config.vram)
    }

    fn load_time(&self, request: &LoadRequest) -> std::time::Duration {
        let size = request.want.entry.model.size;
        self.config.scaled(self.config.load)
            + self
                .config
                .time_for(size, self.config.load_bytes_per_second)
    }

    fn insert(&mut self, request: &LoadRequest) {
        let entry = request.want.entry.clone();
        entry.stats.loads.fetch_add(1, Relaxed);
        let default = KeepAlive::from(self.config.keep_alive);
        let runner = Runner::new(RunnerSetup {
            vram: self.vram_of(entry.model.size),
            slots: entry.model.slots(self.config.parallel),
            signature: request.want.signature,
            keep_alive: request.want.keep_alive.unwrap_or(default),
            clock: self.clock,
            totals: self.totals.clone(),
            commands: self.commands.clone(),
            entry,
        });
        self.loaded.push(Arc::new(runner));
        self.publish();
    }

    /// Unloads the victim, or waits for one event after which that may be possible.
    async fn make_room(&mut self, at: usize) {
        let victim = &self.loaded[at];
        victim.set_keep_alive(KeepAlive(0));
        if victim.close() {
            self.loaded.remove(at);
            self.publish();
        } else {
            self.handle_event().await;
        }
    }

    /// Handles one command or one timer.
    async fn handle_event(&mut self) {
        let check = self.next_check();
        let timer = async {
            match check {
                Some(moment) => sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            command = self.inbox.recv() => self.execute(command),
            () = timer => self.unload_due(),
        }
    }

    fn execute(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Recheck) | None => self.unload_due(),
            Some(Command::Unload(name, noted)) => {
                self.unload_when_idle(|runner| *runner.name() == name);
                // The caller may have left.
                let _ = noted.send(());
            }
            Some(Command::UnloadAll) => self.unload_when_idle(|_| true),
            Some(Command::Clear(noted)) => {
                self.epoch += 1;
                self.loaded.clear();
                self.publish();
                let _ = noted.send(());
            }
        }
    }

    fn unload_when_idle(&mut self, which: impl Fn(&Runner) -> bool) {
        let due = |runner: &&Arc<Runner>| which(runner);
        self.loaded.iter().filter(due).for_each(|runner| {
            runner.set_keep_alive(KeepAlive(0));
        });
        self.unload_due();
    }

    /// Unloads what is idle and due.
    fn unload_due(&mut self) {
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
    /// `keep_alive`; if that is 0, its last user wakes the loader.
    fn next_check(&self) -> Option<Instant> {
        let now = Instant::now();
        let check = |runner: &Arc<Runner>| {
            let keep_alive = runner.keep_alive().0;
            if !runner.is_busy() {
                return self.clock.moment(runner.expires());
            }
            let keep_alive = u64::try_from(keep_alive)
                .ok()
                .filter(|keep_alive| (1..i64::MAX as u64).contains(keep_alive))?;
            now.checked_add(std::time::Duration::from_nanos(keep_alive.max(1_000_000)))
        };
        self.loaded.iter().filter_map(check).min()
    }

    fn publish(&self) {
        self.view.store(Arc::new(self.loaded.clone()));
    }
}
