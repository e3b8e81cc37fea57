//! One connection through the proxy.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Flow, Network, Shared, TEST_TIMEOUT, Way};

/// How a connection ended.
enum End {
    /// One of the two is gone; the other is closed too.
    Closed,
    /// The network fault reset it.
    Reset,
    /// The reply to a request must not arrive.
    Cut,
}

/// Forwards bytes until one side is gone or the network ends it.
pub(super) async fn run(
    mut client: TcpStream,
    mut resets: watch::Receiver<u64>,
    shared: &Shared,
    stop: &CancellationToken,
) {
    let _ = client.set_nodelay(true);
    let server = tokio::select! {
        () = stop.cancelled() => return,
        _ = resets.changed() => None,
        server = TcpStream::connect(shared.target) => server.ok(),
    };
    let Some(mut server) = server else {
        reset(&client);
        return;
    };
    let _ = server.set_nodelay(true);
    let end = {
        let cut_next = AtomicBool::new(false);
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            () = stop.cancelled() => End::Reset,
            _ = resets.changed() => End::Reset,
            end = pump(from_client, to_server, Way::ToServer, shared, &cut_next) => end,
            end = pump(from_server, to_client, Way::ToClient, shared, &cut_next) => end,
        }
    };
    match end {
        End::Closed => {}
        End::Reset => {
            reset(&client);
            reset(&server);
        }
        End::Cut => {
            reset(&client);
            drop(client);
            // The server must not see a reset before it has read what it was sent.
            let _ = server.shutdown().await;
            let _ = timeout(
                TEST_TIMEOUT,
                tokio::io::copy(&mut server, &mut tokio::io::sink()),
            )
            .await;
        }
    }
}

/// Closing it will send RST.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

async fn pump(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    way: Way,
    shared: &Shared,
    cut_next: &AtomicBool,
) -> End {
    forward(from, to, way, shared, cut_next)
        .await
        .unwrap_or(End::Closed)
}

async fn forward(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    way: Way,
    shared: &Shared,
    cut_next: &AtomicBool,
) -> io::Result<End> {
    let mut network = shared.network.subscribe();
    let mut buffer = vec![0; 64 * 1024];
    let mut lossy = false;
    loop {
        let now = *network.borrow_and_update();
        let flow = now.flow(way);
        if lossy && !matches!(flow, Flow::IsLost) {
            // A stream with a gap is useless.
            return Ok(End::Reset);
        }
        if matches!(flow, Flow::Waits) {
            let _ = network.changed().await;
            continue;
        }
        let n = tokio::select! {
            n = from.read(&mut buffer) => n?,
            _ = network.changed() => continue,
        };
        if n == 0 {
            return Ok(End::Closed);
        }
        let piece = &buffer[..n];
        if let Flow::Passes(delay) = flow
            && !delay.is_zero()
        {
            sleep(delay).await;
        }
        let halts = |halt: &std::sync::Arc<super::Cut>| way == Way::ToServer && halt.matches(piece);
        if shared.halt.load().as_ref().is_some_and(halts) {
            shared.network.send_replace(Network::NoRequests);
        }
        // What was read a moment too early waits or is lost like the rest.
        if matches!(settled(&mut network, way).await, Flow::IsLost) {
            lossy = true;
            continue;
        }
        match way {
            Way::ToServer
                if shared
                    .cut
                    .load()
                    .as_ref()
                    .is_some_and(|cut| cut.matches(piece)) =>
            {
                cut_next.store(true, Ordering::SeqCst);
            }
            Way::ToClient if cut_next.load(Ordering::SeqCst) => return Ok(End::Cut),
            _ => {}
        }
        to.write_all(piece).await?;
    }
}

/// What happens to a piece, once it is decided.
async fn settled(network: &mut watch::Receiver<Network>, way: Way) -> Flow {
    loop {
        let flow = network.borrow().flow(way);
        if !matches!(flow, Flow::Waits) {
            return flow;
        }
        let _ = network.changed().await;
    }
}
