//! Inference requests of every dialect: read the body, pass on to the gateway.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use bytes::Bytes;
use http::{Request, StatusCode};

use crate::gateway::{Error, Inbound, Sender};
use crate::http::error::Refusal;
use crate::http::{Limits, State, body, credentials, request_id};
use crate::protocol::Api;

/// What axum's router knows of an inference path: `POST` never gets here, since [`Front`](crate::http::Front)
/// handles it, and no other method is allowed.
pub(in crate::http) fn elsewhere() -> MethodRouter<State> {
    MethodRouter::new()
}

/// One request, whatever the type of its body.
pub(in crate::http) async fn answer<B>(
    api: Api,
    state: &State,
    request: Request<B>,
    sender: Sender,
) -> Response
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let _open = state.gateway.enter();
    let (mut head, body) = request.into_parts();
    let id = request_id::of(&head.headers);
    let mut meter = state.gateway.arrived(api, &id, sender);
    if state.instance.refuses(&head.headers) {
        meter.refused(StatusCode::LOOP_DETECTED.as_u16());
        return Refusal::looped(api.dialect()).into_response();
    }
    let caller = match state
        .gateway
        .identify(credentials::of(&head.headers).as_deref())
    {
        Ok(caller) => caller,
        Err(error) => {
            meter.refused(error.status().as_u16());
            return Refusal::gateway(api.dialect(), error, id).into_response();
        }
    };
    let Limits { max_body, decoder } = &state.limits;
    let read = tokio::select! {
        biased;
        read = body::read(&mut head.headers, body, *max_body, decoder) => read,
        () = meter.cancelled() => {
            return Refusal::gateway(api.dialect(), Error::Cancelled, id).into_response();
        }
    };
    let body = match read {
        Ok(body) => body,
        Err(error) => {
            meter.refused(error.status().as_u16());
            return Refusal::body(api.dialect(), error, id).into_response();
        }
    };
    let inbound = Inbound::new(api, head.headers, body, id.clone(), caller);
    match state.gateway.infer(inbound, meter).await {
        Ok(answer) => answer.map(Body::new),
        Err(error) => Refusal::gateway(api.dialect(), error, id).into_response(),
    }
}
