//! The two threads of the journal: one writes, one waits for the disk, syncing and
//! reading.
//!
//! Threads and not tasks, since a write may stall for as long as the kernel likes, and a sync does.
//! While the writer writes, the next requests gather in its channel, and go out together with the
//! next write: the slower the disk, the larger the groups.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::disk::{Reading, Segment, SegmentName};
use super::gathering::Gathering;
use super::recover::reload;
use super::writer::{Entry, Writer};
use super::{Callback, Listener};
use crate::spend::settlement::Settlement;
use crate::store::{BatchId, SealedBatch};

/// So many records make a write of about 60 KiB; more would only delay the first of them.
const MAX_GROUP: usize = 512;

/// The commands of the writer's thread.
pub(super) enum Command {
    Record(Entry),
    Seal(Option<Callback>),
    Held(Vec<BatchId>),
    Forget(Vec<Settlement>),
    /// Called when all before it is done.
    Then(Callback),
    Attach(Listener),
    Synced(io::Result<()>),
    Loaded(SegmentName, io::Result<Vec<SealedBatch>>),
    Close(oneshot::Sender<()>),
    /// Ends at once.
    Crash(oneshot::Sender<()>),
}

/// The commands of the other thread.
enum Work {
    Sync(Arc<dyn Segment>),
    Load(SegmentName, Reading),
}

/// Starts both threads. They end after [`Command::Close`] or [`Command::Crash`].
pub(super) fn start(
    writer: Writer,
    commands: Sender<Command>,
    inbox: Receiver<Command>,
    queued: Arc<AtomicUsize>,
) -> io::Result<()> {
    let (to_disk, work) = channel::<Work>();
    thread::Builder::new()
        .name("journal-disk".into())
        .spawn(move || {
            for work in work {
                let done = match work {
                    Work::Sync(file) => Command::Synced(file.sync()),
                    Work::Load(name, reading) => Command::Loaded(name, reload(name, reading)),
                };
                // The writer is gone: it has synced for itself when it closed.
                if commands.send(done).is_err() {
                    break;
                }
            }
        })?;
    thread::Builder::new()
        .name("journal".into())
        .spawn(move || run(writer, &inbox, &to_disk, &queued))?;
    Ok(())
}

fn run(
    mut writer: Writer,
    inbox: &Receiver<Command>,
    to_disk: &Sender<Work>,
    queued: &AtomicUsize,
) {
    let mut group = Vec::with_capacity(MAX_GROUP);
    let mut gathering = Gathering::new();
    let mut next = wait(&mut writer, inbox);
    while let Some(command) = next.take() {
        let mut pause = None;
        match command {
            Command::Record(entry) => {
                let now = Instant::now();
                group.push(entry);
                while group.len() < MAX_GROUP {
                    match inbox.try_recv() {
                        Ok(Command::Record(entry)) => group.push(entry),
                        Ok(other) => {
                            next = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                let waiting = queued.fetch_sub(group.len(), Relaxed);
                pause = gathering.found(waiting, now);
                writer.append(&mut group, now);
            }
            Command::Seal(callback) => {
                writer.seal();
                if let Some(callback) = callback {
                    writer.when_settled(callback);
                }
            }
            Command::Held(ids) => writer.held(&ids),
            Command::Forget(settlements) => writer.forget(&settlements),
            Command::Then(callback) => callback(),
            Command::Attach(listener) => writer.attach(listener),
            Command::Synced(outcome) => writer.synced(outcome),
            Command::Loaded(name, batches) => writer.loaded(name, batches),
            Command::Close(closed) => {
                writer.close();
                let _ = closed.send(());
                return;
            }
            Command::Crash(crashed) => {
                drop(writer);
                let _ = crashed.send(());
                return;
            }
        }
        if let Some(file) = writer.next_sync() {
            // Cannot fail: that thread ends only after this one.
            drop(to_disk.send(Work::Sync(file)));
        }
        if let Some((name, reading)) = writer.next_load() {
            drop(to_disk.send(Work::Load(name, reading)));
        }
        if next.is_none() {
            if let Some(pause) = pause {
                // A sender need not wake a thread that sleeps for a fixed time.
                thread::sleep(pause);
                gathering.paused();
            }
            next = wait(&mut writer, inbox);
        }
    }
}

/// Waits for the next command; no answer is held back meanwhile for longer than its limit.
fn wait(writer: &mut Writer, inbox: &Receiver<Command>) -> Option<Command> {
    while let Some(due) = writer.due() {
        let now = Instant::now();
        if due <= now {
            writer.release_overdue(now);
            continue;
        }
        match inbox.recv_timeout(due - now) {
            Err(RecvTimeoutError::Timeout) => {}
            received => return received.ok(),
        }
    }
    inbox.recv().ok()
}
