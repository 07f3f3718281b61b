//! What the operator wants: flags over environment over file over defaults.
//!
//! Two types: [`Flags`] is what was typed (or set in the environment), [`Config`] is what holds.
//! [`Config::resolve`] goes from one to the other and refuses what it does not know, before
//! anything is touched.

mod amount;
pub mod cluster;
pub mod control;
mod current_limits;
mod fault;
mod limits;
mod log_filter;
pub mod network;
pub mod rabbitmq;
mod secret;
pub mod tls;

pub use self::amount::{Amount, Bytes};
pub use self::current_limits::CurrentLimits;
pub use self::limits::Limits;
pub use self::log_filter::log_filter;
pub use self::secret::Secret;

use self::cluster::Cluster;
use self::fault::in_words;
use crate::near::did_you_mean;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// `leveret serve`, as typed. Clap lets a flag win over its environment variable.
#[derive(Debug, Default, Clone, Args)]
pub struct Flags {
    /// Folder for the data [default: leveret-data]
    #[arg(long, value_name = "DIR", env = "LEVERET_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address for AMQP clients; may be repeated [default: 127.0.0.1:5672]
    #[arg(long, value_name = "ADDR:PORT", env = "LEVERET_AMQP", value_delimiter = ',', value_parser = address)]
    pub amqp: Vec<SocketAddr>,
    /// Address for AMQP clients over TLS; may be repeated; requires [tls] in the settings file
    /// [default: none]
    #[arg(long, value_name = "ADDR:PORT", env = "LEVERET_AMQPS", value_delimiter = ',', value_parser = address)]
    pub amqps: Vec<SocketAddr>,
    /// Address for the management API, health checks and metrics [default: 127.0.0.1:15672]
    #[arg(long, value_name = "ADDR:PORT", env = "LEVERET_HTTP", value_parser = address)]
    pub http: Option<SocketAddr>,
    /// Address for the management API, health checks and metrics over TLS; requires [tls] in the
    /// settings file [default: none]
    #[arg(long, value_name = "ADDR:PORT", env = "LEVERET_HTTPS", value_parser = address)]
    pub https: Option<SocketAddr>,
    /// Memory use above which publishers are blocked: bytes (512MiB) or a share of the machine's
    /// memory (0.6) [default: 0.6]
    #[arg(long, value_name = "AMOUNT", env = "LEVERET_MEMORY_LIMIT")]
    pub memory_limit: Option<Amount>,
    /// Free disk space below which publishers are blocked [default: 256MiB]
    #[arg(long, value_name = "BYTES", env = "LEVERET_DISK_FREE_LIMIT")]
    pub disk_free_limit: Option<Bytes>,
    /// User for ANONYMOUS logins [default: off]
    #[arg(long, value_name = "USER", env = "LEVERET_ANONYMOUS_USER")]
    pub anonymous_user: Option<String>,
    /// Definitions in RabbitMQ's JSON format to import at the start [default: none]
    #[arg(long, value_name = "FILE", env = "LEVERET_DEFINITIONS")]
    pub definitions: Option<PathBuf>,
    /// Administrator of new data, instead of guest; requires --default-pass [default: guest]
    #[arg(long, value_name = "USER", env = "LEVERET_DEFAULT_USER")]
    pub default_user: Option<String>,
    /// Password of that user, or of guest if none is named [default: guest]
    #[arg(long, value_name = "PASSWORD", env = "LEVERET_DEFAULT_PASS", hide_env_values = true)]
    pub default_pass: Option<Secret>,
    /// Virtual host in which that user may do everything [default: /]
    #[arg(long, value_name = "VHOST", env = "LEVERET_DEFAULT_VHOST")]
    pub default_vhost: Option<String>,
    /// Name of this node of a cluster [default: no cluster]
    #[arg(long, value_name = "NAME", env = "LEVERET_CLUSTER_NODE")]
    pub cluster_node: Option<String>,
    /// Address for the other nodes [default: the address of this node among the peers]
    #[arg(long, value_name = "ADDR:PORT", env = "LEVERET_CLUSTER_LISTEN")]
    pub cluster_listen: Option<String>,
    /// All nodes of the cluster, this one included, and where the others reach them
    #[arg(long, value_name = "NAME=HOST:PORT", env = "LEVERET_CLUSTER_PEERS", value_delimiter = ',')]
    pub cluster_peers: Vec<String>,
    /// File with the secret that all nodes of the cluster know
    #[arg(long, value_name = "FILE", env = "LEVERET_CLUSTER_SECRET_FILE")]
    pub cluster_secret_file: Option<PathBuf>,
    /// Start although the data file is damaged: what can be repaired is repaired, the rest is
    /// dropped and logged
    #[arg(long)]
    pub repair: bool,
    /// Settings file in TOML; flags and environment variables take precedence
    #[arg(long, value_name = "FILE", env = "LEVERET_CONFIG")]
    pub config: Option<PathBuf>,
    /// Check a settings file and the certificates that it names, and end
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pub check_config: Option<PathBuf>,
    /// Log level, or levels by module as in `info,leveret::server=debug` [default: info]
    #[arg(long, value_name = "FILTER", env = "LEVERET_LOG")]
    pub log: Option<String>,
    /// Format of the log [default: text]
    #[arg(long, value_name = "FORMAT", env = "LEVERET_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Plain text
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

/// Everything the operator may decide, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The folder of the data file.
    pub data_dir: PathBuf,
    /// The definitions to import at the start.
    pub definitions: Option<PathBuf>,
    /// Whether to go on without what is damaged in the data file.
    pub repair: bool,
    /// Addresses for AMQP clients; at least one.
    pub amqp: Vec<SocketAddr>,
    /// Addresses for AMQP clients over TLS.
    pub amqps: Vec<SocketAddr>,
    /// The settings of TLS; present if `amqps` or `https` has an address.
    pub tls: Option<tls::Tls>,
    /// Addresses from which every AMQP connection has to begin with a PROXY header.
    pub proxy_protocol_from: Vec<network::Network>,
    /// Address for the management API, health checks and metrics.
    pub http: SocketAddr,
    /// The same over TLS.
    pub https: Option<SocketAddr>,
    /// Who may use the management API.
    pub management: Management,
    /// The filter of the log.
    pub log: String,
    /// The format of the log.
    pub log_format: LogFormat,
    /// Memory use above which publishers are blocked.
    pub memory_limit: Amount,
    /// Free disk space below which publishers are blocked.
    pub disk_free_limit: Bytes,
    /// The name and version that clients are told.
    pub advertise: Advertise,
    /// What clients may use at most.
    pub limits: Limits,
    /// Which users may connect from where.
    pub users: Users,
    /// How clients log in.
    pub auth: Auth,
    /// Which node of a cluster this is, if it is one.
    pub cluster: Option<Cluster>,
}

/// `[advertise]`: for clients that insist on another broker's name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Advertise {
    /// `server-properties.product`.
    pub product: String,
    /// `server-properties.version`.
    pub version: String,
}

/// `[users]`: which users may connect from where.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Users {
    /// Users who can connect from this machine only, whatever their password (RabbitMQ:
    /// `loopback_users`).
    pub local_only: Vec<String>,
    /// Whether a broker runs on an address that others can reach although
    /// `guest` with the password `guest` is all the users it has.
    pub allow_default: bool,
    /// The administrator of new data, instead of `guest` (RabbitMQ: `default_user`); it needs a
    /// password.
    pub default_user: Option<String>,
    /// Its password, or that of `guest` if no other is named.
    pub default_pass: Option<Secret>,
    /// The vhost in which it may do everything, which is made; `/` if there is none.
    pub default_vhost: Option<String>,
}

/// `[auth]`: how clients log in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// The user for ANONYMOUS logins; without one that mechanism is not offered.
    pub anonymous_user: Option<String>,
}

/// `[management]`: who may use the management API.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Management {
    /// Origins whose pages may use it, as in `https://tools.example`; `*` for all.
    #[serde(deserialize_with = "origins")]
    pub cors_allow_origins: Vec<String>,
}

/// Why a configuration is refused, in one line.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(String);

/// The file, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    data_dir: Option<PathBuf>,
    amqp: Option<Vec<Address>>,
    amqps: Vec<Address>,
    tls: Option<tls::Tls>,
    proxy_protocol_from: Vec<network::Network>,
    http: Option<Address>,
    https: Option<Address>,
    management: Management,
    log: Option<String>,
    log_format: Option<LogFormat>,
    definitions: Option<PathBuf>,
    memory_limit: Option<Amount>,
    disk_free_limit: Option<Bytes>,
    advertise: Advertise,
    limits: Limits,
    users: Users,
    auth: Auth,
    cluster: Option<cluster::Section>,
}

/// What RabbitMQ begins with too: other programs, and the cache of files, have the rest.
const MEMORY_LIMIT: Amount = Amount::Share(600_000);
/// What a broker writes at its fastest while somebody is on the way to make room, and more than one
/// message.
const DISK_FREE_LIMIT: Bytes = Bytes(256 << 20);
/// No broker runs in less: who writes `1` means a share.
const MEMORY_LIMIT_MIN: u64 = 1 << 20;
/// Variables of the environment that `leveret ctl` reads.
const VARIABLES_OF_CTL: [&str; 5] =
    ["LEVERET_URL", "LEVERET_USERNAME", "LEVERET_PASSWORD", "LEVERET_PASSWORD_FILE", "LEVERET_TLS_CA"];

/// An address in the file, parsed as a flag's would be.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Address(SocketAddr);

impl Default for Advertise {
    fn default() -> Self {
        Self { product: "Leveret".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

impl Default for Users {
    fn default() -> Self {
        Self {
            local_only: vec!["guest".to_owned()],
            allow_default: false,
            default_user: None,
            default_pass: None,
            default_vhost: None,
        }
    }
}

impl Default for Config {
    /// What holds where nobody says anything: see [`Flags`].
    fn default() -> Self {
        Self::merge(Flags::default(), File::default()).expect("only what is asked for can be refused")
    }
}

impl Config {
    /// Reads the file that `flags` name, if any, and settles every question.
    ///
    /// # Errors
    /// The file cannot be read or has a key or a value that is not known.
    pub fn resolve(flags: Flags) -> Result<Self, ConfigError> {
        let file = match &flags.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        Self::merge(flags, file).map_err(ConfigError)
    }

    fn merge(flags: Flags, file: File) -> Result<Self, String> {
        let cluster = Cluster::merge(&flags, file.cluster)?;
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut amqp = either(flags.amqp, file.amqp.unwrap_or_default());
        if amqp.is_empty() {
            amqp.push(local(5672));
        }
        let amqps = either(flags.amqps, file.amqps);
        if !amqps.is_empty() && file.tls.is_none() {
            return Err(needs_certificate("amqps"));
        }
        let https = flags.https.or(file.https.map(|address| address.0));
        if https.is_some() && file.tls.is_none() {
            return Err(needs_certificate("https"));
        }
        let log = flags.log.or(file.log).unwrap_or_else(|| "info".to_owned());
        log_filter(&log)?;
        let memory_limit = flags.memory_limit.or(file.memory_limit).unwrap_or(MEMORY_LIMIT);
        check_memory_limit(memory_limit)?;
        Ok(Self {
            data_dir: flags.data_dir.or(file.data_dir).unwrap_or_else(|| PathBuf::from("leveret-data")),
            amqp,
            amqps,
            tls: file.tls,
            proxy_protocol_from: file.proxy_protocol_from,
            http: flags.http.or(file.http.map(|address| address.0)).unwrap_or_else(|| local(15_672)),
            https,
            management: file.management,
            log,
            log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
            definitions: flags.definitions.or(file.definitions),
            repair: flags.repair,
            memory_limit,
            disk_free_limit: flags.disk_free_limit.or(file.disk_free_limit).unwrap_or(DISK_FREE_LIMIT),
            advertise: file.advertise,
            limits: file.limits,
            users: Users {
                default_user: flags.default_user.or(file.users.default_user),
                default_pass: flags.default_pass.or(file.users.default_pass),
                default_vhost: flags.default_vhost.or(file.users.default_vhost),
                ..file.users
            },
            auth: Auth { anonymous_user: flags.anonymous_user.or(file.auth.anonymous_user) },
            cluster,
        })
    }

    /// The keys that `other` changes and that a running broker does not take over, joined by
    /// commas. Whoever adds a key decides here whether it is one of them.
    #[must_use]
    pub fn changes_for_next_start(&self, other: &Self) -> String {
        let Self {
            data_dir,
            definitions,
            repair: _,
            amqp,
            amqps,
            tls,
            proxy_protocol_from,
            http,
            https,
            management,
            log: _,
            log_format,
            memory_limit: _,
            disk_free_limit: _,
            advertise,
            limits: _,
            users,
            auth,
            cluster,
        } = self;
        let first = (&users.default_user, &users.default_pass, &users.default_vhost);
        let changed = [
            ("data_dir", *data_dir != other.data_dir),
            ("definitions", *definitions != other.definitions),
            ("amqp", *amqp != other.amqp),
            ("amqps", *amqps != other.amqps),
            ("tls", *tls != other.tls),
            ("proxy_protocol_from", *proxy_protocol_from != other.proxy_protocol_from),
            ("http", *http != other.http),
            ("https", *https != other.https),
            ("management", *management != other.management),
            ("log_format", *log_format != other.log_format),
            ("advertise", *advertise != other.advertise),
            ("users.allow_default", users.allow_default != other.users.allow_default),
            ("users.default_user", first.0 != &other.users.default_user),
            ("users.default_pass", first.1 != &other.users.default_pass),
            ("users.default_vhost", first.2 != &other.users.default_vhost),
            ("auth", *auth != other.auth),
            ("cluster", *cluster != other.cluster),
        ];
        let keys: Vec<&str> =
            changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect();
        keys.join(",")
    }
}

/// Every key with its default, explained; of this version, which is its number.
const DOCUMENTED: &str = include_str!("config/default.toml");

/// A settings file that has every key, with its default and what it means.
#[must_use]
pub fn documented() -> String {
    DOCUMENTED.replace("VERSION", env!("CARGO_PKG_VERSION"))
}

/// What is wrong with the names of variables of the environment, a sentence each: one that begins
/// like ours and is none is a slip, or for another version.
pub fn misnamed_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let flags = Flags::augment_args(clap::Command::new("serve"));
    let own = flags.get_arguments().filter_map(|flag| flag.get_env()?.to_str());
    let known: Vec<&str> = own.chain(VARIABLES_OF_CTL).collect();
    let unknown = names.filter(|name| name.starts_with("LEVERET_") && !known.contains(&name.as_str()));
    unknown
        .map(|name| format!("unknown environment variable {name}{}", did_you_mean(&name, &known)))
        .collect()
}

/// A scheme, a host and perhaps a port, as browsers name the page that asks; or `*`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Origin(String);

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_host = |(scheme, host): (&str, &str)| {
            !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '?', '#', ' '])
        };
        if text == "*" || text.split_once("://").is_some_and(is_host) {
            return Ok(Self(text));
        }
        Err(format!("'{text}' is not an origin, as in https://tools.example or http://localhost:8080; or *"))
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        address(&text).map(Self)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

fn read(path: &Path) -> Result<File, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|error| ConfigError(format!("cannot read {}: {error}", path.display())))?;
    parse(&text).map_err(|why| ConfigError(format!("{} {why}", path.display())))
}

/// The fault is told in one line, with the number of the file's line where that is known.
fn parse(text: &str) -> Result<File, String> {
    let written = toml::Deserializer::parse(text).map_err(|error| in_words(text, "", &error))?;
    let file: File = serde_path_to_error::deserialize(written)
        .map_err(|error| in_words(text, &error.path().to_string(), error.inner()))?;
    file.limits.check().map_err(|(key, why)| {
        let line = fault::line_of(text, "limits", key);
        format!("line {line}: limits.{key} {why}")
    })?;
    file.check().map_err(|(key, why)| format!("line {}: {why}", fault::line_of(text, key, "")))?;
    Ok(file)
}

impl File {
    /// What types do not say of a key outside of sections; which key it is, and what is wrong.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let at = |key| move |why| (key, why);
        if self.amqp.as_ref().is_some_and(Vec::is_empty) {
            return Err(("amqp", "amqp is an empty list; it needs at least one address".to_owned()));
        }
        if let Some(log) = &self.log {
            log_filter(log).map_err(at("log"))?;
        }
        if let Some(limit) = self.memory_limit {
            check_memory_limit(limit).map_err(at("memory_limit"))?;
        }
        let secure = [("amqps", !self.amqps.is_empty()), ("https", self.https.is_some())];
        match secure.into_iter().find(|(_, is_wanted)| *is_wanted && self.tls.is_none()) {
            Some((key, _)) => Err((key, needs_certificate(key))),
            None => Ok(()),
        }
    }
}

fn needs_certificate(key: &str) -> String {
    format!("{key} needs a certificate: set tls.cert and tls.key in the settings file")
}

/// Reads origins that browsers may send.
fn origins<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let origins = Vec::<Origin>::deserialize(from)?;
    Ok(origins.into_iter().map(|Origin(origin)| origin).collect())
}

fn check_memory_limit(limit: Amount) -> Result<(), String> {
    match limit {
        Amount::Bytes(bytes) if bytes < MEMORY_LIMIT_MIN => {
            let unit = if bytes == 1 { "byte" } else { "bytes" };
            Err(format!(
                "memory_limit is {bytes} {unit}, and has to be at least 1MiB; write 1.0 for all memory, or bytes as \
                 in 512MiB"
            ))
        }
        Amount::Bytes(_) | Amount::Share(_) => Ok(()),
    }
}

/// What was typed, or else what is written.
fn either(typed: Vec<SocketAddr>, written: Vec<Address>) -> Vec<SocketAddr> {
    if typed.is_empty() { written.into_iter().map(|address| address.0).collect() } else { typed }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_bad| format!("'{text}' is not an address and a port, as in 127.0.0.1:5672 or [::1]:5672 (host names are not accepted)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The keys of a settings file that has them all, with their sections, and its values.
    fn uncommented(documented: &str) -> (BTreeSet<String>, String) {
        let (mut keys, mut section, mut text) = (BTreeSet::new(), String::new(), String::new());
        for line in documented.lines() {
            // What is said of a key has a space before it.
            let line = line.strip_prefix('#').unwrap_or(line);
            if line.starts_with(' ') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[') {
                section = format!("{}.", name.trim_end_matches(']'));
            } else if let Some((key, _)) = line.split_once(" = ") {
                keys.insert(format!("{section}{key}"));
            }
            text.push_str(line);
            text.push('\n');
        }
        (keys, text)
    }

    #[test]
    fn the_documented_settings_are_all_there_are_with_their_defaults() {
        let (keys, text) = uncommented(&documented());
        let file = parse(&text).expect("each example is a value");
        let default = File::default();
        let config = Config::merge(Flags::default(), parse(&documented()).unwrap()).unwrap();
        assert_eq!(config, Config::default(), "a comment changes nothing");
        let config = Config::merge(Flags::default(), parse(&text).unwrap()).unwrap();
        let said = Config {
            amqps: Vec::new(),
            https: None,
            tls: None,
            cluster: None,
            definitions: None,
            proxy_protocol_from: Vec::new(),
            management: default.management,
            auth: default.auth,
            users: Users {
                default_user: None,
                default_pass: None,
                default_vhost: None,
                ..config.users.clone()
            },
            ..config
        };
        assert_eq!(said, Config::default());
        assert_eq!(file.tls.expect("it is there").verify, tls::Verify::None);
        for limit in Limits::default().keys() {
            assert!(keys.contains(&format!("limits.{limit}")), "{limit} is not documented");
        }
        // What serde says that there is, of a key that is not known.
        for section in ["", "users.", "auth.", "management.", "advertise.", "tls.", "cluster."] {
            let unknown = toml::from_str::<File>(&format!("{section}zzzzzzzz = 1\n"));
            let error = unknown.expect_err("there is no such key");
            let sections = ["limits", "users", "auth", "management", "advertise", "tls", "sni", "cluster"];
            for key in error.message().split('`').skip(3).step_by(2).filter(|key| !sections.contains(key)) {
                assert!(keys.contains(&format!("{section}{key}")), "{section}{key} is not documented");
            }
        }
    }

    fn resolved(flags: Flags, file: &str) -> Config {
        Config::merge(flags, parse(file).unwrap()).unwrap()
    }

    #[test]
    fn keys_that_take_effect_at_the_next_start_are_named() {
        let check = |file: &str, keys: &str| {
            let other = resolved(Flags::default(), file);
            assert_eq!(Config::default().changes_for_next_start(&other), keys, "{file}");
        };
        let taken_over = "log = 'warn'\nmemory_limit = '2GiB'\ndisk_free_limit = '1GiB'\n\
                          [users]\nlocal_only = []\n[limits]\nheartbeat_s = 7\n";
        check(taken_over, "");
        check("data_dir = 'x'\ndefinitions = 'x'\nlog_format = 'json'", "data_dir,definitions,log_format");
        let tls = "[tls]\ncert = 'c'\nkey = 'k'\n";
        let addresses = format!(
            "amqp = ['[::1]:1']\namqps = ['[::1]:2']\nhttp = '[::1]:3'\nhttps = '[::1]:4'\n\
             proxy_protocol_from = ['::1']\n{tls}"
        );
        check(&addresses, "amqp,amqps,tls,proxy_protocol_from,http,https");
        check(
            "[users]\nallow_default = true\ndefault_user = 'u'\ndefault_pass = 'p'\ndefault_vhost = 'v'\n",
            "users.allow_default,users.default_user,users.default_pass,users.default_vhost",
        );
        check(
            "[auth]\nanonymous_user = 'u'\n[advertise]\nversion = '1'\n[management]\ncors_allow_origins = ['*']\n",
            "management,advertise,auth",
        );
    }

    #[test]
    fn changed_limits_are_named() {
        let other = Limits { heartbeat_s: 7, bindings_max: 1, ..Limits::default() };
        assert_eq!(Limits::default().changes(&other), ["heartbeat_s=7", "bindings_max=1"]);
        assert!(other.changes(&other.clone()).is_empty());
    }

    #[track_caller]
    fn refused(file: &str, why: &str) {
        let error = parse(file).unwrap_err();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn nothing_said_means_the_documented_defaults() {
        let config = Config::resolve(Flags::default()).unwrap();
        assert_eq!(config.data_dir, Path::new("leveret-data"));
        assert_eq!(config.amqp, [address("127.0.0.1:5672").unwrap()]);
        assert_eq!(config.http, address("127.0.0.1:15672").unwrap());
        assert_eq!((config.log.as_str(), config.log_format), ("info", LogFormat::Text));
        assert_eq!(config.advertise.product, "Leveret");
        assert_eq!(config.limits.message_bytes_max, 16_777_216);
        assert_eq!(config.memory_limit, Amount::Share(600_000));
        assert_eq!(config.disk_free_limit, Bytes(268_435_456));
        assert_eq!(config.auth.anonymous_user, None);
    }

    #[test]
    fn what_was_typed_wins_over_the_file() {
        let file = "data_dir = 'a'\namqp = ['127.0.0.1:1', '[::1]:2']\nhttp = '127.0.0.1:3'\nlog = 'debug'\n\
                    log_format = 'json'\n[limits]\nheartbeat_s = 0\n[advertise]\nversion = '4.3.6'\n\
                    [users]\nlocal_only = []\n[auth]\nanonymous_user = 'nobody'\n";
        let config = resolved(Flags::default(), file);
        assert_eq!(config.amqp, [address("127.0.0.1:1").unwrap(), address("[::1]:2").unwrap()]);
        assert_eq!(config.log_format, LogFormat::Json);
        assert_eq!(config.auth.anonymous_user.as_deref(), Some("nobody"));
        assert_eq!(config.users, Users { local_only: Vec::new(), ..Users::default() });
        assert_eq!((config.limits.heartbeat_s, config.limits.frame_max), (0, 131_072));
        assert_eq!(
            (config.advertise.product.as_str(), config.advertise.version.as_str()),
            ("Leveret", "4.3.6")
        );

        let typed = Flags {
            data_dir: Some("b".into()),
            amqp: vec![address("127.0.0.1:9").unwrap()],
            log: Some("warn".into()),
            anonymous_user: Some("somebody".into()),
            ..Flags::default()
        };
        let config = resolved(typed, file);
        assert_eq!(config.data_dir, Path::new("b"));
        assert_eq!(config.amqp, [address("127.0.0.1:9").unwrap()], "replaced, not added to");
        assert_eq!(config.http, address("127.0.0.1:3").unwrap(), "not typed, so the file's");
        assert_eq!(config.log, "warn");
        assert_eq!(config.auth.anonymous_user.as_deref(), Some("somebody"));
    }

    #[test]
    fn tls_is_spoken_only_with_a_certificate() {
        let typed = || Flags { amqps: vec![address("127.0.0.1:5671").unwrap()], ..Flags::default() };
        let refusal = Config::merge(typed(), File::default()).unwrap_err();
        assert!(
            refusal.starts_with("amqps needs a certificate: set tls.cert and tls.key in the settings file"),
            "{refusal}"
        );
        let typed_https = Flags { https: Some(address("127.0.0.1:15671").unwrap()), ..Flags::default() };
        let refusal = Config::merge(typed_https, File::default()).unwrap_err();
        assert!(refusal.starts_with("https needs a certificate"), "{refusal}");
        let file = "amqps = ['127.0.0.1:1']\n[tls]\ncert = 'a'\nkey = 'b'";
        assert_eq!(resolved(Flags::default(), file).amqps, [address("127.0.0.1:1").unwrap()]);
        let config = resolved(typed(), file);
        assert_eq!(config.amqps, typed().amqps, "replaced, not added to");
        assert_eq!(config.tls.unwrap().shown.key, Path::new("b"));
        refused("proxy_protocol_from = ['10.0.0.0/40']", "'10.0.0.0/40' is not a network");
        refused("[tls]\ncerts = 'a'", "line 2: there is no key 'tls.certs'; did you mean 'cert'?");
        refused("log = 'info'\n[tls]\ncert = 'a'", "line 2: tls: the key 'key' is missing");
        let without = "line 1: tls: the key 'ca' is missing: client certificates are verified against it";
        refused("[tls]\ncert = 'a'\nkey = 'b'\nverify = 'required'", without);
    }

    #[test]
    fn amounts_may_be_numbers_or_text() {
        let config = resolved(Flags::default(), "memory_limit = 0.25\ndisk_free_limit = '1GiB'\n");
        assert_eq!(config.memory_limit, Amount::Share(250_000));
        assert_eq!(config.disk_free_limit, Bytes(1 << 30));
        let typed = Flags { memory_limit: "64MiB".parse().ok(), ..Flags::default() };
        let config = resolved(typed, "memory_limit = 2000000\ndisk_free_limit = 5\n");
        assert_eq!(config.memory_limit, Amount::Bytes(64 << 20), "typed");
        assert_eq!(config.disk_free_limit, Bytes(5));
        refused("memory_limit = 'much'", "'much' is not an amount");
    }

    #[test]
    fn what_is_not_known_is_refused_in_one_line() {
        refused("htttp = '127.0.0.1:1'", "line 1: there is no key 'htttp'; did you mean 'http' or 'https'?");
        let near = "line 3: there is no key 'limits.frame_maxi'; did you mean 'frame_max'?";
        refused("log = 'info'\n[limits]\nframe_maxi = 1", near);
        refused("[advertise]\nname = 'x'", "there is no key 'advertise.name'; there are product, version");
        refused("[limits]\nnothing_like_it = 1", "there is no key 'limits.nothing_like_it'");
        refused("amqp = ['127.0.0.1']", "amqp[0]: '127.0.0.1' is not an address");
        refused("\namqp = []", "line 2: amqp is an empty list; it needs at least one address");
        let origin =
            "line 2: management.cors_allow_origins[0]: 'tools.example' is not an origin, as in https://";
        refused("[management]\ncors_allow_origins = ['tools.example']", origin);
        refused("[management]\ncors_allow_origins = ['https://a/']", "'https://a/' is not an origin");
        refused("log_format = 'xml'", "line 1: log_format is 'xml'; it may be 'text', 'json'");
        refused("log = ", "line 1");
        refused("log = 'info'\nlog = 'warn'", "line 2: the key 'log' is there twice");
        refused("\n\nlog = 'verbose'", "line 3: log: 'verbose' is neither a level");
        refused("\nmemory_limit = '1KiB'", "line 2: memory_limit is 1024 bytes, and has to be at least 1MiB");
        refused("http = '[::1]:1'\namqps = ['[::1]:2']", "line 2: amqps needs a certificate: set tls.cert");
        refused("https = '[::1]:2'", "line 1: https needs a certificate");
    }

    #[test]
    fn variables_that_nothing_reads_are_told() {
        let names =
            ["LEVERET_AMPQ", "LEVERET_AMQP", "LEVERET_URL", "PATH", "LEVERET_WHATEVER"].map(str::to_owned);
        let told = [
            "unknown environment variable LEVERET_AMPQ; did you mean 'LEVERET_AMQP' or 'LEVERET_AMQPS'?",
            "unknown environment variable LEVERET_WHATEVER",
        ];
        assert_eq!(misnamed_variables(names.into_iter()), told);
    }

    #[test]
    fn what_has_another_form_is_told_with_its_key() {
        let whole =
            "line 2: limits.frame_max is string \"x\"; it has to be a whole number from 4096 to 131072";
        refused("[limits]\nframe_max = 'x'", whole);
        refused(
            "[limits]\nheartbeat_s = 65536",
            "limits.heartbeat_s is integer 65536; it has to be a whole number",
        );
        refused("[limits]\nwrite_timeout_s = -1", "limits.write_timeout_s is integer -1; it has to be");
        refused("amqp = '127.0.0.1:1'", "amqp is string \"127.0.0.1:1\"; it has to be a list");
        refused("[users]\nallow_default = 1", "users.allow_default is integer 1; it has to be true or false");
        refused("http = 1", "line 1: http is integer 1; it has to be a text in quotes");
        refused("limits = 1", "limits is integer 1; it has to be a section");
        refused(
            "memory_limit = true",
            "memory_limit: an amount is bytes, as in 512MiB, or a share, as in 0.6",
        );
        refused("\n\nhttp = 'localhost:80'", "line 3: http: 'localhost:80' is not an address");
    }

    #[test]
    fn a_memory_limit_below_a_mebibyte_is_a_share_that_was_written_as_bytes() {
        let check = |limit: &str| {
            Config::merge(
                Flags { memory_limit: Some(limit.parse().unwrap()), ..Flags::default() },
                File::default(),
            )
        };
        let why = |bytes| {
            format!(
                "memory_limit is {bytes}, and has to be at least 1MiB; write 1.0 for all memory, or bytes as in 512MiB"
            )
        };
        assert_eq!(check("1").unwrap_err(), why("1 byte"));
        assert_eq!(check("7").unwrap_err(), why("7 bytes"));
        assert_eq!(check("1023kib").unwrap_err(), why("1047552 bytes"));
        assert_eq!(check("1MiB").unwrap().memory_limit, Amount::Bytes(1 << 20));
        assert_eq!(check("1.0").unwrap().memory_limit, Amount::Share(1_000_000));
    }

    #[test]
    fn a_share_of_the_disk_is_refused_wherever_it_is_written() {
        for text in ["0.6", "5%", "much"] {
            let refusal = text.parse::<Bytes>().unwrap_err();
            assert_eq!(refusal, format!("'{text}' is not an amount of bytes, as in 256MiB"));
        }
        refused(
            "disk_free_limit = 0.6",
            "line 1: disk_free_limit: '0.6' is not an amount of bytes, as in 256MiB",
        );
    }

    #[test]
    fn names_that_rabbitmq_has_are_told_ours() {
        refused(
            "loopback_users = ['guest']",
            "there is no key 'loopback_users'; did you mean 'users.local_only'?",
        );
        refused("data-dir = 'x'", "there is no key 'data-dir'; did you mean 'data_dir'?");
    }

    #[test]
    fn a_limit_has_limits() {
        refused(
            "[limits]\nframe_max = 4095",
            "line 2: limits.frame_max is 4095; it may be from 4096 to 131072",
        );
        refused(
            "log = 'info'\n\n[limits]\nheartbeat_s = 1\nchannel_max = 0",
            "line 5: limits.channel_max is 0; it may be from 1 to 65535",
        );
        refused("[limits]\nchannel_max = 0", "limits.channel_max");
        refused("[limits]\nmessage_bytes_max = 536870913", "limits.message_bytes_max");
        refused("[limits]\nconnections_max = 0", "limits.connections_max");
        refused(
            "[limits]\nhandshake_frame_max = 100",
            "limits.handshake_frame_max is 100; it may be from 4096",
        );
        refused("[limits]\nhandshake_timeout_s = 0", "limits.handshake_timeout_s");
        refused("[limits]\nbindings_max = 0", "limits.bindings_max is 0; it may be from 1 to 10000000");
        refused("[limits]\nwrite_timeout_s = -1", "line 2");
        refused("[limits]\nheartbeat_s = 65536", "line 2");
        assert_eq!(parse("[limits]\nframe_max = 4096").unwrap().limits.frame_max, 4096);
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let flags = Flags { config: Some("no/such.toml".into()), ..Flags::default() };
        let error = Config::resolve(flags).unwrap_err().to_string();
        assert!(error.starts_with("cannot read no/such.toml: "), "{error}");
    }
}
