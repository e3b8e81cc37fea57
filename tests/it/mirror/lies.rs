//! Registries that are wrong, and disks that are full: a clear error, and nothing is left.

use herdsman_test_support::Port;

use super::{big, cache, cached, check_progress, last, models_of, plan, pull};
use crate::support::eventually;
use crate::support::registry::{Faults, Registry, digest};

#[tokio::test]
async fn a_registry_that_lies_is_named_and_nothing_of_it_is_kept() {
    let (registry, port) = (Registry::start().await, Port::free());
    registry.offer("library/big:latest", &big());
    let router = plan(2, &registry, &port).start().await;
    let ok = Faults::default;
    for (faults, words) in [
        (
            Faults {
                redirects_to_itself: true,
                ..ok()
            },
            "redirects without an end",
        ),
        (
            Faults { longer: 1, ..ok() },
            "lies about the length of sha256:",
        ),
        (
            Faults {
                other_bytes: true,
                ..ok()
            },
            "lies about a digest",
        ),
        (
            Faults {
                no_blobs: true,
                ..ok()
            },
            "which its manifest names",
        ),
        (
            Faults {
                status: Some(401),
                ..ok()
            },
            "the registry answered 401",
        ),
        (
            Faults {
                status: Some(500),
                ..ok()
            },
            "the registry answered 500",
        ),
    ] {
        let text = format!("{faults:?}");
        registry.fail(faults);
        let lines = pull(&router, "big", "").await;
        check_progress(&lines);
        let error = last(&lines);
        assert!(error.contains(words), "{text}: {error}");
        assert!(error.contains("(gpu-0, gpu-1)"), "{text}: {error}");
        assert!(cached(&router, "blobs").is_empty(), "{text}");
        // A server may have asked once more, and left.
        eventually("nothing of it is left", || {
            cached(&router, "partial").is_empty()
        })
        .await;
        assert!(models_of(&router, 0).await.is_empty(), "{text}");
    }
    registry.fail(ok());
    // A server keeps the bytes of a pull that failed, as with any registry. If they were wrong, it says so at the end of the
    // next one, and begins anew with the one after that.
    let mut lines = pull(&router, "big", "").await;
    if last(&lines).contains("digest mismatch") {
        lines = pull(&router, "big", "").await;
    }
    assert_eq!(last(&lines), "success");
    router.finish().await;
}

#[tokio::test]
async fn a_model_that_the_registry_does_not_have_is_missing_in_ollamas_words() {
    let (registry, port) = (Registry::start().await, Port::free());
    let router = plan(2, &registry, &port).start().await;
    let lines = pull(&router, "none", "").await;
    let error = "pull model manifest: file does not exist";
    assert_eq!(last(&lines), format!("{error} (gpu-0, gpu-1)"));
    assert_eq!(last(&pull(&router, "none", "gpu-1").await), error);
    router.finish().await;
}

#[tokio::test]
async fn a_registry_that_is_away_is_an_error_that_says_so() {
    let (registry, port) = (Registry::start().await, Port::free());
    let router = plan(1, &registry, &port)
        .set("models.registry=http://127.0.0.1:1")
        .start()
        .await;
    let lines = pull(&router, "big", "").await;
    assert!(
        last(&lines).contains("the registry cannot be reached"),
        "{lines:?}"
    );
    router.finish().await;
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_the_part_that_was_there_is_gone() {
    let (registry, port) = (Registry::start().await, Port::free());
    let blobs = big();
    registry.offer("library/big:latest", &blobs);
    let router = plan(2, &registry, &port).start().await;
    let file = digest(&blobs[0]).replace(':', "-");
    let part = cache(&router).join("partial").join(file);
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let lines = pull(&router, "big", "").await;
    check_progress(&lines);
    let error = last(&lines);
    assert!(error.contains("No space left on device"), "{error}");
    // A server that has asked again before it was told may have had it begun anew.
    assert!(!part.is_symlink());
    assert_eq!(last(&pull(&router, "big", "").await), "success");
    router.finish().await;
}
