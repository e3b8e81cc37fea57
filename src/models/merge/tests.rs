use proptest::prelude::*;

use super::*;

fn merge(servers: usize) -> Merge {
    let names = (0..servers).map(|n| format!("gpu-{n}").into());
    let left_out = LeftOut {
        name: "gpu-9".into(),
        why: "down".into(),
    };
    Merge::new(names, vec![left_out])
}

fn says(merge: &mut Merge, server: usize, status: &str) {
    let status = status.to_owned();
    let line = ProgressLine {
        status,
        ..ProgressLine::default()
    };
    merge.heard(server, &line);
}

fn has(merge: &mut Merge, server: usize, digest: &str, completed: u64) {
    let line = ProgressLine {
        status: format!("pulling {digest}"),
        digest: digest.to_owned(),
        total: 100,
        completed,
        error: None,
    };
    merge.heard(server, &line);
}

fn shown(merge: &Merge) -> Vec<String> {
    let items = merge.items().iter().map(|item| match item {
        Item::Step(status) => status.to_string(),
        Item::Layer(layer) => format!("{} {:?}", layer.digest, layer.sums()),
    });
    items.collect()
}

#[test]
fn the_lines_of_several_servers_are_those_of_one() {
    let mut merge = merge(3);
    for server in 0..3 {
        says(&mut merge, server, "pulling manifest");
    }
    let first = ["pulling manifest", "left out: gpu-9 (down)"];
    assert_eq!(shown(&merge), first);
    has(&mut merge, 0, "a", 0);
    has(&mut merge, 1, "a", 40);
    has(&mut merge, 0, "a", 100);
    // The third has not begun, and will have as much to do.
    assert_eq!(shown(&merge)[2], "a (300, 140)");
    says(&mut merge, 0, "verifying");
    says(&mut merge, 0, "writing");
    merge.done(0);
    assert_eq!(shown(&merge).len(), 3, "the others are not so far");
    // It has the layer and does not say so, as a real server.
    says(&mut merge, 2, "verifying");
    has(&mut merge, 1, "a", 100);
    says(&mut merge, 1, "verifying");
    assert_eq!(shown(&merge)[2..], ["a (300, 200)", "verifying"]);
    merge.done(2);
    merge.done(1);
    assert_eq!(shown(&merge)[2..], ["a (300, 300)", "verifying", "writing"]);
    assert_eq!((merge.bytes(), merge.bytes_of(2)), ((300, 300), (100, 100)));
}

#[test]
fn a_server_that_fails_is_waited_for_no_longer_and_goes_not_back() {
    let mut merge = merge(2);
    says(&mut merge, 0, "pulling manifest");
    has(&mut merge, 0, "a", 60);
    has(&mut merge, 1, "a", 100);
    has(&mut merge, 0, "a", 10);
    says(&mut merge, 1, "verifying");
    assert_eq!(shown(&merge)[2..], ["a (200, 160)"]);
    let words = "disk full".to_owned();
    merge.failed(
        0,
        Failed {
            status: None,
            words,
        },
    );
    assert_eq!(shown(&merge)[2..], ["a (200, 160)", "verifying"]);
    merge.done(0);
    assert!(matches!(merge.servers()[0].standing, Standing::Failed(_)));
}

#[test]
fn whatever_a_server_says_there_is_no_more_than_so_much_of_it() {
    let mut merge = merge(2);
    for n in 0..3 * MOST_ITEMS {
        says(&mut merge, 0, &format!("{n}{}", "é".repeat(LONGEST_TEXT)));
        has(&mut merge, 1, &n.to_string(), 1);
    }
    merge.done(0);
    merge.done(1);
    assert_eq!(merge.items().len(), MOST_ITEMS);
    assert!(merge.pending.is_empty());
    let long = |item: &Item| matches!(item, Item::Step(text) if text.len() > LONGEST_TEXT);
    assert!(!merge.items().iter().any(long));
}

proptest! {
    #[test]
    fn no_sum_ever_goes_back(events in prop::collection::vec((0..3_usize, 0..3_u8, 0..150_u64), 0..60)) {
        let mut merge = merge(3);
        let mut before: Vec<(u64, u64)> = Vec::new();
        for (server, what, amount) in events {
            match (what, amount) {
                (0, 0..10) => merge.done(server),
                (0, 10..20) => merge.failed(server, Failed { status: None, words: String::new() }),
                (0, _) => says(&mut merge, server, &format!("step {}", amount % 4)),
                (layer, _) => has(&mut merge, server, &layer.to_string(), amount),
            }
            let now: Vec<_> = merge.items().iter().filter_map(Item::layer).map(Layer::sums).collect();
            for (was, is) in before.iter().zip(&now) {
                prop_assert!(is.0 >= was.0 && is.1 >= was.1 && is.1 <= is.0, "{was:?} {is:?}");
            }
            before = now;
        }
    }
}
