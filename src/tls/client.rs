//! The other side of TLS: a program of ours that connects to a broker, and looks whether it is the
//! one that it wants to talk to.

use super::{BadFile, Other, bad, certificates, explained};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A connection, with TLS or without: one type for all, so that what is built on it, such as all of
/// hyper, is compiled once.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Shakes hands with a server that has to have a certificate for `host`: of an authority whose
/// certificate is in the file `ca`, or else of one that the system trusts.
///
/// # Errors
/// The file is of no use, or the server is another one or speaks no TLS.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    host: &str,
    ca: Option<&Path>,
) -> io::Result<TlsStream<S>> {
    let roots = roots(ca).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map_err(|error| io::Error::new(error.kind(), explained(&error, Other::Server)))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, BadFile> {
    let mut roots = RootCertStore::empty();
    let Some(ca) = ca else {
        let system = rustls_native_certs::load_native_certs();
        let (taken, _useless) = roots.add_parsable_certificates(system.certs);
        return match system.errors.into_iter().next() {
            Some(error) if taken == 0 => Err(bad(&PathBuf::from("the system's certificates"), error)),
            _ => Ok(roots),
        };
    };
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|error| bad(ca, error))?;
    }
    Ok(roots)
}
