//! `/api/usage-stream`: a snapshot on connect, then each change, and a keep-alive comment in between.
//! Whoever may see some models only gets snapshots of those, made for each such reader.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use tokio::sync::watch;

use crate::http::State;
use crate::http::visible::{Sight, Visible};
use crate::usage::Usage;

const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

pub(super) async fn stream(Shared(state): Shared<State>, Visible(scope): Visible) -> Response {
    let usage = state.gateway.usage().clone();
    let mut snapshots = state.gateway.usage().subscribe();
    // What is there now is the first event.
    snapshots.mark_changed();
    let closing = state.gateway.closing();
    let start = (snapshots, closing, usage, scope);
    let events = unfold(start, async |(mut snapshots, closing, usage, scope)| {
        tokio::select! {
            changed = snapshots.changed() => changed.ok()?,
            () = closing.cancelled() => return None,
        }
        let event = event(&mut snapshots, &usage, &scope);
        Some((
            Ok::<_, Infallible>(event),
            (snapshots, closing, usage, scope),
        ))
    });
    Sse::new(events)
        .keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE))
        .into_response()
}

fn event(snapshots: &mut watch::Receiver<Bytes>, usage: &Usage, scope: &Sight) -> Event {
    let everything = snapshots.borrow_and_update().clone();
    let snapshot = match scope.is_everything() {
        true => everything,
        false => usage.snapshot_of(|model| scope.shows(model)),
    };
    Event::default().data(String::from_utf8_lossy(&snapshot))
}
