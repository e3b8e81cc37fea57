//! The TLS configuration: ring, as everywhere in a process that has one provider.

use std::io;
use std::sync::Arc;

use redis::{RedisResult, TlsCertificates};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// The certificates as rustls wants them; without any, the system's roots.
pub(crate) fn client_config(certificates: Option<&TlsCertificates>) -> RedisResult<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match certificates.and_then(|certificates| certificates.root_cert.as_ref()) {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate.map_err(invalid)?)?;
            }
        }
        None => {
            // Those that cannot be read are not needed for this server, or its handshake fails.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    match certificates.and_then(|certificates| certificates.client_tls.as_ref()) {
        None => Ok(builder.with_no_client_auth()),
        Some(client) => {
            let chain = CertificateDer::pem_slice_iter(&client.client_cert)
                .collect::<Result<Vec<_>, _>>()
                .map_err(invalid)?;
            let key = PrivateKeyDer::from_pem_slice(&client.client_key).map_err(invalid)?;
            Ok(builder.with_client_auth_cert(chain, key)?)
        }
    }
}

fn invalid(error: rustls::pki_types::pem::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error.to_string())
}
