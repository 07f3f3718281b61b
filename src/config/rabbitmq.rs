//! RabbitMQ's settings (`rabbitmq.conf`) as ours, as far as they have a meaning here.
//!
//! A line is `key = value`; `#` begins a comment. What is not taken over is told with its line.

use super::parse;
use std::collections::BTreeMap;

/// Settings of another broker, as ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// A settings file in TOML.
    pub toml: String,
    /// What was not taken over, and why, a line each.
    pub left: Vec<String>,
}

/// Where a key of RabbitMQ goes: our key, and how its value is written.
type Row = (&'static str, &'static str, fn(&str) -> Option<String>);

/// Keys that are one of ours.
const KEYS: [Row; 29] = [
    ("load_definitions", "definitions", text),
    ("definitions.local.path", "definitions", text),
    ("management.load_definitions", "definitions", text),
    ("vm_memory_high_watermark.relative", "memory_limit", share),
    ("vm_memory_high_watermark.absolute", "memory_limit", amount),
    ("disk_free_limit.absolute", "disk_free_limit", amount),
    ("log.default.level", "log", level),
    ("log.console.level", "log", level),
    ("log.file.level", "log", level),
    ("log.console.formatter", "log_format", format),
    ("log.file.formatter", "log_format", format),
    ("anonymous_login_user", "auth.anonymous_user", name),
    ("ssl_options.certfile", "tls.cert", text),
    ("ssl_options.keyfile", "tls.key", text),
    ("ssl_options.cacertfile", "tls.ca", text),
    ("ssl_cert_login_from", "tls.login_from", login_from),
    ("heartbeat", "limits.heartbeat_s", number),
    ("frame_max", "limits.frame_max", positive),
    ("initial_frame_max", "limits.handshake_frame_max", positive),
    ("channel_max", "limits.channel_max", positive),
    ("channel_max_per_node", "limits.channels_max", positive),
    ("connection_max", "limits.connections_max", positive),
    ("consumer_max_per_channel", "limits.consumers_per_channel_max", positive),
    ("max_message_size", "limits.message_bytes_max", positive),
    ("vhost_max", "limits.vhosts_max", positive),
    ("handshake_timeout", "limits.handshake_timeout_s", seconds),
    ("default_user", "users.default_user", text),
    ("default_pass", "users.default_pass", text),
    ("default_vhost", "users.default_vhost", text),
];

/// What is gathered of the file.
#[derive(Default)]
struct Gathered {
    /// Values by key, as they are written.
    values: BTreeMap<String, String>,
    amqp: Vec<String>,
    amqps: Vec<String>,
    /// Address and port of HTTP, and of HTTPS.
    http: [(Option<String>, Option<String>); 2],
    origins: Vec<String>,
    local_only: Option<Vec<String>>,
    verifies: bool,
    requires: bool,
    versions: Vec<String>,
    left: Vec<String>,
}

/// Settings of RabbitMQ as ours.
///
/// # Errors
/// They are not of that form, or a value cannot be used here.
pub fn import(conf: &str) -> Result<Imported, String> {
    let mut gathered = Gathered::default();
    for (at, line) in conf.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let (key, value) =
            line.split_once('=').ok_or_else(|| format!("line {}: '{line}' is not 'key = value'", at + 1))?;
        let (key, value) = (key.trim(), unquoted(value.trim()));
        if let Err(why) = gathered.take(key, value) {
            gathered.left.push(format!("line {}: {key} = {value}: {why}", at + 1));
        }
    }
    gathered.finish()
}

fn unquoted(value: &str) -> &str {
    let inner = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\''));
    inner.or_else(|| value.strip_prefix('"').and_then(|value| value.strip_suffix('"'))).unwrap_or(value)
}

impl Gathered {
    /// Takes a line over.
    ///
    /// # Errors
    /// Why it is not.
    fn take(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        if let Some((_, ours, written)) = KEYS.iter().find(|(theirs, ..)| *theirs == key) {
            let value = written(value).ok_or("a value that has no meaning here")?;
            self.values.insert((*ours).to_owned(), value);
            return Ok(());
        }
        let (group, last) = key.rsplit_once('.').unwrap_or(("", key));
        match (group, last) {
            ("listeners.tcp" | "listeners.ssl", _) | ("listeners", "tcp" | "ssl") => {
                let listeners = if key.contains("ssl") { &mut self.amqps } else { &mut self.amqp };
                if value != "none" {
                    listeners.push(address(value).ok_or("not an address and a port")?);
                }
            }
            ("management.tcp" | "management.listener", "port" | "ip") => self.http(0, last, value),
            ("management.ssl", "port" | "ip") => self.http(1, last, value),
            ("management.cors.allow_origins", _) => self.origins.push(quoted(value)),
            ("", "loopback_users") if value == "none" => self.local_only = Some(Vec::new()),
            ("loopback_users", user) => {
                let users = self.local_only.get_or_insert_with(|| vec![quoted("guest")]);
                users.retain(|own| *own != quoted(user));
                if value == "true" {
                    users.push(quoted(user));
                }
            }
            ("ssl_options", "verify") => self.verifies = value == "verify_peer",
            ("ssl_options", "fail_if_no_peer_cert") => self.requires = value == "true",
            ("ssl_options.versions", _) => self.versions.push(value.to_owned()),
            ("", "proxy_protocol") if value == "true" => {
                return Err("set proxy_protocol_from to the addresses of the proxies");
            }
            ("disk_free_limit", "relative") => return Err("set disk_free_limit to a number of bytes"),
            ("vm_memory_high_watermark" | "disk_free_limit", _) => {
                return Err("no amount is known by that name");
            }
            ("", "consumer_timeout") => {
                return Err("set the key consumer-timeout in a policy (leveret ctl set_policy)");
            }
            _ => return Err("it has no meaning here"),
        }
        Ok(())
    }

    fn http(&mut self, which: usize, what: &str, value: &str) {
        let (ip, port) = &mut self.http[which];
        *(if what == "ip" { ip } else { port }) = Some(value.to_owned());
    }

    fn finish(mut self) -> Result<Imported, String> {
        for (key, listeners) in [("amqp", &self.amqp), ("amqps", &self.amqps)] {
            if !listeners.is_empty() {
                self.values.insert(key.to_owned(), list(listeners));
            }
        }
        for ((ip, port), (key, default)) in self.http.iter().zip([("http", "15672"), ("https", "15671")]) {
            if ip.is_some() || port.is_some() {
                let (ip, port) = (ip.as_deref().unwrap_or("0.0.0.0"), port.as_deref().unwrap_or(default));
                let ip = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
                self.values.insert(key.to_owned(), quoted(&format!("{ip}:{port}")));
            }
        }
        if !self.origins.is_empty() {
            self.values.insert("management.cors_allow_origins".to_owned(), list(&self.origins));
        }
        if let Some(users) = &self.local_only {
            self.values.insert("users.local_only".to_owned(), list(users));
        }
        if self.values.contains_key("tls.cert") {
            if self.verifies {
                let verify = if self.requires { "required" } else { "optional" };
                self.values.insert("tls.verify".to_owned(), quoted(verify));
            }
            if !self.versions.is_empty() && self.versions.iter().all(|version| version == "tlsv1.3") {
                self.values.insert("tls.min_version".to_owned(), quoted("1.3"));
            }
        }
        let toml = written(&self.values);
        parse(&toml).map_err(|why| format!("{why}, in what came of it:\n{toml}"))?;
        Ok(Imported { toml, left: self.left })
    }
}

/// Values with their sections, those without one first.
fn written(values: &BTreeMap<String, String>) -> String {
    let mut toml = String::new();
    let plain = values.iter().filter(|(key, _)| !key.contains('.'));
    plain.for_each(|(key, value)| toml.push_str(&format!("{key} = {value}\n")));
    let mut section = "";
    for (key, value) in values {
        let Some((of, key)) = key.split_once('.') else { continue };
        if of != section {
            toml.push_str(&format!("\n[{of}]\n"));
            section = of;
        }
        toml.push_str(&format!("{key} = {value}\n"));
    }
    toml
}

fn list(values: &[String]) -> String {
    format!("[{}]", values.join(", "))
}

/// A text as TOML writes it.
fn quoted(value: &str) -> String {
    let mut text = String::from('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// A port on all addresses, or an address with its port.
fn address(value: &str) -> Option<String> {
    if let Ok(port) = value.parse::<u16>() {
        return Some(quoted(&format!("0.0.0.0:{port}")));
    }
    let (ip, port) = value.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    let ip = ip.trim_start_matches('[').trim_end_matches(']');
    Some(quoted(&if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }))
}

fn text(value: &str) -> Option<String> {
    Some(quoted(value))
}

/// The name of a user, if there is one.
fn name(value: &str) -> Option<String> {
    (value != "none").then(|| quoted(value))
}

fn number(value: &str) -> Option<String> {
    value.parse::<u64>().ok().map(|number| number.to_string())
}

/// A number that is a limit: 0 and `infinity` are none.
fn positive(value: &str) -> Option<String> {
    number(value).filter(|number| number != "0")
}

/// Milliseconds as seconds.
fn seconds(value: &str) -> Option<String> {
    value.parse::<u64>().ok().map(|ms| ms.div_ceil(1000).to_string())
}

fn share(value: &str) -> Option<String> {
    value.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share)).map(|share| format!("{share:?}"))
}

/// Bytes, with a unit or without: RabbitMQ's `k`, `M` and `G` count in 1024s too, `GB` in 1000s.
fn amount(value: &str) -> Option<String> {
    Some(number(value).unwrap_or_else(|| quoted(value)))
}

fn level(value: &str) -> Option<String> {
    Some(quoted(match value {
        "debug" => "debug",
        "info" | "notice" => "info",
        "warning" => "warn",
        "error" | "critical" | "alert" | "emergency" => "error",
        "none" => "off",
        _ => return None,
    }))
}

fn format(value: &str) -> Option<String> {
    matches!(value, "json" | "plaintext").then(|| quoted(if value == "json" { "json" } else { "text" }))
}

fn login_from(value: &str) -> Option<String> {
    matches!(value, "distinguished_name" | "common_name" | "subject_alternative_name").then(|| quoted(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_here_is_taken_over_and_the_rest_is_told() {
        let conf = "\
# a comment
listeners.tcp.default = 5672
listeners.ssl.1 = ::1:5671
management.tcp.port = 15672
ssl_options.certfile = /etc/server.pem   # its certificate
ssl_options.keyfile = /etc/server.key
ssl_options.cacertfile = /etc/ca.pem
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
ssl_options.versions.1 = tlsv1.3
loopback_users.guest = false
vm_memory_high_watermark.absolute = 2GiB
disk_free_limit.absolute = 50000000
heartbeat = 30
handshake_timeout = 10500
log.console.level = warning
default_user = ann
default_pass = 'se\"cret'
connection_max = infinity
cluster_formation.peer_discovery_backend = k8s
proxy_protocol = true
consumer_timeout = 900000
";
        let imported = import(conf).unwrap();
        let toml = "\
amqp = [\"0.0.0.0:5672\"]
amqps = [\"[::1]:5671\"]
disk_free_limit = 50000000
http = \"0.0.0.0:15672\"
log = \"warn\"
memory_limit = \"2GiB\"

[limits]
handshake_timeout_s = 11
heartbeat_s = 30

[tls]
ca = \"/etc/ca.pem\"
cert = \"/etc/server.pem\"
key = \"/etc/server.key\"
min_version = \"1.3\"
verify = \"required\"

[users]
default_pass = \"se\\\"cret\"
default_user = \"ann\"
local_only = []
";
        assert_eq!(imported.toml, toml);
        let left = [
            "line 19: connection_max = infinity: a value that has no meaning here",
            "line 20: cluster_formation.peer_discovery_backend = k8s: it has no meaning here",
            "line 21: proxy_protocol = true: set proxy_protocol_from to the addresses of the proxies",
            "line 22: consumer_timeout = 900000: set the key consumer-timeout in a policy (leveret ctl set_policy)",
        ];
        assert_eq!(imported.left, left);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert_eq!(import("heartbeat 30").unwrap_err(), "line 1: 'heartbeat 30' is not 'key = value'");
        let refused = import("frame_max = 5").unwrap_err();
        assert!(refused.contains("limits.frame_max is 5; it may be from 4096"), "{refused}");
    }
}
