//! The `leveret` binary: the command line, and the life of the process from the first check to the last flush.
//!
//! Order matters here. What can be refused is refused before anything is touched: flags and file, then the ports,
//! then the data folder. On the way down sockets go first, the store last.

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use leveret::audit::Audit;
use leveret::broker::{AlarmLimits, Broker, BrokerSettings};
use leveret::clock;
use leveret::config::{Advertise, Config, Flags, LogFormat, misnamed_variables};
use leveret::manage::Caller;
use leveret::manage::definitions::{Source, start_with};
use leveret::server::{
    Certificates, Control, ListenerOptions, LogLines, LogSink, Server, ShutdownReason, log_exchange,
};
use leveret::store::StoreError;
use leveret::{ctl, http, perf, server, store};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::panic;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio::time::interval;
use tracing::{Level, Metadata, error, info, warn};
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::fmt::{MakeWriter, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, registry, reload};

/// Gives what is free back to the system within some seconds, by a thread of its own. That of glibc keeps most of a peak: what
/// many threads have freed, between what is still used.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long connections may take to end when the broker stops, and when its store has failed.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// How long the runtime may take to drop what is left after that.
const DROP_WAIT: Duration = Duration::from_secs(1);

/// Clients that wait in a listener's queue until they are accepted; more are not answered and try again a second later. Linux takes no
/// more unless it is told to (`net.core.somaxconn`).
const WAITING_MAX: u32 = 4096;

/// How often it is said how many log lines were left out.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Exit status for a command line or a file that is refused; clap uses the same.
const STATUS_USAGE: u8 = 2;
/// Exit status for everything else that ends the broker.
const STATUS_FAILURE: u8 = 1;

/// A message broker: AMQP 0-9-1 with RabbitMQ's semantics, one binary, one data file.
#[derive(Debug, Parser)]
#[command(name = "leveret", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker; what happens when no command is given
    Serve(Flags),
    /// Put load on any AMQP broker and measure it
    Perf(perf::Options),
    /// Ask and tell a running broker: the operator's commands
    Ctl(ctl::Options),
}

/// Why the process ends otherwise than asked.
struct Failure {
    line: String,
    status: u8,
}

fn main() -> ExitCode {
    let args = with_default_command(std::env::args_os().collect());
    let is_ctl = args.get(1).is_some_and(|command| command == "ctl");
    let outcome = match Cli::try_parse_from(args) {
        Ok(Cli { command: Command::Serve(flags) }) => serve(flags),
        Ok(Cli { command: Command::Perf(options) }) => perf::run(options).map_err(failure),
        Ok(Cli { command: Command::Ctl(options) }) => ctl::run(options, Cli::command())
            .map_err(|error| Failure { status: error.status(), line: error.to_string() }),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return if error.print().is_ok() { ExitCode::SUCCESS } else { STATUS_FAILURE.into() };
        }
        Err(error) => {
            let status = if is_ctl { ctl::error::STATUS_USAGE } else { STATUS_USAGE };
            Err(Failure { line: in_one_line(&error), status })
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // There is nobody left to tell when this cannot be written.
            let _told = writeln!(io::stderr(), "leveret: {}", failure.line);
            failure.status.into()
        }
    }
}

/// `leveret` and `leveret --flag` mean `leveret serve`.
fn with_default_command(mut args: Vec<OsString>) -> Vec<OsString> {
    let first = args.get(1).and_then(|first| first.to_str());
    let asks = matches!(first, Some("-h" | "--help" | "-V" | "--version"));
    if !asks && first.is_none_or(|first| first.starts_with('-')) {
        args.insert(args.len().min(1), "serve".into());
    }
    args
}

/// What clap says, without its advice, but for a name that is near: everything up to the first empty line.
fn in_one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let line = lines.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line).trim_end_matches(" found");
    let near = text.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
    let near = near.filter(|tip| tip.contains(" similar ")).map(|tip| format!("; {tip}"));
    format!("{line}{} (see leveret --help)", near.collect::<String>())
}

/// The broker, from start to end.
fn serve(flags: Flags) -> Result<(), Failure> {
    let config = Config::resolve(flags.clone()).map_err(usage)?;
    let (audit, filter, lines) = start_log(&config)?;
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    misnamed_variables(variables).iter().for_each(|what| warn!("{what}"));
    raise_descriptor_limit();
    let runtime = runtime::Builder::new_multi_thread()
        .thread_name("leveret")
        .enable_all()
        .build()
        .map_err(|error| failure(format_args!("cannot start threads: {error}")))?;
    runtime.spawn(report(audit.clone()));
    let (broker, reason) = runtime.block_on(run(&config, &Renewal { flags, filter }, lines))?;
    runtime.shutdown_timeout(DROP_WAIT);
    audit.report();
    let when = if reason == ShutdownReason::StoreFailed { "" } else { " while stopping" };
    broker.shutdown().map_err(|why| {
        let kept = if why.keeps_what_was_confirmed() { "; what was confirmed before is on disk" } else { "" };
        let what = if let StoreError::BrokerFault(_) = why { "broker" } else { "store" };
        failure(format_args!("the {what} has failed{when}{kept}: {why}"))
    })?;
    if reason == ShutdownReason::StoreFailed {
        return Err(failure("the store has failed"));
    }
    info!("stopped");
    Ok(())
}

/// Every connection is a file descriptor, and the limit that a process starts with is often 1024 for the sake of programs
/// that Leveret is not; it may raise it as far as the operator allows.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        warn!(%error, "the limit of open files stays at {:?}", limit.current);
    }
}

/// Serves until there is a reason to end, then ends all connections.
async fn run(
    config: &Config,
    renewal: &Renewal,
    lines: LogLines,
) -> Result<(Arc<Broker>, ShutdownReason), Failure> {
    let mut hang_up = on_signal(SignalKind::hangup())?;
    let mut terminate = on_signal(SignalKind::terminate())?;
    let mut interrupt = on_signal(SignalKind::interrupt())?;
    let certificates = config.tls.clone().map(|tls| Certificates::read(tls, clock::now()));
    let certificates = certificates.transpose().map_err(failure)?.map(Arc::new);
    let amqp = bind_all(&config.amqp)?;
    let amqps = bind_all(&config.amqps)?;
    let http = bind(config.http)?;
    let ready = ready_line(config, &amqp, &amqps, &http).map_err(failure)?;

    let opened =
        store::open(&config.data_dir, store::Options { repair: config.repair, ..store::Options::default() })
            .map_err(failure)?;
    clock::go_on(opened.recovered.ahead_ms);
    let broker = Broker::start(opened, settings(config), clock::now()).map_err(failure)?;
    define(config, &broker)?;
    check_first_users(config, &broker)?;
    let server = Server::new(Arc::clone(&broker));

    let mut accepting = JoinSet::new();
    let plain = ListenerOptions { tls: None, proxies: config.proxy_protocol_from.clone().into() };
    let secure = ListenerOptions { tls: certificates.clone(), ..plain.clone() };
    for (listeners, door) in [(amqp, plain), (amqps, secure)] {
        for listener in listeners {
            accepting.spawn(server::accept(Arc::clone(&server), listener, door.clone()));
        }
    }
    accepting.spawn(http::serve(http, Arc::clone(&broker)));
    accepting.spawn(lines.publish(Arc::clone(&broker)));
    match Control::bind(&config.data_dir) {
        Ok(control) => drop(accepting.spawn(server::serve_control(control, Arc::clone(&broker)))),
        Err(why) => warn!("leveret ctl will not reach this broker: {why}"),
    }
    info!("{ready}");
    if let Err(error) = writeln!(io::stdout(), "{ready}").and_then(|()| io::stdout().flush()) {
        warn!(%error, "cannot write the ready line");
    }

    let renewing = async {
        while hang_up.recv().await.is_some() {
            renewal.renew(config, certificates.as_deref());
        }
        pending().await
    };
    let mut timer = tokio::spawn(server::run_timer(Arc::clone(&server), config.data_dir.clone()));
    let reason = tokio::select! {
        biased;
        () = renewing => ShutdownReason::Stop,
        _ = terminate.recv() => ShutdownReason::Stop,
        _ = interrupt.recv() => ShutdownReason::Stop,
        // It ends by itself once the store has failed.
        ended = &mut timer => fail(&broker, "the timer", ended),
        Some(ended) = accepting.join_next() => fail(&broker, "a listener or a task beside it", ended),
    };
    info!(?reason, "stopping");
    timer.abort();
    accepting.shutdown().await;
    if !server.close(reason, STOP_WAIT).await {
        warn!("connections that did not end in {} s are cut", STOP_WAIT.as_secs());
    }
    Ok((broker, reason))
}

/// A task has ended without which the broker cannot go on: its log fails, if it has not yet.
fn fail(broker: &Broker, task: &str, ended: Result<(), JoinError>) -> ShutdownReason {
    let fault = match ended.map_err(JoinError::try_into_panic) {
        Err(Ok(panic)) => StoreError::panicked(task, &*panic),
        Ok(()) | Err(Err(_)) => StoreError::BrokerFault(format!("{task} has ended")),
    };
    broker.log().fail(fault);
    ShutdownReason::StoreFailed
}

/// Takes in the definitions that the operator starts the broker with.
fn define(config: &Config, broker: &Arc<Broker>) -> Result<(), Failure> {
    let Some(file) = &config.definitions else { return Ok(()) };
    let named = |why: &dyn Display| failure(format_args!("definitions of {}: {why}", file.display()));
    let text = fs::read(file).map_err(|error| named(&error))?;
    let source = Source::parse(&text).map_err(|error| named(&error))?;
    let caller = Caller { by: format!("the start, {}", file.display()), now: clock::now(), inquiry: None };
    start_with(broker, source, &caller).or_else(|refusal| {
        broker.shutdown().map_err(failure)?;
        Err(named(&refusal))
    })
}

/// Everybody knows the first user's password: with nobody else there, a broker that others can reach is not meant to run. All
/// listeners count: metrics need no password, but who opens that port to others means to do so with this broker.
fn check_first_users(config: &Config, broker: &Broker) -> Result<(), Failure> {
    let is_public = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
    let mut listeners = config.amqp.iter().chain(&config.amqps).chain([&config.http]);
    let Some(public) = listeners.find(is_public) else { return Ok(()) };
    if config.users.allow_default || !broker.accounts().is_untouched() {
        return Ok(());
    }
    broker.shutdown().map_err(failure)?;
    Err(failure(format_args!(
        "will not listen on {public} while guest with the password guest is the only user: change the password or add a \
         user on a loopback address first, or set users.allow_default = true"
    )))
}

/// What of the settings can be read again while the broker runs: by SIGHUP, the log filter and certificates.
struct Renewal {
    flags: Flags,
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Renewal {
    /// Reads it again. What is wrong with it is logged, and then it stays as it was.
    fn renew(&self, config: &Config, certificates: Option<&Certificates>) {
        info!("SIGHUP: reads the log filter and certificates again");
        match Config::resolve(self.flags.clone()) {
            Ok(read) => {
                match log_filter(&read.log).and_then(|filter| self.filter.reload(filter).map_err(failure)) {
                    Ok(()) => info!("the log filter is now '{}'", read.log),
                    Err(Failure { line, .. }) => error!("the log filter stays as it was: {line}"),
                }
                if (Config { log: config.log.clone(), ..read }) != *config {
                    warn!("other settings that have changed take effect at the next start");
                }
            }
            Err(why) => error!("settings stay as they were: {why}"),
        }
        if let Some(certificates) = certificates {
            certificates.read_again(clock::now());
        }
    }
}

fn settings(config: &Config) -> BrokerSettings {
    let Advertise { product, version } = config.advertise.clone();
    let none = AlarmLimits::default();
    let alarms = AlarmLimits {
        memory_bytes: config.memory_limit.bytes_of(server::memory_bytes()).unwrap_or(none.memory_bytes),
        disk_free_bytes: config.disk_free_limit.bytes_of(None).unwrap_or(none.disk_free_bytes),
    };
    let local_only = config.users.local_only.clone();
    let anonymous_user = config.auth.anonymous_user.clone();
    BrokerSettings { product, version, local_only, anonymous_user, limits: config.limits.clone(), alarms }
}

fn on_signal(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| failure(format_args!("cannot wait for signals: {error}")))
}

fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Failure> {
    addresses.iter().copied().map(bind).collect()
}

fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let bound = socket.and_then(|socket| {
        // A port is free again at once, although connections of a broker before this one are still known to the system.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(WAITING_MAX)
    });
    bound.map_err(|error| failure(format_args!("cannot listen on {address}: {error}")))
}

/// What scripts wait for: the ports as they are, which matters for port 0.
fn ready_line(
    config: &Config,
    amqp: &[TcpListener],
    amqps: &[TcpListener],
    http: &TcpListener,
) -> io::Result<String> {
    let (version, amqp, http) = (env!("CARGO_PKG_VERSION"), ports(amqp)?, http.local_addr()?);
    let amqps = if amqps.is_empty() { String::new() } else { format!(" amqps={}", ports(amqps)?) };
    let data = config.data_dir.display();
    Ok(format!("leveret {version} ready amqp={amqp}{amqps} http={http} data={data}"))
}

fn ports(listeners: &[TcpListener]) -> io::Result<String> {
    let ports = listeners.iter().map(|listener| Ok(listener.local_addr()?.to_string()));
    Ok(ports.collect::<io::Result<Vec<_>>>()?.join(","))
}

fn log_filter(text: &str) -> Result<EnvFilter, Failure> {
    let filter = EnvFilter::builder().parse(text);
    filter.map_err(|error| usage(format_args!("'{text}' is not a log filter: {error}")))
}

fn start_log(config: &Config) -> Result<(Audit, reload::Handle<EnvFilter, Registry>, LogLines), Failure> {
    let (filter, handle) = reload::Layer::new(log_filter(&config.log)?);
    // A log that cannot be written (whoever read it is gone) must not end the broker.
    let lines = layer().with_writer(io::stderr).log_internal_errors(false);
    let (sink, published) = log_exchange();
    let wanted = sink.clone();
    let copies = layer().with_writer(LogCopies(sink)).with_ansi(false).log_internal_errors(false);
    let (lines, copies) = match config.log_format {
        LogFormat::Text => (lines.with_ansi(io::stderr().is_terminal()).boxed(), copies.boxed()),
        LogFormat::Json => (lines.json().boxed(), copies.json().boxed()),
    };
    let copies = copies.with_filter(dynamic_filter_fn(move |line, _| wanted.wants(*line.level())));
    let audit = Audit::default();
    registry().with(filter).with(audit.clone()).with(lines).with(copies).init();
    // A panic is a fault of the broker: it belongs into the log, in the log's format, wherever it happens.
    panic::set_hook(Box::new(|panic| {
        if !store::explains_panic(panic) {
            error!(backtrace = %std::backtrace::Backtrace::capture(), "{panic}");
        }
    }));
    Ok((audit, handle, published))
}

/// Lines of the log on their way to the exchange for them.
struct LogCopies(LogSink);

/// One of them.
struct LogCopy<'a> {
    sink: &'a LogSink,
    level: Level,
}

impl<'a> MakeWriter<'a> for LogCopies {
    type Writer = LogCopy<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LogCopy { sink: &self.0, level: Level::INFO }
    }

    fn make_writer_for(&'a self, line: &Metadata<'_>) -> Self::Writer {
        LogCopy { sink: &self.0, level: *line.level() }
    }
}

impl Write for LogCopy<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.sink.offer(self.level, &String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says now and then how many log lines were left out.
async fn report(audit: Audit) {
    let mut times = interval(REPORT_EVERY);
    loop {
        times.tick().await;
        audit.report();
    }
}

fn usage(line: impl Display) -> Failure {
    Failure { line: line.to_string(), status: STATUS_USAGE }
}

fn failure(line: impl Display) -> Failure {
    Failure { line: line.to_string(), status: STATUS_FAILURE }
}
