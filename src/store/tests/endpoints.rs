use super::*;

fn row(name: &str, address: &str) -> EndpointRow {
    EndpointRow {
        name: name.to_owned(),
        url: format!("http://{address}"),
        address: address.to_owned(),
        kind: "ollama".to_owned(),
        api_key: "hunter2".into(),
        settings: "{}".to_owned(),
        draining: "[]".to_owned(),
        created_at: 7,
        version: 0,
    }
}

on_every_database! {
    async fn a_server_is_added_changed_and_forgotten(fixture: &Fixture) {
        let store = fixture.open().await;
        let absent = Precondition::Absent;
        assert_eq!(store.save_endpoint(&row("b", "b:1"), absent, 9).await.unwrap(), Saved::As(1));
        assert_eq!(store.save_endpoint(&row("a", "a:1"), absent, 9).await.unwrap(), Saved::As(1));
        for taken in [row("a", "c:1"), row("c", "a:1")] {
            assert_eq!(store.save_endpoint(&taken, absent, 9).await.unwrap(), Saved::Stale, "{taken:?}");
        }
        let moved = row("a", "c:1");
        let first = Precondition::Version(1);
        assert_eq!(store.save_endpoint(&moved, first, 9).await.unwrap(), Saved::As(2));
        assert_eq!(store.save_endpoint(&moved, first, 9).await.unwrap(), Saved::Stale, "changed meanwhile");
        let onto_another = row("a", "b:1");
        assert_eq!(store.save_endpoint(&onto_another, Precondition::Version(2), 9).await.unwrap(), Saved::Stale);
        let known = store.endpoints().await.unwrap();
        assert_eq!(known, [EndpointRow { version: 2, ..moved }, EndpointRow { version: 1, ..row("b", "b:1") }]);
        assert!(!format!("{known:?}").contains("hunter2"));
        assert!(store.delete_endpoint("a").await.unwrap());
        assert!(!store.delete_endpoint("a").await.unwrap());
        assert_eq!(store.endpoints().await.unwrap().len(), 1);
    }
}
