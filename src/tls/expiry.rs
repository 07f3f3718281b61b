//! Until when certificates are valid, for who asks and for the log.

use super::{certificate, certificates};
use crate::clock::{date_and_time, wall_now_ms};
use crate::config::tls::{Tls, Verify};
use std::path::{Path, PathBuf};
use tracing::warn;

/// How long before its end the log warns of it.
const SOON_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// A certificate in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// The file that it is in.
    pub file: PathBuf,
    /// Whether clients are verified against it; otherwise they are shown it.
    pub of_authority: bool,
    /// Whose it is.
    pub subject: String,
    /// Until when it is valid, milliseconds since 1970.
    pub expires_ms: u64,
}

impl InUse {
    /// Until when it is valid.
    #[must_use]
    pub fn expires_on(&self) -> String {
        date_and_time(self.expires_ms)
    }

    /// What is to be said of it at that time, if anything.
    fn warning(&self, unix_ms: u64) -> Option<&'static str> {
        match self.expires_ms {
            at if at <= unix_ms => Some("a certificate has expired"),
            at if at <= unix_ms.saturating_add(SOON_MS) => Some("a certificate expires soon"),
            _ => None,
        }
    }
}

/// All certificates in the files of `settings`, which were just found to be of use; the log warns
/// of those that end.
pub(super) fn in_use(settings: &Tls) -> Vec<InUse> {
    let shown = [&settings.shown].into_iter().chain(settings.sni.values());
    let mut found: Vec<InUse> = shown.flat_map(|shown| of_file(&shown.cert, false)).collect();
    if let Some(ca) = settings.ca.as_ref().filter(|_ca| settings.verify != Verify::None) {
        found.extend(of_file(ca, true));
    }
    for certificate in &found {
        if let Some(what) = certificate.warning(wall_now_ms()) {
            let (file, subject) = (certificate.file.display(), &certificate.subject);
            warn!(%file, subject, on = certificate.expires_on(), "{what}");
        }
    }
    found
}

fn of_file(file: &Path, of_authority: bool) -> Vec<InUse> {
    let all = certificates(file).unwrap_or_default();
    let valid = all.iter().filter_map(|der| certificate::validity(der));
    valid
        .map(|(subject, expires_ms)| InUse { file: file.to_owned(), of_authority, subject, expires_ms })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ends_within_a_month_is_warned_of() {
        let now = 100 * SOON_MS;
        let warning = |expires_ms| {
            let (file, subject) = (PathBuf::from("a.pem"), "CN=a".to_owned());
            InUse { file, of_authority: false, subject, expires_ms }.warning(now)
        };
        assert_eq!(warning(now), Some("a certificate has expired"));
        assert_eq!(warning(now + 1), Some("a certificate expires soon"));
        assert_eq!(warning(now + SOON_MS), Some("a certificate expires soon"));
        assert_eq!(warning(now + SOON_MS + 1), None);
    }
}
