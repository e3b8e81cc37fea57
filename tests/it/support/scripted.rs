//! A server that answers what a test says, byte for byte: what a simulated server would never do.

use std::sync::Arc;
use std::time::Duration;

use herdsman::config::{self, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

const MOMENT: Duration = Duration::from_millis(100);

/// The server; dropped, it is gone.
pub struct Scripted {
    url: String,
    asked: mpsc::UnboundedReceiver<String>,
    _serving: AbortOnDropHandle<()>,
}

/// What it sends for one request.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    /// Lines of the head, each with its end.
    pub head: String,
    pub body: Vec<u8>,
    /// More of the body, after a moment.
    pub then: Vec<u8>,
    pub framing: Framing,
}

/// How the end of a body is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By its length.
    Length,
    /// By its length, which is more than comes.
    Short,
    /// In chunks.
    Chunked,
    /// In chunks, of which the last one does not come.
    ChunkedCut,
    /// In chunks, of which the last one does not come, nor an end of the connection.
    Stalled,
    /// By the end of the connection.
    Close,
    /// Not even a head comes.
    Nothing,
}

impl Reply {
    /// 200 with this body.
    pub fn ok(kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            head: format!("content-type: {kind}\r\n"),
            body: body.into(),
            then: Vec::new(),
            framing: Framing::Chunked,
        }
    }

    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub fn framed(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    pub fn header(mut self, line: &str) -> Self {
        self.head += &format!("{line}\r\n");
        self
    }

    /// What is sent at once, and what after a moment.
    fn bytes(&self) -> [Vec<u8>; 2] {
        let length = self.body.len() + self.then.len();
        let framing = match self.framing {
            Framing::Length => format!("content-length: {length}\r\n"),
            Framing::Short => format!("content-length: {}\r\n", length + 7),
            Framing::Chunked | Framing::ChunkedCut | Framing::Stalled => {
                "transfer-encoding: chunked\r\n".to_owned()
            }
            Framing::Close => String::new(),
            Framing::Nothing => return [Vec::new(), Vec::new()],
        };
        let head = &self.head;
        let status = self.status;
        let mut head =
            format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{head}{framing}\r\n").into_bytes();
        if !matches!(
            self.framing,
            Framing::Chunked | Framing::ChunkedCut | Framing::Stalled
        ) {
            head.extend_from_slice(&self.body);
            return [head, self.then.clone()];
        }
        head.extend(chunked(&self.body));
        let mut then = chunked(&self.then);
        if self.framing == Framing::Chunked {
            then.extend_from_slice(b"0\r\n\r\n");
        }
        [head, then]
    }
}

/// In three chunks.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in body.chunks(body.len().div_ceil(3).max(1)) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

impl Scripted {
    /// Has `llama3.2`, loaded; answers `reply` to whatever is not about the server itself. It is given the request.
    pub async fn start(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, asked) = mpsc::unbounded_channel();
        let tasks = TaskTracker::new();
        let reply = Arc::new(reply);
        let serving = tasks.spawn({
            let tasks = tasks.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (reply, sender) = (Arc::clone(&reply), sender.clone());
                    tasks.spawn(async move { serve(stream, &*reply, &sender).await });
                }
            }
        });
        Self {
            url,
            asked,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// As an endpoint of this kind.
    pub fn endpoint(&self, name: &str, kind: Kind) -> config::Endpoint {
        let mut endpoint = config::Endpoint::at(self.url.parse().unwrap());
        endpoint.name = name.to_owned();
        endpoint.kind = kind;
        endpoint
    }

    /// The requests since this was called last, but those about the server itself.
    pub fn asked(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.asked.try_recv().ok()).collect()
    }
}

async fn serve(
    mut stream: TcpStream,
    reply: &(dyn Fn(&str) -> Reply + Send + Sync),
    asked: &mpsc::UnboundedSender<String>,
) {
    let Some(request) = read(&mut stream).await else {
        return;
    };
    let path = request.split(' ').nth(1).unwrap_or_default();
    let list = |body: &str| Reply::ok("application/json", body).framed(Framing::Length);
    let reply = match path {
        "/" => list(""),
        "/api/tags" => list(r#"{"models":[{"name":"llama3.2:latest","model":"llama3.2:latest"}]}"#),
        "/api/ps" => {
            list(r#"{"models":[{"name":"llama3.2:latest","expires_at":"2318-01-01T00:00:00Z"}]}"#)
        }
        "/api/version" => list(r#"{"version":"0.12.6"}"#),
        "/v1/models" if request.starts_with("HEAD") => list(""),
        "/v1/models" => list(r#"{"object":"list","data":[{"id":"llama3.2","object":"model"}]}"#),
        // The router has it loaded when it does not know yet that it is.
        _ if request.contains(r#","prompt":"""#) || request.contains(r#","input":[]"#) => {
            list(r#"{"done":true,"done_reason":"load"}"#)
        }
        _ => {
            let _ = asked.send(request.clone());
            reply(&request)
        }
    };
    let [first, then] = reply.bytes();
    let _ = stream.write_all(&first).await;
    if !reply.then.is_empty() {
        // So long that the first part has been read.
        sleep(MOMENT).await;
    }
    let _ = stream.write_all(&then).await;
    if reply.framing == Framing::Stalled {
        // Until it is closed at the other end.
        let _ = stream.read(&mut [0]).await;
    }
    let _ = stream.shutdown().await;
}

/// A whole request, as text.
async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_length = name.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.trim().parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                return Some(text.into_owned());
            }
        }
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
}
