//! What a request may use at most, held of every limit it meets before a server works for it.

use super::prepared::Prepared;
use super::relay::BYTES_PER_TOKEN;
use super::{Error, Gateway};
use crate::access::{AccessRequest, Reservation};

impl Gateway {
    /// Admits the request, to the servers that its caller may use and that serve its model, on the operator's terms.
    pub(super) async fn admit(&self, prepared: &mut Prepared) -> Result<Reservation, Error> {
        let admission = prepared.admission();
        let mut reservation = tokio::select! {
            biased;
            reservation = self.access.admit(&prepared.caller, &admission) => reservation?,
            () = self.cutting.cancelled() => return Err(Error::Closing),
        };
        let Prepared {
            request,
            lease_request,
            servers,
            ..
        } = prepared;
        *servers = reservation.take_servers();
        lease_request.within.clone_from(servers);
        self.terms.apply(request, lease_request);
        Ok(reservation)
    }
}

impl Prepared {
    fn admission(&self) -> AccessRequest<'_> {
        let bytes = u64::try_from(self.prompt_bytes).unwrap_or_default();
        AccessRequest {
            model: &self.lease_request.model,
            input: bytes.div_ceil(BYTES_PER_TOKEN),
            max_output: self.max_output,
            computes: self.computes,
            user: self.user.as_deref(),
            tags: &self.tags,
        }
    }
}
