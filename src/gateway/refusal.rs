//! Whether it is the request that a server refuses, or the server that refuses any.
//!
//! A server may say of every request that it is not a good one: another version of it, a broken template, a proxy with a
//! limit of its own. So where another server has a slot free at once, it is asked as well; what it says counts. A
//! request that is refused there too is the client's mistake, in whatever words, and nobody is blamed for it; one that
//! is served blames the server that refused it ([`Blame`](super::blame::Blame)). Nobody waits for this: the mistake is
//! nearly always the client's.

use http::{Response, StatusCode};

use super::attempt::{Began, Stopped, Try};
use super::prepared::Prepared;
use super::server_error::ServerError;
use super::{Error, Gateway};
use crate::faults::Fault;
use crate::fleet::{Endpoint, Leased};

/// A refusal of one server, and a slot of another that is asked as well.
pub(super) struct Doubted {
    pub(super) stopped: Stopped,
    pub(super) elsewhere: Leased,
}

impl Gateway {
    /// Another server to ask as well, after a refusal of this one.
    ///
    /// # Errors
    /// The refusal, when that is what the client gets.
    pub(super) async fn doubted(
        &self,
        prepared: &Prepared,
        endpoint: &Endpoint,
        tried: Try,
    ) -> Result<Doubted, Try> {
        let mut request = prepared.lease_request.clone();
        request.tried.push(endpoint.url().clone());
        let Some(elsewhere) = self.fleet.lease_at_once(&request) else {
            return Err(tried);
        };
        let server_error = match tried {
            Ok(Began { head, reading }) => {
                // It has been read.
                ServerError::read(Response::from_parts(head, reading.body)).await
            }
            Err(Stopped::Over(Error::Exhausted(server_error))) => *server_error,
            tried => return Err(tried),
        };
        let stopped = Stopped::Failover {
            fault: Fault::Status,
            server_error,
        };
        Ok(Doubted { stopped, elsewhere })
    }
}

/// Whether a try has ended with the server's word that the request is not a good one.
pub(super) fn is_refusal(tried: &Try) -> bool {
    let status = match tried {
        Ok(began) => began.head.status,
        Err(Stopped::Over(Error::Exhausted(server_error))) => server_error.status(),
        Err(_) => return false,
    };
    matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
    )
}
