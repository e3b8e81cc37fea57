//! A nameserver of the test's own, on UDP and TCP, with faults.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use herdsman_test_support::Port;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

const A: u16 = 1;
const SRV: u16 = 33;
const NOTHING: u16 = 3;
const FAILED: u16 = 2;
/// What fits into a datagram without more being agreed.
const DATAGRAM: usize = 512;

/// What it does with questions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    Answers,
    Fails,
    Silent,
    Slow(Duration),
    /// Its records are longer than its messages, and more than it says.
    Lies,
}

type Records = BTreeMap<(String, u16), Vec<Vec<u8>>>;
type Zone = ArcSwap<(Mood, Records)>;

pub struct Nameserver {
    pub address: SocketAddr,
    zone: Arc<Zone>,
    _tasks: JoinSet<()>,
    _port: Port,
}

impl Nameserver {
    pub async fn start() -> Self {
        let port = Port::free();
        // The port's claim has the UDP port of 127.0.0.1.
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, 53, 1), port.number()));
        let zone = Arc::new(Zone::from_pointee((Mood::Answers, Records::new())));
        let udp = UdpSocket::bind(address).await.unwrap();
        let tcp = TcpListener::bind(address).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(datagrams(Arc::new(udp), Arc::clone(&zone)));
        let zone_of_tcp = Arc::clone(&zone);
        tasks.spawn(async move {
            let mut streams = JoinSet::new();
            while let Ok((stream, _)) = tcp.accept().await {
                streams.spawn(messages(stream, Arc::clone(&zone_of_tcp)));
            }
        });
        Self {
            address,
            zone,
            _tasks: tasks,
            _port: port,
        }
    }

    /// As a setting of the router.
    pub fn setting(&self) -> String {
        format!("discovery.nameserver={}", self.address)
    }

    pub fn is(&self, mood: Mood) {
        self.zone.rcu(|zone| (mood, zone.1.clone()));
    }

    /// From now on the name has these addresses.
    pub fn host(&self, name: &str, addresses: impl IntoIterator<Item = Ipv4Addr>) {
        let records = addresses.into_iter().map(|ip| ip.octets().to_vec());
        self.set(name, A, records.collect());
    }

    /// From now on the service has these records: priority, weight, port, host.
    pub fn service(&self, name: &str, records: &[(u16, u16, u16, &str)]) {
        let record = |(priority, weight, port, host): &(u16, u16, u16, &str)| {
            let numbers = [*priority, *weight, *port];
            let mut data: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
            for label in host.split('.').filter(|label| !label.is_empty()) {
                data.push(u8::try_from(label.len()).unwrap());
                data.extend(label.as_bytes());
            }
            data.push(0);
            data
        };
        self.set(name, SRV, records.iter().map(record).collect());
    }

    fn set(&self, name: &str, kind: u16, records: Vec<Vec<u8>>) {
        self.zone.rcu(|zone| {
            let (mood, mut all) = (**zone).clone();
            all.insert((name.to_owned(), kind), records.clone());
            (mood, all)
        });
    }
}

async fn datagrams(socket: Arc<UdpSocket>, zone: Arc<Zone>) {
    let mut answers = JoinSet::new();
    let mut buffer = [0; 4096];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let (question, zone) = (buffer[..length].to_vec(), Arc::clone(&zone));
        let socket = Arc::clone(&socket);
        answers.spawn(async move {
            let Some(mut answer) = answer(&question, &zone).await else {
                return;
            };
            if answer.len() > DATAGRAM {
                // Only the question, and that there is more.
                answer.truncate(question_end(&question));
                answer[2] |= 0x02;
                answer[6..12].fill(0);
            }
            drop(socket.send_to(&answer, client).await);
        });
    }
}

async fn messages(mut stream: TcpStream, zone: Arc<Zone>) {
    while let Ok(length) = stream.read_u16().await {
        let mut question = vec![0; length.into()];
        if stream.read_exact(&mut question).await.is_err() {
            return;
        }
        let Some(answer) = answer(&question, &zone).await else {
            return;
        };
        let length = u16::try_from(answer.len()).unwrap();
        if stream.write_u16(length).await.is_err() || stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn answer(question: &[u8], zone: &Zone) -> Option<Vec<u8>> {
    let zone = zone.load_full();
    let (mood, records) = (zone.0, &zone.1);
    match mood {
        Mood::Silent => return None,
        Mood::Slow(pause) => tokio::time::sleep(pause).await,
        _ => {}
    }
    let end = question_end(question);
    let kind = u16::from_be_bytes([question[end - 4], question[end - 3]]);
    let name = name(question);
    let found = records.get(&(name.clone(), kind));
    let code = match (mood, records.keys().any(|(known, _)| *known == name)) {
        (Mood::Fails, _) => FAILED,
        (_, true) => 0,
        (_, false) => NOTHING,
    };
    let found = found.filter(|_| mood != Mood::Fails);
    let found = found.map_or(&[][..], Vec::as_slice);
    let mut answer = question[..2].to_vec();
    answer.extend((0x8180 | code).to_be_bytes());
    answer.extend([0, 1]);
    let count = u16::try_from(found.len()).unwrap();
    let lie = u16::from(mood == Mood::Lies);
    answer.extend((count + lie * 1000).to_be_bytes());
    answer.extend([0; 4]);
    answer.extend(&question[12..end]);
    for data in found {
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 1]);
        let length = u16::try_from(data.len()).unwrap();
        answer.extend((length + lie * 60_000).to_be_bytes());
        answer.extend(data);
    }
    Some(answer)
}

fn question_end(question: &[u8]) -> usize {
    let mut at = 12;
    while question[at] > 0 {
        at += 1 + usize::from(question[at]);
    }
    at + 5
}

fn name(question: &[u8]) -> String {
    let (mut at, mut labels) = (12, Vec::new());
    while question[at] > 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..end]).to_lowercase());
        at = end;
    }
    labels.join(".")
}
