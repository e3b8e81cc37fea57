//! `/admin/spend`: what was spent, where usage is, what could not be counted, and that it adds up.

use bytes::Bytes;
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{Answer, Plan, TEST_TIMEOUT, TestRouter};
use herdsman_test_support::redis::Server;

/// Every call, with nothing wrong about it.
const CALLS: [&str; 4] = [
    "/admin/spend",
    "/admin/spend/queue",
    "/admin/spend/verify",
    "/admin/spend/dead-letters",
];

/// One server, whose model costs a nano-USD for each token read and two for each written.
pub async fn priced(plan: Plan) -> TestRouter {
    let router = plan.start().await;
    let price = json!({"input_nano_usd": 1_000_000, "output_nano_usd": 2_000_000});
    let set = router
        .send(
            Method::PUT,
            "/admin/prices/llama3.2",
            price.to_string().into(),
        )
        .await;
    assert_eq!(set.whole().await.status, 200);
    router
}

/// A key of team blue, and the key's id.
pub async fn key(router: &TestRouter) -> (String, String) {
    let team = router.post("/admin/teams", &json!({"id": "blue"})).await;
    assert_eq!(team.status, 201);
    let made = router.post("/admin/keys", &json!({"team": "blue"})).await;
    let made = made.json();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("key"), text("id"))
}

pub async fn chat(router: &TestRouter, key: &str, tags: &str) -> Answer {
    let body = json!({"model": "llama3.2", "stream": false,
        "messages": [{"role": "user", "content": "hi there"}]});
    let request = Request::post(format!("{}/api/chat", router.url()))
        .header("authorization", format!("Bearer {key}"))
        .header("x-herdsman-tags", tags)
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    let answer = router.request(request).await.whole().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// As an operator with a client program.
pub fn sql(router: &TestRouter, statement: &str) {
    let file = router.dir.path().join(herdsman::store::SQLITE_FILE);
    let mut other = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    other.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    other.batch_execute(statement).unwrap();
}

/// No database takes the tag `bad` from now on.
pub fn bar(router: &TestRouter) {
    sql(
        router,
        "CREATE TABLE barred (entity TEXT PRIMARY KEY, CHECK (entity <> 'bad')); \
         CREATE TRIGGER bar BEFORE INSERT ON spend \
         BEGIN INSERT INTO barred SELECT 'bad' WHERE NEW.entity = 'bad'; END;",
    );
}

/// Asks until it holds: what is elsewhere is seen by looking.
async fn until(router: &TestRouter, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let asking = async {
        loop {
            let shown = router.get(path).await.json();
            if holds(&shown) {
                return shown;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(TEST_TIMEOUT, asking).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_equals_what_clients_were_told_by_every_grouping() {
    let router = priced(Plan::servers(1)).await;
    let (key, id) = key(&router).await;
    for tags in ["nightly", "nightly, a \"b\"", ""] {
        chat(&router, &key, tags).await;
    }
    let (input, output) = router.counted().await;
    let money = input + 2 * output;

    let models = router.get("/admin/spend?group_by=model").await.json();
    let usd = format!("0.{money:09}");
    let usd = usd.trim_end_matches('0');
    let sums = json!({"spend_nano_usd": money, "spend_usd": usd, "input_tokens": input,
        "output_tokens": output, "requests": 3, "failed_requests": 0});
    let mut expected = sums.clone();
    expected["model"] = "llama3.2:latest".into();
    assert_eq!(
        models,
        json!({"source": "daily_spend", "kind": "key", "from": null, "to": null,
        "group_by": ["model"], "items": [expected], "more": false})
    );

    let accounts = router.get("/admin/spend?order=kind").await.json();
    assert_eq!(accounts["source"], "spend");
    let told: Vec<_> = accounts["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| format!("{} {} {}", item["kind"], item["entity"], item["requests"]))
        .collect();
    let told = told.join("\n").replace(&id, "KEY");
    insta::assert_snapshot!(told, @r#"
    "key" "KEY" 3
    "tag" "a \"b\"" 1
    "tag" "nightly" 2
    "team" "blue" 3
    "#);

    let path = "/admin/spend?group_by=date,api_key,endpoint&kind=team&entity=blue&model=LLAMA3.2";
    let days = router.get(path).await.json();
    let items = days["items"].as_array().unwrap();
    let requests: i64 = items
        .iter()
        .map(|item| item["requests"].as_i64().unwrap())
        .sum();
    assert_eq!((requests, &items[0]["api_key"]), (3, &json!(id)));
    assert_eq!(items[0]["endpoint"], "gpu-0");
    let today = items[0]["date"].as_str().unwrap();
    let until = router.get(&format!("{path}&to={today}")).await.json();
    assert_eq!(until["items"][0], items[0]);
    let before = router.get(&format!("{path}&to=2020-01-01")).await.json();
    assert_eq!(before["items"], json!([]));
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn csv_follows_the_standard() {
    let router = priced(Plan::servers(1)).await;
    let (key, _) = key(&router).await;
    chat(&router, &key, "a \"b\"").await;
    let (input, output) = router.counted().await;
    let path = "/admin/spend?kind=tag&group_by=entity,model";
    let request = Request::get(format!("{}{path}", router.url())).header("accept", "text/csv");
    let request = request.body(Full::new(Bytes::new())).unwrap();
    let accepted = router.request(request).await.whole().await;
    let asked = router.get(&format!("{path}&format=csv")).await;
    assert_eq!(accepted.body, asked.body);
    assert_eq!(
        asked.header("content-type"),
        "text/csv; charset=utf-8; header=present"
    );
    assert_eq!(asked.header("x-herdsman-more"), "false");
    let money = input + 2 * output;
    assert_eq!(
        asked.text(),
        format!(
            "kind,entity,model,spend_nano_usd,spend_usd,input_tokens,output_tokens,requests,failed_requests\r\n\
             tag,\"a \"\"b\"\"\",llama3.2:latest,{money},{},{input},{output},1,0\r\n",
            format!("0.{money:09}").trim_end_matches('0'),
        )
    );
    router.finish().await;
}

#[tokio::test]
async fn invalid_queries_are_refused_and_an_unavailable_database_is_reported() {
    let router = Plan::servers(1).start().await;
    for wrong in [
        "/admin/spend?kind=keys",
        "/admin/spend?from=2026-02-30",
        "/admin/spend?group_by=week",
        "/admin/spend?limit=10001",
        "/admin/spend?nonsense=1",
        "/admin/spend?entity=%00",
        "/admin/spend/dead-letters?limit=many",
        "/admin/spend/dead-letters/nonsense",
    ] {
        let answer = router.get(wrong).await;
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text());
        assert!(answer.json()["error"].is_string(), "{wrong}");
    }
    let unknown = "/admin/spend/dead-letters/00000000-0000-0000-0000-000000000000";
    assert_eq!(router.get(unknown).await.status, 404);

    let file = router.dir.path().join(herdsman::store::SQLITE_FILE);
    let aside = router.dir.path().join("aside");
    std::fs::rename(&file, &aside).unwrap();
    for path in [
        "/admin/spend",
        "/admin/spend/verify",
        "/admin/spend/dead-letters",
    ] {
        let answer = router.get(path).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
    }
    let queue = router.get("/admin/spend/queue").await;
    assert_eq!(
        (queue.status.as_u16(), &queue.json()["database"]["up"]),
        (200, &json!(false))
    );
    std::fs::rename(&aside, &file).unwrap();
    assert_eq!(router.get("/admin/spend").await.status, 200);
    router.finish().await;
}

#[tokio::test]
async fn spend_calls_need_the_admin_key() {
    let router = Plan::servers(1)
        .set("access.admin_key=root-1")
        .start()
        .await;
    for path in CALLS {
        assert_eq!(router.get(path).await.status, 401, "{path}");
        let request = Request::get(format!("{}{path}", router.url()));
        let request = request.header("authorization", "Bearer root-1");
        let request = request.body(Full::new(Bytes::new())).unwrap();
        assert_eq!(router.request(request).await.status, 200, "{path}");
    }
    let replay = "/admin/spend/dead-letters/00000000-0000-0000-0000-000000000000/replay";
    assert_eq!(router.post(replay, &json!({})).await.status, 401);
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_of_a_router_by_itself_ends_in_its_database() {
    let router = priced(Plan::servers(1)).await;
    let (key, _) = key(&router).await;
    for _ in 0..3 {
        chat(&router, &key, "").await;
    }
    router.counted().await;
    let queue = until(&router, "/admin/spend/queue", |queue| {
        queue["records"]["pending"] == 0 && queue["journal"]["batches"] == 0
    })
    .await;
    insta::assert_json_snapshot!(queue, {".journal.bytes" => "[bytes]"}, @r#"
    {
      "carrier": "in_process",
      "database": {
        "dead_letters": 0,
        "error": null,
        "last_epoch": 0,
        "last_leader": "",
        "up": true
      },
      "journal": {
        "batches": 0,
        "bytes": "[bytes]",
        "healthy": true,
        "oldest_unflushed_seconds": 0,
        "rows": 0
      },
      "lease": null,
      "places": {
        "in_redis": {
          "batches": 0,
          "records": 0
        },
        "journal": {
          "batches": 0,
          "records": 0
        },
        "to_database": {
          "batches": 0,
          "records": 0
        },
        "to_redis": {
          "batches": 0,
          "records": 0
        }
      },
      "records": {
        "committed": 3,
        "dead_lettered": 0,
        "pending": 0,
        "recorded": 3
      },
      "redis": null,
      "refused": 0
    }
    "#);
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_waiting_in_redis_are_shown_by_the_queue_and_the_gauges() {
    let redis = Server::start().await;
    let url = redis.url();
    let router = priced(Plan::servers(1).redis([&*url])).await;
    let (key, _) = key(&router).await;
    let path = "/admin/spend/queue";
    let leads = until(&router, path, |queue| queue["lease"]["leads"] == true).await;
    assert!(leads["lease"]["epoch"].as_u64().unwrap() > 0, "{leads}");

    let file = router.dir.path().join(herdsman::store::SQLITE_FILE);
    let mut other = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    other
        .batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE")
        .unwrap();
    for _ in 0..3 {
        chat(&router, &key, "").await;
    }
    let queue = until(&router, path, |queue| {
        queue["places"]["in_redis"]["records"] == 3
    })
    .await;
    assert_eq!(queue["records"]["pending"], 3);
    let batches = queue["places"]["in_redis"]["batches"].as_u64().unwrap();
    assert_eq!(queue["redis"]["batches"], batches);
    assert_eq!(
        (&queue["carrier"], &queue["redis"]["up"]),
        (&json!("redis"), &json!(true))
    );
    let metrics = router.get("/metrics").await;
    for (name, value) in [
        ("redis_spend_update_queue_size", batches),
        ("in_memory_spend_update_queue_size", batches),
        ("spend_records_pending_total", 3),
        ("spend_records_owed", 3),
        ("pod_lock_manager_size", 1),
    ] {
        let line = format!("herdsman_{name} {value}\n");
        assert!(
            metrics.text().contains(&line),
            "no {line} in {}",
            metrics.text()
        );
    }
    other.batch_execute("ROLLBACK").unwrap();
    drop(other);
    let done = until(&router, path, |queue| {
        queue["places"]["in_redis"]["records"] == 0 && queue["redis"]["batches"] == 0
    })
    .await;
    assert_eq!(done["database"]["last_epoch"], leads["lease"]["epoch"]);
    until(&router, path, |queue| queue["records"]["committed"] == 3).await;
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_the_database_refuses_is_a_dead_letter_until_it_is_replayed() {
    let router = priced(Plan::servers(1)).await;
    let (key, _) = key(&router).await;
    bar(&router);
    chat(&router, &key, "good").await;
    chat(&router, &key, "bad").await;
    router.counted().await;
    let letters = "/admin/spend/dead-letters";
    let listed = router.get(letters).await.json();
    let items = listed["items"].as_array().unwrap();
    assert_eq!(
        (items.len(), &items[0]["records"]),
        (1, &json!(1)),
        "{listed}"
    );
    let one = format!("{letters}/{}", items[0]["id"].as_str().unwrap());
    let whole = router.get(&one).await.json();
    assert!(
        whole["payload"]["names"]
            .as_array()
            .unwrap()
            .contains(&json!("bad")),
        "{whole}"
    );

    // The sums differ by what is in the letter, and by nothing else.
    let verified = router.get("/admin/spend/verify").await.json();
    assert_eq!(verified["holds"], true, "{verified}");
    assert_eq!(verified["database"]["dead_letters"], 1);
    assert_eq!(
        (
            &verified["router"]["committed"],
            &verified["router"]["dead_lettered"]
        ),
        (&json!(1), &json!(1))
    );
    sql(
        &router,
        "UPDATE spend SET requests = requests + 1 WHERE entity = 'good'",
    );
    let verified = router.get("/admin/spend/verify").await.json();
    assert_eq!(
        verified["holds"], false,
        "a letter hides nothing else: {verified}"
    );
    sql(
        &router,
        "UPDATE spend SET requests = requests - 1 WHERE entity = 'good'",
    );

    let replay = format!("{one}/replay");
    let refused = router.post(&replay, &json!({})).await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    sql(&router, "DROP TRIGGER bar");
    for _ in 0..2 {
        let replayed = router.post(&replay, &json!({})).await;
        assert_eq!(replayed.status, 200, "{}", replayed.text());
        assert!(replayed.json()["replayed_at"].is_i64());
    }
    assert_eq!(router.get(letters).await.json()["items"], json!([]));
    let all = router
        .get(&format!("{letters}?all=true&limit=1"))
        .await
        .json();
    assert_eq!(
        (all["items"].as_array().unwrap().len(), &all["next"]),
        (1, &Value::Null)
    );
    let bad = router.get("/admin/spend?kind=tag&entity=bad").await.json();
    assert_eq!(bad["items"][0]["requests"], 1);
    let verified = router.get("/admin/spend/verify").await.json();
    assert_eq!(
        (&verified["holds"], &verified["database"]["dead_letters"]),
        (&json!(true), &json!(0)),
        "{verified}"
    );
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_names_what_was_changed_or_is_missing() {
    let router = priced(Plan::servers(1)).await;
    let (key, id) = key(&router).await;
    for _ in 0..2 {
        chat(&router, &key, "").await;
        router.counted().await;
    }
    let holds = router.get("/admin/spend/verify").await.json();
    assert_eq!(
        (&holds["holds"], &holds["problems"]),
        (&json!(true), &json!([]))
    );
    assert_eq!(
        holds["router"],
        json!({"recorded": 2, "committed": 2, "dead_lettered": 0, "pending": 0})
    );

    sql(
        &router,
        "UPDATE daily_spend SET spend_nano_usd = spend_nano_usd + 1 WHERE kind = 'key'",
    );
    sql(&router, "DELETE FROM spend_batches WHERE seq = 1");
    let broken = router.get("/admin/spend/verify").await;
    assert_eq!(broken.status, 200);
    let broken = broken.json();
    assert_eq!(broken["holds"], false);
    let found = &broken["database"]["problems"];
    assert_eq!(
        (&found[0]["what"], &found[0]["first"], &found[0]["last"]),
        (&json!("missing"), &json!(1), &json!(1))
    );
    assert_eq!(
        (&found[1]["what"], &found[1]["kind"], &found[1]["entity"]),
        (&json!("spend"), &json!("key"), &json!(id))
    );
    let days = found[1]["days"]["spend_nano_usd"].as_i64().unwrap();
    assert_eq!(found[1]["total"]["spend_nano_usd"], days - 1);
    assert_eq!(
        (&found[2]["what"], &found[2]["done"], &found[2]["applied"]),
        (&json!("records"), &json!(2), &json!(1))
    );
    assert_eq!(found.as_array().unwrap().len(), 3, "{broken}");
    assert_eq!(broken["problems"].as_array().unwrap().len(), 3);
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_a_database_that_was_restored_from_an_older_state() {
    let router = priced(Plan::servers(1)).await;
    let (key, _) = key(&router).await;
    chat(&router, &key, "").await;
    router.counted().await;
    // As it was before the first request: in itself everything agrees.
    for table in [
        "spend_batches",
        "spend_producers",
        "spend",
        "spend_periods",
        "daily_spend",
        "token_counts",
        "token_time_series",
    ] {
        sql(&router, &format!("DELETE FROM {table}"));
    }
    let set_back = router.get("/admin/spend/verify").await.json();
    assert_eq!(set_back["holds"], false);
    assert_eq!(
        set_back["database"]["problems"],
        json!([{
            "what": "records", "producer": set_back["producer"],
            "done": 1, "recorded": 1, "applied": 0,
        }])
    );
    router.finish().await;
}
