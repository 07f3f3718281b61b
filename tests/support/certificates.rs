//! Certificates made on the spot: an authority, and what it signs.

use super::process::Folder;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) struct Signed {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key: KeyPair,
}

impl Authority {
    /// An authority that nobody knows yet.
    pub(crate) fn new() -> Self {
        let mut params = named("authority", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("there is randomness");
        Self(CertifiedIssuer::self_signed(params, key).expect("it may sign itself"))
    }

    /// What those who trust it know.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        self.0.der()
    }

    /// As [`Self::certificate`], as a file.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Its own certificate, for a server or client that shows it as if it were its own.
    pub(crate) fn as_signed(&self) -> Signed {
        let (certificate, key) = (self.certificate().clone(), self.0.key().serialize_pem());
        let key = KeyPair::from_pem(&key).expect("it was a key");
        Signed { certificate, certificate_pem: self.pem(), key }
    }

    /// A certificate of an organisation Field, for servers and clients.
    pub(crate) fn sign(&self, common_name: &str, alternative_names: &[&str]) -> Signed {
        self.sign_with(named(common_name, alternative_names))
    }

    /// One that was valid until the end of the year 2001.
    pub(crate) fn sign_expired(&self, common_name: &str) -> Signed {
        let mut params = named(common_name, &[common_name]);
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2001, 12, 31));
        self.sign_with(params)
    }

    fn sign_with(&self, mut params: CertificateParams) -> Signed {
        params.distinguished_name.push(DnType::OrganizationName, "Field");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("there is randomness");
        let certificate = params.signed_by(&key, &self.0).expect("it may sign others");
        Signed { certificate: certificate.der().clone(), certificate_pem: certificate.pem(), key }
    }
}

impl Signed {
    /// Writes `NAME.pem` and `NAME.key`; returns the two as keys of the configuration.
    pub(crate) fn write(&self, folder: &Folder, name: &str) -> String {
        let certificate = folder.write(&format!("{name}.pem"), &self.certificate_pem);
        let key = folder.write(&format!("{name}.key"), self.key.serialize_pem());
        format!("cert = '{}'\nkey = '{}'\n", certificate.display(), key.display())
    }

    /// For a client to show.
    pub(crate) fn shown(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("it is a key");
        (vec![self.certificate.clone()], key)
    }

    /// What whoever is shown it sees.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }
}

fn named(common_name: &str, alternative_names: &[&str]) -> CertificateParams {
    let names: Vec<String> = alternative_names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("they are names");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}
