//! What the client's connection asks of a relay: the next piece, until it is over.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::completion::End;
use super::stage::{Aborted, Stage};
use super::{NOT_RECORDED, Relay};

impl Body for Relay {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let this = &mut *self;
        loop {
            match &mut this.stage {
                Stage::Passing | Stage::Whole => match ready!(this.poll_upstream(cx)) {
                    Ok(Some(data)) => {
                        let data = this.pass(data);
                        if !data.is_empty() {
                            return this.emit(data);
                        }
                    }
                    Ok(None) => {}
                    Err(aborted) => return Poll::Ready(Some(Err(aborted))),
                },
                Stage::Recording { held, recorded } => {
                    let recorded = ready!(Pin::new(recorded).poll(cx));
                    let held = std::mem::take(held);
                    if recorded.is_err() {
                        if let Err(aborted) = this.end_with_error(NOT_RECORDED) {
                            return Poll::Ready(Some(Err(aborted)));
                        }
                        continue;
                    }
                    this.whole();
                    if !held.is_empty() {
                        return this.emit(held);
                    }
                }
                Stage::Ending(last) => {
                    let last = std::mem::take(last);
                    this.stage = Stage::Over;
                    if !last.is_empty() {
                        return this.emit(last);
                    }
                }
                Stage::Broken(_) => {
                    if let Stage::Broken(aborted) = std::mem::replace(&mut this.stage, Stage::Over)
                    {
                        return Poll::Ready(Some(Err(aborted)));
                    }
                }
                Stage::Over => {
                    this.completion.close();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.completion.finish(End::Left, self.tail.as_ref());
    }
}
