//! The `leveret` binary: reads the command line, starts the log and a node, and waits for a signal.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};
use leveret::audit::Audit;
use leveret::audit::recent::RecentLines;
use leveret::config::rabbitmq::{self, Imported};
use leveret::config::{Config, Flags, LogFormat, documented, log_filter, misnamed_variables};
use leveret::ctl::CtlError;
use leveret::near::did_you_mean;
use leveret::node::{self, Node, StartError};
use leveret::server::{LogLines, LogSink, log_exchange};
use leveret::{ctl, perf, store, top};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use serde_json::json;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::panic;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::interval;
use tracing::{Level, Metadata, error, info, warn};
use tracing_subscriber::filter::{ParseError, Targets, dynamic_filter_fn};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{MakeWriter, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, registry, reload};

/// Returns free memory to the system within some seconds, by a thread of its own. glibc's allocator
/// keeps most of a peak: what many threads have freed lies between what is still in use.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long the runtime may take to drop what is left when the broker has stopped.
const DROP_WAIT: Duration = Duration::from_secs(1);

/// How often the number of omitted log lines is logged.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Exit status for a command line, or a file of settings, a certificate or a key that is refused;
/// clap uses the same.
const STATUS_USAGE: u8 = 2;
/// Exit status for everything else that ends the broker.
const STATUS_FAILURE: u8 = 1;

/// A message broker: AMQP 0-9-1 with RabbitMQ's semantics, one binary, one data file
#[derive(Debug, Parser)]
#[command(
    name = "leveret",
    version,
    override_usage = "leveret [COMMAND] [OPTIONS]",
    after_help = "Without a command, leveret runs the broker and takes the options of leveret serve."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker (the default)
    Serve(Flags),
    /// Put load on any AMQP broker and measure it
    #[command(version)]
    Perf(perf::Options),
    /// Administer a running broker
    #[command(version)]
    Ctl(ctl::Options),
    /// Watch a running broker: queues, connections, the node
    #[command(version)]
    Top(top::Options),
    /// Make a data file from a copy that leveret ctl backup made
    Restore(Restore),
    /// Print a settings file with every key, its default and what it means
    Config,
    /// Print RabbitMQ's settings (rabbitmq.conf) as a settings file; reports ignored settings on
    /// standard error
    ImportConfig {
        /// The file; - is standard input
        file: PathBuf,
    },
}

/// Where a copy is, and where its data go.
#[derive(Debug, Args)]
struct Restore {
    /// The copy
    file: PathBuf,
    /// Folder for the data, without a data file [default: leveret-data]
    #[arg(long, value_name = "DIR", env = "LEVERET_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Settings file of the broker, which may name the data folder
    #[arg(long, value_name = "FILE", env = "LEVERET_CONFIG")]
    config: Option<PathBuf>,
    /// Print nothing on success
    #[arg(short, long)]
    quiet: bool,
}

/// Why the process fails: a line for standard error, and an exit status.
struct Failure {
    line: String,
    status: u8,
    /// As that of the log, once it is known.
    format: LogFormat,
}

fn main() -> ExitCode {
    let args = with_default_command(std::env::args_os().collect());
    let is_client = args.get(1).is_some_and(|command| command == "ctl" || command == "top");
    let outcome = match Cli::try_parse_from(&args) {
        Ok(Cli { command: Command::Serve(flags) }) => serve(flags),
        Ok(Cli { command: Command::Perf(options) }) => perf::run(options).map_err(failure),
        Ok(Cli { command: Command::Restore(restore) }) => restore.run(),
        Ok(Cli { command: Command::Config }) => print(&documented()),
        Ok(Cli { command: Command::ImportConfig { file } }) => import_config(&file),
        Ok(Cli { command: Command::Ctl(options) }) => {
            ctl::run(options, Cli::command()).map_err(|error| refused(&error))
        }
        Ok(Cli { command: Command::Top(options) }) => top::run(options).map_err(|error| refused(&error)),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return if error.print().is_ok() { ExitCode::SUCCESS } else { STATUS_FAILURE.into() };
        }
        Err(error) => {
            let status = if is_client { ctl::error::STATUS_USAGE } else { STATUS_USAGE };
            Err(Failure { status, ..failure(in_one_line(&error, &args)) })
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { line, status, .. }) if line.is_empty() => status.into(),
        Err(Failure { line, status, format: LogFormat::Text }) => {
            // When this cannot be written, nobody is left to read it.
            let _told = writeln!(io::stderr(), "leveret: {line}");
            status.into()
        }
        Err(Failure { line, status, format: LogFormat::Json }) => {
            let line = json!({"level": "ERROR", "fields": {"message": line, "status": status}});
            let _told = writeln!(io::stderr(), "{line}");
            status.into()
        }
    }
}

impl Restore {
    fn run(self) -> Result<(), Failure> {
        let Self { file, data_dir, config, quiet } = self;
        let config = Config::resolve(Flags { data_dir, config, ..Flags::default() }).map_err(usage)?;
        let made = store::restore(&file, &config.data_dir).map_err(failure)?;
        if !quiet {
            // The file is there, whether that is read or not.
            let _told =
                writeln!(io::stderr(), "leveret: restored {} from {}", made.display(), file.display());
        }
        Ok(())
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

/// The first paragraph of clap's message as one line, with the names that were probably meant and
/// the help that lists them.
fn in_one_line(error: &clap::Error, args: &[OsString]) -> String {
    let mut path = "leveret".to_owned();
    let mut command = &Cli::command();
    for arg in args.iter().skip(1) {
        if let Some(found) = arg.to_str().and_then(|arg| command.find_subcommand(arg)) {
            path = format!("{path} {}", found.get_name());
            command = found;
        }
    }
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(name)) => name.as_str(),
        _ => "",
    };
    let near = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = named(ContextKind::InvalidSubcommand);
            if let Some(instead) = ctl::names::instead_of(name).filter(|_| command.get_name() == "ctl") {
                return format!("there is no command '{name}': {instead} (see {path} --help)");
            }
            did_you_mean(name, command.get_subcommands().map(clap::Command::get_name))
        }
        ErrorKind::UnknownArgument => {
            let known = command.get_arguments().filter_map(|flag| Some(format!("--{}", flag.get_long()?)));
            did_you_mean(named(ContextKind::InvalidArg), known)
        }
        _ => String::new(),
    };
    let text = error.to_string();
    let lines: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let line = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            "a command is missing".to_owned()
        }
        _ => lines.join(" ").replace("invalid digit found in string", "not a whole number"),
    };
    let line = line.strip_prefix("error: ").unwrap_or(&line).trim_end_matches(" found");
    format!("{line}{near} (see {path} --help)")
}

/// The broker, from start to end.
fn serve(flags: Flags) -> Result<(), Failure> {
    if let Some(file) = flags.check_config.clone() {
        let config = Config::resolve(Flags { config: Some(file.clone()), ..flags }).map_err(usage)?;
        node::check(&config).map_err(|why| usage(format_args!("{}: {why}", file.display())))?;
        return print(&format!("{} can be used\n", file.display()));
    }
    // Until it is known how the log is written, faults are text.
    let config = Config::resolve(flags.clone()).map_err(usage)?;
    let format = config.log_format;
    serve_as(flags, config).map_err(|failure| Failure { format, ..failure })
}

/// Prints a text.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|error| failure(format_args!("cannot write to standard output: {error}")))
}

fn import_config(file: &Path) -> Result<(), Failure> {
    let read =
        if file == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) };
    let conf = read.map_err(|error| usage(format_args!("cannot read {}: {error}", file.display())))?;
    let Imported { toml, left, faults } = rabbitmq::import(&conf);
    for left in left {
        // What came of the rest is of use without it.
        let _told = writeln!(io::stderr(), "not taken over: {left}");
    }
    if !faults.is_empty() {
        return Err(usage(format_args!("{}: {}", file.display(), faults.join("; "))));
    }
    print(&toml)
}

fn serve_as(flags: Flags, config: Config) -> Result<(), Failure> {
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
    let outcome = runtime.block_on(run(config, &Reload { flags, filter }, lines));
    runtime.shutdown_timeout(DROP_WAIT);
    audit.report();
    outcome?;
    info!("stopped");
    Ok(())
}

/// Raises the limit of open files as far as the operator allows: every connection is a file, and
/// the limit that a process starts with is often 1024, for the sake of programs that use `select`.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        warn!(%error, limit = limit.current, "cannot raise the limit of open files");
    }
}

/// Runs a node until a signal or a fault ends it, then stops it.
async fn run(config: Config, reload: &Reload, lines: Lines) -> Result<(), Failure> {
    let mut hang_up = on_signal(SignalKind::hangup())?;
    let mut terminate = on_signal(SignalKind::terminate())?;
    let mut interrupt = on_signal(SignalKind::interrupt())?;
    let mut node = Node::start(config.clone()).await.map_err(|error| match error {
        StartError::Tls(_) | StartError::Settings(_) => reload.in_file(&error),
        error => failure(error),
    })?;
    node.publish_log(lines.published);
    node.show_log(lines.recent);
    let filter = reload.filter.clone();
    node.set_log_filter(Arc::new(move |text| set_filter(&filter, text).map_err(|failure| failure.line)));
    let ready = node.addresses().ready_line(&config.data_dir);
    info!("{ready}");
    let line = match config.log_format {
        LogFormat::Text => ready,
        LogFormat::Json => node.addresses().ready_json(&config.data_dir).to_string(),
    };
    if let Err(error) = writeln!(io::stdout(), "{line}").and_then(|()| io::stdout().flush()) {
        warn!(%error, "cannot write the ready line");
    }
    tell_systemd(&[NotifyState::Ready]);
    let watchdog = sd_notify::watchdog_enabled().map(|time| time / 2);
    let mut alive = interval(watchdog.unwrap_or(REPORT_EVERY));
    loop {
        tokio::select! {
            biased;
            Some(()) = hang_up.recv() => {
                tell_systemd(&NotifyState::monotonic_usec_now().map(|now| vec![NotifyState::Reloading, now]).unwrap_or_default());
                reload.reload(&config, &node);
                tell_systemd(&[NotifyState::Ready]);
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = node.failed() => break,
            _ = alive.tick(), if watchdog.is_some() => tell_systemd(&[NotifyState::Watchdog]),
        }
    }
    tell_systemd(&[NotifyState::Stopping]);
    node.shutdown().await.map_err(failure)
}

/// Tells systemd how the broker stands, if that is who started it (`Type=notify`).
fn tell_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot tell systemd");
    }
}

/// What SIGHUP reloads.
struct Reload {
    flags: Flags,
    filter: reload::Handle<Targets, Registry>,
}

impl Reload {
    /// A fault of the settings, with the file that has them.
    fn in_file(&self, why: &StartError) -> Failure {
        match &self.flags.config {
            Some(file) => usage(format_args!("{}: {why}", file.display())),
            None => usage(why),
        }
    }

    /// Reloads them. What cannot be used is logged, and what was in effect stays.
    fn reload(&self, config: &Config, node: &Node) {
        info!("SIGHUP: reloading the settings and the certificates");
        match Config::resolve(self.flags.clone()) {
            Ok(read) => {
                match set_filter(&self.filter, &read.log) {
                    Ok(()) => info!(filter = read.log, "log filter reloaded"),
                    Err(Failure { line, .. }) => error!(error = line, "log filter not reloaded"),
                }
                node.reload(&read);
                info!(
                    memory_limit = %read.memory_limit,
                    disk_free_limit = read.disk_free_limit.0,
                    local_only = read.users.local_only.join(","),
                    "limits of memory and disk and local users reloaded"
                );
                let keys = config.changes_for_next_start(&read);
                if !keys.is_empty() {
                    warn!(keys, "changed settings that take effect at the next start");
                }
                if let Err(error) = node::check(&read) {
                    error!(%error, "the next start would be refused with these settings");
                }
            }
            Err(error) => {
                error!(%error, "settings not reloaded");
                node.reload_certificates();
            }
        }
    }
}

fn set_filter(handle: &reload::Handle<Targets, Registry>, text: &str) -> Result<(), Failure> {
    targets(text).and_then(|filter| handle.reload(filter).map_err(failure))
}

fn on_signal(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| failure(format_args!("cannot wait for signals: {error}")))
}

fn targets(filter: &str) -> Result<Targets, Failure> {
    log_filter(filter).map_err(usage)?.parse().map_err(|error: ParseError| usage(error))
}

fn start_log(config: &Config) -> Result<(Audit, reload::Handle<Targets, Registry>, Lines), Failure> {
    let (filter, handle) = reload::Layer::new(targets(&config.log)?);
    let lines_to = |writer: BoxMakeWriter, ansi: bool| {
        // A log that cannot be written (whoever read it is gone) must not end the broker.
        let lines = layer().with_writer(writer).with_ansi(ansi).log_internal_errors(false);
        match config.log_format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().boxed(),
        }
    };
    let (sink, published) = log_exchange();
    let wanted = sink.clone();
    let copies = lines_to(BoxMakeWriter::new(LogCopies(sink)), false)
        .with_filter(dynamic_filter_fn(move |line, _| wanted.wants(*line.level())));
    let lines = lines_to(BoxMakeWriter::new(io::stderr), io::stderr().is_terminal());
    let (audit, recent) = (Audit::default(), RecentLines::default());
    let seen = vec![lines, copies.boxed(), recent.clone().boxed()];
    registry().with(filter).with(audit.clone()).with(seen).init();
    // A panic is a fault of the broker: it belongs into the log, in the log's format, wherever it
    // happens.
    panic::set_hook(Box::new(|panic| {
        if !store::explains_panic(panic) {
            error!(backtrace = %std::backtrace::Backtrace::capture(), "{panic}");
        }
    }));
    Ok((audit, handle, Lines { published, recent }))
}

/// Lines of the log, for whoever sees them by way of the broker.
struct Lines {
    published: LogLines,
    recent: RecentLines,
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

/// Logs now and then how many log lines were omitted.
async fn report(audit: Audit) {
    let mut times = interval(REPORT_EVERY);
    loop {
        times.tick().await;
        audit.report();
    }
}

fn usage(line: impl Display) -> Failure {
    Failure { status: STATUS_USAGE, ..failure(line) }
}

/// Why a client of the broker ends. Where nobody reads its answer any more, it says so to nobody,
/// as other programs in front of `head`.
fn refused(error: &CtlError) -> Failure {
    let line = if matches!(error, CtlError::Unread) { String::new() } else { error.to_string() };
    Failure { status: error.status(), ..failure(line) }
}

fn failure(line: impl Display) -> Failure {
    Failure { line: line.to_string(), status: STATUS_FAILURE, format: LogFormat::Text }
}
