//! Models created from files: blobs that go to several servers, and what is made of them.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use herdsman_simulator::{Fault, Model};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{check_progress, holders, listed, plan, send};
use crate::support::{Answer, Footprint, Plan, TestRouter, eventually};

const PIECE: usize = 64 << 10;

/// The digest of so many zeros.
fn digest(bytes: u64) -> String {
    let mut hash = Sha256::new();
    let piece = vec![0; PIECE];
    for _ in 0..bytes / PIECE as u64 {
        hash.update(&piece);
    }
    let hash = hash.finalize();
    format!(
        "sha256:{}",
        hash.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    )
}

fn path(digest: &str) -> String {
    format!("/api/blobs/{digest}")
}

/// Sends the head of an upload of this length.
async fn begin(router: &TestRouter, digest: &str, length: u64) -> TcpStream {
    let mut socket = TcpStream::connect(router.app.addr()).await.unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n",
        path(digest)
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
}

async fn zeros(socket: &mut TcpStream, bytes: u64) {
    let piece = vec![0; PIECE];
    for _ in 0..bytes / PIECE as u64 {
        socket.write_all(&piece).await.unwrap();
    }
}

/// Uploads so many zeros, as a stream; returns the head of the answer.
async fn upload(router: &TestRouter, digest: &str, bytes: u64) -> String {
    let mut socket = begin(router, digest, bytes).await;
    zeros(&mut socket, bytes).await;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Whether one server has the blob, by its own word.
async fn has(router: &TestRouter, server: usize, digest: &str) -> bool {
    let url = format!("{}{}", router.servers[server].url(), path(digest));
    let head = Request::head(url).body(Full::default()).unwrap();
    router.request(head).await.status == 200
}

async fn head(router: &TestRouter, digest: &str) -> u16 {
    let answer = send(router, Method::HEAD, &path(digest), &[], "".into()).await;
    answer.status.as_u16()
}

async fn create(router: &TestRouter, model: &str, digests: &[&str]) -> Answer {
    let files: serde_json::Map<_, _> = digests
        .iter()
        .enumerate()
        .map(|(n, digest)| (format!("{n}.gguf"), json!(digest)))
        .collect();
    router
        .post("/api/create", &json!({"model": model, "files": files}))
        .await
}

fn last(answer: &Answer) -> String {
    answer.lines().last().unwrap().to_string()
}

/// The most memory that this process has used, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() << 10
}

/// Three servers and a client are in this process too, and keep nothing of it either.
#[tokio::test]
async fn a_model_is_created_on_three_servers_from_a_file_that_no_memory_holds() {
    const BYTES: u64 = 96 << 20;
    let router = plan(3).start().await;
    let digest = digest(BYTES);
    assert_eq!(head(&router, &digest).await, 404);
    let before = peak();
    let answer = upload(&router, &digest, BYTES).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let grown = peak() - before;
    assert!(grown < BYTES / 3, "{} MiB", grown >> 20);
    assert_eq!(head(&router, &digest.replace(':', "-")).await, 200);
    for server in 0..3 {
        assert!(has(&router, server, &digest).await, "gpu-{server}");
    }
    let answer = create(&router, "mine", &[&digest]).await;
    check_progress(&answer.lines());
    assert_eq!(last(&answer), r#"{"status":"success"}"#);
    assert_eq!(listed(&router).await, ["mine:latest"]);
    assert_eq!(holders(&router, "mine:latest"), ["gpu-0", "gpu-1", "gpu-2"]);
    router.finish().await;
}

#[tokio::test]
async fn a_blob_is_sent_to_all_while_one_lacks_it_and_to_none_that_has_it() {
    let router = plan(2).start().await;
    let digest = digest(1 << 20);
    let url = format!("{}{}", router.servers[0].url(), path(&digest));
    let body = Full::new(vec![0; 1 << 20].into());
    let direct = router.request(Request::post(url).body(body).unwrap()).await;
    assert_eq!(direct.status, 201);
    assert_eq!(head(&router, &digest).await, 404, "gpu-1 lacks it");
    assert!(
        upload(&router, &digest, 1 << 20)
            .await
            .starts_with("HTTP/1.1 201")
    );
    assert_eq!(head(&router, &digest).await, 200);
    assert!(
        upload(&router, &digest, 1 << 20)
            .await
            .starts_with("HTTP/1.1 200")
    );
    router.finish().await;
}

#[tokio::test]
async fn a_digest_that_lies_or_is_none_is_refused_and_nothing_is_left() {
    let router = plan(2).start().await;
    let lie = format!("sha256:{}", "0".repeat(64));
    let answer = upload(&router, &lie, 1 << 20).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(
        answer.contains("digest mismatch, expected") && answer.contains("(gpu-0, gpu-1)"),
        "{answer}"
    );
    assert_eq!(head(&router, &lie).await, 404);
    let encoded = [("content-encoding", "gzip")];
    let answer = send(&router, Method::POST, &path(&lie), &encoded, "x".into()).await;
    assert_eq!(answer.status, 415);
    for wrong in ["sha256:zz", "x", "sha256:..%2F..%2Fetc"] {
        assert_eq!(head(&router, wrong).await, 400, "{wrong}");
        let answer = router.post_bytes(&path(wrong), "x").await;
        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (400, r#"{"error":"invalid digest format"}"#)
        );
    }
    router.finish().await;
}

#[tokio::test]
async fn a_blob_that_stops_halfway_is_on_no_server_and_nothing_waits_for_it() {
    let router = plan(3).start().await;
    let digest = digest(4 << 20);
    let footprint = Footprint::now();
    let mut socket = begin(&router, &digest, 4 << 20).await;
    zeros(&mut socket, 2 << 20).await;
    drop(socket);
    footprint.is_restored().await;
    for server in 0..3 {
        assert!(!has(&router, server, &digest).await, "gpu-{server}");
    }
    assert_eq!(head(&router, &digest).await, 404);
    assert!(
        upload(&router, &digest, 4 << 20)
            .await
            .starts_with("HTTP/1.1 201")
    );
    router.finish().await;
}

#[tokio::test]
async fn a_server_whose_disk_is_full_or_that_stops_reading_is_left_out_by_name() {
    let router = plan(3).set("routing.idle_timeout=500ms").start().await;
    let digest = digest(16 << 20);
    router.servers[1].fault(Fault::DiskFull { after: 1 << 20 }.next(1));
    router.servers[2].fault(Fault::StallUpload { after: 1 << 20 }.next(1));
    let answer = upload(&router, &digest, 16 << 20).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(
        answer.contains("x-herdsman-left-out: gpu-1,gpu-2"),
        "{answer}"
    );
    let answer = create(&router, "mine", &[&digest]).await;
    let note = format!("left out: gpu-1 (lacks {digest}), gpu-2 (lacks {digest})");
    assert_eq!(answer.lines()[1]["status"], note.as_str());
    assert_eq!(answer.header("x-herdsman-left-out"), "gpu-1,gpu-2");
    assert_eq!(last(&answer), r#"{"status":"success"}"#);
    assert_eq!(holders(&router, "mine:latest"), ["gpu-0"]);
    // Sent once more it is everywhere.
    assert_eq!(head(&router, &digest).await, 404);
    let answer = upload(&router, &digest, 16 << 20).await;
    assert!(
        answer.starts_with("HTTP/1.1 201") && !answer.contains("left-out"),
        "{answer}"
    );
    assert_eq!(
        last(&create(&router, "mine", &[&digest]).await),
        r#"{"status":"success"}"#
    );
    assert_eq!(holders(&router, "mine:latest").len(), 3);
    router.finish().await;
}

#[tokio::test]
async fn when_every_disk_is_full_the_words_are_the_servers() {
    let router = plan(2).start().await;
    let digest = digest(128 << 10);
    for server in &router.servers {
        server.fault(Fault::DiskFull { after: 0 }.next(1));
    }
    let answer = router.post_bytes(&path(&digest), vec![0; 128 << 10]).await;
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert_eq!(answer.status, 500, "{error}");
    assert!(
        error.contains("no space left on device") && error.contains("gpu-0, gpu-1"),
        "{error}"
    );
    router.finish().await;
}

#[tokio::test]
async fn all_files_of_a_model_go_to_the_servers_that_were_chosen_with_the_first() {
    let sized = |size| {
        vec![Model {
            size,
            ..Model::named("x")
        }]
    };
    let router = Plan::servers(3)
        .set("models.pull=1")
        .server(0, move |server| server.models = sized(3000))
        .server(1, move |server| server.models = sized(1000))
        .server(2, move |server| server.models = sized(2000))
        .start()
        .await;
    let (one, other) = (digest(1 << 20), digest(2 << 20));
    assert!(
        upload(&router, &one, 1 << 20)
            .await
            .starts_with("HTTP/1.1 201")
    );
    // By now another server is the emptiest.
    let pull = router
        .post("/api/pull?endpoints=gpu-1", &json!({"model": "y"}))
        .await;
    assert_eq!(last(&pull), r#"{"status":"success"}"#);
    assert!(
        upload(&router, &other, 2 << 20)
            .await
            .starts_with("HTTP/1.1 201")
    );
    let answer = create(&router, "mine", &[&one, &other]).await;
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-1");
    assert_eq!(last(&answer), r#"{"status":"success"}"#);
    assert_eq!(holders(&router, "mine:latest"), ["gpu-1"]);
    assert!(!has(&router, 0, &one).await && !has(&router, 2, &other).await);
    router.finish().await;
}

#[tokio::test]
async fn a_model_is_made_of_another_where_that_is() {
    let router = Plan::servers(3)
        .server(2, |server| server.models.clear())
        .start()
        .await;
    let body = json!({"model": "mine", "from": "llama3.2", "system": "be brief"});
    let answer = router.post("/api/create", &body).await;
    check_progress(&answer.lines());
    assert_eq!(last(&answer), r#"{"status":"success"}"#);
    assert_eq!(holders(&router, "mine:latest"), ["gpu-0", "gpu-1"]);
    let body = json!({"model": "mine", "files": {"../../x": "sha256:0"}});
    let answer = router.post("/api/create", &body).await;
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert_eq!(answer.status, 400, "{error}");
    assert!(error.starts_with("file path must be relative"), "{error}");
    router.finish().await;
}

#[tokio::test]
async fn a_blob_of_unknown_length_goes_to_all_as_well() {
    let router = plan(2).start().await;
    let digest = digest(1 << 20);
    let mut socket = TcpStream::connect(router.app.addr()).await.unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
        path(&digest)
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..16 {
        socket.write_all(b"10000\r\n").await.unwrap();
        zeros(&mut socket, PIECE as u64).await;
        socket.write_all(b"\r\n").await.unwrap();
    }
    socket.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    eventually("nothing runs", || router.in_flight() == 0).await;
    assert!(has(&router, 0, &digest).await && has(&router, 1, &digest).await);
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_so_many_blobs_are_uploaded_at_once() {
    let router = plan(1).start().await;
    let mut sockets = Vec::new();
    for n in 0..65 {
        sockets.push(begin(&router, &format!("sha256:{n:064x}"), 9).await);
    }
    let mut answers: FuturesUnordered<_> = sockets
        .iter_mut()
        .map(async |socket| {
            let mut answer = [0; 12];
            socket.read_exact(&mut answer).await.unwrap();
            String::from_utf8(answer.to_vec()).unwrap()
        })
        .collect();
    // Of 65 that send nothing, one is answered.
    assert_eq!(answers.next().await.unwrap(), "HTTP/1.1 503");
    drop(answers);
    drop(sockets);
    eventually("their clients have left", || router.app.connections() == 0).await;
    let bytes = PIECE as u64;
    let answer = upload(&router, &digest(bytes), bytes).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    router.finish().await;
}
