//! `/api/usage-stream`: a snapshot on connect, then each change, and a keep-alive comment in between.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use tokio::sync::watch;

use crate::http::State;

const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

pub(super) async fn stream(Shared(state): Shared<State>) -> Response {
    let mut snapshots = state.gateway.usage().subscribe();
    // What is there now is the first event.
    snapshots.mark_changed();
    let closing = state.gateway.closing();
    let events = unfold((snapshots, closing), async |(mut snapshots, closing)| {
        tokio::select! {
            changed = snapshots.changed() => changed.ok()?,
            () = closing.cancelled() => return None,
        }
        let event = event(&mut snapshots);
        Some((Ok::<_, Infallible>(event), (snapshots, closing)))
    });
    Sse::new(events)
        .keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE))
        .into_response()
}

fn event(snapshots: &mut watch::Receiver<Bytes>) -> Event {
    let snapshot = snapshots.borrow_and_update().clone();
    Event::default().data(String::from_utf8_lossy(&snapshot))
}
