//! A child process and everything it started, which ends when its guard is dropped.
//!
//! Every child leads a process group of its own, because nginx is several processes: the group is
//! what is measured and what is killed. Dropping the guard kills at once and does not wait;
//! [`Group::end`] waits, so that ending processes do not disturb the next measurement.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::error::{BenchError, Doing as _};
use crate::plan::{Event, Plan};

const LAST_WORDS: usize = 2_000;
const REPORT: Duration = Duration::from_secs(20);

/// A process group, killed when this is dropped.
pub struct Group {
    name: String,
    child: Child,
    id: Option<Pid>,
    log: PathBuf,
}

/// A child of this very program, which reports in lines.
pub struct Reporter {
    group: Group,
    lines: Lines<BufReader<ChildStdout>>,
    stdin: ChildStdin,
}

impl Group {
    /// Starts `command`; its output goes to `NAME.log` in `folder`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(name: &str, mut command: Command, folder: &Path) -> Result<Self, BenchError> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).doing(format!("creating {}", log.display()))?;
        let errors = output.try_clone().doing("sharing a log")?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        Self::start(name, command, log)
    }

    fn start(name: &str, mut command: Command, log: PathBuf) -> Result<Self, BenchError> {
        let program = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        let child = command
            .process_group(0)
            .spawn()
            .doing(format!("starting {program}"))?;
        let id = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        Ok(Self {
            name: name.to_owned(),
            child,
            id,
            log,
        })
    }

    /// What the group is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The group's number; that of its first process.
    pub fn id(&self) -> Option<Pid> {
        self.id
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let words = fs::read(&self.log).unwrap_or_default();
        let tail = &words[words.len().saturating_sub(LAST_WORDS)..];
        String::from_utf8_lossy(tail).into_owned()
    }

    /// Fails if the first process has ended.
    ///
    /// # Errors
    /// [`BenchError::Ended`] with the end of its log.
    pub fn ensure_running(&mut self) -> Result<(), BenchError> {
        match self
            .child
            .try_wait()
            .doing(format!("looking after {}", self.name))?
        {
            None => Ok(()),
            Some(status) => Err(BenchError::Ended {
                who: self.name.clone(),
                status,
                log_tail: self.log_tail(),
            }),
        }
    }

    /// Kills the group and waits until its first process is gone.
    pub async fn end(mut self) {
        self.kill();
        // Only fails when it is gone already.
        drop(self.child.wait().await);
    }

    fn kill(&mut self) {
        if let Some(id) = self.id.take() {
            // Only fails when it is gone already.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Reporter {
    /// Starts this program again in another role.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(role: &str, arguments: &[String], folder: &Path) -> Result<Self, BenchError> {
        let program = std::env::current_exe().doing("finding this program")?;
        let log = folder.join(format!("{role}.log"));
        let errors = File::create(&log).doing(format!("creating {}", log.display()))?;
        let mut command = Command::new(program);
        command.arg(role).args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors);
        let mut group = Group::start(role, command, log)?;
        let pipes = group.child.stdout.take().zip(group.child.stdin.take());
        let (stdout, stdin) = pipes
            .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::BrokenPipe))
            .doing("opening a child's pipes")?;
        Ok(Self {
            group,
            lines: BufReader::new(stdout).lines(),
            stdin,
        })
    }

    /// A responder with so many ports and models, and its addresses.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn responder(
        ports: u16,
        models: u64,
        folder: &Path,
    ) -> Result<(Self, Vec<SocketAddr>), BenchError> {
        let arguments = [format!("--ports={ports}"), format!("--models={models}")];
        let mut responder = Self::start("server", &arguments, folder)?;
        let addresses = responder.read("addresses", REPORT).await?;
        Ok((responder, addresses))
    }

    /// A generator, warm and waiting for [`Reporter::go`].
    ///
    /// # Errors
    /// When it does not get right answers from `address`.
    pub async fn generator(
        address: SocketAddr,
        plan: &Plan,
        folder: &Path,
    ) -> Result<Self, BenchError> {
        let plan = serde_json::to_string(plan).doing("writing a plan")?;
        let arguments = [format!("--address={address}"), format!("--plan={plan}")];
        let mut generator = Self::start("generate", &arguments, folder)?;
        match generator.event(REPORT).await? {
            Event::Ready => Ok(generator),
            other => Err(generator.unexpected("readiness", &format!("{other:?}"))),
        }
    }

    /// Gives a generator its start signal.
    ///
    /// # Errors
    /// When it has gone.
    pub async fn go(&mut self) -> Result<(), BenchError> {
        self.stdin
            .write_all(b"go\n")
            .await
            .doing("starting the generator")
    }

    /// Waits for a generator's next event.
    ///
    /// # Errors
    /// When it takes longer than `limit` or is no event.
    pub async fn event(&mut self, limit: Duration) -> Result<Event, BenchError> {
        self.read("an event", limit).await
    }

    /// Its processes.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Ends the process.
    pub async fn end(self) {
        self.group.end().await;
    }

    async fn read<T: serde::de::DeserializeOwned>(
        &mut self,
        expected: &'static str,
        limit: Duration,
    ) -> Result<T, BenchError> {
        let who = self.group.name.clone();
        let line = timeout(limit, self.lines.next_line())
            .await
            .map_err(|_| BenchError::Late {
                who: who.clone(),
                limit,
            })?
            .doing(format!("listening to {who}"))?;
        let Some(line) = line else {
            let status = self
                .group
                .child
                .wait()
                .await
                .doing(format!("waiting for {who}"))?;
            return Err(BenchError::Ended {
                who,
                status,
                log_tail: self.group.log_tail(),
            });
        };
        serde_json::from_str(&line).map_err(|_| self.unexpected(expected, &line))
    }

    fn unexpected(&self, expected: &'static str, line: &str) -> BenchError {
        BenchError::Report {
            who: self.group.name.clone(),
            expected,
            line: line.to_owned(),
        }
    }
}
