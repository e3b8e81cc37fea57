//! A TCP proxy that injects network faults on demand.
//!
//! It is between a client and one server on this machine. A fault is in effect when [`Chaos::set`]
//! returns: the listener is already in its new state, and no byte passes that may not. One task
//! owns the listener; each connection is a [`link`] of its own and sees the network through a
//! `watch`.

mod link;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Port, TEST_TIMEOUT};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// Forwards everything.
    #[default]
    Whole,
    /// Forwards everything so much later.
    Slow(Duration),
    /// Resets what is connected, refuses new connections.
    Refusing,
    /// Accepts and reads, and never answers. When it ends, what was connected is reset.
    Silent,
    /// Drops packets both ways: connecting hangs, and what is sent arrives when it ends.
    BlackHole,
    /// Drops packets on their way to the server.
    NoRequests,
    /// Drops packets on their way to the client: commands take effect, their replies are lost.
    NoReplies,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

/// What happens to bytes that go one way.
#[derive(Debug, Clone, Copy)]
enum Flow {
    Passes(Duration),
    Waits,
    IsLost,
}

impl Network {
    fn flow(self, way: Way) -> Flow {
        match (self, way) {
            (Self::BlackHole, _)
            | (Self::NoRequests, Way::ToServer)
            | (Self::NoReplies, Way::ToClient) => Flow::Waits,
            (Self::Silent, _) => Flow::IsLost,
            (Self::Slow(by), _) => Flow::Passes(by),
            _ => Flow::Passes(Duration::ZERO),
        }
    }
}

/// The proxy. Everything it has open is closed when it is dropped.
#[derive(Debug)]
pub struct Chaos {
    port: Port,
    shared: Arc<Shared>,
    changes: mpsc::Sender<(Network, oneshot::Sender<()>)>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    network: watch::Sender<Network>,
    /// Counts up to reset every connection that is older.
    resets: watch::Sender<u64>,
    cut: ArcSwapOption<Cut>,
    /// At which request the network stops forwarding requests.
    halt: ArcSwapOption<Cut>,
    accepted: AtomicUsize,
    open: AtomicUsize,
}

/// A fault for so many requests.
#[derive(Debug)]
struct Cut {
    /// What the request contains.
    needle: Vec<u8>,
    left: AtomicUsize,
}

impl Cut {
    /// Whether this request is one of them; true at most as often as set.
    fn matches(&self, request: &[u8]) -> bool {
        let found = request
            .windows(self.needle.len())
            .any(|window| window.eq_ignore_ascii_case(&self.needle));
        let one_less = |left: usize| left.checked_sub(1);
        found
            && self
                .left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
                .is_ok()
    }
}

impl Chaos {
    /// A proxy without faults in front of the server on this port of 127.0.0.1.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn in_front_of(server: u16) -> Self {
        let port = Port::free();
        let shared = Arc::new(Shared {
            target: SocketAddr::from(([127, 0, 0, 1], server)),
            network: watch::Sender::new(Network::Whole),
            resets: watch::Sender::new(0),
            cut: ArcSwapOption::empty(),
            halt: ArcSwapOption::empty(),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let (changes, inbox) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let listener_task = ListenerTask {
            addr: port.addr(),
            shared: shared.clone(),
            listener: Some(listen(port.addr()).await),
            filler: None,
            stop: stop.clone(),
            links: TaskTracker::new(),
        };
        let tasks = TaskTracker::new();
        tasks.spawn(listener_task.run(inbox));
        Self {
            port,
            shared,
            changes,
            stop,
        }
    }

    /// Where clients find it at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The same as the address of a Redis server.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// Changes the network. It is changed when this returns.
    ///
    /// # Panics
    /// When the runtime of the test is gone.
    pub async fn set(&self, network: Network) {
        let (done, changed) = oneshot::channel();
        self.changes
            .send((network, done))
            .await
            .expect("a running proxy");
        tokio::time::timeout(TEST_TIMEOUT, changed)
            .await
            .expect("the network changes in time")
            .expect("a running proxy");
    }

    /// Resets every connection there is; new ones are accepted.
    pub fn reset(&self) {
        self.shared.resets.send_modify(|resets| *resets += 1);
    }

    /// Lets the next `times` requests that contain `needle` take effect, and resets their
    /// connections instead of delivering the reply.
    pub fn cut_reply_of(&self, needle: &str, times: usize) {
        self.shared.cut.store(Some(Arc::new(Cut {
            needle: needle.as_bytes().to_vec(),
            left: AtomicUsize::new(times),
        })));
    }

    /// Of the replies that were to be cut, those that were not asked for yet.
    pub fn uncut(&self) -> usize {
        let cut = self.shared.cut.load();
        cut.as_ref()
            .map_or(0, |cut| cut.left.load(Ordering::SeqCst))
    }

    /// With the next request that contains `needle` the network becomes [`Network::NoRequests`]: that
    /// one, and all after it, arrive when it is [`Network::Whole`] again.
    pub fn stop_requests_at(&self, needle: &str) {
        self.shared.halt.store(Some(Arc::new(Cut {
            needle: needle.as_bytes().to_vec(),
            left: AtomicUsize::new(1),
        })));
    }

    /// What the network does now.
    pub fn network(&self) -> Network {
        *self.shared.network.borrow()
    }

    /// Connections accepted since the start.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The task that owns the listener.
struct ListenerTask {
    addr: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<TcpListener>,
    /// Fills the accept queue, so that the kernel drops new connections.
    filler: Option<TcpStream>,
    stop: CancellationToken,
    links: TaskTracker,
}

impl ListenerTask {
    async fn run(mut self, mut changes: mpsc::Receiver<(Network, oneshot::Sender<()>)>) {
        loop {
            let open = *self.shared.network.borrow() != Network::BlackHole;
            let listener = self.listener.as_ref().filter(|_| open);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                change = changes.recv() => {
                    let Some((network, done)) = change else { return };
                    self.change(network).await;
                    let _ = done.send(());
                }
                Ok((client, from)) = accept(listener) => {
                    let filler = self.filler.as_ref().and_then(|filler| filler.local_addr().ok());
                    if filler == Some(from) {
                        self.filler = None;
                    } else {
                        self.start_link(client);
                    }
                }
            }
        }
    }

    fn start_link(&self, client: TcpStream) {
        self.shared.accepted.fetch_add(1, Ordering::SeqCst);
        self.shared.open.fetch_add(1, Ordering::SeqCst);
        let (shared, stop) = (self.shared.clone(), self.stop.clone());
        let resets = shared.resets.subscribe();
        self.links.spawn(async move {
            link::run(client, resets, &shared, &stop).await;
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }

    async fn change(&mut self, network: Network) {
        match network {
            Network::Refusing => {
                self.listener = None;
                self.filler = None;
            }
            Network::BlackHole => {
                self.listen_with(BACKLOG).await;
                if self.filler.is_none() {
                    // Behind the connections that wait already, while there is room for it.
                    self.filler = TcpStream::connect(self.addr).await.ok();
                }
                // A backlog of 0 that is exceeded: from now on the kernel ignores new connections.
                self.listen_with(0).await;
            }
            _ => self.listen_with(BACKLOG).await,
        }
        self.shared.network.send_replace(network);
        if network == Network::Refusing {
            self.shared.resets.send_modify(|resets| *resets += 1);
        }
    }

    /// So many connections may wait to be accepted.
    async fn listen_with(&mut self, backlog: i32) {
        if self.listener.is_none() {
            self.listener = Some(listen(self.addr).await);
        }
        let listener = self.listener.as_ref().expect("a listener");
        SockRef::from(listener).listen(backlog).expect("a backlog");
    }
}

async fn listen(addr: SocketAddr) -> TcpListener {
    TcpListener::bind(addr)
        .await
        .expect("a claimed port is free")
}

async fn accept(listener: Option<&TcpListener>) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}
