use super::*;

fn change(name: &str, begin: &[&str], end: &[&str]) -> DrainChange {
    let owned = |models: &[&str]| models.iter().map(|model| (*model).to_owned()).collect();
    DrainChange {
        name: name.to_owned(),
        lasting: false,
        begin: owned(begin),
        end: owned(end),
    }
}

async fn shown(store: &Store) -> String {
    let rows = store.drains().await.unwrap().into_iter();
    let rows: Vec<String> = rows
        .map(|row| format!("{} {}", row.name, row.model))
        .collect();
    rows.join(", ")
}

fn router(name: &str) -> Joining {
    Joining {
        key: InstanceKey {
            kind: InstanceKind::Router,
            name: name.to_owned(),
            host: String::new(),
            port: 0,
        },
        url: String::new(),
        run: name.to_owned(),
        lease_ms: 60_000,
        facts: "{}".to_owned(),
    }
}

on_every_database! {
    async fn what_several_operators_drain_at_once_is_all_drained(fixture: &Fixture) {
        let (one, two) = (fixture.open().await, fixture.open().await);
        assert!(one.change_drains(&change("gpu-1", &["*"], &[]), 1).await.unwrap());
        assert!(two.change_drains(&change("gpu-1", &["phi4:latest"], &[]), 2).await.unwrap());
        assert!(one.change_drains(&change("gpu-1", &["*"], &[]), 3).await.unwrap(), "again");
        assert!(two.change_drains(&change("gpu-0", &["a", "b"], &[]), 3).await.unwrap());
        assert_eq!(shown(&one).await, "gpu-0 a, gpu-0 b, gpu-1 *, gpu-1 phi4:latest");
        assert!(one.change_drains(&change("gpu-1", &[], &["*"]), 4).await.unwrap());
        assert!(two.change_drains(&change("gpu-0", &["c"], &["a", "b"]), 4).await.unwrap());
        assert_eq!(shown(&two).await, "gpu-0 c, gpu-1 phi4:latest");
    }

    async fn those_of_the_file_end_with_the_last_router_and_those_of_agents_do_not(fixture: &Fixture) {
        let store = fixture.open().await;
        assert_eq!(store.end_drains("a").await.unwrap(), Ended::default());
        let lasting = DrainChange { lasting: true, ..change("agent", &["*"], &[]) };
        store.change_drains(&lasting, 1).await.unwrap();
        store.change_drains(&change("file", &["*", "phi4:latest"], &[]), 1).await.unwrap();
        for name in ["a", "b"] {
            store.join_instance(&router(name)).await.unwrap();
        }
        let names = vec!["file".to_owned()];
        assert_eq!(store.end_drains("a").await.unwrap(), Ended { names: names.clone(), stay: true });
        let gone = Joining { lease_ms: -1, ..router("b") };
        store.renew_instance(&gone, 1).await.unwrap();
        assert_eq!(store.end_drains("a").await.unwrap(), Ended { names, stay: false });
        assert_eq!(shown(&store).await, "agent *");
    }

    async fn there_are_only_so_many_drains(fixture: &Fixture) {
        let store = fixture.open().await;
        let models: Vec<String> = (0..MAX_DRAINS).map(|i| format!("m{i}")).collect();
        let all = DrainChange { begin: models, ..change("gpu-1", &[], &[]) };
        assert!(store.change_drains(&all, 1).await.unwrap());
        assert!(!store.change_drains(&change("gpu-2", &["*"], &[]), 1).await.unwrap());
        assert!(store.change_drains(&change("gpu-1", &["*"], &["m0"]), 1).await.unwrap());
        assert_eq!(store.drains().await.unwrap().len(), MAX_DRAINS);
    }
}
