//! What a process group costs, from `/proc`.
//!
//! CPU is user and system time as the kernel charged it: it counts what the proxy did and hardly
//! what the machine's other tenants did, so ratios of it are the reliable figures. Memory
//! is resident memory. Both are sums over the group, so that nginx's master and worker count as
//! one proxy.

use std::fs;
use std::time::Duration;

use rustix::process::Pid;

use crate::error::{BenchError, Doing as _};
use crate::process::Group;

/// The processes of a group, as they were when it was ready.
pub struct Meter {
    processes: Vec<u32>,
}

impl Meter {
    /// Finds the group's processes.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn of(group: &Group) -> Result<Self, BenchError> {
        let mut processes = Vec::new();
        for entry in fs::read_dir("/proc").doing("reading /proc")? {
            let entry = entry.doing("reading /proc")?;
            let Some(id) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            // A process that ended meanwhile is none of ours: ours are ready and waiting.
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
                continue;
            };
            let leader = Stat::parse(&stat).and_then(|stat| Pid::from_raw(stat.group));
            if leader.is_some() && leader == group.id() {
                processes.push(id);
            }
        }
        Ok(Self { processes })
    }

    /// User and system time used so far.
    ///
    /// # Errors
    /// When a process has gone.
    pub fn cpu(&self) -> Result<Duration, BenchError> {
        let mut ticks = 0;
        for id in &self.processes {
            let path = format!("/proc/{id}/stat");
            let text = fs::read_to_string(&path).doing(format!("reading {path}"))?;
            ticks += Stat::parse(&text).map_or(0, |stat| stat.ticks);
        }
        Ok(from_ticks(ticks))
    }

    /// Resident memory in KiB.
    ///
    /// # Errors
    /// When a process has gone.
    pub fn resident_kib(&self) -> Result<u64, BenchError> {
        let mut sum = 0;
        for id in &self.processes {
            let path = format!("/proc/{id}/status");
            let text = fs::read_to_string(&path).doing(format!("reading {path}"))?;
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
            sum += kib.unwrap_or(0);
        }
        Ok(sum)
    }
}

/// Time the whole machine did not idle, as seen by every program on it, and time taken from it by
/// others on the same host.
///
/// # Errors
/// When `/proc/stat` cannot be read.
pub fn machine_busy() -> Result<Duration, BenchError> {
    let text = fs::read_to_string("/proc/stat").doing("reading /proc/stat")?;
    let fields = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .skip(1);
    let fields: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user nice system (idle iowait) irq softirq steal; guests are counted in user already.
    let busy = [0, 1, 2, 5, 6, 7]
        .iter()
        .filter_map(|&index| fields.get(index))
        .sum();
    Ok(from_ticks(busy))
}

fn from_ticks(ticks: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_secs(ticks) / u32::try_from(per_second).unwrap_or(100)
}

struct Stat {
    group: i32,
    ticks: u64,
}

impl Stat {
    /// Fields are counted from behind the program's name, which may contain anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let user: u64 = fields.get(11)?.parse().ok()?;
        let system: u64 = fields.get(12)?.parse().ok()?;
        Some(Self {
            group: fields.get(2)?.parse().ok()?,
            ticks: user + system,
        })
    }
}
