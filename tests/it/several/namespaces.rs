//! Network namespaces of a test's own: the test's, and one for each router, which has a cable of its own to the
//! database, to Redis, and to everything else.
//!
//! Nothing of it is seen from outside, and all of it ends with the test.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::support::{Program, eventually};

/// Set in the process that has a namespace of its own.
const WITHIN: &str = "HERDSMAN_TEST_NAMESPACE";
/// Where servers are found from everywhere.
pub const SERVERS: &str = "10.99.0.1";

/// What a cable leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cable {
    Database,
    Redis,
    /// Clients, servers, and whoever else asks it.
    Others,
}

/// Whether this is the process that has a namespace of its own. If not, it runs this test once more, in one that has, and waits
/// for it.
pub fn enters(test: &str) -> bool {
    if std::env::var_os(WITHIN).is_some() {
        run("ip", "link set lo up");
        run("ip", &format!("addr add {SERVERS}/32 dev lo"));
        return true;
    }
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(WITHIN, "1");
    let status = command.status().unwrap();
    assert!(
        status.success(),
        "see above; network namespaces are made by root"
    );
    false
}

/// The namespace of one router, with its cables. It is there as long as this is.
pub struct Namespace {
    number: u8,
    /// It does nothing but be in it.
    _holder: Program,
    path: PathBuf,
}

impl Namespace {
    pub async fn new(number: u8) -> Self {
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let mut command = Command::new("unshare");
        let holder = Program::spawn(command.args(["--net", "--", "sleep", "600"]));
        let path = PathBuf::from(format!("/proc/{}/ns/net", holder.id()));
        eventually("it is in another namespace", || {
            std::fs::read_link(&path).is_ok_and(|there| there != own)
        })
        .await;
        let namespace = Self {
            number,
            _holder: holder,
            path,
        };
        namespace.inside("ip link set lo up");
        for cable in [Cable::Database, Cable::Redis, Cable::Others] {
            namespace.lay(cable);
        }
        let everybody = namespace.address(Cable::Others, 1);
        namespace.inside(&format!("ip route add default via {everybody}"));
        namespace
    }

    fn lay(&self, cable: Cable) {
        let (end, near) = (self.end(cable), format!("n{}", cable as u8));
        let holder = self.path.to_str().unwrap().split('/').nth(2).unwrap();
        run(
            "ip",
            &format!("link add {end} type veth peer name {near} netns {holder}"),
        );
        run(
            "ip",
            &format!("addr add {}/24 dev {end}", self.address(cable, 1)),
        );
        run("ip", &format!("link set {end} up"));
        self.inside(&format!(
            "ip addr add {}/24 dev {near}",
            self.address(cable, 2)
        ));
        self.inside(&format!("ip link set {near} up"));
    }

    /// The end of a cable that is not the router's.
    fn end(&self, cable: Cable) -> String {
        format!("r{}n{}", self.number, cable as u8)
    }

    /// 1: that of the other end; 2: the router's.
    fn address(&self, cable: Cable, end: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number, cable as u8, end)
    }

    /// Where the router listens.
    pub fn listens(&self) -> SocketAddr {
        (self.address(Cable::Others, 2), 11435).into()
    }

    /// Whatever is sent over it is lost, until it is mended; nobody is told.
    pub fn cut(&self, cable: Cable) {
        run("ip", &format!("link set {} down", self.end(cable)));
    }

    pub fn mend(&self, cable: Cable) {
        run("ip", &format!("link set {} up", self.end(cable)));
    }

    /// The words that run a program in it.
    pub fn runs(&self, program: &str) -> Vec<OsString> {
        let place = format!("--net={}", self.path.display());
        ["nsenter", &place, "--", program]
            .map(OsString::from)
            .to_vec()
    }

    fn inside(&self, command: &str) {
        run(
            "nsenter",
            &format!("--net={} -- {command}", self.path.display()),
        );
    }

    /// The other end of this cable is a port of 127.0.0.1. Returns its address.
    pub async fn leads_to(&self, cable: Cable, port: u16) -> SocketAddr {
        let listener = TcpListener::bind((self.address(cable, 1), 0))
            .await
            .unwrap();
        let addr = listener.local_addr().unwrap();
        let tasks = TaskTracker::new();
        tasks.clone().spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tasks.spawn(async move {
                    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
                    if let Ok(mut server) = server {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        addr
    }
}

fn run(program: &str, arguments: &str) {
    let mut command = Command::new(program);
    let output = command.args(arguments.split(' ')).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {said}");
}
