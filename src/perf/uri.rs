//! `amqp://user:password@host:port/vhost`, percent-encoded (RabbitMQ: uri-spec.md).
//!
//! Query parameters are accepted and ignored: they tune clients, and this one has flags for that.
//! An empty vhost is read as `/`, which is what people mean by a slash at the end.

use percent_encoding::percent_decode_str;
use std::fmt;
use std::str::FromStr;
use url::{ParseError, Url};

use crate::perf::error::PerfError;

/// Port of AMQP without TLS.
const PORT: u16 = 5672;

/// What is missing where there is another scheme, or none.
const SCHEME: &str = "it has to begin with amqp://";

/// Where the broker is and who we are.
#[derive(Clone, PartialEq, Eq)]
pub struct Uri {
    /// User name.
    pub user: String,
    /// Password; shown nowhere.
    pub password: String,
    /// Name or address, an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Virtual host.
    pub vhost: String,
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}:{} vhost {}", self.user, self.host, self.port, self.vhost)
    }
}

impl FromStr for Uri {
    type Err = PerfError;

    fn from_str(text: &str) -> Result<Self, PerfError> {
        let digits = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|c| c.is_ascii_hexdigit());
        if !text.split('%').skip(1).all(digits) {
            return Err(refuse("after a percent sign come two hexadecimal digits"));
        }
        let url = match Url::parse(text) {
            Err(ParseError::RelativeUrlWithoutBase) => return Err(refuse(SCHEME)),
            parsed => parsed.map_err(|fault| refuse(&fault.to_string()))?,
        };
        match url.scheme() {
            "amqp" if !url.cannot_be_a_base() => {}
            "amqps" => return Err(refuse("amqps (TLS) is not supported here")),
            _ => return Err(refuse(SCHEME)),
        }
        let (user, password) = match (url.username(), url.password()) {
            ("", None) => ("guest", "guest"),
            (user, password) => (user, password.unwrap_or_default()),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).unwrap_or("localhost");
        let vhost = url.path().strip_prefix('/').filter(|vhost| !vhost.is_empty()).unwrap_or("/");
        if vhost.len() > 1 && vhost.contains('/') {
            return Err(refuse("a slash in the vhost is written %2F"));
        }
        Ok(Self {
            user: decoded(user)?,
            password: decoded(password)?,
            host: decoded(host.trim_matches(['[', ']']))?,
            port: url.port().unwrap_or(PORT),
            vhost: decoded(vhost)?,
        })
    }
}

fn refuse(why: &str) -> PerfError {
    PerfError::Uri(why.to_owned())
}

fn decoded(text: &str) -> Result<String, PerfError> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into).map_err(|_not_utf8| refuse("it is not UTF-8 once percent-decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, user: &str, password: &str, address: (&str, u16), vhost: &str) {
        let uri: Uri = text.parse().unwrap();
        assert_eq!((uri.user.as_str(), uri.password.as_str()), (user, password), "{text}");
        assert_eq!(
            (uri.host.as_str(), uri.port, uri.vhost.as_str()),
            (address.0, address.1, vhost),
            "{text}"
        );
    }

    #[test]
    fn each_part_has_a_default() {
        check("amqp://", "guest", "guest", ("localhost", 5672), "/");
        check("amqp://broker", "guest", "guest", ("broker", 5672), "/");
        check("AMQP://broker:1234/", "guest", "guest", ("broker", 1234), "/");
        check("amqp://me@broker/v", "me", "", ("broker", 5672), "v");
    }

    #[test]
    fn parts_are_percent_decoded() {
        check("amqp://a%40b:p%3a%2Fs@h:1/%2f", "a@b", "p:/s", ("h", 1), "/");
        check("amqp://u:%C3%A9@h/v%20w?heartbeat=5", "u", "\u{e9}", ("h", 5672), "v w");
    }

    #[test]
    fn an_address_of_version_6_stands_in_brackets() {
        check("amqp://[::1]:5680/v", "guest", "guest", ("::1", 5680), "v");
        check("amqp://u:p@[fe80::1]", "u", "p", ("fe80::1", 5672), "/");
    }

    #[test]
    fn malformed_ones_are_refused_without_telling_the_password() {
        for text in [
            "http://u:secret@h",
            "broker:5672",
            "amqps://u:secret@h",
            "amqp://u:secret@h:port",
            "amqp://u:secret@h:70000",
            "amqp://u:secret%2@h",
            "amqp://u:secret%zz@h",
            "amqp://u:secret%ff@h",
            "amqp://u:secret@h/a/b",
            "amqp://u:secret@[::1",
            "amqp://u:secret@[::1]5",
        ] {
            let error = text.parse::<Uri>().expect_err(text);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let refused = "127.0.0.1:5672".parse::<Uri>().expect_err("it has no scheme").to_string();
        assert_eq!(refused, "not an AMQP URI: it has to begin with amqp://");
        assert!(!format!("{:?}", "amqp://u:secret@h".parse::<Uri>().unwrap()).contains("secret"));
    }
}
