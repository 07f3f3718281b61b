//! Why no handshake came about, in words: rustls tells much of it by the names of its own types.

use crate::clock::date_and_time;
use std::fmt::{self, Debug};
use std::io;
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

/// Who is at the other end of a handshake.
#[derive(Debug, Clone, Copy)]
pub enum Other {
    /// A server that a program of ours connects to.
    Server,
    /// A client of the broker.
    Client,
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
        })
    }
}

/// Why a handshake with `other` failed.
#[must_use]
pub fn explained(error: &io::Error, other: Other) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(error) => of_tls(error, other),
        None => error.to_string(),
    }
}

fn of_tls(error: &Error, other: Other) -> String {
    match error {
        Error::InvalidCertificate(why) => of_certificate(why, other),
        Error::NoCertificatesPresented => format!("the {other} shows no certificate"),
        Error::AlertReceived(alert) => match alert {
            AlertDescription::UnknownCA => format!("the {other} does not trust who signed the certificate"),
            AlertDescription::CertificateRequired => format!("the {other} asks for a certificate"),
            alert => format!("the {other} refuses with the alert '{}'", spaced(alert)),
        },
        Error::PeerIncompatible(why) => format!("the {other} speaks another kind of TLS: {}", spaced(why)),
        Error::PeerMisbehaved(why) => format!("the {other} breaks the rules of TLS: {}", spaced(why)),
        error => error.to_string(),
    }
}

fn of_certificate(why: &CertificateError, other: Other) -> String {
    let why = match why {
        // webpki has no other name for it, and rustls none.
        CertificateError::Other(error) if error.to_string() == "CaUsedAsEndEntity" => {
            format!("is that of an authority (CA:TRUE), not of a {other}")
        }
        // A signature is wrong if somebody else has the name of one who is trusted.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is not signed by a trusted CA".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            format!("is for {names}, not for {}", expected.to_str())
        }
        CertificateError::ExpiredContext { not_after, .. } => format!("has expired: {}", date(*not_after)),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is not valid yet, but from {} on", date(*not_before))
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("is not meant for a {other} (extendedKeyUsage)")
        }
        CertificateError::BadEncoding => "cannot be read".to_owned(),
        why => format!("is refused: {}", spaced(why)),
    };
    format!("the {other}'s certificate {why}")
}

fn date(time: UnixTime) -> String {
    date_and_time(time.as_secs().saturating_mul(1000))
}

/// A name out of what tells its kind as well, as in `DnsName("localhost")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_kind, inner)| inner.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

/// The words that a name such as `UnknownStatus` consists of.
fn spaced(name: &impl Debug) -> String {
    let mut words = String::new();
    let mut before = ' ';
    for c in format!("{name:?}").chars() {
        if c.is_uppercase() && before.is_lowercase() {
            words.push(' ');
        }
        words.extend(c.to_lowercase());
        before = c;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio_rustls::rustls::PeerIncompatible;

    #[track_caller]
    fn check(error: Error, expected: &str) {
        assert_eq!(explained(&io::Error::other(error), Other::Server), expected);
    }

    #[test]
    fn faults_are_told_in_words() {
        let certificate = |why| Error::InvalidCertificate(why);
        check(
            certificate(CertificateError::UnknownIssuer),
            "the server's certificate is not signed by a trusted CA",
        );
        let expected = "a.example".try_into().unwrap();
        let presented = vec![r#"DnsName("localhost")"#.to_owned(), "IpAddress(127.0.0.1)".to_owned()];
        check(
            certificate(CertificateError::NotValidForNameContext { expected, presented }),
            "the server's certificate is for localhost, 127.0.0.1, not for a.example",
        );
        let [time, not_after] =
            [200, 100].map(|seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
        check(
            certificate(CertificateError::ExpiredContext { time, not_after }),
            "the server's certificate has expired: 1970-01-01T00:01:40.000Z",
        );
        check(
            certificate(CertificateError::UnknownRevocationStatus),
            "the server's certificate is refused: unknown revocation status",
        );
        check(
            Error::AlertReceived(AlertDescription::HandshakeFailure),
            "the server refuses with the alert 'handshake failure'",
        );
        check(
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            "the server speaks another kind of TLS: no cipher suites in common",
        );
        assert_eq!(explained(&io::ErrorKind::ConnectionReset.into(), Other::Client), "connection reset");
    }
}
