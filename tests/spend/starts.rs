//! A router that starts while its database is away, before that was ever migrated.

use std::collections::BTreeSet;

use herdsman::app::App;
use herdsman::config::{Config, Secret};
use herdsman::store::Store;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Tables, eventually, record};
use herdsman_test_support::sql::{Flavor, Server};

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_and_counts_and_makes_its_tables_when_the_database_is_there() {
    for flavor in [Flavor::Postgres, Flavor::MariaDb] {
        let server = tokio::task::spawn_blocking(move || Server::start(flavor));
        let mut server = server.await.unwrap();
        server.create("fresh");
        server.kill();
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".parse().unwrap();
        config.server.data_dir = dir.path().join("router");
        config.store.url = Secret::from(server.url("fresh"));
        let app = App::start(config).await.unwrap();

        let mut client = TcpStream::connect(app.addr()).await.unwrap();
        let ask = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        client.write_all(ask).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("Ollama is running"), "{answer}");
        app.spend().record(record(1)).await.unwrap();
        assert_eq!(app.spend().stats().pending(), 1);

        tokio::task::block_in_place(|| server.restart());
        eventually("it is in the database", async || {
            app.spend().stats().pending() == 0
        })
        .await;
        let store = Store::open(&server.url("fresh"), dir.path()).await.unwrap();
        let tables = Tables::of(&store).await;
        assert_eq!(tables.counted(), BTreeSet::from([1]));
        app.shutdown().await;
    }
}
