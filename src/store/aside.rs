//! Work that computes for long, kept from holding up the requests that share its thread.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Fewer rows than this are done before another thread would have woken up.
const WORTH_IT: usize = 2_000;

/// Does `work`, on so many rows, while another thread of the runtime takes over what else waits for
/// this one. On a runtime of one thread there is no other, and it is simply done.
pub(crate) fn aside<T>(rows: usize, work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) if rows >= WORTH_IT => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// One worker, and work that ends only when something else has run on it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn while_it_computes_others_go_on() {
        let tracker = tokio_util::task::TaskTracker::new();
        let (tell, told) = std::sync::mpsc::channel();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let heavy = tracker.spawn(async move {
            let wait = move || {
                begun.send(()).unwrap();
                told.recv_timeout(Duration::from_secs(20)).is_ok()
            };
            aside(WORTH_IT, wait)
        });
        let other = tracker.spawn(async move {
            begins.await.unwrap();
            tell.send(()).unwrap();
        });
        other.await.unwrap();
        assert!(heavy.await.unwrap());
    }

    #[tokio::test]
    async fn where_there_is_one_thread_it_is_simply_done() {
        assert_eq!(aside(usize::MAX, || 7), 7);
    }
}
