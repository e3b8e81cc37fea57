//! What is under the server, and how that was started ([`settings`]): what the operating system is asked for.
//!
//! Whatever cannot be found out stays out. It reads files and runs programs, on a thread of its own, because any of
//! them may hang: a driver, a disk that is gone. Nobody waits for such a thread at the end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use tokio::sync::oneshot;

use super::settings;
use crate::domain::{Gpu, Machine};

const MIB: u64 = 1 << 20;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) machine: Machine,
    pub(super) settings: BTreeMap<String, String>,
}

/// Looks at this machine, and at the server that listens on this port of it. Of the folders the first that is there has
/// the models.
pub(super) async fn look(models: Vec<PathBuf>, port: Option<u16>) -> Seen {
    let (seen, look) = oneshot::channel();
    let thread = thread::Builder::new().name("machine".to_owned());
    let started = thread.spawn(move || {
        let (memory, memory_free) = memory();
        let folder = models.iter().find(|folder| folder.is_dir());
        let machine = Machine {
            memory,
            memory_free,
            disk_free: folder.and_then(|folder| disk_free(folder)),
            gpus: gpus(),
            ..unknown()
        };
        let settings = port.map(settings::of_server).unwrap_or_default();
        // Whoever asked may have stopped waiting.
        let _ = seen.send(Seen { machine, settings });
    });
    match started {
        Ok(_) => look.await.unwrap_or_default(),
        Err(_) => Seen {
            machine: unknown(),
            ..Seen::default()
        },
    }
}

/// What is known without looking.
pub(super) fn unknown() -> Machine {
    Machine {
        host: host(),
        os: std::env::consts::OS.to_owned(),
        ..Machine::default()
    }
}

/// What a program prints, if it is there and succeeds.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

fn host() -> Option<String> {
    let name = match cfg!(target_os = "linux") {
        true => fs::read_to_string("/proc/sys/kernel/hostname").ok(),
        false => said("hostname", &[]),
    }?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// All of it, and what is free.
fn memory() -> (Option<u64>, Option<u64>) {
    if cfg!(target_os = "linux") {
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        return (line(&text, "MemTotal:"), line(&text, "MemAvailable:"));
    }
    if cfg!(target_os = "macos") {
        let all = said("sysctl", &["-n", "hw.memsize"]);
        return (all.and_then(|all| all.trim().parse().ok()), None);
    }
    (None, None)
}

/// A line of `/proc/meminfo`, in bytes.
fn line(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1_024)
}

fn disk_free(folder: &Path) -> Option<u64> {
    match cfg!(unix) {
        true => available(&said("df", &["-Pk", folder.to_str()?])?),
        false => None,
    }
}

/// The fourth column of the second line of `df -Pk`.
fn available(text: &str) -> Option<u64> {
    let kib: u64 = text
        .lines()
        .nth(1)?
        .split_whitespace()
        .nth(3)?
        .parse()
        .ok()?;
    kib.checked_mul(1_024)
}

fn gpus() -> Vec<Gpu> {
    let asked = [
        "--query-gpu=name,memory.total,memory.free,temperature.gpu",
        "--format=csv,noheader,nounits",
    ];
    match said("nvidia-smi", &asked) {
        Some(text) => text.lines().filter_map(nvidia).collect(),
        None if cfg!(target_os = "linux") => amd(Path::new("/sys/class/drm")),
        None => Vec::new(),
    }
}

/// A line of `nvidia-smi`; what it does not know it writes in brackets.
fn nvidia(line: &str) -> Option<Gpu> {
    let mut cells = line.rsplitn(4, ',').map(str::trim);
    let temperature = cells.next()?.parse().ok();
    let mib = |cell: &str| cell.parse::<u64>().ok()?.checked_mul(MIB);
    let memory_free = mib(cells.next()?);
    let memory = mib(cells.next()?);
    Some(Gpu {
        name: cells.next()?.to_owned(),
        memory,
        memory_free,
        temperature,
    })
}

/// The cards whose driver says how much memory they have.
fn amd(cards: &Path) -> Vec<Gpu> {
    let Ok(entries) = fs::read_dir(cards) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("card") && !name.contains('-'))
        .collect();
    names.sort();
    let card = |name: &String| {
        let device = cards.join(name).join("device");
        let number =
            |path: &Path| -> Option<u64> { fs::read_to_string(path).ok()?.trim().parse().ok() };
        let memory = number(&device.join("mem_info_vram_total"))?;
        let used = number(&device.join("mem_info_vram_used"));
        let product = fs::read_to_string(device.join("product_name"));
        let product = product.ok().map(|name| name.trim().to_owned());
        Some(Gpu {
            name: product
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "amdgpu".to_owned()),
            memory: Some(memory),
            memory_free: used.map(|used| memory.saturating_sub(used)),
            temperature: temperature(&device.join("hwmon")),
        })
    };
    names.iter().filter_map(card).collect()
}

/// Of the first sensor.
fn temperature(sensors: &Path) -> Option<i64> {
    let sensor = fs::read_dir(sensors).ok()?.next()?.ok()?.path();
    let text = fs::read_to_string(sensor.join("temp1_input")).ok()?;
    Some(text.trim().parse::<i64>().ok()? / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_and_files_say_is_read() {
        let meminfo = "MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    8192 kB\n";
        assert_eq!(line(meminfo, "MemTotal:"), Some(16 << 20));
        assert_eq!(line(meminfo, "MemAvailable:"), Some(8 << 20));
        assert_eq!(line("MemTotal: many", "MemTotal:"), None);
        let df =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 100 60 40 60% /\n";
        assert_eq!(available(df), Some(40_960));
        assert_eq!(available(""), None);
        let gpu = nvidia("NVIDIA GeForce RTX 4090, 24564, 23028, 41").unwrap();
        assert_eq!(
            (&*gpu.name, gpu.memory, gpu.temperature),
            ("NVIDIA GeForce RTX 4090", Some(24_564 * MIB), Some(41))
        );
        let gpu = nvidia("NVIDIA GB10, [N/A], [N/A], 50").unwrap();
        assert_eq!((gpu.memory, gpu.memory_free), (None, None));
        assert!(nvidia("Failed to initialize").is_none());
    }

    #[test]
    fn cards_of_the_amd_driver_are_found_in_files() {
        let dir = tempfile::tempdir().unwrap();
        let device = dir.path().join("card0/device");
        fs::create_dir_all(device.join("hwmon/hwmon3")).unwrap();
        fs::create_dir_all(dir.path().join("card0-DP-1")).unwrap();
        fs::create_dir_all(dir.path().join("card1/device")).unwrap();
        fs::write(device.join("mem_info_vram_total"), "1000\n").unwrap();
        fs::write(device.join("mem_info_vram_used"), "400\n").unwrap();
        fs::write(device.join("hwmon/hwmon3/temp1_input"), "45000\n").unwrap();
        let expected = Gpu {
            name: "amdgpu".to_owned(),
            memory: Some(1_000),
            memory_free: Some(600),
            temperature: Some(45),
        };
        assert_eq!(amd(dir.path()), [expected]);
        assert!(amd(&dir.path().join("nowhere")).is_empty());
    }

    #[tokio::test]
    async fn this_machine_can_be_looked_at() {
        let folders = vec![PathBuf::from("/nowhere"), std::env::temp_dir()];
        let Seen { machine, .. } = look(folders, None).await;
        assert_eq!(machine.os, std::env::consts::OS);
        assert!(machine.host.is_some(), "{machine:?}");
    }
}
