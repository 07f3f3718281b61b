//! A node: a running broker as a value.
//!
//! `leveret serve` runs one; a program or a test may start any number of them in its process, which
//! share nothing but the runtime. Order matters here. What can be refused is refused before
//! anything is touched: certificates, then the ports, then the data folder. On the way down sockets
//! go first, the store last.

use crate::admin::definitions::{Source, start_with};
use crate::admin::{Caller, Requester};
use crate::audit::recent::RecentLines;
use crate::broker::accounts::DEFAULT_USER;
use crate::broker::{AlarmLimits, Broker, BrokerSettings, LogFilter};
use crate::clock::{self, Clock};
use crate::config::{Advertise, Config, Secret, Users};
use crate::http::{self, Listener, Port, Served, Socket};
use crate::machine;
use crate::server::{self, ListenerOptions, LogLines, Server, ShutdownReason};
use crate::statistics::SamplesWanted;
use crate::store::{self, StoreError};
use crate::tls::{BadFile, Certificates};
use serde_json::{Value, json};
use std::fmt::{self, Display};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tracing::{error, info, warn};

/// How long connections may take to end when the node stops.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// A running broker. It serves until [`Node::shutdown`]. A node that is dropped instead ends its
/// connections and leaves its data as a crash does: what was confirmed is there.
pub struct Node {
    broker: Arc<Broker>,
    connections: Connections,
    addresses: Addresses,
    certificates: Option<Arc<Certificates>>,
    /// Listeners and what runs beside them. None of them ends by itself.
    tasks: JoinSet<()>,
    /// One task, which ends once the store has failed.
    timer: JoinSet<()>,
    reason: ShutdownReason,
}

/// The connections of a node: they end with it.
struct Connections(Arc<Server>);

impl Drop for Connections {
    fn drop(&mut self) {
        self.0.end(ShutdownReason::Stop);
    }
}

/// Where a node listens: the ports as they are, where port 0 was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// AMQP.
    pub amqp: Vec<SocketAddr>,
    /// AMQP over TLS.
    pub amqps: Vec<SocketAddr>,
    /// The management API, health and metrics.
    pub http: SocketAddr,
    /// The same over TLS.
    pub https: Option<SocketAddr>,
}

/// Why a node does not start. Nothing of it runs then.
#[derive(Debug)]
pub enum StartError {
    /// A certificate or key is of no use.
    Tls(BadFile),
    /// An address is taken, or is none of this machine.
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The data cannot be opened.
    Store(StoreError),
    /// The definitions to start with are refused.
    Definitions {
        /// Where they are.
        file: PathBuf,
        /// What is wrong with them.
        why: String,
    },
    /// Settings do not go together.
    Settings(&'static str),
    /// The user to start with is refused.
    DefaultUser(String),
    /// Everybody could log in: see [`crate::config::Users::allow_default`].
    Unguarded(SocketAddr),
}

/// Why a node did not stop in order.
#[derive(Debug)]
pub struct StopError {
    error: Option<StoreError>,
    while_stopping: bool,
}

/// What a program waits for. It is boxed here, so that all that is awaited inside is compiled once,
/// with the library: what a program awaits without a box is compiled with the program.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Node {
    /// Starts a broker in the runtime of the caller, which has to be a multi-threaded one with time
    /// and I/O.
    ///
    /// # Errors
    /// Nothing is served, and nothing was changed but for what the store repairs and upgrades as it
    /// opens.
    pub fn start(config: Config) -> Work<'static, Result<Self, StartError>> {
        Box::pin(Self::begin(config))
    }

    async fn begin(config: Config) -> Result<Self, StartError> {
        check_default_user(&config.users)?;
        let certificates = config.tls.clone().map(|tls| Certificates::read(tls, clock::mono_ms()));
        let certificates = certificates.transpose().map_err(StartError::Tls)?.map(Arc::new);
        let amqp = bind_all(&config.amqp)?;
        let amqps = bind_all(&config.amqps)?;
        let http = bind(config.http)?;
        let https = config.https.map(bind).transpose()?;
        let addresses = Addresses {
            amqp: ports(&amqp)?,
            amqps: ports(&amqps)?,
            http: port(&http)?,
            https: https.as_ref().map(port).transpose()?,
        };
        let (broker, config) = off_the_runtime(move || Ok((open(&config)?, config))).await?;
        let server = Server::new(Arc::clone(&broker));
        let mut tasks = JoinSet::new();
        let plain = ListenerOptions { tls: None, proxies: config.proxy_protocol_from.clone().into() };
        let secure = ListenerOptions { tls: certificates.clone(), ..plain.clone() };
        for (listeners, options) in [(amqp, plain), (amqps, secure)] {
            for listener in listeners {
                tasks.spawn(server::accept(Arc::clone(&server), listener, options.clone()));
            }
        }
        let mut http_ports = vec![Port { listener: http, certificates: None }];
        http_ports.extend(https.map(|listener| Port { listener, certificates: certificates.clone() }));
        let (broker_served, listeners) = (Arc::clone(&broker), addresses.listeners());
        let allow_origins = config.management.cors_allow_origins.clone();
        let socket = Socket::bind(&config.data_dir);
        let socket = socket.inspect_err(|why| warn!(error = why, "leveret ctl cannot reach this broker"));
        let certificates_served = certificates.clone();
        let served =
            Served { broker: broker_served, listeners, allow_origins, certificates: certificates_served };
        tasks.spawn(http::serve(http_ports, socket.ok(), served));
        let mut timer = JoinSet::new();
        timer.spawn(server::run_timer(Arc::clone(&server), config.data_dir));
        let connections = Connections(server);
        Ok(Self { broker, connections, addresses, certificates, tasks, timer, reason: ShutdownReason::Stop })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Publishes lines of the log to the exchange `amq.rabbitmq.log` from now on.
    pub fn publish_log(&mut self, lines: LogLines) {
        self.tasks.spawn(lines.publish(Arc::clone(&self.broker)));
    }

    /// Has the last lines of the log shown to who may see them.
    pub fn show_log(&self, lines: RecentLines) {
        self.broker.show_log(lines);
    }

    /// Has operators set the filter of the log by this from now on.
    pub fn set_log_filter(&self, set: LogFilter) {
        // There is one log.
        let _first = self.broker.log_filter().set(set);
    }

    /// Takes over what may change while the node runs: the limits of memory and disk, those of
    /// clients, which are logged, and which users are local only; and reads certificates again.
    /// What is wrong with those is logged, and then they stay as they were.
    pub fn reload(&self, config: &Config) {
        let changed = self.broker.limits().get().changes(&config.limits);
        if !changed.is_empty() {
            self.broker.set_limits(config.limits.clone());
            self.connections.0.reload_limits();
            info!(limits = changed.join(","), "limits of clients reloaded");
        }
        self.broker.alarms().set_limits(alarm_limits(config));
        self.broker.accounts().set_local_only(config.users.local_only.clone());
        self.reload_certificates();
    }

    /// Reads certificates again, as [`Self::reload`] does.
    pub fn reload_certificates(&self) {
        if let Some(certificates) = &self.certificates {
            certificates.read_again(clock::mono_ms());
        }
    }

    /// Waits until the node cannot go on, because its store or a part of it has failed.
    /// [`Self::shutdown`] is to be called then, and says why.
    pub fn failed(&mut self) -> Work<'_, ()> {
        Box::pin(self.fail())
    }

    async fn fail(&mut self) {
        let (task, ended) = tokio::select! {
            biased;
            Some(ended) = self.timer.join_next() => ("the timer", ended),
            Some(ended) = self.tasks.join_next() => ("a listener or a task beside it", ended),
            // Both have run since the start.
            else => return,
        };
        let fault = match ended.map_err(JoinError::try_into_panic) {
            Err(Ok(panic)) => StoreError::panicked(task, &*panic),
            Ok(()) | Err(Err(_)) => StoreError::BrokerFault(format!("{task} has ended")),
        };
        // If it is the store that has failed, its own reason came first.
        self.broker.log().fail(fault);
        self.reason = ShutdownReason::StoreFailed;
    }

    /// Stops: closes the listeners, ends all connections (320; 541 if it has failed) and closes the
    /// store. What takes longer than 5 s to end is cut.
    ///
    /// # Errors
    /// The node had failed, or the store cannot be closed in order. What was confirmed is on disk,
    /// unless the error says otherwise.
    pub fn shutdown(self) -> Work<'static, Result<(), StopError>> {
        Box::pin(self.stop())
    }

    async fn stop(mut self) -> Result<(), StopError> {
        let reason = self.reason;
        match reason {
            ShutdownReason::Stop => info!("stopping"),
            ShutdownReason::StoreFailed => error!("stopping because the broker has failed"),
        }
        self.timer.shutdown().await;
        self.tasks.shutdown().await;
        let Connections(server) = &self.connections;
        server.end(reason);
        if !server.ended(STOP_WAIT).await {
            warn!(seconds = STOP_WAIT.as_secs(), "closing connections that did not end in time");
        }
        let while_stopping = reason != ShutdownReason::StoreFailed;
        let broker = Arc::clone(&self.broker);
        match off_the_runtime(move || broker.shutdown()).await {
            Err(error) => Err(StopError { error: Some(error), while_stopping }),
            Ok(()) if while_stopping => Ok(()),
            Ok(()) => Err(StopError { error: None, while_stopping }),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Does what waits for the disk on a thread where it keeps nobody waiting.
async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(fault) => std::panic::resume_unwind(fault.into_panic()),
    }
}

/// Opens the data, and takes in the definitions to start with.
fn open(config: &Config) -> Result<Arc<Broker>, StartError> {
    let options = store::Options { repair: config.repair, ..store::Options::default() };
    let opened = store::open(&config.data_dir, options).map_err(StartError::Store)?;
    let now = Clock::starting(opened.recovered.ahead_ms).now();
    let broker = Broker::start(opened, settings(config), now).map_err(StartError::Store)?;
    let checked = add_default_user(config, &broker)
        .and_then(|()| define(config, &broker))
        .and_then(|()| check_first_users(config, &broker));
    match checked {
        Ok(()) => {
            broker.accounts().keep_default_user();
            check_anonymous_user(config, &broker);
            Ok(broker)
        }
        Err(why) => {
            broker.shutdown().map_err(StartError::Store)?;
            Err(why)
        }
    }
}

/// Nobody is to be given a password that everybody knows.
fn check_default_user(users: &Users) -> Result<(), StartError> {
    match (&users.default_user, &users.default_pass) {
        (Some(_), None) => Err(StartError::Settings("users.default_user needs users.default_pass")),
        _ => Ok(()),
    }
}

/// In new data the user that the settings name takes the place of the first one, or has its name
/// and another password.
fn add_default_user(config: &Config, broker: &Arc<Broker>) -> Result<(), StartError> {
    let Users { default_user, default_pass: Some(Secret(password)), default_vhost, .. } = &config.users
    else {
        return Ok(());
    };
    if !broker.accounts().is_fresh() || !broker.accounts().is_untouched() {
        return Ok(());
    }
    let name = default_user.as_deref().unwrap_or(DEFAULT_USER);
    let vhost = default_vhost.as_deref().unwrap_or("/");
    let caller = starting(broker, &"the default user");
    start_with(broker, Source::of_administrator(name, password, vhost), &caller)
        .map_err(|refusal| StartError::DefaultUser(refusal.to_string()))?;
    info!(vhost, "added the administrator '{name}'");
    Ok(())
}

fn define(config: &Config, broker: &Arc<Broker>) -> Result<(), StartError> {
    let Some(file) = &config.definitions else { return Ok(()) };
    let refused = |why: &dyn Display| StartError::Definitions { file: file.clone(), why: why.to_string() };
    let text = fs::read(file).map_err(|error| refused(&format_args!("cannot read it: {error}")))?;
    let source = Source::parse(&text).map_err(|error| refused(&error))?;
    let caller = starting(broker, &file.display());
    start_with(broker, source, &caller).map_err(|refusal| refused(&refusal))
}

/// The start as an operator, because of something in the settings.
fn starting(broker: &Broker, because_of: &dyn Display) -> Caller {
    let who = Requester::Operator(format!("the start, {because_of}"));
    Caller { who, now: broker.clock().now(), inquiry: None, samples: SamplesWanted::default(), rows: None }
}

/// Everybody knows the first user's password: with nobody else there, a broker that others can
/// reach is not meant to run. All listeners count: metrics need no password, but who opens that
/// port to others means to do so with this broker.
fn check_first_users(config: &Config, broker: &Broker) -> Result<(), StartError> {
    let is_public = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
    let mut listeners = config.amqp.iter().chain(&config.amqps).chain([&config.http]).chain(&config.https);
    match listeners.find(is_public) {
        Some(public) if !config.users.allow_default && broker.accounts().is_untouched() => {
            Err(StartError::Unguarded(*public))
        }
        Some(_) | None => Ok(()),
    }
}

/// It may be added later: until then nobody can log in by ANONYMOUS.
fn check_anonymous_user(config: &Config, broker: &Broker) {
    let Some(name) = &config.auth.anonymous_user else { return };
    if broker.users().list().iter().all(|user| user.name != *name) {
        warn!(user = name, "the user for ANONYMOUS logins does not exist: add it, or they are refused");
    }
}

fn settings(config: &Config) -> BrokerSettings {
    let Advertise { product, version } = config.advertise.clone();
    let (alarms, local_only) = (alarm_limits(config), config.users.local_only.clone());
    let anonymous_user = config.auth.anonymous_user.clone();
    BrokerSettings { product, version, local_only, anonymous_user, limits: config.limits.clone(), alarms }
}

fn alarm_limits(config: &Config) -> AlarmLimits {
    let none = AlarmLimits::default();
    AlarmLimits {
        memory_bytes: config.memory_limit.bytes_of(machine::memory_bytes()).unwrap_or(none.memory_bytes),
        disk_free_bytes: config.disk_free_limit.0,
    }
}

/// Looks whether a broker could start with these settings, as far as that is known without its
/// data.
///
/// # Errors
/// A certificate or key is of no use, or settings do not go together.
pub fn check(config: &Config) -> Result<(), StartError> {
    check_default_user(&config.users)?;
    let certificates = config.tls.clone().map(|tls| Certificates::read(tls, clock::mono_ms()));
    certificates.transpose().map_err(StartError::Tls).map(drop)
}

fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, StartError> {
    addresses.iter().copied().map(bind).collect()
}

fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    server::listen(address).map_err(|error| StartError::Listen { address, error })
}

fn ports(listeners: &[TcpListener]) -> Result<Vec<SocketAddr>, StartError> {
    listeners.iter().map(port).collect()
}

fn port(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    listener.local_addr().map_err(|error| StartError::Listen { address: unknown, error })
}

impl Addresses {
    /// What is spoken where, for those who ask by HTTP.
    fn listeners(&self) -> Vec<Listener> {
        let all = |protocol, addresses: &[SocketAddr]| -> Vec<Listener> {
            addresses.iter().map(|&address| Listener { protocol, address }).collect()
        };
        let https = all("https", self.https.as_slice());
        [all("amqp", &self.amqp), all("amqp/ssl", &self.amqps), all("http", &[self.http]), https].concat()
    }

    /// The same as [`Self::ready_line`] for programs.
    #[must_use]
    pub fn ready_json(&self, data_dir: &Path) -> Value {
        json!({
            "ready": true,
            "version": env!("CARGO_PKG_VERSION"),
            "amqp": self.amqp,
            "amqps": self.amqps,
            "http": self.http,
            "https": self.https,
            "data": data_dir.display().to_string(),
        })
    }

    /// The line that `leveret serve` prints once it accepts connections; scripts wait for it.
    #[must_use]
    pub fn ready_line(&self, data_dir: &Path) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let list = |addresses: &[SocketAddr]| {
            addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",")
        };
        let amqps =
            if self.amqps.is_empty() { String::new() } else { format!(" amqps={}", list(&self.amqps)) };
        let https = self.https.map(|address| format!(" https={address}")).unwrap_or_default();
        let (amqp, http, data) = (list(&self.amqp), self.http, data_dir.display());
        format!("leveret {version} ready amqp={amqp}{amqps} http={http}{https} data={data}")
    }
}

impl Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => error.fmt(f),
            Self::Listen { address, error } => {
                write!(f, "cannot listen on {address}: {error}")?;
                if error.kind() == io::ErrorKind::AddrInUse {
                    f.write_str("; stop what listens there, or choose another address (--amqp, --http)")?;
                }
                Ok(())
            }
            Self::Settings(why) => f.write_str(why),
            Self::Store(error) => error.fmt(f),
            Self::Definitions { file, why } => write!(f, "cannot import {}: {why}", file.display()),
            Self::DefaultUser(why) => write!(f, "cannot add the default user: {why}"),
            Self::Unguarded(address) => write!(
                f,
                "will not listen on {address} while guest with the password guest is the only user: listen on a \
                 loopback address first and change the password or add a user, or set users.allow_default = true"
            ),
        }
    }
}

impl std::error::Error for StartError {}

impl Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(error) = &self.error else { return f.write_str("the store has failed") };
        if self.while_stopping && error.is_full() {
            let lost = "what clients did last could not be written, and none of that was confirmed";
            return write!(f, "stopped on a full disk: {lost}; what was confirmed is on disk: {error}");
        }
        let what = if let StoreError::BrokerFault(_) = error { "broker" } else { "store" };
        let when = if self.while_stopping { " while stopping" } else { "" };
        let kept =
            if error.keeps_what_was_confirmed() { "; what was confirmed before is on disk" } else { "" };
        write!(f, "the {what} has failed{when}{kept}: {error}")
    }
}

impl std::error::Error for StopError {}
