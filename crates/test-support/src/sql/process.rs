//! One server process and its children.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How long it may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ended when dropped.
pub struct Process {
    pid: Pid,
    end: Signal,
    parent_thread: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts it and waits until it says `ready`; `None` if it ended instead. `end` is the signal
    /// that makes it end at once.
    pub fn start(
        mut command: Command,
        mut log: File,
        ready: &'static str,
        end: Signal,
    ) -> Option<Self> {
        let (sender, receiver) = channel();
        // The kernel kills the server when the thread that started it ends, so this one stays.
        let parent_thread = std::thread::spawn(move || {
            let mut child = command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let pid = Pid::from_child(&child);
            for line in BufReader::new(child.stderr.take().unwrap()).split(b'\n') {
                let mut line = line.unwrap();
                line.push(b'\n');
                log.write_all(&line).unwrap();
                if String::from_utf8_lossy(&line).contains(ready) {
                    // Sent once; later there is no receiver.
                    let _ = sender.send(pid);
                }
            }
            child.wait().unwrap();
        });
        let pid = first(&receiver)?;
        Some(Self {
            pid,
            end,
            parent_thread: Some(parent_thread),
        })
    }

    /// Its number, as a shell writes it.
    pub fn number(&self) -> String {
        self.pid.as_raw_nonzero().to_string()
    }

    pub fn kill(self) {
        self.signal(Signal::KILL);
    }

    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    pub fn cpu(&self) -> Duration {
        let used = |pid: Pid| {
            let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
            let stat = fs::read_to_string(path).unwrap_or_default();
            let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
            // Own time in user and kernel mode, and that of children that have ended.
            let fields = after.split_whitespace().skip(11).take(4);
            fields.map(|ticks| ticks.parse().unwrap_or(0)).sum::<u64>()
        };
        let ticks: u64 = std::iter::once(self.pid)
            .chain(children(self.pid))
            .map(used)
            .sum();
        Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// To the process and its children, each of which may lead a session of its own.
    fn signal(&self, signal: Signal) {
        send(self.pid, signal);
    }
}

fn send(parent: Pid, signal: Signal) {
    for pid in std::iter::once(parent).chain(children(parent)) {
        // A child may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.resume();
        // It may have ended already.
        let _ = kill_process(self.pid, self.end);
        let Some(parent_thread) = self.parent_thread.take() else {
            return;
        };
        // One that was killed in the middle of its work may take that for more important than the signal.
        let (pid, (_ended, end)) = (self.pid, channel::<()>());
        std::thread::spawn(move || {
            if end.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                send(pid, Signal::KILL);
            }
        });
        let _ = parent_thread.join();
    }
}

fn first(receiver: &Receiver<Pid>) -> Option<Pid> {
    receiver.recv().ok()
}

fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero().get().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // `pid (name) state parent …`, where the name may hold anything but ends at the last bracket.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        if after.split_whitespace().nth(1) == Some(&parent) {
            found.extend(Pid::from_raw(pid));
        }
    }
    found
}
