//! `amqp://user:password@host:port/vhost`, percent-encoded (RabbitMQ: uri-spec.md).
//!
//! Query parameters are accepted and ignored: they tune clients, and this one has flags for that. An empty vhost
//! is read as `/`, which is what people mean by a slash at the end.

use std::fmt;
use std::str::FromStr;

use crate::perf::error::PerfError;

/// Port of AMQP without TLS.
const PORT: u16 = 5672;

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
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("amqp") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("amqps") => {
                return Err(refuse("amqps (TLS) is not supported here"));
            }
            _ => return Err(refuse("it has to begin with amqp://")),
        };
        let rest = rest.split(['?', '#']).next().unwrap_or(rest);
        let (authority, vhost) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, address) = authority.rsplit_once('@').unwrap_or(("guest:guest", authority));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (host, port) = split_address(address)?;
        if vhost.contains('/') {
            return Err(refuse("a slash in the vhost is written %2F"));
        }
        Ok(Self {
            user: percent_decode(user)?,
            password: percent_decode(password)?,
            host: if host.is_empty() { "localhost".to_owned() } else { percent_decode(host)? },
            port: if port.is_empty() {
                PORT
            } else {
                port.parse().map_err(|_not_a_number| refuse("the port is not a number up to 65535"))?
            },
            vhost: if vhost.is_empty() { "/".to_owned() } else { percent_decode(vhost)? },
        })
    }
}

fn refuse(why: &str) -> PerfError {
    PerfError::Uri(why.to_owned())
}

/// `host:port`, `host` or `[v6]:port` into host and port, the port perhaps empty.
fn split_address(address: &str) -> Result<(&str, &str), PerfError> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, after) =
            rest.split_once(']').ok_or_else(|| refuse("the bracket of the address is not closed"))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, port)),
            None if after.is_empty() => Ok((host, "")),
            None => Err(refuse("after an address in brackets comes a port")),
        };
    }
    Ok(address.split_once(':').unwrap_or((address, "")))
}

fn percent_decode(text: &str) -> Result<String, PerfError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (high, low) = (rest.next().and_then(hex_digit), rest.next().and_then(hex_digit));
        match (high, low) {
            (Some(high), Some(low)) => bytes.push(high << 4 | low),
            _ => return Err(refuse("after a percent sign come two hexadecimal digits")),
        }
    }
    String::from_utf8(bytes).map_err(|_not_utf8| refuse("it is not UTF-8 once percent-decoded"))
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
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
        assert!(!format!("{:?}", "amqp://u:secret@h".parse::<Uri>().unwrap()).contains("secret"));
    }
}
