//! `/api/usage-stream`: a snapshot on connect, then each change, and a keep-alive comment in between.
//! Whoever may see some models only gets snapshots of those, made for each such reader. The stream ends before the
//! next event when its reader may see nothing any more.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use http::HeaderMap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::http::State;
use crate::http::visible::{Sight, Visible};

const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// One who reads.
struct Reader {
    state: State,
    /// Who it is: what that one may see is found out for each event, since its key may be blocked meanwhile.
    headers: HeaderMap,
    snapshots: watch::Receiver<Bytes>,
    closing: CancellationToken,
}

pub(super) async fn stream(
    Shared(state): Shared<State>,
    _: Visible,
    headers: HeaderMap,
) -> Response {
    let mut snapshots = state.gateway.usage().subscribe();
    // What is there now is the first event.
    snapshots.mark_changed();
    let reader = Reader {
        closing: state.gateway.closing(),
        state,
        headers,
        snapshots,
    };
    let events = unfold(reader, async |mut reader| {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    Sse::new(events)
        .keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE))
        .into_response()
}

impl Reader {
    /// Nothing when the router stops, or when the reader may see nothing any more.
    async fn next(&mut self) -> Option<Event> {
        tokio::select! {
            changed = self.snapshots.changed() => changed.ok()?,
            () = self.closing.cancelled() => return None,
        }
        let sight = Sight::of(&self.headers, &self.state).ok()?;
        let everything = self.snapshots.borrow_and_update().clone();
        let snapshot = match sight.is_everything() {
            true => everything,
            false => self
                .state
                .gateway
                .usage()
                .snapshot_of(|model| sight.shows(model)),
        };
        Some(Event::default().data(String::from_utf8_lossy(&snapshot)))
    }
}
