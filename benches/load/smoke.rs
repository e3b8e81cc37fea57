//! The self-test of the harness. It runs when no figures are asked for (`cargo test --all-targets`).
//!
//! A generator that takes broken answers for whole ones would rate a broken proxy well. So it gets a
//! few hundred correct answers of every kind, which it must all accept, and answers that are wrong in
//! every way a proxy can break them, which it must all refuse.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::error::{BenchError, Doing as _};
use crate::generator::client::Client;
use crate::plan::Ask;

const TWO_PIECES: Ask = Ask::Stream {
    tokens: 1,
    pace_ms: 0,
};

/// Answers to [`TWO_PIECES`], and what is wrong with them.
const SPOILT: [(&str, &str); 5] = [
    (
        "cut between chunks",
        "Transfer-Encoding: chunked\r\n\r\n11\r\n{\"done\": false}\n\r\n",
    ),
    (
        "cut inside a chunk",
        "Transfer-Encoding: chunked\r\n\r\nff\r\n{\"done\":false}\n{\"done\":tr",
    ),
    (
        "ended without done",
        "Content-Length: 30\r\n\r\n{\"done\":false}\n{\"done\":false}",
    ),
    (
        "lost a piece",
        "Content-Length: 14\r\n\r\n{\"done\":true}\n",
    ),
    (
        "not HTTP any more",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ),
];

/// Gives the harness correct and wrong answers.
///
/// # Errors
/// [`BenchError::Unfit`] when it takes one for the other.
pub async fn run() -> Result<(), BenchError> {
    for (fault, answer) in SPOILT {
        let address = serve_once(format!("HTTP/1.1 200 OK\r\n{answer}")).await?;
        if Client::new(address, TWO_PIECES)
            .ask(0, 0, &())
            .await
            .is_ok()
        {
            return Err(BenchError::Unfit(format!(
                "an answer that {fault} was accepted"
            )));
        }
    }
    let split = "HTTP/1.1 200 OK\r\nContent-Length: 29\r\n\r\n{\"done\":false}\n{\"done\":true}\n";
    let address = serve_once(split.to_owned()).await?;
    if let Err(why) = Client::new(address, TWO_PIECES).ask(0, 0, &()).await {
        return Err(BenchError::Unfit(format!(
            "a correct answer was refused: {why}"
        )));
    }
    Ok(())
}

async fn serve_once(answer: String) -> Result<SocketAddr, BenchError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .doing("listening")?;
    let address = listener.local_addr().doing("listening")?;
    tokio_util::task::TaskTracker::new().spawn(async move {
        if let Ok((mut socket, _)) = listener.accept().await {
            // The client checks what arrives; it detects every error that happens here.
            let _ = socket.read(&mut [0; 4096]).await;
            for byte in answer.as_bytes() {
                let _ = socket.write_all(&[*byte]).await;
            }
        }
    });
    Ok(address)
}
