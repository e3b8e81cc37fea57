//! How the server was started, where its process can be found and read: on Linux, by the agent of the same user or
//! root. Of its environment only what is listed here is told.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::config::{EndpointUrl, is_own_address};

/// What says how Ollama serves.
const NAMES: &[&str] = &[
    NUM_PARALLEL,
    "OLLAMA_MAX_LOADED_MODELS",
    "OLLAMA_MAX_QUEUE",
    "OLLAMA_KEEP_ALIVE",
    "OLLAMA_CONTEXT_LENGTH",
    "OLLAMA_FLASH_ATTENTION",
    "OLLAMA_KV_CACHE_TYPE",
];
const NUM_PARALLEL: &str = "OLLAMA_NUM_PARALLEL";
/// No value of one is longer.
const LONGEST: usize = 64;
/// No environment is read beyond that, nor a table of sockets.
const MOST_BYTES: u64 = 4 << 20;

/// The port of a server of this machine.
pub(super) fn local_port(server: &EndpointUrl) -> Option<u16> {
    let reached = server.reached();
    let (host, port) = reached.rsplit_once(':')?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let ip = bare.parse().ok()?;
    is_own_address(ip).then(|| port.parse().ok())?
}

/// The settings of whoever listens on this port; none, where that cannot be found out.
pub(super) fn of_server(port: u16) -> BTreeMap<String, String> {
    found(Path::new("/proc"), port).unwrap_or_default()
}

/// How many requests it serves at once, if that was said.
pub(super) fn slots(settings: &BTreeMap<String, String>) -> Option<u32> {
    let slots = settings.get(NUM_PARALLEL)?.parse().ok();
    slots.filter(|slots| *slots > 0)
}

fn found(proc: &Path, port: u16) -> Option<BTreeMap<String, String>> {
    let tables = ["net/tcp", "net/tcp6"].into_iter();
    let tables = tables.filter_map(|table| read(&proc.join(table)));
    let sockets: HashSet<String> = tables.flat_map(|table| listening(&table, port)).collect();
    if sockets.is_empty() {
        return None;
    }
    let environment = read(&process(proc, &sockets)?.join("environ"))?;
    let pairs = environment.split('\0');
    let pairs = pairs.filter_map(|pair| pair.split_once('='));
    let told = pairs.filter(|(name, value)| NAMES.contains(name) && is_shown(value));
    Some(
        told.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    )
}

fn is_shown(value: &str) -> bool {
    !value.is_empty() && value.len() <= LONGEST && value.bytes().all(|byte| byte.is_ascii_graphic())
}

fn read(path: &Path) -> Option<String> {
    let mut text = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MOST_BYTES).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The sockets that listen on the port, as links to them are written.
fn listening(table: &str, port: u16) -> Vec<String> {
    let socket = |line: &str| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let (_, at) = cells.get(1)?.rsplit_once(':')?;
        let listens = *cells.get(3)? == "0A" && u16::from_str_radix(at, 16) == Ok(port);
        listens.then(|| Some(format!("socket:[{}]", cells.get(9)?)))?
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// The folder of the process that has one of them.
fn process(proc: &Path, sockets: &HashSet<String>) -> Option<PathBuf> {
    let has = |process: &Path| {
        let Ok(links) = fs::read_dir(process.join("fd")) else {
            return false;
        };
        let mut targets = links.filter_map(|link| fs::read_link(link.ok()?.path()).ok());
        targets.any(|target| {
            target
                .to_str()
                .is_some_and(|target| sockets.contains(target))
        })
    };
    let is_process = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let folders = fs::read_dir(proc)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    folders.filter(is_process).find(|process| has(process))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000  998        0 4711 1 0 100 0 0 10 0\n\
        1: 0100007F:2CAA 0100007F:9999 01 00000000:00000000 00:00000000 00000000  998        0 4712 1 0 100 0 0 10 0\n";

    #[test]
    fn of_the_process_that_listens_there_the_settings_are_told_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let fd = |pid: &str| dir.path().join(pid).join("fd");
        for (pid, socket) in [
            ("7", "socket:[4712]"),
            ("42", "socket:[4711]"),
            ("self", "x"),
        ] {
            fs::create_dir_all(fd(pid)).unwrap();
            std::os::unix::fs::symlink(socket, fd(pid).join("3")).unwrap();
        }
        fs::create_dir_all(dir.path().join("net")).unwrap();
        fs::write(dir.path().join("net/tcp"), TABLE).unwrap();
        let long = "x".repeat(LONGEST + 1);
        let environment = format!(
            "PATH=/bin\0OLLAMA_NUM_PARALLEL=4\0OLLAMA_KEEP_ALIVE=-1\0OLLAMA_KV_CACHE_TYPE={long}\0OLLAMA_API_KEY=secret\0"
        );
        fs::write(dir.path().join("42/environ"), environment).unwrap();
        let told = found(dir.path(), 11_434).unwrap();
        let pairs: Vec<(&str, &str)> = told
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(
            pairs,
            [("OLLAMA_KEEP_ALIVE", "-1"), ("OLLAMA_NUM_PARALLEL", "4")]
        );
        assert_eq!(slots(&told), Some(4));
        assert_eq!(found(dir.path(), 11_435), None, "nobody listens there");
    }

    #[test]
    fn a_server_of_another_machine_is_not_looked_for_here() {
        let port = |url: &str| local_port(&url.parse().unwrap());
        assert_eq!(port("http://127.0.0.1:11434"), Some(11_434));
        assert_eq!(port("http://localhost:11434"), Some(11_434));
        assert_eq!(port("http://203.0.113.7:11434"), None);
        assert_eq!(port("http://gpu-1:11434"), None);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        // This process can be found, and its environment has none of them or only those.
        let told = of_server(listener.local_addr().unwrap().port());
        assert!(told.keys().all(|name| NAMES.contains(&&**name)), "{told:?}");
    }
}
