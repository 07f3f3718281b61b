//! RabbitMQ's settings (`rabbitmq.conf`) as ours, as far as they have a meaning here.
//!
//! A line is `key = value`; `#` begins a comment. What is not taken over, and what cannot be used,
//! is told with its line.

use super::parse;
use crate::near::did_you_mean;
use std::collections::BTreeMap;

/// Settings of another broker, as ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// A settings file in TOML.
    pub toml: String,
    /// What was not taken over, and why, a line each.
    pub left: Vec<String>,
    /// What is wrong, a line each: it has to be mended first.
    pub faults: Vec<String>,
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

/// Keys that are taken apart, for whoever mistypes one.
const OTHER_KEYS: [&str; 9] = [
    "listeners.tcp.default",
    "listeners.ssl.default",
    "management.tcp.port",
    "management.ssl.port",
    "loopback_users.guest",
    "ssl_options.verify",
    "ssl_options.fail_if_no_peer_cert",
    "proxy_protocol",
    "consumer_timeout",
];

/// Values that stand for no limit.
const NO_LIMIT: [&str; 3] = ["0", "infinity", "none"];

/// A key of ours and what is written for it.
#[derive(Debug, Clone)]
struct Setting {
    /// Where it comes from: the line, the last one of several.
    line: usize,
    value: String,
}

/// What is gathered of the file.
#[derive(Default)]
struct Gathered {
    /// The line that is being read, from 1.
    line: usize,
    values: BTreeMap<String, Setting>,
    /// The last line about a key that takes several.
    lines: BTreeMap<&'static str, usize>,
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
    faults: Vec<String>,
}

/// Settings of RabbitMQ as ours.
#[must_use]
pub fn import(conf: &str) -> Imported {
    let mut gathered = Gathered::default();
    for (at, line) in conf.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        gathered.line = at + 1;
        let Some((key, value)) = line.split_once('=') else {
            gathered.faults.push(format!("line {}: '{line}' is not 'key = value'", at + 1));
            continue;
        };
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
    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        if let Some((_, ours, written)) = KEYS.iter().find(|(theirs, ..)| *theirs == key) {
            let no_limit = NO_LIMIT.contains(&value);
            let why = if no_limit { "Leveret has no such value" } else { "invalid value" };
            self.put(ours, written(value).ok_or(why)?);
            return Ok(());
        }
        if let Some(why) = instead_of(key, value) {
            return why.map_or(Ok(()), |why| Err(why.to_owned()));
        }
        let (group, last) = key.rsplit_once('.').unwrap_or(("", key));
        match (group, last) {
            ("listeners.tcp" | "listeners.ssl", _) | ("listeners", "tcp" | "ssl") => {
                let listeners = if key.contains("ssl") { &mut self.amqps } else { &mut self.amqp };
                if value != "none" {
                    listeners.push(address(value).ok_or("not an address and a port")?);
                }
                self.lines.insert(if key.contains("ssl") { "amqps" } else { "amqp" }, self.line);
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
            _ => {
                let near = did_you_mean(key, KEYS.iter().map(|(theirs, ..)| *theirs).chain(OTHER_KEYS));
                return Err(format!("Leveret has no such setting{near}"));
            }
        }
        Ok(())
    }

    /// Sets a key of ours.
    fn put(&mut self, key: &str, value: String) {
        let line = self.lines.get(key).copied().unwrap_or(self.line);
        self.values.insert(key.to_owned(), Setting { line, value });
    }

    fn http(&mut self, which: usize, what: &str, value: &str) {
        self.lines.insert(["http", "https"][which], self.line);
        let (ip, port) = &mut self.http[which];
        *(if what == "ip" { ip } else { port }) = Some(value.to_owned());
    }

    fn finish(mut self) -> Imported {
        for (key, listeners) in [("amqp", list(&self.amqp)), ("amqps", list(&self.amqps))] {
            if listeners != list(&[]) {
                self.put(key, listeners);
            }
        }
        for ((ip, port), (key, default)) in
            self.http.clone().into_iter().zip([("http", "15672"), ("https", "15671")])
        {
            if ip.is_some() || port.is_some() {
                let (ip, port) = (ip.as_deref().unwrap_or("0.0.0.0"), port.as_deref().unwrap_or(default));
                let ip = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
                self.put(key, quoted(&format!("{ip}:{port}")));
            }
        }
        if !self.origins.is_empty() {
            self.put("management.cors_allow_origins", list(&self.origins));
        }
        if let Some(users) = self.local_only.take() {
            self.put("users.local_only", list(&users));
        }
        if self.values.contains_key("tls.cert") {
            if self.verifies {
                self.put("tls.verify", quoted(if self.requires { "required" } else { "optional" }));
            }
            if !self.versions.is_empty() && self.versions.iter().all(|version| version == "tlsv1.3") {
                self.put("tls.min_version", quoted("1.3"));
            }
        }
        self.check_default_user();
        self.faults.append(&mut faults_of(&mut self.values));
        Imported { toml: written(&self.values).0, left: self.left, faults: self.faults }
    }

    /// A user without a password would have the one that everybody knows.
    fn check_default_user(&mut self) {
        if self.values.contains_key("users.default_pass") {
            return;
        }
        if let Some(user) = self.values.remove("users.default_user") {
            let line = user.line;
            self.left.push(format!("line {line}: default_user: it needs a password: set default_pass"));
        }
    }
}

/// What to do instead of a key that Leveret does not have; nothing where nothing is to be done.
fn instead_of(key: &str, value: &str) -> Option<Option<&'static str>> {
    let (group, last) = key.rsplit_once('.').unwrap_or(("", key));
    let why = match (group, last) {
        ("", "proxy_protocol") if value == "true" => {
            "set proxy_protocol_from to the addresses of the proxies"
        }
        ("disk_free_limit", "relative") => "set disk_free_limit to a number of bytes",
        ("vm_memory_high_watermark" | "disk_free_limit", _) => "set memory_limit and disk_free_limit",
        ("", "consumer_timeout") => "set the key consumer-timeout in a policy (leveret ctl set_policy)",
        ("", "cluster_name") => "set it with leveret ctl set_cluster_name",
        ("", "default_queue_type") => {
            "set it for a vhost: leveret ctl update_vhost_metadata VHOST --default-queue-type TYPE"
        }
        ("management.ssl", "port" | "ip") => return None,
        ("management.ssl", _) => "HTTPS has the certificate of the section [tls]",
        ("prometheus.tcp" | "prometheus.ssl", _) => "metrics are on the HTTP port, at /metrics",
        // The default user may do everything, and administers.
        ("default_permissions", "configure" | "read" | "write") if value == ".*" => return Some(None),
        ("default_permissions", _) => "set it with leveret ctl set_permissions",
        ("default_user_tags", "administrator") if value == "true" => return Some(None),
        ("default_user_tags", _) => "set them with leveret ctl set_user_tags",
        _ => return None,
    };
    Some(Some(why))
}

/// What of these values cannot be used, with the lines that they come from. It is taken out.
fn faults_of(values: &mut BTreeMap<String, Setting>) -> Vec<String> {
    let mut faults = Vec::new();
    loop {
        let (toml, keys) = written(values);
        let Err(why) = parse(&toml) else { return faults };
        let place = why.strip_prefix("line ").and_then(|rest| rest.split_once(": "));
        let place = place.and_then(|(line, what)| Some((line.parse::<usize>().ok()?, what)));
        let found = place.and_then(|(line, what)| Some((keys.get(line.checked_sub(1)?)?.as_ref()?, what)));
        let Some((key, what)) = found else {
            faults.push(place.map_or(why.as_str(), |(_, what)| what).to_owned());
            return faults;
        };
        let line = values.remove(key).map_or(0, |setting| setting.line);
        faults.push(format!("line {line}: {what}"));
    }
}

/// Values with their sections, those without one first; and the key of each line.
fn written(values: &BTreeMap<String, Setting>) -> (String, Vec<Option<String>>) {
    let (mut toml, mut keys) = (String::new(), Vec::new());
    for (key, Setting { value, .. }) in values.iter().filter(|(key, _)| !key.contains('.')) {
        toml.push_str(&format!("{key} = {value}\n"));
        keys.push(Some(key.clone()));
    }
    let mut section = "";
    for (whole, Setting { value, .. }) in values {
        let Some((of, key)) = whole.split_once('.') else { continue };
        if of != section {
            toml.push_str(&format!("\n[{of}]\n"));
            keys.extend([None, None]);
            section = of;
        }
        toml.push_str(&format!("{key} = {value}\n"));
        keys.push(Some(whole.clone()));
    }
    (toml, keys)
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
        let imported = import(conf);
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
            "line 19: connection_max = infinity: Leveret has no such value",
            "line 20: cluster_formation.peer_discovery_backend = k8s: Leveret has no such setting",
            "line 21: proxy_protocol = true: set proxy_protocol_from to the addresses of the proxies",
            "line 22: consumer_timeout = 900000: set the key consumer-timeout in a policy (leveret ctl set_policy)",
        ];
        assert_eq!((imported.left, imported.faults), (left.map(str::to_owned).to_vec(), Vec::new()));
    }

    #[track_caller]
    fn left(line: &str, why: &str) {
        let Imported { toml, left, faults } = import(line);
        let left: Vec<&str> = left.iter().map(String::as_str).collect();
        let expected = if why.is_empty() { vec![] } else { vec![format!("line 1: {line}: {why}")] };
        assert_eq!(
            (toml.as_str(), left, faults),
            ("", expected.iter().map(String::as_str).collect(), vec![])
        );
    }

    #[test]
    fn what_is_not_taken_over_is_told_with_what_to_do() {
        left("cluster_name = x", "set it with leveret ctl set_cluster_name");
        left(
            "default_queue_type = quorum",
            "set it for a vhost: leveret ctl update_vhost_metadata VHOST --default-queue-type TYPE",
        );
        left("management.ssl.certfile = /a.pem", "HTTPS has the certificate of the section [tls]");
        left("prometheus.tcp.port = 15692", "metrics are on the HTTP port, at /metrics");
        left("default_permissions.read = .*", "");
        left("default_permissions.read = ^a", "set it with leveret ctl set_permissions");
        left("default_user_tags.administrator = true", "");
        left("heartbet = 3", "Leveret has no such setting; did you mean 'heartbeat'?");
        left("heartbeat = abc", "invalid value");
    }

    #[test]
    fn a_default_user_has_a_password() {
        let alone = import("default_user = admin");
        assert_eq!(alone.toml, "");
        assert_eq!(alone.left, ["line 1: default_user: it needs a password: set default_pass"]);
        assert_eq!(import("default_pass = x").toml, "\n[users]\ndefault_pass = \"x\"\n");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_the_lines_of_the_file() {
        let conf = "\
# a comment
heartbeat 30
frame_max = 5
cluster_name = x
log.console.level = warning
channel_max = 70000
listeners.ssl.default = 5671
";
        let Imported { left, faults, .. } = import(conf);
        assert_eq!(left, ["line 4: cluster_name = x: set it with leveret ctl set_cluster_name"]);
        let starts = [
            "line 2: 'heartbeat 30' is not 'key = value'",
            "line 6: limits.channel_max is integer 70000; it has to be ",
            "line 3: limits.frame_max is 5; it may be from 4096",
            "line 7: amqps needs a certificate",
        ];
        assert_eq!(faults.len(), starts.len(), "{faults:?}");
        for (fault, start) in faults.iter().zip(starts) {
            assert!(fault.starts_with(start), "{fault}");
        }
    }
}
