//! Accounts and prices on every database.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::*;
use crate::domain::{
    Account, AccountKind, Allowance, Budget, Limits, ModelRule, Period, Price, Rate,
};

fn account(kind: AccountKind, id: &str) -> Account {
    let limits = Limits {
        rpm: Some(60),
        tpm: None,
        parallel: Some(0),
    };
    Account {
        name: "Ann's Schlüssel".to_owned(),
        allowance: Allowance {
            budget: Budget {
                limit: Some(crate::domain::MOST_NANO_USD),
                soft: Some(1),
                period: Period::Every(86_400),
            },
            limits,
            by_model: BTreeMap::from([("qwen3:8b".to_owned(), limits)]),
        },
        models: ["llama3.2", "qwen3:*"]
            .map(|rule| ModelRule::parse(rule).unwrap())
            .to_vec(),
        metadata: r#"{"tags":["a","é"]}"#.to_owned(),
        expires_at: Some(2_000_000_000),
        ..Account::new(kind, id, 1_700_000_000)
    }
}

fn version(saved: Saved) -> i64 {
    match saved {
        Saved::As(version) => version,
        other => panic!("{other:?}"),
    }
}

async fn make(store: &Store, kind: AccountKind, id: &str) {
    let made = Account::new(kind, id, 1);
    version(
        store
            .save_account(&made, Precondition::Absent)
            .await
            .unwrap(),
    );
}

fn put(change: &AccountChange) -> &str {
    match change {
        AccountChange::Put(account) => &account.id,
        AccountChange::Gone(_, id) => id,
    }
}

on_every_database! {
    async fn an_account_is_read_as_it_was_written(fixture: &Fixture) {
        let store = fixture.open().await;
        for (kind, id) in [(AccountKind::User, "ann"), (AccountKind::Team, "blue"), (AccountKind::Budget, "small")] {
            make(&store, kind, id).await;
        }
        let ours = Account {
            user: "ann".to_owned(),
            team: "blue".to_owned(),
            budget: "small".to_owned(),
            ..account(AccountKind::Key, &"a".repeat(64))
        };
        let saved = version(store.save_account(&ours, Precondition::Absent).await.unwrap());
        let read = store.account(ours.kind, &ours.id).await.unwrap().unwrap();
        assert_eq!(read, Stored { account: ours.clone(), version: saved });
        assert_eq!(store.account(AccountKind::User, &ours.id).await.unwrap(), None);
        let bare = Account::new(AccountKind::EndUser, "Ⓤ ser/1", 5);
        store.save_account(&bare, Precondition::Absent).await.unwrap();
        let read = store.account(bare.kind, &bare.id).await.unwrap().unwrap();
        assert_eq!(read.account, bare);
    }

    async fn of_two_who_change_the_same_account_one_must_look_again(fixture: &Fixture) {
        let store = fixture.open().await;
        let mut ours = account(AccountKind::Team, "blue");
        let first = version(store.save_account(&ours, Precondition::Absent).await.unwrap());
        assert_eq!(store.save_account(&ours, Precondition::Absent).await.unwrap(), Saved::Stale);
        ours.blocked = true;
        let second = version(store.save_account(&ours, Precondition::Version(first)).await.unwrap());
        assert!(second > first);
        assert_eq!(store.save_account(&ours, Precondition::Version(first)).await.unwrap(), Saved::Stale);
        assert!(store.account(ours.kind, "blue").await.unwrap().unwrap().account.blocked);
    }

    async fn what_has_changed_is_found_by_number_deletions_too(fixture: &Fixture) {
        let store = fixture.open().await;
        assert_eq!(store.account_changes(0).await.unwrap().version, 0);
        for id in ["a", "b", "c"] {
            store.save_account(&account(AccountKind::User, id), Precondition::Absent).await.unwrap();
        }
        let all = store.account_changes(0).await.unwrap();
        let ids: Vec<&str> = all.accounts.iter().map(put).collect();
        assert_eq!(ids, ["a", "b", "c"]);
        assert!(store.account_changes(all.version).await.unwrap().accounts.is_empty());

        let Deleted::As(gone) = store.delete_account(AccountKind::User, "b", 9).await.unwrap() else {
            panic!("not deleted");
        };
        assert_eq!(store.delete_account(AccountKind::User, "b", 9).await.unwrap(), Deleted::Missing);
        let since = store.account_changes(all.version).await.unwrap();
        assert!(since.version >= gone);
        assert_eq!(since.accounts, [AccountChange::Gone(AccountKind::User, "b".to_owned())]);
        assert_eq!(store.account(AccountKind::User, "b").await.unwrap(), None);
        // Its name may be given again.
        store.save_account(&account(AccountKind::User, "b"), Precondition::Absent).await.unwrap();
        let page = store.accounts(AccountKind::User, "a", 1).await.unwrap();
        assert_eq!(page.iter().map(|stored| &*stored.account.id).collect::<Vec<_>>(), ["b"]);
    }

    async fn many_writers_at_once_have_each_their_number_and_none_is_missed(fixture: &Fixture) {
        let stores = join_all((0..4).map(|_| fixture.open())).await;
        let reader = fixture.open().await;
        let writers = async {
            join_all((0..24).map(|n| {
                let store = stores[n % 4].clone();
                async move {
                    let ours = account(AccountKind::Key, &format!("key-{n:02}"));
                    loop {
                        match store.save_account(&ours, Precondition::Absent).await {
                            Ok(saved) => return version(saved),
                            Err(Error::Contended(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            }))
            .await
        };
        // A reader that follows meanwhile, by number alone.
        let follower = async {
            let (mut since, mut seen) = (0, std::collections::BTreeSet::new());
            while seen.len() < 24 {
                let changes = reader.account_changes(since).await.unwrap();
                seen.extend(changes.accounts.iter().map(|change| put(change).to_owned()));
                since = changes.version;
                tokio::task::yield_now().await;
            }
            seen.len()
        };
        let (mut versions, seen) = tokio::join!(writers, follower);
        versions.sort_unstable();
        assert_eq!((versions, seen), ((1..=24).collect(), 24));
    }

    async fn prices_are_set_and_taken_back(fixture: &Fixture) {
        let store = fixture.open().await;
        let rate = |nano| Rate::from_nano_usd_per_million(nano).unwrap();
        let price = Price { input: rate(1), cached_input: rate(0), output: rate(1_000_000_000_000_000) };
        store.save_price(&model("m"), Some(price), 1).await.unwrap();
        store.save_price(&model("n"), Some(Price::default()), 1).await.unwrap();
        assert_eq!(store.prices().await.unwrap(), [(model("m"), price), (model("n"), Price::default())]);
        let since = store.account_changes(0).await.unwrap();
        assert_eq!(since.prices.len(), 2);
        store.save_price(&model("m"), None, 2).await.unwrap();
        assert_eq!(store.save_price(&model("m"), None, 2).await.unwrap(), Saved::Stale);
        let since = store.account_changes(since.version).await.unwrap();
        assert_eq!(since.prices, [PriceChange { row: "m:latest".to_owned(), says: Some((model("m"), None)) }]);
        assert_eq!(store.prices().await.unwrap().len(), 1);
        // A mistake made in SQL is no price, and no price of zero either.
        fixture.sql("UPDATE prices SET output_nano_usd = -1 WHERE deleted_at IS NULL");
        let all = store.account_changes(0).await.unwrap();
        assert!(all.prices.contains(&PriceChange { row: "n:latest".to_owned(), says: None }), "{all:?}");
    }

    async fn what_is_spent_of_a_budget_is_found_by_its_period(fixture: &Fixture) {
        let store = fixture.open().await;
        // 86,400 is the period of what these batches carry.
        apply(&store, &[Arc::new(charge(Uuid::now_v7(), 1, "k", 5))]).await.unwrap();
        apply(&store, &[Arc::new(charge(Uuid::now_v7(), 1, "k", 7))]).await.unwrap();
        let key = |id: &str, period| (EntityKind::Key, Arc::from(id), period);
        let asked = [key("k", 86_400), key("k", 0), key("k", 172_800), key("other", 86_400)];
        let mut spent = store.spent_of(&asked).await.unwrap();
        spent.sort_unstable();
        assert_eq!(spent, [(key("k", 0), 12), (key("k", 86_400), 12)]);
    }

    async fn a_row_this_version_does_not_understand_is_refused(fixture: &Fixture) {
        let store = fixture.open().await;
        store.save_account(&account(AccountKind::Key, "k"), Precondition::Absent).await.unwrap();
        fixture.sql("UPDATE accounts SET rules = '{\"requests_per_fortnight\":3}' WHERE id = 'k'");
        let read = store.account(AccountKind::Key, "k").await.unwrap().unwrap();
        assert!(!read.account.understood);
        // Nor is it written over by a version that would lose what it says.
        let again = store.save_account(&read.account, Precondition::Version(read.version)).await.unwrap();
        assert_eq!(again, Saved::Stale);
    }

    async fn a_change_leaves_alone_what_a_newer_version_has_added(fixture: &Fixture) {
        let store = fixture.open().await;
        let mut ours = account(AccountKind::User, "ann");
        let first = version(store.save_account(&ours, Precondition::Absent).await.unwrap());
        fixture.sql("ALTER TABLE accounts ADD COLUMN shoe_size BIGINT NOT NULL DEFAULT 0");
        fixture.sql("UPDATE accounts SET shoe_size = 39");
        ours.name = "Ann".to_owned();
        version(store.save_account(&ours, Precondition::Version(first)).await.unwrap());
        assert_eq!(store.account(ours.kind, "ann").await.unwrap().unwrap().account, ours);
        assert_eq!(fixture.number("SELECT shoe_size AS number FROM accounts"), 39);
    }

    async fn what_an_account_names_exists_and_goes_last(fixture: &Fixture) {
        use AccountKind::{Budget as Plan, EndUser, Key, Org, Team, TeamMember, User};
        let store = fixture.open().await;
        let save = async |account: &Account| {
            let found = store.account(account.kind, &account.id).await.unwrap();
            let precondition = found.map_or(Precondition::Absent, |found| Precondition::Version(found.version));
            store.save_account(account, precondition).await.unwrap()
        };
        let mut key = Account::new(Key, "k", 1);
        (key.user, key.team) = ("ann".to_owned(), "b_ue".to_owned());
        (key.org, key.budget) = ("acme".to_owned(), "small".to_owned());
        let mut member = Account::new(TeamMember, "b_ue/ann", 1);
        for (kind, id) in [(User, "ann"), (Team, "b_ue"), (Org, "acme"), (Plan, "small")] {
            assert_eq!(save(&key).await, Saved::Lacks(kind, id.to_owned()));
            if matches!(kind, User | Team) {
                assert_eq!(save(&member).await, Saved::Lacks(kind, id.to_owned()));
            }
            make(&store, kind, id).await;
        }
        version(save(&key).await);
        version(save(&member).await);
        member.budget = "large".to_owned();
        assert_eq!(save(&member).await, Saved::Lacks(Plan, "large".to_owned()));
        // A name that ends or begins alike, or differs in capitals, is another one.
        for (kind, id) in [(User, "Ann"), (User, "nn"), (Team, "blue"), (Team, "b"), (EndUser, "ann")] {
            make(&store, kind, id).await;
            let gone = store.delete_account(kind, id, 9).await.unwrap();
            assert!(matches!(gone, Deleted::As(_)), "{kind} {id}: {gone:?}");
        }
        let delete = async |kind: AccountKind, id: &str| store.delete_account(kind, id, 9).await.unwrap();
        for (kind, id, named) in [(User, "ann", 2), (Team, "b_ue", 2), (Org, "acme", 1), (Plan, "small", 1), (TeamMember, "b_ue/ann", 1)] {
            assert_eq!(delete(kind, id).await, Deleted::Named(named), "{kind} {id}");
        }
        // What is deleted names nobody.
        for (kind, id) in [(Key, "k"), (TeamMember, "b_ue/ann"), (User, "ann"), (Team, "b_ue"), (Org, "acme"), (Plan, "small")] {
            let gone = delete(kind, id).await;
            assert!(matches!(gone, Deleted::As(_)), "{kind} {id}: {gone:?}");
        }
    }

    /// Of a router that names a team and one that deletes it, at the same moment, one is refused.
    async fn an_account_that_is_named_and_deleted_at_once_is_only_one_of_them(fixture: &Fixture) {
        let (one, other) = (fixture.open().await, fixture.open().await);
        for n in 0..12 {
            let team = format!("team-{n}");
            make(&one, AccountKind::Team, &team).await;
            let mut key = Account::new(AccountKind::Key, format!("key-{n}"), 1);
            key.team.clone_from(&team);
            let (made, gone) = loop {
                let both = tokio::join!(
                    one.save_account(&key, Precondition::Absent),
                    other.delete_account(AccountKind::Team, &team, 9)
                );
                match both {
                    (Ok(made), Ok(gone)) => break (made, gone),
                    // A change that conflicted with the other is repeated, as its operator would do.
                    (Err(Error::Contended(_)), _) | (_, Err(Error::Contended(_))) => {}
                    other => panic!("{other:?}"),
                }
            };
            let made = match made {
                Saved::As(_) | Saved::Stale => true,
                Saved::Lacks(..) => false,
            };
            let deleted = match gone {
                Deleted::As(_) | Deleted::Missing => true,
                Deleted::Named(_) => false,
            };
            assert!(made != deleted, "{n}: made {made}, deleted {deleted}");
        }
    }
}
