//! The two threads of the journal: one writes, one waits for the disk.
//!
//! Threads and not tasks, since a write may stall for as long as the kernel likes, and a sync does.
//! While the writer writes, the next requests gather in its channel, and go out together with the
//! next write: the slower the disk, the larger the groups.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::disk::Segment;
use super::writer::{Entry, Writer};
use super::{Listener, Settled};
use crate::spend::settlement::Settlement;
use crate::store::BatchId;

/// So many records make a write of about 60 KiB; more would only delay the first of them.
const MAX_GROUP: usize = 512;

/// How long records gather behind a write before the next. Under load this saves most of the
/// wake-ups that counting costs, and nobody notices: it is less than half of what a frame may be
/// delayed, and a record that comes after a quiet moment does not wait at all.
const GATHER: Duration = Duration::from_micros(400);

/// What the writer's thread is told.
pub(super) enum Command {
    Record(Entry),
    Seal(Option<Settled>),
    Held(Vec<BatchId>),
    Forget(Vec<Settlement>),
    Attach(Listener),
    Synced(io::Result<()>),
    Close(oneshot::Sender<()>),
    /// Ends at once.
    Crash(oneshot::Sender<()>),
}

/// Starts both threads. They end after [`Command::Close`] or [`Command::Crash`].
pub(super) fn start(
    writer: Writer,
    commands: Sender<Command>,
    inbox: Receiver<Command>,
    queued: Arc<AtomicUsize>,
) -> io::Result<()> {
    let (to_sync, files) = channel::<Arc<dyn Segment>>();
    thread::Builder::new()
        .name("journal-sync".into())
        .spawn(move || {
            for file in files {
                // The writer is gone: it has synced for itself when it closed.
                if commands.send(Command::Synced(file.sync())).is_err() {
                    break;
                }
            }
        })?;
    thread::Builder::new()
        .name("journal".into())
        .spawn(move || run(writer, &inbox, &to_sync, &queued))?;
    Ok(())
}

fn run(
    mut writer: Writer,
    inbox: &Receiver<Command>,
    to_sync: &Sender<Arc<dyn Segment>>,
    queued: &AtomicUsize,
) {
    let mut group = Vec::with_capacity(MAX_GROUP);
    let mut next = inbox.recv().ok();
    while let Some(command) = next.take() {
        let mut gathers = false;
        match command {
            Command::Record(entry) => {
                gathers = true;
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
                queued.fetch_sub(group.len(), Relaxed);
                writer.append(&mut group);
            }
            Command::Seal(settled) => {
                writer.seal();
                if let Some(settled) = settled {
                    writer.when_settled(settled);
                }
            }
            Command::Held(ids) => writer.held(&ids),
            Command::Forget(settlements) => writer.forget(&settlements),
            Command::Attach(listener) => writer.attach(listener),
            Command::Synced(outcome) => writer.synced(outcome),
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
            drop(to_sync.send(file));
        }
        if next.is_none() {
            if gathers {
                // Whoever sends to a thread that sleeps on its own does not have to wake it.
                thread::sleep(GATHER);
            }
            next = inbox.recv().ok();
        }
    }
}
