//! The certificate that clients are shown, and their first bytes on a port that expects TLS.
//!
//! Owns the current certificate and key, which can be replaced while connections run: each handshake uses
//! what is current when it begins. A pair that cannot be read, or whose halves do not belong together,
//! replaces nothing. It must not know where the files are watched.
//!
//! A client that does not speak TLS is told so in plain HTTP, as it would understand nothing else.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::Acceptor;
use tokio::io::{AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// The first byte of a connection that speaks TLS: a handshake record.
const HANDSHAKE: u8 = 0x16;
/// To a client that does not.
const NO_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 49\r\nconnection: close\r\n\r\nthis port speaks HTTPS: use https:// to reach it\n";

/// What clients are shown. Clones share it.
#[derive(Clone)]
pub struct Tls(Arc<ArcSwap<ServerConfig>>);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is no PEM file with what is expected of it.
    #[error("{}: {why}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The key is not the certificate's, or neither can be used for TLS.
    #[error("the certificate cannot be used with the key: {0}")]
    Pair(#[from] rustls::Error),
}

impl Tls {
    /// The certificate chain and its private key, from PEM files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let config = config(certificate, key)?;
        Ok(Self(Arc::new(ArcSwap::from_pointee(config))))
    }

    /// Connections from now on are shown what is in these files.
    ///
    /// # Errors
    /// [`TlsError`]; then nothing has changed.
    pub fn replace(&self, certificate: &Path, key: &Path) -> Result<(), TlsError> {
        self.0.store(Arc::new(config(certificate, key)?));
        Ok(())
    }

    /// The handshake with a new client.
    ///
    /// # Errors
    /// When the client does not speak TLS, or none of the versions and ciphers that are spoken here.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        if !speaks_tls(&stream).await? {
            return Err(refuse(stream).await);
        }
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        hello.into_stream(self.0.load_full()).await
    }
}

async fn speaks_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let mut first = ReadBuf::new(&mut first);
    std::future::poll_fn(|cx| stream.poll_peek(cx, &mut first)).await?;
    // None at all: the client has left, which the handshake finds out.
    Ok(first.filled().first().is_none_or(|byte| *byte == HANDSHAKE))
}

async fn refuse(mut stream: TcpStream) -> io::Error {
    let told = stream.write_all(NO_TLS).await;
    let shut = told.and(stream.shutdown().await);
    shut.err()
        .unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the client speaks no TLS"))
}

fn config(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let wrong = |file: &Path, why: String| TlsError::File {
        file: file.to_owned(),
        why,
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(certificate, error.to_string()));
    let chain = chain?;
    if chain.is_empty() {
        return Err(wrong(certificate, "no certificate in it".to_owned()));
    }
    let key_der =
        PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tls").finish_non_exhaustive()
    }
}
