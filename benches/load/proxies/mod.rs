//! The contenders that are measured, and how each is started and found ready.
//!
//! A contender is started afresh for every run, on a port of its own, in a folder of its own, and
//! is ready when it has relayed one right answer. Each has the least configuration that makes the
//! comparison fair: one thread for the others, keep-alive on both sides, nothing held back.

mod haproxy;
mod herdsman;
mod nginx;
mod ready;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use clap::ValueEnum;
use serde::Serialize;

use crate::error::{BenchError, Doing as _};
use crate::process::Group;

/// The program between the generator and the responder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Contender {
    /// No proxy: the generator talks to the responder.
    Direct,
    /// HAProxy, one thread.
    Haproxy,
    /// nginx, one worker.
    Nginx,
    /// This project.
    Herdsman,
}

/// A contender that answers.
pub struct RunningProxy {
    /// Where.
    pub address: SocketAddr,
    /// Its processes; none for [`Contender::Direct`].
    pub group: Option<Group>,
}

/// The servers behind a contender.
pub struct Upstream<'a> {
    /// The responder's addresses.
    pub addresses: &'a [SocketAddr],
    /// How many models each of them has.
    pub models: u64,
}

impl Contender {
    /// As it is called in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Herdsman => "herdsman",
        }
    }

    /// The first line of its version output.
    pub fn version(self) -> Option<String> {
        let (program, flag) = match self {
            Self::Direct => return None,
            Self::Haproxy => (haproxy::PROGRAM, "-v"),
            Self::Nginx => (nginx::PROGRAM, "-v"),
            Self::Herdsman => (herdsman::PROGRAM, "--version"),
        };
        let output = std::process::Command::new(program)
            .arg(flag)
            .output()
            .ok()?;
        let words = [output.stdout, output.stderr].concat();
        let words = String::from_utf8_lossy(&words);
        words.lines().next().map(str::to_owned)
    }

    /// Starts it in front of `upstream` and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed, does not start, or does not relay a right answer in time.
    pub async fn start(
        self,
        upstream: &Upstream<'_>,
        folder: &Path,
    ) -> Result<RunningProxy, BenchError> {
        let (address, command) = match (self, upstream.addresses) {
            (Self::Direct, [address, ..]) => {
                return Ok(RunningProxy {
                    address: *address,
                    group: None,
                });
            }
            (Self::Herdsman, _) => {
                let address = free_address()?;
                (address, herdsman::command(address, upstream, folder)?)
            }
            (Self::Haproxy, [behind, ..]) => {
                let address = free_address()?;
                (address, haproxy::command(address, *behind, folder)?)
            }
            (Self::Nginx, [behind, ..]) => {
                let address = free_address()?;
                (address, nginx::command(address, *behind, folder)?)
            }
            (_, []) => {
                return Err(BenchError::Unfit(
                    "no server to start in front of".to_owned(),
                ));
            }
        };
        let mut group = Group::spawn(self.name(), command, folder)?;
        ready::wait(self, address, upstream, &mut group).await?;
        Ok(RunningProxy {
            address,
            group: Some(group),
        })
    }
}

impl RunningProxy {
    /// Ends its processes.
    pub async fn end(self) {
        if let Some(group) = self.group {
            group.end().await;
        }
    }
}

/// Neither HAProxy nor nginx can say which port they chose, so one is chosen for them. Another
/// program could take it in between; the run then fails with an error, it does not measure that
/// program.
fn free_address() -> Result<SocketAddr, BenchError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .doing("finding a free port")
}
