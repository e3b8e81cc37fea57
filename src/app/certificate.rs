//! The certificate that clients are shown, read again while running.
//!
//! A pair that cannot be used changes nothing: clients are shown the former one, and the log says why.

use std::future::pending;
use std::path::PathBuf;

use super::App;
use crate::config::{Config, Place, Problem};
use crate::http::Tls;
use crate::watched::Watched;

/// What cannot be known of a configuration without looking into the files that it names.
///
/// # Errors
/// The problems.
pub fn check(config: &Config) -> Result<(), Vec<Problem>> {
    let Some((certificate, key)) = config.server.tls() else {
        return Ok(());
    };
    let read = Tls::read(certificate, key);
    let wrong = |error| Problem::new("server.tls_cert", Place::Nowhere, format!("{error}"));
    read.map(drop).map_err(|error| vec![wrong(error)])
}

/// Where it comes from; nothing when the port speaks plain HTTP.
pub(super) struct Certificate(Option<Files>);

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    watched: Watched,
}

impl Certificate {
    pub(super) fn new(config: &Config) -> Self {
        let files = config.server.tls().map(|(certificate, key)| Files {
            certificate: certificate.clone(),
            key: key.clone(),
            watched: Watched::new(vec![certificate.clone(), key.clone()]),
        });
        Self(files)
    }

    /// Waits until there is another one. Can be dropped at any moment.
    pub(super) async fn changed(&mut self) {
        match &mut self.0 {
            Some(files) => files.watched.changed().await,
            None => pending().await,
        }
    }

    /// Shows clients what is in the files now.
    pub(super) fn now(&mut self, app: &App) {
        let (Some(files), Some(tls)) = (&mut self.0, &app.tls) else {
            return;
        };
        files.watched.set_read(files.watched.now());
        let file = files.certificate.display();
        match tls.replace(&files.certificate, &files.key) {
            Ok(()) => tracing::info!(%file, "certificate read"),
            Err(error) => tracing::error!(%error, "the certificate stays as it was"),
        }
    }
}
