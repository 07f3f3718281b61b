//! A password as it is given: it goes where it has to go, and is shown nowhere.

use super::secret;
use crate::auth::password::PasswordHash;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A password in plain text; neither its `Debug` output nor the log shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(#[serde(serialize_with = "secret::serialize")] pub String);

impl Password {
    /// Its salted hash in base64, as definitions have it (SHA-256).
    #[must_use]
    pub fn hashed(&self) -> String {
        PasswordHash::of(self.0.as_bytes()).to_base64()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(secret::HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_not_shown() {
        let password = Password("hush".to_owned());
        assert_eq!(format!("{password:?}"), "***");
        let written = || serde_json::to_string(&Some(&password)).unwrap();
        assert_eq!(secret::hidden(written), r#""***""#);
        assert_eq!(written(), r#""hush""#, "it goes where it has to go");
    }
}
