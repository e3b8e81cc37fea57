//! The access log: one JSON line for each request, when it is over.
//!
//! A thread writes, and requests hand their entries over without waiting: while the disk is slower than the
//! requests, lines are dropped, counted, and their number is said. A disk that takes nothing is said once,
//! until it does again. The file is opened anew when that is asked for, so that it can be moved away.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::{Request, Scheme};

/// How many lines may wait for the disk.
const WAITING: usize = 8_192;
/// How long a disk that takes nothing is left alone.
const RETRY: Duration = Duration::from_secs(1);
/// How long the end of the program waits for the last of them.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The way to the thread that writes. Clones share it.
#[derive(Clone, Debug)]
pub struct AccessLog {
    commands: mpsc::Sender<Command>,
    dropped: Arc<AtomicU64>,
}

/// The file cannot be used.
#[derive(Debug, Error)]
#[error("access log {}: {error}", file.display())]
pub struct LogError {
    /// Which.
    file: PathBuf,
    /// Why.
    error: io::Error,
}

#[derive(Debug)]
enum Command {
    Line(Arc<Request>),
    Reopen,
    Close(oneshot::Sender<()>),
}

/// One line. Times are in milliseconds.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    id: &'a str,
    path: &'static str,
    model: &'a str,
    endpoint: &'a str,
    status: u16,
    route: &'a str,
    attempts: u32,
    stream: bool,
    queue_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<f64>,
    total_ms: f64,
    input_tokens: u64,
    output_tokens: u64,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    scheme: Scheme,
}

impl AccessLog {
    /// Appends to this file, made if absent.
    ///
    /// # Errors
    /// When it cannot be opened, or there can be no thread for it.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let failed = |error| LogError {
            file: path.to_owned(),
            error,
        };
        let file = append_to(path).map_err(failed)?;
        let (commands, inbox) = mpsc::channel(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            path: path.to_owned(),
            file: Some(BufWriter::new(file)),
            dropped: Arc::clone(&dropped),
            is_failing: false,
            lost: 0,
            pending: 0,
            retry_at: Instant::now(),
        };
        thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run(inbox))
            .map_err(failed)?;
        Ok(Self { commands, dropped })
    }

    pub(super) fn write(&self, request: &Arc<Request>) {
        if self
            .commands
            .try_send(Command::Line(Arc::clone(request)))
            .is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// From the next line on it is the file that has this name then.
    pub async fn reopen(&self) {
        // Behind the lines that wait, but not for a disk that takes none; a thread that has ended needs no file.
        let _ = timeout(LAST_LINES, self.commands.send(Command::Reopen)).await;
    }

    /// Writes what waits, for a limited time.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        let closing = async {
            if self.commands.send(Command::Close(done)).await.is_ok() {
                let _ = closed.await;
            }
        };
        let _ = timeout(LAST_LINES, closing).await;
    }
}

struct Writer {
    path: PathBuf,
    /// `None` while it cannot be opened.
    file: Option<BufWriter<File>>,
    /// Lines for which there was no room, since they were last counted.
    dropped: Arc<AtomicU64>,
    /// The disk takes nothing, as far as is known.
    is_failing: bool,
    /// Lines the disk did not take, since it last took some.
    lost: u64,
    /// Lines that may be in the buffer still.
    pending: u64,
    /// When it is tried again.
    retry_at: Instant,
}

impl Writer {
    fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        while let Some(command) = inbox.blocking_recv() {
            let mut next = Some(command);
            while let Some(command) = next.take() {
                match command {
                    Command::Line(request) => self.append(&request),
                    Command::Reopen => self.reopen(),
                    Command::Close(done) => {
                        self.flush();
                        let _ = done.send(());
                        return;
                    }
                }
                next = inbox.try_recv().ok();
            }
            self.flush();
            self.say_dropped();
        }
    }

    /// A line that the disk does not take is noticed when the buffer is flushed.
    fn append(&mut self, request: &Request) {
        self.open_again();
        let Some(file) = &mut self.file else {
            self.lost += 1;
            return;
        };
        let mut line = serde_json::to_vec(&Line::of(request)).unwrap_or_default();
        line.push(b'\n');
        self.pending += 1;
        if let Err(error) = file.write_all(&line) {
            self.failed(&error);
        }
    }

    fn flush(&mut self) {
        let Some(file) = &mut self.file else {
            return;
        };
        if let Err(error) = file.flush() {
            return self.failed(&error);
        }
        let written = std::mem::take(&mut self.pending);
        if written > 0 && self.is_failing {
            self.is_failing = false;
            let lost = std::mem::take(&mut self.lost);
            tracing::info!(lost, "the access log is written again");
        }
    }

    /// Said once, until something is written again. What the buffer holds is thrown away, since it would grow:
    /// no line since the last flush counts as written, though of a long batch the first may be.
    fn failed(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            let file = self.path.display();
            tracing::error!(%error, %file, "the access log cannot be written; requests go on");
        }
        self.lost += std::mem::take(&mut self.pending);
        self.retry_at = Instant::now() + RETRY;
        if let Some(file) = self.file.take() {
            drop(file.into_parts());
        }
    }

    /// The last line may be half written: the next one begins a new one.
    fn open_again(&mut self) {
        if self.file.is_some() || Instant::now() < self.retry_at {
            return;
        }
        let opened = append_to(&self.path).map(BufWriter::new);
        match opened.and_then(|mut file| file.write_all(b"\n").map(|()| file)) {
            Ok(file) => self.file = Some(file),
            Err(error) => self.failed(&error),
        }
    }

    fn reopen(&mut self) {
        self.flush();
        match append_to(&self.path) {
            Ok(file) => self.file = Some(BufWriter::new(file)),
            Err(error) => self.failed(&error),
        }
    }

    fn say_dropped(&self) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(
                dropped,
                "the disk is slower than the requests: lines of the access log are left out"
            );
        }
    }
}

impl<'a> Line<'a> {
    fn of(request: &'a Request) -> Self {
        let last = request.tries_so_far().last();
        let at = i64::try_from(request.arrived_ms()).unwrap_or_default();
        let first_byte = request.first_byte();
        let loads = last.is_some_and(|last| last.loads);
        let sent = request.queued();
        Self {
            time: Timestamp::from_millisecond(at)
                .map(|at| at.to_string())
                .unwrap_or_default(),
            id: request.id(),
            path: request.api().path(),
            model: request.model().map_or("", |model| model.as_str()),
            endpoint: last.map_or("", |last| &last.endpoint),
            status: request.status(),
            route: last.and_then(|last| last.route).unwrap_or_default(),
            attempts: request.attempts(),
            stream: request.is_streamed(),
            queue_ms: ms(sent),
            load_ms: first_byte
                .filter(|_| loads)
                .map(|at| ms(at.saturating_sub(sent))),
            first_byte_ms: first_byte.map(ms),
            total_ms: ms(request.total()),
            input_tokens: request.input(),
            output_tokens: request.output(),
            key: request.key(),
            client: request.sender().address,
            scheme: request.sender().scheme,
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// To the microsecond.
fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use std::fs;

    use http::HeaderValue;
    use serde_json::Value;

    use super::super::{Requests, Sender};
    use super::*;
    use crate::domain::ModelName;
    use crate::protocol::Api;

    fn one(requests: &Requests, id: &'static str) {
        let id = HeaderValue::from_static(id);
        let tracked = requests.arrived(Api::OllamaChat, id, Sender::default(), Instant::now());
        let model = ModelName::parse("phi4").unwrap();
        tracked.request().asks(&model, Some("k".into()), true);
        tracked.request().ends(200);
    }

    fn ids(file: &Path) -> Vec<String> {
        let text = fs::read_to_string(file).unwrap();
        let id = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["id"].as_str().unwrap().to_owned()
        };
        text.lines().map(id).collect()
    }

    #[tokio::test]
    async fn a_file_that_was_moved_away_is_finished_and_another_one_begun() {
        let dir = tempfile::tempdir().unwrap();
        let (file, moved) = (
            dir.path().join("access.log"),
            dir.path().join("access.log.1"),
        );
        let log = AccessLog::open(&file).unwrap();
        let requests = Requests::new(Some(log.clone()));
        one(&requests, "a");
        fs::rename(&file, &moved).unwrap();
        one(&requests, "b");
        log.reopen().await;
        one(&requests, "c");
        log.close().await;
        assert_eq!(ids(&moved), ["a", "b"]);
        assert_eq!(ids(&file), ["c"]);
    }

    #[test]
    fn a_line_says_what_the_request_was_and_nothing_of_what_was_said() {
        let requests = Requests::new(None);
        one(&requests, "a");
        let mut line = serde_json::to_value(Line::of(&requests.ended()[0])).unwrap();
        for measured in ["time", "total_ms"] {
            line[measured] = Value::Null;
        }
        insta::assert_json_snapshot!(line, @r#"
        {
          "attempts": 0,
          "endpoint": "",
          "id": "a",
          "input_tokens": 0,
          "key": "k",
          "model": "phi4:latest",
          "output_tokens": 0,
          "path": "/api/chat",
          "queue_ms": 0.0,
          "route": "",
          "scheme": "http",
          "status": 200,
          "stream": true,
          "time": null,
          "total_ms": null
        }
        "#);
    }

    #[test]
    fn every_line_that_the_disk_does_not_take_is_counted_once() {
        let requests = Requests::new(None);
        one(&requests, "a");
        let request = &requests.ended()[0];
        let file = append_to(Path::new("/dev/full")).unwrap();
        let mut writer = Writer {
            path: "/dev/full".into(),
            file: Some(BufWriter::with_capacity(1_000, file)),
            dropped: Arc::default(),
            is_failing: false,
            lost: 0,
            pending: 0,
            retry_at: Instant::now() + Duration::from_secs(60),
        };
        for appended in 1..=20 {
            writer.append(request);
            assert_eq!(writer.lost + writer.pending, appended);
        }
        writer.flush();
        assert_eq!((writer.lost, writer.pending), (20, 0));
    }

    #[tokio::test]
    async fn a_disk_that_takes_nothing_stops_no_request() {
        let log = AccessLog::open(Path::new("/dev/full")).unwrap();
        let requests = Requests::new(Some(log.clone()));
        for _ in 0..WAITING * 2 {
            one(&requests, "a");
        }
        log.close().await;
        assert!(AccessLog::open(Path::new("/nowhere/access.log")).is_err());
    }
}
