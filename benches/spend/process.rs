//! This process, as the kernel sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU of all threads of this process.
pub fn cpu() -> Duration {
    spent(ClockId::ProcessCPUTime)
}

/// CPU of the thread that asks.
pub fn cpu_of_this_thread() -> Duration {
    spent(ClockId::ThreadCPUTime)
}

fn spent(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

/// CPU of its threads, together for those of one name.
pub fn cpu_by_thread() -> BTreeMap<String, Duration> {
    let mut threads = BTreeMap::new();
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        let folder = thread.unwrap().path();
        let read = |file| std::fs::read_to_string(folder.join(file));
        // One that has ended meanwhile is not there any more.
        let (Ok(name), Ok(times)) = (read("comm"), read("schedstat")) else {
            continue;
        };
        let ran = times.split_whitespace().next().unwrap().parse().unwrap();
        *threads.entry(name.trim().to_owned()).or_default() += Duration::from_nanos(ran);
    }
    threads
}

/// Bytes of it that are in memory.
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap() * 1024
}
