//! Waiting for a proxy that has just been started.
//!
//! Ready means that it relays a right answer of the last model, not that a port is open. herdsman
//! must also have found every server up, or a run in front of many servers would measure a few.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::{Contender, Upstream};
use crate::error::BenchError;
use crate::generator::client::Client;
use crate::plan::Ask;
use crate::process::Group;

const LIMIT: Duration = Duration::from_secs(15);
const ATTEMPT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);
const ENDPOINT_UP: &str = "herdsman_endpoint_up";

/// Asks until the answer is right.
///
/// # Errors
/// When the process ends, or the time is over.
pub async fn wait(
    contender: Contender,
    address: SocketAddr,
    upstream: &Upstream<'_>,
    group: &mut Group,
) -> Result<(), BenchError> {
    let until = Instant::now() + LIMIT;
    loop {
        group.ensure_running()?;
        let why = match timeout(ATTEMPT, attempt(contender, address, upstream)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => why,
            Err(_) => format!("no answer within {ATTEMPT:?}"),
        };
        if Instant::now() >= until {
            return Err(BenchError::NotReady {
                who: group.name().to_owned(),
                limit: LIMIT,
                why,
                log_tail: group.log_tail(),
            });
        }
        sleep(PAUSE).await;
    }
}

async fn attempt(
    contender: Contender,
    address: SocketAddr,
    upstream: &Upstream<'_>,
) -> Result<(), String> {
    let last = upstream.models.saturating_sub(1);
    Client::new(address, Ask::Whole)
        .ask(0, last, &())
        .await
        .map_err(|why| why.to_string())?;
    if contender == Contender::Herdsman && upstream.addresses.len() > 1 {
        let up = endpoints_up(&metrics(address).await.map_err(|why| why.to_string())?);
        if up < upstream.addresses.len() {
            return Err(format!(
                "{up} of {} servers are up",
                upstream.addresses.len()
            ));
        }
    }
    Ok(())
}

async fn metrics(address: SocketAddr) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn endpoints_up(metrics: &str) -> usize {
    let values = metrics.lines().filter(|line| line.starts_with(ENDPOINT_UP));
    values
        .filter(|line| line.ends_with(" 1") || line.ends_with(" 1.0"))
        .count()
}
