//! The broker under test: where it is, who one is there, what it calls itself, and how its operator
//! gives it commands.

use crate::run::operator::Command;
use crate::run::restart::{Ending, Restarts};

/// The broker under test: its address, credentials, product name and administration commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// Virtual host that the scripts work in.
    pub vhost: String,
    /// `product` of its server properties; empty until it was asked.
    pub product: String,
    /// `version` of its server properties; empty until it was asked.
    pub version: String,
    /// Imports the definitions in the file that is appended; None when nobody said how.
    pub import: Option<Command>,
    /// Does what is appended, as rabbitmqctl; None when nobody said how.
    pub operator: Option<Command>,
    /// Who restarts it; None when nobody said how.
    pub restarts: Option<Restarts>,
    /// It is held to words for people in cases of the specification too.
    pub compares_words: bool,
}

/// Restarts the broker of one case; where it is afterwards.
pub type Restart<'a> = &'a dyn Fn(Ending) -> Result<Target, String>;

impl Target {
    /// Reads
    /// `amqp://user:password@host:port/vhost`; what is left out is guest, 127.0.0.1, 5672 and `/`.
    ///
    /// # Errors
    /// It is no such URI; the text says why.
    pub fn parse(uri: &str) -> Result<Self, String> {
        let rest =
            uri.strip_prefix("amqp://").ok_or_else(|| format!("'{uri}' does not begin with amqp://"))?;
        let (authority, vhost) = match rest.split_once('/') {
            Some((authority, vhost)) => (authority, decoded(vhost)?),
            None => (rest, "/".to_owned()),
        };
        let (login, place) = authority.rsplit_once('@').unwrap_or(("guest:guest", authority));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|why| format!("port '{port}' of '{uri}': {why}"))?)
            }
            _ => (place, 5672),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            host: if host.is_empty() { "127.0.0.1".into() } else { host.into() },
            port,
            user: decoded(user)?,
            password: decoded(password)?,
            vhost: if vhost.is_empty() { "/".into() } else { vhost },
            product: String::new(),
            version: String::new(),
            import: None,
            operator: None,
            restarts: None,
            compares_words: false,
        })
    }

    /// Has `operator` do what an operator does there, imports included.
    pub fn operated_by(&mut self, operator: Command) {
        self.import = Some(operator.clone().and("import_definitions"));
        self.operator = Some(operator);
    }

    /// What a script's variable `name` has when the runner gives it; None for any other.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        Some(match name {
            "vhost" => &self.vhost,
            "user" => &self.user,
            "password" => &self.password,
            "product" => &self.product,
            "version" => &self.version,
            _ => return None,
        })
    }

    /// Its product in lower case, as a script's `when` names it.
    #[must_use]
    pub fn broker(&self) -> String {
        self.product.to_ascii_lowercase()
    }
}

/// Turns each `%2f` into the byte it stands for.
fn decoded(text: &str) -> Result<String, String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let two: Vec<u8> = bytes.by_ref().take(2).collect();
            let value = std::str::from_utf8(&two).ok().and_then(|two| u8::from_str_radix(two, 16).ok());
            out.push(value.ok_or_else(|| format!("'{text}': two hexadecimal digits follow %"))?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).map_err(|why| format!("'{text}': {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_read_with_its_defaults() {
        let target = Target::parse("amqp://a%40b:c@host:5680/%2f").unwrap();
        assert_eq!((target.user.as_str(), target.host.as_str(), target.port), ("a@b", "host", 5680));
        assert_eq!(target.vhost, "/");
        let target = Target::parse("amqp://").unwrap();
        assert_eq!((target.user.as_str(), target.password.as_str(), target.port), ("guest", "guest", 5672));
        assert_eq!(Target::parse("amqp://[::1]:1/x").unwrap().host, "::1");
        for bad in ["http://x", "amqp://h:x", "amqp://h/%zz"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
