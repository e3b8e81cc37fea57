//! Inference calls of every dialect: read the body, hand over.

use std::future::Future;
use std::pin::Pin;

use axum::body::Body;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::Request;

use crate::gateway::Inbound;
use crate::http::error::Refusal;
use crate::http::{State, body, credentials, request_id};
use crate::protocol::Api;

type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// The handler of one call, for the router.
pub(in crate::http) fn infer(api: Api) -> impl Fn(Shared<State>, Request<Body>) -> Answer + Clone {
    move |Shared(state), request| Box::pin(answer(api, state, request))
}

/// One call, from wherever its body comes.
pub(in crate::http) async fn answer<B>(api: Api, state: State, request: Request<B>) -> Response
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let (head, body) = request.into_parts();
    let id = request_id::of(&head.headers);
    let caller = match state.gateway.identify(api, credentials::of(&head.headers)) {
        Ok(caller) => caller,
        Err(error) => return Refusal::gateway(api.dialect(), error, id).into_response(),
    };
    let body = match body::read(&head.headers, body, state.limits.max_body).await {
        Ok(body) => body,
        Err(error) => return Refusal::body(api.dialect(), error, id).into_response(),
    };
    let inbound = Inbound::new(api, head.headers, body, id.clone(), caller);
    match state.gateway.infer(inbound).await {
        Ok(answer) => answer.map(Body::new),
        Err(error) => Refusal::gateway(api.dialect(), error, id).into_response(),
    }
}
