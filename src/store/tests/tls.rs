use super::*;
use herdsman_test_support::sql::Setup;

/// Each address with what is to come of it: `None` where it has to work.
async fn tried(server: &Server, host: &str, query: &str) -> Option<Error> {
    let base = server.url("postgres_or_mysql").replace("127.0.0.1", host);
    let dir = tempfile::tempdir().unwrap();
    let store = match Store::open(&format!("{base}?{query}"), dir.path()).await {
        Ok(store) => store,
        Err(error) => return Some(error),
    };
    store.migrate().await.err()
}

fn with_tls(flavor: Flavor) -> Server {
    let setup = Setup {
        tls: true,
        ..Setup::default()
    };
    let server = Server::start_with(flavor, setup);
    server.create("postgres_or_mysql");
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_verified_as_the_address_says() {
    let server = with_tls(Flavor::Postgres);
    server.sql(
        "postgres",
        "ALTER ROLE herdsman SET statement_timeout = '1min'",
    );
    let own = format!("sslrootcert={}", server.authority().display());
    for (host, query) in [
        ("127.0.0.1", "sslmode=disable".to_owned()),
        ("127.0.0.1", "sslmode=prefer".to_owned()),
        ("127.0.0.1", "sslmode=require".to_owned()),
        ("127.0.0.1", format!("sslmode=verify-ca&{own}")),
        (
            "localhost",
            format!("{own}&sslmode=verify-full&channel_binding=require"),
        ),
    ] {
        let failed = tried(&server, host, &query).await;
        assert!(failed.is_none(), "{host} {query}: {failed:?}");
    }
    for (host, query) in [
        ("127.0.0.1", format!("sslmode=verify-full&{own}")),
        ("localhost", "sslmode=verify-full".to_owned()),
        ("localhost", "sslmode=verify-ca".to_owned()),
    ] {
        let failed = tried(&server, host, &query).await.unwrap();
        assert!(
            matches!(failed, Error::Unavailable(_)),
            "{host} {query}: {failed:?}"
        );
        assert!(failed.to_string().contains("certificate"), "{failed}");
    }
    let plain = super::shared(Flavor::Postgres);
    plain.create("postgres_or_mysql");
    assert!(tried(plain, "127.0.0.1", "sslmode=prefer").await.is_none());
    let failed = tried(plain, "127.0.0.1", "sslmode=require").await.unwrap();
    assert!(failed.to_string().contains("TLS"), "{failed}");
    let failed = tried(plain, "127.0.0.1", "sslmode=maybe").await.unwrap();
    assert!(matches!(failed, Error::Address(_)), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_is_verified_as_the_address_says() {
    let server = with_tls(Flavor::MariaDb);
    let own = format!("ssl-ca={}", server.authority().display());
    let failed = tried(&server, "127.0.0.1", "ssl-mode=REQUIRED").await;
    assert!(failed.is_none(), "{failed:?}");
    server.sql("", "ALTER USER herdsman@'%' REQUIRE SSL");
    for (host, query) in [
        ("127.0.0.1", "ssl-mode=REQUIRED".to_owned()),
        ("localhost", format!("ssl-mode=VERIFY_IDENTITY&{own}")),
    ] {
        let failed = tried(&server, host, &query).await;
        assert!(failed.is_none(), "{host} {query}: {failed:?}");
    }
    for (host, query) in [
        ("127.0.0.1", String::new()),
        ("127.0.0.1", "ssl-mode=DISABLED".to_owned()),
        ("127.0.0.1", format!("ssl-mode=VERIFY_IDENTITY&{own}")),
        ("localhost", "ssl-mode=VERIFY_IDENTITY".to_owned()),
    ] {
        let failed = tried(&server, host, &query).await.unwrap();
        assert!(
            matches!(failed, Error::Unavailable(_)),
            "{host} {query}: {failed:?}"
        );
    }
    for query in ["ssl-mode=maybe", "ssl-mode=VERIFY_CA"] {
        let failed = tried(&server, "localhost", query).await.unwrap();
        assert!(matches!(failed, Error::Address(_)), "{failed:?}");
    }
}
