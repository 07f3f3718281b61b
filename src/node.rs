//! A node: a running broker as a value.
//!
//! `leveret serve` runs one; a program or a test may start any number of them in its process, which
//! share nothing but the runtime. Order matters here. What can be refused is refused before
//! anything is touched: certificates, then the ports, then the data folder. On the way down sockets
//! go first, the store last.
//!
//! A node of a cluster ([`Config::cluster`]) has a broker as long as it leads: see `clustered`.

#[cfg(feature = "cluster")]
mod clustered;
mod serving;

use self::serving::{HttpPorts, Logs, Serving};
use crate::admin::definitions::{Source, start_with};
use crate::admin::{Caller, Requester};
use crate::audit::recent::RecentLines;
use crate::broker::accounts::DEFAULT_USER;
use crate::broker::{AlarmLimits, Broker, BrokerSettings, LogFilter};
use crate::clock::{self, Clock};
use crate::config::{Advertise, Config, Secret, Users};
use crate::http::{Listener, Socket};
use crate::machine;
use crate::server::{self, ListenerOptions, LogLines, Server, ShutdownReason};
use crate::statistics::SamplesWanted;
use crate::store::{self, Opened, StoreError};
use crate::tls::{BadFile, Certificates};
use serde_json::{Value, json};
use std::fmt::{self, Display};
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

/// How long connections may take to end when the node stops.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// A running broker. It serves until [`Node::shutdown`]. A node that is dropped instead ends its
/// connections and leaves its data as a crash does: what was confirmed is there.
pub struct Node {
    kind: Kind,
    addresses: Addresses,
    certificates: Option<Arc<Certificates>>,
}

/// What runs.
enum Kind {
    Alone(Alone),
    #[cfg(feature = "cluster")]
    OfCluster(clustered::Clustered),
}

/// A broker without a cluster.
struct Alone {
    serving: Serving,
    reason: ShutdownReason,
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
    Settings(String),
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
    /// Why a node could not go on that has not failed.
    refusal: Option<StartError>,
}

impl StopError {
    fn of(error: Option<StoreError>, while_stopping: bool) -> Self {
        Self { error, while_stopping, refusal: None }
    }
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
        check_settings(&config)?;
        let certificates = config.tls.clone().map(|tls| Certificates::read(tls, clock::mono_ms()));
        let certificates = certificates.transpose().map_err(StartError::Tls)?.map(Arc::new);
        let sockets = Sockets::bind(&config, certificates.clone())?;
        let addresses = sockets.addresses.clone();
        let kind = match &config.cluster {
            #[cfg(feature = "cluster")]
            Some(cluster) => {
                let cluster = cluster.clone();
                Kind::OfCluster(clustered::Clustered::start(config, &cluster, sockets).await?)
            }
            _ => Kind::Alone(Alone::start(config, sockets).await?),
        };
        Ok(Self { kind, addresses, certificates })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Publishes lines of the log to the exchange `amq.rabbitmq.log` from now on.
    pub fn publish_log(&mut self, lines: LogLines) {
        match &mut self.kind {
            Kind::Alone(alone) => {
                lines.target().set(&alone.serving.broker);
                alone.serving.tasks.spawn(lines.publish());
            }
            #[cfg(feature = "cluster")]
            Kind::OfCluster(cluster) => cluster.publish_log(lines),
        }
    }

    /// Has the last lines of the log shown to who may see them.
    pub fn show_log(&self, lines: RecentLines) {
        self.tell_of_log(&Logs { recent: Some(lines), ..Logs::default() });
    }

    /// Has operators set the filter of the log by this from now on.
    pub fn set_log_filter(&self, set: LogFilter) {
        self.tell_of_log(&Logs { filter: Some(set), ..Logs::default() });
    }

    fn tell_of_log(&self, logs: &Logs) {
        match &self.kind {
            Kind::Alone(alone) => logs.tell(&alone.serving.broker),
            #[cfg(feature = "cluster")]
            Kind::OfCluster(cluster) => cluster.tell_of_log(logs),
        }
    }

    /// Takes over what may change while the node runs: the limits of memory and disk, those of
    /// clients, which are logged, and which users are local only; and reads certificates again.
    /// What is wrong with those is logged, and then they stay as they were.
    pub fn reload(&self, config: &Config) {
        match &self.kind {
            Kind::Alone(Alone { serving, .. }) => reload(&serving.broker, serving.server(), config),
            #[cfg(feature = "cluster")]
            Kind::OfCluster(cluster) => cluster.reload(config),
        }
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
        match &mut self.kind {
            Kind::Alone(Alone { serving, reason }) => {
                serving.failed().await;
                *reason = ShutdownReason::StoreFailed;
            }
            #[cfg(feature = "cluster")]
            Kind::OfCluster(cluster) => cluster.failed().await,
        }
    }

    /// Stops: closes the listeners, ends all connections (320; 541 if it has failed) and closes the
    /// store. What takes longer than 5 s to end is cut. A node that leads a cluster hands it over.
    ///
    /// # Errors
    /// The node had failed, or the store cannot be closed in order. What was confirmed is on disk,
    /// unless the error says otherwise.
    pub fn shutdown(self) -> Work<'static, Result<(), StopError>> {
        Box::pin(self.stop())
    }

    async fn stop(self) -> Result<(), StopError> {
        match self.kind {
            Kind::Alone(alone) => alone.shutdown().await,
            #[cfg(feature = "cluster")]
            Kind::OfCluster(cluster) => cluster.shutdown().await,
        }
    }
}

impl Alone {
    async fn start(config: Config, sockets: Sockets) -> Result<Self, StartError> {
        let Sockets { amqp, amqps, http, https, addresses, certificates } = sockets;
        let opened = off_the_runtime(move || open(&config).map(|broker| (broker, config)));
        let (broker, config) = opened.await?;
        let http = HttpPorts {
            plain: http,
            tls: https,
            socket: operators_socket(&config),
            listeners: addresses.listeners(),
            certificates: certificates.clone(),
        };
        let mut serving = Serving::start(broker, &http, &config)?;
        for (options, listeners) in listener_options(&config, certificates).into_iter().zip([amqp, amqps]) {
            for listener in listeners {
                let server = Arc::clone(serving.server());
                serving.tasks.spawn(server::accept(server, listener, options.clone()));
            }
        }
        Ok(Self { serving, reason: ShutdownReason::Stop })
    }

    async fn shutdown(mut self) -> Result<(), StopError> {
        let reason = self.reason;
        match reason {
            ShutdownReason::Stop => info!("stopping"),
            ShutdownReason::StoreFailed => error!("stopping because the broker has failed"),
        }
        if !self.serving.end(reason, STOP_WAIT).await {
            warn!(seconds = STOP_WAIT.as_secs(), "closing connections that did not end in time");
        }
        let while_stopping = reason != ShutdownReason::StoreFailed;
        match self.serving.close().await {
            Err(error) => Err(StopError::of(Some(error), while_stopping)),
            Ok(()) if while_stopping => Ok(()),
            Ok(()) => Err(StopError::of(None, while_stopping)),
        }
    }
}

/// What a node listens on.
struct Sockets {
    amqp: Vec<TcpListener>,
    amqps: Vec<TcpListener>,
    http: StdListener,
    https: Option<StdListener>,
    addresses: Addresses,
    certificates: Option<Arc<Certificates>>,
}

impl Sockets {
    fn bind(config: &Config, certificates: Option<Arc<Certificates>>) -> Result<Self, StartError> {
        let (amqp, amqps) = (bind_all(&config.amqp)?, bind_all(&config.amqps)?);
        let http = bind(config.http)?;
        let https = config.https.map(bind).transpose()?;
        let addresses = Addresses {
            amqp: ports(&amqp)?,
            amqps: ports(&amqps)?,
            http: port(&http)?,
            https: https.as_ref().map(port).transpose()?,
        };
        let std = |listener: TcpListener, address| {
            listener.into_std().map_err(|error| StartError::Listen { address, error })
        };
        let http = std(http, addresses.http)?;
        let https = https.zip(addresses.https).map(|(https, address)| std(https, address)).transpose()?;
        Ok(Self { amqp, amqps, http, https, addresses, certificates })
    }
}

/// What is asked of those who come to the ports of AMQP, and of AMQP over TLS.
fn listener_options(config: &Config, certificates: Option<Arc<Certificates>>) -> [ListenerOptions; 2] {
    let plain = ListenerOptions { tls: None, proxies: config.proxy_protocol_from.clone().into() };
    let secure = ListenerOptions { tls: certificates, ..plain.clone() };
    [plain, secure]
}

/// The operators' socket, if it can be made.
fn operators_socket(config: &Config) -> Option<Arc<Socket>> {
    let socket = Socket::bind(&config.data_dir);
    let socket = socket.inspect_err(|why| warn!(error = why, "leveret ctl cannot reach this broker"));
    socket.ok().map(Arc::new)
}

/// Has a broker take over what may change while it runs.
fn reload(broker: &Broker, server: &Server, config: &Config) {
    let changed = broker.limits().get().changes(&config.limits);
    if !changed.is_empty() {
        broker.set_limits(config.limits.clone());
        server.reload_limits();
        info!(limits = changed.join(","), "limits of clients reloaded");
    }
    broker.alarms().set_limits(alarm_limits(config));
    broker.accounts().set_local_only(config.users.local_only.clone());
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
    begin(config, opened, settings(config))
}

/// Starts a broker on what the store has recovered, and takes in the definitions to start with.
fn begin(config: &Config, opened: Opened, settings: BrokerSettings) -> Result<Arc<Broker>, StartError> {
    let now = Clock::starting(opened.recovered.ahead_ms).now();
    let broker = Broker::start(opened, settings, now).map_err(StartError::Store)?;
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

/// Looks at what is known to be wrong with settings before anything is touched.
fn check_settings(config: &Config) -> Result<(), StartError> {
    check_default_user(&config.users)?;
    let Some(cluster) = &config.cluster else { return Ok(()) };
    if !cfg!(feature = "cluster") {
        let why = "this program was built without clusters, and [cluster] asks for one: build it with `cargo build \
                   --release --features cluster`";
        return Err(StartError::Settings(why.to_owned()));
    }
    cluster.read_secret().map(drop).map_err(StartError::Settings)
}

/// Nobody is to be given a password that everybody knows.
fn check_default_user(users: &Users) -> Result<(), StartError> {
    match (&users.default_user, &users.default_pass) {
        (Some(_), None) => {
            Err(StartError::Settings("users.default_user needs users.default_pass".to_owned()))
        }
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
    let limits = config.limits.clone();
    BrokerSettings { product, version, local_only, anonymous_user, limits, alarms, cluster: None }
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
    check_settings(config)?;
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
        if let Some(refusal) = &self.refusal {
            return refusal.fmt(f);
        }
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
