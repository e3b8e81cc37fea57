//! A client that sees what was sent: header case, frames, and how the connection ended.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As its framing promised.
    Whole,
    /// The connection was closed before.
    Closed,
    /// The connection was reset before.
    Reset,
}

/// A whole response, or what there was of it.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// As written, in order.
    pub headers: Vec<(String, String)>,
    /// One for each chunk; one in all for a body with a length.
    pub frames: Vec<String>,
    pub end: End,
}

pub struct Client {
    stream: BufReader<TcpStream>,
}

pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

impl Client {
    pub async fn connect(addr: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            text.push_str("Host: localhost\r\n");
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        // A server that refuses by reset may do so before it has read.
        let _ = self.stream.write_all(text.as_bytes()).await;
    }

    /// `None` when the connection ends before a response.
    pub async fn head(&mut self) -> Result<Head, End> {
        let line = self.line().await?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or(End::Closed)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            match line.split_once(": ") {
                Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
                None => return Ok(Head { status, headers }),
            }
        }
    }

    /// The next chunk; `Err` at the end of the body.
    pub async fn chunk(&mut self) -> Result<String, End> {
        let length = usize::from_str_radix(&self.line().await?, 16).unwrap();
        let data = self.exactly(length).await?;
        self.line().await?;
        if length == 0 {
            Err(End::Whole)
        } else {
            Ok(data)
        }
    }

    pub async fn answer(&mut self, method: &str) -> Result<Answer, End> {
        let Head { status, headers } = self.head().await?;
        let find = |name: &str| {
            headers
                .iter()
                .find(|(own, _)| own == name)
                .map(|(_, v)| v.clone())
        };
        let mut frames = Vec::new();
        let end = if method == "HEAD" || status == 204 {
            End::Whole
        } else if find("Transfer-Encoding").as_deref() == Some("chunked") {
            loop {
                match self.chunk().await {
                    Ok(frame) => frames.push(frame),
                    Err(end) => break end,
                }
            }
        } else {
            let length = find("Content-Length").map_or(0, |text| text.parse().unwrap());
            match self.exactly(length).await {
                Ok(body) => {
                    frames.push(body);
                    End::Whole
                }
                Err(end) => end,
            }
        };
        Ok(Answer {
            status,
            headers,
            frames,
            end,
        })
    }

    async fn line(&mut self) -> Result<String, End> {
        let mut line = String::new();
        match self.stream.read_line(&mut line).await {
            Ok(_) if line.ends_with("\r\n") => Ok(line.trim_end().to_owned()),
            Ok(_) => Err(End::Closed),
            Err(_) => Err(End::Reset),
        }
    }

    async fn exactly(&mut self, length: usize) -> Result<String, End> {
        let mut data = vec![0; length];
        match self.stream.read_exact(&mut data).await {
            Ok(_) => Ok(String::from_utf8(data).unwrap()),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(End::Closed),
            Err(_) => Err(End::Reset),
        }
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn body(&self) -> String {
        self.frames.concat()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body()).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The lines of an NDJSON body.
    pub fn lines(&self) -> Vec<Value> {
        self.body()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The data of server-sent events.
    pub fn events(&self) -> Vec<String> {
        let body = self.body();
        let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(str::to_owned).collect()
    }
}

/// One request on a connection of its own.
pub async fn call(addr: SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    let answer = try_call(addr, method, path, body).await;
    answer.unwrap_or_else(|end| panic!("{method} {path}: no response, {end:?}"))
}

/// The same, for a server that may not answer.
pub async fn try_call(
    addr: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> Result<Answer, End> {
    let mut client = Client::connect(addr).await.map_err(|_| End::Reset)?;
    client.send(method, path, &[], body).await;
    client.answer(method).await
}

/// A POST of this value.
pub async fn post(addr: SocketAddr, path: &str, body: Value) -> Answer {
    call(addr, "POST", path, &body.to_string()).await
}
