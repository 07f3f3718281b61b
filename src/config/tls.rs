//! `[tls]`: the broker's certificates, and how those of clients are verified.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `[tls]`, complete.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Section")]
pub struct Tls {
    /// The certificate shown to clients that name no host, or one that is not listed.
    pub shown: Shown,
    /// Other certificates by the host that a client names (SNI); a name may begin with `*.`.
    pub sni: BTreeMap<String, Shown>,
    /// Whether clients have to show a certificate.
    pub verify: Verify,
    /// PEM file of the CA certificates that sign client certificates; present unless `verify` is
    /// `none`.
    pub ca: Option<PathBuf>,
    /// The oldest version of TLS that is accepted.
    pub min_version: TlsVersion,
    /// Which part of a client's certificate is its user's name.
    pub login_from: LoginFrom,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// PEM file: the certificate, then those between it and the root.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

/// Whether clients have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// Clients are not asked for one.
    #[default]
    None,
    /// A client without one can log in with a password; one that is shown has to be valid.
    Optional,
    /// A client without a valid one cannot connect.
    Required,
}

/// A version of TLS. Older ones are not spoken at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

/// Which part of a client's certificate is its user's name (RabbitMQ: `ssl_cert_login_from`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginFrom {
    /// The whole subject, as in `CN=hare,O=Field` (RFC 4514).
    #[default]
    DistinguishedName,
    /// The subject's common name.
    CommonName,
    /// The first alternative name that is a host, a mail address or a URI.
    SubjectAlternativeName,
}

/// `[tls]`, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Section {
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    ca: Option<PathBuf>,
    verify: Verify,
    min_version: TlsVersion,
    login_from: LoginFrom,
    sni: BTreeMap<String, Shown>,
}

impl TryFrom<Section> for Tls {
    type Error = String;

    /// The section, if it lacks nothing.
    fn try_from(section: Section) -> Result<Self, String> {
        let Section { cert, key, ca, verify, min_version, login_from, sni } = section;
        let missing = |key| format!("the key '{key}' is missing");
        if verify != Verify::None && ca.is_none() {
            return Err(format!("{}: client certificates are verified against it", missing("ca")));
        }
        let cert = cert.ok_or_else(|| missing("cert"))?;
        let key = key.ok_or_else(|| missing("key"))?;
        let sni = sni.into_iter().map(|(name, shown)| (name.to_ascii_lowercase(), shown)).collect();
        Ok(Self { shown: Shown { cert, key }, sni, verify, ca, min_version, login_from })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Tls, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_certificate_and_its_key_are_enough() {
        let tls = parse("cert = 'a.pem'\nkey = 'a.key'").unwrap();
        assert_eq!((tls.verify, tls.min_version), (Verify::None, TlsVersion::V1_2));
        assert_eq!((tls.login_from, tls.ca), (LoginFrom::DistinguishedName, None));
        assert_eq!(parse("cert = 'a.pem'").unwrap_err(), "the key 'key' is missing");
        assert_eq!(parse("key = 'a.key'").unwrap_err(), "the key 'cert' is missing");
    }

    #[test]
    fn who_verifies_says_against_what() {
        let with = |rest: &str| parse(&format!("cert = 'a'\nkey = 'b'\n{rest}"));
        assert!(with("verify = 'required'").unwrap_err().starts_with("the key 'ca' is missing"));
        assert_eq!(with("verify = 'optional'\nca = 'c'").unwrap().verify, Verify::Optional);
        assert!(with("verify = 'maybe'").unwrap_err().contains("maybe"));
        assert!(with("min_version = '1.1'").unwrap_err().contains("1.1"));
        let tls = with("login_from = 'common_name'\n[sni.'B.Example']\ncert = 'c'\nkey = 'd'").unwrap();
        assert_eq!((tls.login_from, tls.sni["b.example"].key.to_str()), (LoginFrom::CommonName, Some("d")));
    }
}
