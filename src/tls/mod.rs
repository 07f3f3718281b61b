//! Certificates: read at the start, shown by the name that a client asks for, and read again when
//! their files change.
//!
//! Files are looked at when a client connects, at most once a second. What is wrong with new ones
//! is logged, and the old certificates stay. Alone names rustls.

mod certificate;
mod client;
mod expiry;
mod fault;

pub use self::client::{Stream, connect};
pub use self::expiry::InUse;
pub use self::fault::{Other, explained};

use crate::config::tls::{Shown, Tls, TlsVersion, Verify};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{ClientHello, NoClientAuth, ResolvesServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    self, InvalidMessage, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
};
use tracing::{error, info};

/// How often files are looked at, at most.
const LOOK_MS: u64 = 1000;

/// A file of certificates is no larger: some 600 of them.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The certificates in use.
pub struct Certificates {
    settings: Tls,
    current: Mutex<Current>,
}

struct Current {
    acceptor: TlsAcceptor,
    /// The same for browsers, which are asked for no certificate.
    open: TlsAcceptor,
    /// What clients are shown, and what they are verified against.
    in_use: Vec<InUse>,
    /// What the files were when they were last read, whether what was read was good or not.
    stamps: Vec<Stamp>,
    looked_at_ms: u64,
}

/// Tells a file from what it was before: its inode, length, and time of change in seconds and
/// nanoseconds; nothing for a file that is not there.
type Stamp = Option<(u64, u64, i64, i64)>;

/// Which file is of no use, and why.
#[derive(Debug)]
pub struct BadFile {
    /// Which names it.
    key: String,
    path: PathBuf,
    why: String,
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "cannot use {} for TLS: {}", self.path.display(), self.why)
    }
}

impl std::error::Error for BadFile {}

impl BadFile {
    /// The same, named by that key.
    fn at(self, section: &str, key: &str) -> Self {
        Self { key: format!("{section}.{key}"), ..self }
    }
}

impl Certificates {
    /// Reads all files that `settings` name.
    ///
    /// # Errors
    /// One of them cannot be read or is not what it should be.
    pub fn read(settings: Tls, now_ms: u64) -> Result<Self, BadFile> {
        let stamps = stamps(&settings);
        let [acceptor, open] = acceptors(&settings)?;
        let in_use = expiry::in_use(&settings);
        let current = Mutex::new(Current { acceptor, open, in_use, stamps, looked_at_ms: now_ms });
        Ok(Self { settings, current })
    }

    /// What shakes hands with a client that connects now.
    pub fn acceptor(&self, now_ms: u64) -> TlsAcceptor {
        self.newest(now_ms).acceptor.clone()
    }

    /// As [`Self::acceptor`], asking nobody for a certificate.
    pub fn open_acceptor(&self, now_ms: u64) -> TlsAcceptor {
        self.newest(now_ms).open.clone()
    }

    /// The certificates in use, those of authorities among them.
    pub fn in_use(&self, now_ms: u64) -> Vec<InUse> {
        self.newest(now_ms).in_use.clone()
    }

    fn newest(&self, now_ms: u64) -> MutexGuard<'_, Current> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if now_ms >= current.looked_at_ms + LOOK_MS {
            current.looked_at_ms = now_ms;
            let stamps = stamps(&self.settings);
            if stamps != current.stamps {
                current.read(&self.settings, stamps);
            }
        }
        current
    }

    /// Reads all files again, whether they seem to have changed or not.
    pub fn read_again(&self, now_ms: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.looked_at_ms = now_ms;
        current.read(&self.settings, stamps(&self.settings));
    }

    /// The user that the client's certificate names, if it showed one; one that is shown was
    /// verified.
    pub fn client_name(&self, connection: &ServerConnection) -> Option<String> {
        let certificate = connection.peer_certificates()?.first()?;
        certificate::name(certificate, self.settings.login_from)
    }
}

impl Current {
    /// Takes the files, which have these `stamps`, if they are of use.
    fn read(&mut self, settings: &Tls, stamps: Vec<Stamp>) {
        self.stamps = stamps;
        match acceptors(settings) {
            Ok([acceptor, open]) => {
                (self.acceptor, self.open, self.in_use) = (acceptor, open, expiry::in_use(settings));
                info!("certificates reloaded");
            }
            Err(error) => error!(%error, "certificates not reloaded"),
        }
    }
}

/// Whether a handshake failed because what came is not TLS at all.
pub fn is_foreign(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

/// Taken before the files are read: what changes meanwhile is seen the next time.
fn stamps(settings: &Tls) -> Vec<Stamp> {
    let pairs = settings.sni.values().chain([&settings.shown]);
    let paths = pairs.flat_map(|shown| [&shown.cert, &shown.key]).chain(&settings.ca);
    let stamp = |path: &PathBuf| {
        let file = fs::metadata(path).ok()?;
        Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
    };
    paths.map(stamp).collect()
}

/// One that asks clients for a certificate as `settings` say, and one that does not.
fn acceptors(settings: &Tls) -> Result<[TlsAcceptor; 2], BadFile> {
    let open = Tls { verify: Verify::None, ..settings.clone() };
    let acceptor = |settings| Ok(TlsAcceptor::from(Arc::new(server_config(settings)?)));
    Ok([acceptor(settings)?, acceptor(&open)?])
}

fn server_config(settings: &Tls) -> Result<ServerConfig, BadFile> {
    let provider = Arc::new(ring::default_provider());
    let default = certified(&settings.shown, "tls", &provider)?;
    let mut by_name = BTreeMap::new();
    for (name, shown) in &settings.sni {
        by_name.insert(name.clone(), certified(shown, &format!("tls.sni.\"{name}\""), &provider)?);
    }
    let versions: &[&'static SupportedProtocolVersion] = match settings.min_version {
        TlsVersion::V1_2 => &[&TLS13, &TLS12],
        TlsVersion::V1_3 => &[&TLS13],
    };
    let verifier = verifier(settings, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| bad(&settings.shown.cert, error).at("tls", "cert"))?;
    Ok(builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(ByName { by_name, default })))
}

fn certified(shown: &Shown, section: &str, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, BadFile> {
    let chain = certificates(&shown.cert).map_err(|bad| bad.at(section, "cert"))?;
    with_key(chain, shown, provider).map(Arc::new).map_err(|bad| bad.at(section, "key"))
}

fn with_key(
    chain: Vec<CertificateDer<'static>>,
    shown: &Shown,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, BadFile> {
    let key = PrivateKeyDer::from_pem_slice(&content(&shown.key)?).map_err(|error| match error {
        pem::Error::NoItemsFound => bad(&shown.key, "there is no private key in it"),
        error => bad(&shown.key, error),
    })?;
    let key = provider.key_provider.load_private_key(key).map_err(|error| bad(&shown.key, error))?;
    let certified = CertifiedKey::new(chain, key);
    certified
        .keys_match()
        .map_err(|_error| bad(&shown.key, format_args!("it is not the key of {}", shown.cert.display())))?;
    Ok(certified)
}

fn verifier(settings: &Tls, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, BadFile> {
    let Some(ca) = settings.ca.as_ref().filter(|_ca| settings.verify != Verify::None) else {
        return Ok(Arc::new(NoClientAuth));
    };
    verifier_of(ca, settings.verify, provider).map_err(|bad| bad.at("tls", "ca"))
}

fn verifier_of(
    ca: &Path,
    verify: Verify,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, BadFile> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|error| bad(ca, error))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if verify == Verify::Optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map(|verifier| verifier as _).map_err(|error| bad(ca, error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BadFile> {
    let content = content(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    let all = all.map_err(|error| bad(path, error))?;
    if all.is_empty() {
        return Err(bad(path, "there is no certificate in it"));
    }
    Ok(all)
}

fn content(path: &Path) -> Result<Vec<u8>, BadFile> {
    let file = fs::metadata(path).map_err(|error| bad(path, error))?;
    if file.len() > FILE_BYTES_MAX {
        return Err(bad(path, format_args!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    fs::read(path).map_err(|error| bad(path, error))
}

fn bad(path: &Path, why: impl fmt::Display) -> BadFile {
    BadFile { key: String::new(), path: path.to_owned(), why: why.to_string() }
}

/// Finds the certificate for the host that a client names.
#[derive(Debug)]
struct ByName {
    by_name: BTreeMap<String, Arc<CertifiedKey>>,
    default: Arc<CertifiedKey>,
}

impl ByName {
    fn find(&self, host: &str) -> Option<&Arc<CertifiedKey>> {
        let host = host.to_ascii_lowercase();
        self.by_name.get(&host).or_else(|| {
            let (_first, rest) = host.split_once('.')?;
            self.by_name.get(&format!("*.{rest}"))
        })
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|host| self.find(host));
        Some(Arc::clone(named.unwrap_or(&self.default)))
    }
}
