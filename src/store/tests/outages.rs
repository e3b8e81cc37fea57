use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;

const BOTH: [Flavor; 2] = [Flavor::Postgres, Flavor::MariaDb];

/// A server of its own, since it is going to be stopped.
async fn own(flavor: Flavor) -> (Server, Store) {
    let server = Server::start(flavor);
    server.create("own");
    let store = Store::open(&server.url("own"), std::path::Path::new(""))
        .await
        .unwrap();
    store.migrate().await.unwrap();
    (server, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_killed_is_found_again_without_a_restart() {
    for flavor in BOTH {
        let (mut server, store) = own(flavor).await;
        let producer = Uuid::now_v7();
        let one = Arc::new(charge(producer, 1, "k", 1));
        apply(&store, std::slice::from_ref(&one)).await.unwrap();
        server.kill();
        for _ in 0..3 {
            let away = apply(&store, &[Arc::new(charge(producer, 2, "k", 10))])
                .await
                .unwrap_err();
            assert!(matches!(away, Error::Unavailable(_)), "{away:?}");
            assert!(
                !away
                    .to_string()
                    .contains(herdsman_test_support::sql::PASSWORD)
            );
            let away = store.token_counts().await.unwrap_err();
            assert!(matches!(away, Error::Unavailable(_)), "{away:?}");
        }
        server.restart();
        let two = Arc::new(charge(producer, 2, "k", 10));
        assert_eq!(
            apply(&store, &[one, two]).await.unwrap(),
            Applied { fresh: 1, known: 1 }
        );
        assert_eq!(
            store.spent(EntityKind::Key).await.unwrap()[0].spend_nano_usd,
            11
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_waited_for_only_so_long() {
    for flavor in BOTH {
        let (server, store) = own(flavor).await;
        let one = Arc::new(charge(Uuid::now_v7(), 1, "k", 1));
        server.pause();
        let began = Instant::now();
        let silent = apply(&store, std::slice::from_ref(&one)).await.unwrap_err();
        assert!(matches!(silent, Error::Unavailable(_)), "{silent:?}");
        assert!(
            began.elapsed() < Duration::from_secs(9),
            "{:?}",
            began.elapsed()
        );
        server.resume();
        assert_eq!(apply(&store, &[one]).await.unwrap().fresh, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_way_a_commit_is_lost_it_is_repeated_and_counts_once() {
    for flavor in BOTH {
        let (server, direct) = own(flavor).await;
        let proxy = Proxy::start(server.port()).await;
        let url = server.url_through(proxy.port, "own");
        let store = Store::open(&url, std::path::Path::new("")).await.unwrap();
        let producer = Uuid::now_v7();
        for (seq, mode, arrived) in [(1, Mode::DropCommit, 0), (2, Mode::DropCommitAnswer, 1)] {
            let batches = [Arc::new(charge(producer, seq, "k", 1))];
            proxy.set_mode(mode);
            let unknown = apply(&store, &batches).await.unwrap_err();
            assert!(matches!(unknown, Error::Unavailable(_)), "{unknown:?}");
            proxy.set_mode(Mode::Forward);
            assert_eq!(
                direct.applied(&[batches[0].id]).await.unwrap().len(),
                arrived
            );
            assert_eq!(apply(&store, &batches).await.unwrap().known, arrived);
        }
        let spent = direct.spent(EntityKind::Key).await.unwrap();
        assert_eq!((spent[0].spend_nano_usd, spent[0].requests), (2, 2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_lost_inside_a_migration_is_an_outage_and_the_migration_is_run_again() {
    for flavor in BOTH {
        let (server, direct) = own(flavor).await;
        direct.revert_all().await.unwrap();
        let proxy = Proxy::start(server.port()).await;
        let url = server.url_through(proxy.port, "own");
        let store = Store::open(&url, std::path::Path::new("")).await.unwrap();
        proxy.set_mode(Mode::DropCommit);
        let lost = store.migrate().await.unwrap_err();
        assert!(matches!(lost, Error::Unavailable(_)), "{lost:?}");
        proxy.set_mode(Mode::Forward);
        assert!(!store.migrate().await.unwrap().is_empty());
        assert!(direct.pending_migrations().await.unwrap().is_empty());
    }
}

/// A router is stopped in the middle of a transaction and goes on when others have taken over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_left_open_holds_up_nobody_for_long_and_commits_nothing() {
    for flavor in BOTH {
        let (server, direct) = own(flavor).await;
        let proxy = Proxy::start(server.port()).await;
        let url = server.url_through(proxy.port, "own");
        let stalled = Store::open(&url, std::path::Path::new("")).await.unwrap();
        let (old, new) = (fence(1), fence(2));
        let flush = |fence, batches| Flush {
            batches,
            fence: Some(fence),
            letters: &[],
        };
        let batches = [Arc::new(charge(Uuid::now_v7(), 1, "k", 1))];

        proxy.set_mode(Mode::HoldCommit);
        let (late, ahead) = tokio::join!(stalled.apply(flush(&old, &batches)), async {
            proxy.holds().await;
            let began = Instant::now();
            let ahead = direct.apply(flush(&new, &batches)).await;
            assert!(
                began.elapsed() < Duration::from_secs(19),
                "{:?}",
                began.elapsed()
            );
            proxy.set_mode(Mode::Forward);
            ahead
        });
        assert_eq!(ahead.unwrap().fresh, 1);
        let late = late.unwrap_err();
        assert!(matches!(late, Error::Unavailable(_)), "{late:?}");
        let again = stalled.apply(flush(&old, &batches)).await.unwrap_err();
        assert!(matches!(again, Error::Fenced { epoch: 1 }), "{again:?}");
        assert_eq!(
            direct.spent(EntityKind::Key).await.unwrap()[0].spend_nano_usd,
            1
        );
    }
}

fn fence(epoch: u64) -> Fence {
    let leader = format!("router-{epoch}");
    Fence { epoch, leader }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Forward,
    /// Closes instead of passing it on.
    DropCommit,
    /// Passes it on, and closes when the answer comes.
    DropCommitAnswer,
    /// Holds it until the mode changes.
    HoldCommit,
}

/// Between a router and its database.
struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    holding: watch::Receiver<bool>,
    _open: tokio_util::sync::DropGuard,
}

impl Proxy {
    async fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, modes) = watch::channel(Mode::Forward);
        let (hold, holding) = watch::channel(false);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let tracker = TaskTracker::new();
        let connections = tracker.clone();
        tracker.spawn(stopped.clone().run_until_cancelled_owned(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
                    continue;
                };
                let relayed = relay(client, server, modes.clone(), hold.clone());
                connections.spawn(stopped.clone().run_until_cancelled_owned(relayed));
            }
        }));
        Self {
            port,
            mode,
            holding,
            _open: stop.drop_guard(),
        }
    }

    fn set_mode(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    async fn holds(&self) {
        self.holding.clone().wait_for(|holds| *holds).await.unwrap();
    }
}

async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    mut modes: watch::Receiver<Mode>,
    hold: watch::Sender<bool>,
) {
    let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
    let mut drop_answer = false;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(read @ 1..) = read else { return };
                let piece = &from_client[..read];
                // Sessions are set up as READ COMMITTED, too.
                if piece.windows(7).any(|word| word.starts_with(b"COMMIT") && word[6] != b'T')
                    || piece.ends_with(b"COMMIT")
                {
                    let mode = *modes.borrow();
                    match mode {
                        Mode::Forward => {}
                        Mode::DropCommit => return,
                        Mode::DropCommitAnswer => drop_answer = true,
                        Mode::HoldCommit => {
                            hold.send_replace(true);
                            modes.wait_for(|mode| *mode == Mode::Forward).await.unwrap();
                        }
                    }
                }
                if server.write_all(piece).await.is_err() { return }
            }
            read = server.read(&mut from_server) => {
                let Ok(read @ 1..) = read else { return };
                if drop_answer || client.write_all(&from_server[..read]).await.is_err() { return }
            }
        }
    }
}
