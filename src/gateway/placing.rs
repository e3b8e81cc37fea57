//! Loading and unloading a model on servers that are named: for an operator, or because it is kept loaded.
//!
//! A load takes a slot as a request does, so that requests for the model know of it and wait for it, and no
//! two loads meet on one server. It is a task of its own: whoever asked for it may leave. Unloading takes no
//! slot, as it does for a client ([`super::unload`]).
//!
//! It must not know which servers are to have a model, or why. It fails by value, server by server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::attempt::{Slot, Stopped};
use super::blame::Blame;
use super::load::LoadReason;
use super::server_error::ServerError;
use super::{Error, Gateway, unload};
use crate::backend::{KeepOptions, Probe};
use crate::fleet::{Outcome, Place, Refusal};
use crate::protocol::Api;
use crate::upstream::Failure;

/// Why a model was not loaded, or unloaded, on a server.
#[derive(Debug)]
pub enum NotPlaced {
    /// It took no load.
    Refused(Refusal),
    /// It does not load models.
    Kind,
    /// It failed, or said no.
    Server(ServerError),
    /// This router is shutting down.
    Closing,
}

impl Gateway {
    /// Has the server load the model, or keep it loaded from now on as `options` say. Goes on when it is dropped.
    ///
    /// # Errors
    /// [`NotPlaced`], the reason why it is not loaded.
    pub async fn load_on(
        self: &Arc<Self>,
        place: &Place,
        options: KeepOptions,
        reason: LoadReason,
    ) -> Result<Duration, NotPlaced> {
        let (gateway, place) = (Arc::clone(self), place.clone());
        let load = async move {
            tokio::select! {
                biased;
                loaded = gateway.loaded_on(&place, &options, reason) => loaded,
                () = gateway.closing.cancelled() => Err(NotPlaced::Closing),
            }
        };
        let joined = self.open.spawn(load).await;
        joined.unwrap_or(Err(NotPlaced::Closing))
    }

    async fn loaded_on(
        &self,
        place: &Place,
        options: &KeepOptions,
        reason: LoadReason,
    ) -> Result<Duration, NotPlaced> {
        let (begun, endpoint) = (Instant::now(), &place.endpoint);
        if !place.loads {
            return Err(NotPlaced::Kind);
        }
        let deadline = begun + self.rules.first_byte_timeout;
        let lease = self
            .fleet
            .lease_for_load(endpoint, &place.pool, deadline)
            .await
            .map_err(NotPlaced::Refused)?;
        let slot = match lease {
            Some(lease) => Slot::for_load(lease, &self.usage),
            None => Slot::none(Arc::clone(endpoint), &self.usage),
        };
        let (ejected, spelling) = (slot.ejected(), place.pool.spelling());
        let loaded = tokio::select! {
            biased;
            loaded = timeout_at(deadline, self.ask_to_load(&slot, &spelling, options)) => {
                loaded.unwrap_or_else(|_| Err(Stopped::by(Failure::Silent)))
            }
            () = ejected.cancelled() => Err(Stopped::by(Failure::Ejected)),
        };
        match loaded {
            Ok(Ok(())) => {
                self.loaded(&slot, reason);
                slot.end(Outcome::Done);
                endpoint.refresh(Probe::Loaded);
                Ok(begun.elapsed())
            }
            Ok(Err(error)) => {
                slot.end(Outcome::Done);
                Err(NotPlaced::Server(error))
            }
            Err(Stopped::Failover {
                fault,
                server_error,
            }) => {
                Blame::of(Api::OllamaGenerate).failed(slot, fault, &server_error);
                Err(NotPlaced::Server(server_error))
            }
            Err(Stopped::Over(Error::Exhausted(error))) => Err(NotPlaced::Server(*error)),
            Err(Stopped::Over(_)) => Err(NotPlaced::Closing),
        }
    }

    /// A model for embeddings alone is loaded by another call than all others, which refuse it.
    async fn ask_to_load(
        &self,
        slot: &Slot,
        spelling: &str,
        options: &KeepOptions,
    ) -> Result<Result<(), ServerError>, Stopped> {
        let mut refused = Err(ServerError::Nothing(Failure::Silent));
        for embeds in [false, true] {
            let backend = &slot.settings().backend;
            let Some(load) = backend.load(spelling, options, embeds) else {
                return Ok(refused);
            };
            let answered = self.send_load(slot, &load).await?;
            match (answered, embeds) {
                (Ok(()), _) => return Ok(Ok(())),
                (Err(error), false) => refused = Err(error),
                // What the usual call says is what there is to say.
                (Err(_), true) => {}
            }
        }
        Ok(refused)
    }

    /// Has the server unload the model, which it does when it is idle.
    ///
    /// # Errors
    /// [`NotPlaced`], the reason why it may still be loaded.
    pub async fn unload_on(&self, place: &Place) -> Result<Duration, NotPlaced> {
        let (begun, endpoint) = (Instant::now(), &place.endpoint);
        if !place.is_up {
            return Err(NotPlaced::Refused(Refusal::Down));
        }
        let options = KeepOptions {
            keep_alive: Some("0".to_owned()),
            num_ctx: None,
        };
        let (settings, spelling) = (endpoint.settings(), place.pool.spelling());
        let unload = settings.backend.load(&spelling, &options, false);
        let unload = unload.ok_or(NotPlaced::Kind)?;
        let unloaded = timeout(unload::LIMIT, self.send_unload(endpoint, &unload)).await;
        let unloaded = unloaded.unwrap_or(Err(ServerError::Nothing(Failure::Silent)));
        unloaded.map_err(NotPlaced::Server)?;
        endpoint.unloaded(place.pool.model());
        Ok(begun.elapsed())
    }
}

impl fmt::Display for NotPlaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Kind => f.write_str("a server of its kind does not load models"),
            Self::Server(error) => error.fmt(f),
            Self::Closing => f.write_str("this router is shutting down"),
        }
    }
}
