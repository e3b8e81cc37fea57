//! Long computations, without blocking the requests that share their thread.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Fewer rows than this take less time than handing the thread's other work over.
const MIN_ROWS: usize = 2_000;

/// Does `work`, on so many rows, while another thread of the runtime takes over what else waits for
/// this one. On a runtime of one thread there is no other, and it is simply done.
pub(crate) fn offload<T>(rows: usize, work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) if rows >= MIN_ROWS => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// One worker, and work that ends only when something else has run on it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn while_it_computes_other_tasks_run() {
        let tracker = tokio_util::task::TaskTracker::new();
        let (tell, told) = std::sync::mpsc::channel();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let heavy = tracker.spawn(async move {
            let wait = move || {
                begun.send(()).unwrap();
                told.recv_timeout(Duration::from_secs(20)).is_ok()
            };
            offload(MIN_ROWS, wait)
        });
        let other = tracker.spawn(async move {
            begins.await.unwrap();
            tell.send(()).unwrap();
        });
        other.await.unwrap();
        assert!(heavy.await.unwrap());
    }

    #[tokio::test]
    async fn on_a_runtime_of_one_thread_it_runs_in_place() {
        assert_eq!(offload(usize::MAX, || 7), 7);
    }
}
