//! `leveret ctl`: the operator's command line, a client of the management API: by the socket in the
//! broker's data folder, or with a user and a password by a URL.
//!
//! Commands have the names and the arguments that rabbitmqctl gave them, in groups, a file each:
//! what was typed becomes a [`Request`], an operation of [`crate::admin`] and how its answer is to
//! be shown. A new group is a file and a line in `Command`.
//!
//! | file | holds |
//! |---|---|
//! | [`node`], [`checks`], [`parameters`], [`users`], [`permissions`], [`vhosts`], [`policies`], [`objects`], [`messages`], [`parked`], [`clients`], [`definitions`] | the commands |
//! | [`names`] | which commands take `-p`, and commands of rabbitmqctl that do not exist here |
//! | [`backup`] | a copy of the data file as a file |
//! | [`target`], [`broker`] | which broker, and the conversation with it |
//! | [`table`], [`text`] | answers as tables, tab-separated lines and JSON |
//! | [`secret`] | passwords that are not on the command line |
//! | [`error`] | why a command did not do what it should |
//!
//! Not here: any decision about what may be done, which is the broker's.

pub mod backup;
pub mod broker;
pub mod checks;
pub mod clients;
pub mod definitions;
pub mod error;
pub mod messages;
pub mod names;
pub mod node;
pub mod objects;
pub mod parameters;
pub mod parked;
pub mod permissions;
pub mod policies;
pub mod secret;
pub mod table;
pub mod target;
pub mod text;
pub mod users;
pub mod vhosts;

pub use self::error::CtlError;

use self::backup::Backup;
use self::broker::{Broker, Reply};
use self::table::{Columns, Style, Table};
use crate::admin::Operation;
use crate::admin::node::NodeOperation;
use crate::api_client::{self, Endpoint, Method};
use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;
use serde_json::Value;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// The vhost when none is named.
const VHOST: &str = "/";

/// Administer a running broker, as the user that runs it or as root
#[derive(Args, Debug, Clone)]
pub struct Options {
    #[command(flatten)]
    place: target::Location,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    script: Script,
    /// Virtual host [default: /]
    #[arg(short = 'p', long, value_name = "VHOST", global = true)]
    vhost: Option<String>,
    #[command(subcommand)]
    command: names::Named,
}

/// How answers are shown.
#[derive(Args, Debug, Clone, Copy)]
#[command(next_help_heading = "Output options")]
pub struct Show {
    /// Print JSON, as --formatter json
    #[arg(long, global = true)]
    json: bool,
    /// Format of lists [default: columns on a terminal, tabs elsewhere]
    #[arg(long, value_name = "FORMAT", global = true)]
    formatter: Option<Formatter>,
    /// Omit informational text
    // Scripts for rabbitmqctl give several of these at once, or one twice.
    #[arg(short, long, overrides_with = "quiet", global = true)]
    quiet: bool,
    /// Omit the names of columns
    #[arg(long, overrides_with = "no_table_headers", global = true)]
    no_table_headers: bool,
    /// Omit both
    #[arg(short, long, overrides_with = "silent", global = true)]
    silent: bool,
}

/// Formats that rabbitmqctl has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Formatter {
    /// An array of objects
    Json,
    /// Tabs between columns
    Table,
    /// Commas between columns
    Csv,
    /// Lines around all cells
    PrettyTable,
}

/// What scripts for rabbitmqctl say beside that.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Connection options")]
struct Script {
    /// Seconds to wait for each part of the answer [default: 60]
    #[arg(short, long, value_name = "SECONDS", global = true)]
    timeout: Option<String>,
    /// Accepted for scripts: --data-dir or --url says which broker
    #[arg(short, long, value_name = "NODE", global = true)]
    node: Option<String>,
}

/// How long `await_startup` waits, where nothing is said.
const STARTUP_WAIT: Duration = Duration::from_secs(300);

/// How often it looks.
const STARTUP_EVERY: Duration = Duration::from_millis(250);

#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
enum Command {
    #[command(flatten)]
    Node(node::Command),
    #[command(flatten)]
    Checks(checks::Command),
    #[command(flatten)]
    Parameters(parameters::Command),
    /// Wait until the broker runs, 300 seconds or as --timeout says
    AwaitStartup,
    #[command(flatten)]
    Users(users::Command),
    #[command(flatten)]
    Permissions(permissions::Command),
    #[command(flatten)]
    VHosts(vhosts::Command),
    #[command(flatten)]
    Policies(policies::Command),
    #[command(flatten)]
    Objects(objects::Command),
    #[command(flatten)]
    Messages(messages::Command),
    #[command(flatten)]
    Parked(parked::Command),
    #[command(flatten)]
    Clients(clients::Command),
    #[command(flatten)]
    Definitions(definitions::Command),
    /// Print a shell's completion script: bash, zsh, fish, elvish, powershell
    Completions {
        /// Name of the shell
        shell: Shell,
    },
}

/// What a command asks of the broker, and how the answer is shown.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub asks: Asks,
    /// How it is shown.
    pub answer: Shown,
}

/// What is asked of the broker.
#[derive(Debug)]
pub enum Asks {
    /// An operation.
    Operation(Operation),
    /// A path of the API, with a body if there is one.
    Path(Method, String, Option<Value>),
    /// A path about something of a vhost, whose answer does not say what is missing: the vhost, or
    /// what these words say.
    PathIn {
        /// The method.
        method: Method,
        /// The path.
        path: String,
        /// The body, if there is one.
        body: Option<Value>,
        /// The vhost.
        vhost: String,
        /// What is missing if the vhost is there.
        missing: String,
    },
    /// Nothing: the answer is known.
    Nothing(Value),
}

/// How an answer is shown.
#[derive(Debug)]
pub enum Shown {
    /// Nothing, or these words for people.
    Done(&'static str),
    /// Nothing, and to whoever looks this about what was done, if anything.
    Noted(Option<String>),
    /// How many of something it was done to: its name in the answer, and words for people.
    Count(&'static str, &'static str),
    /// These words, if all is well.
    Checked(String),
    /// Whether the listeners of an overview can be connected to, each at its address or at this
    /// one.
    Listeners(Option<String>),
    /// The text that is the answer.
    Text,
    /// How many parked messages were moved to this exchange and key, or back to their queue.
    Requeued(Option<(String, String)>),
    /// A thing with all its parts.
    Thing,
    /// The broker's status, with where it is.
    Status,
    /// How the nodes of a cluster stand, with these columns.
    Cluster(Columns),
    /// JSON, into a file or to standard output.
    File(Option<PathBuf>),
    /// What an import came to.
    Imported,
    /// What an import would do.
    ImportPreview,
    /// What a policy would change, with these columns.
    Changes(Columns),
    /// A copy of the data file, into a file.
    Copy(PathBuf),
    /// A list with these columns.
    List(Columns),
    /// The same, of those in this vhost.
    ListIn(String, Columns),
    /// A page of messages, with these columns.
    Page(Columns),
    /// What came of a job, once it has ended.
    Job,
}

impl Request {
    /// A command that does something.
    fn done(operation: Operation, words: &'static str) -> Self {
        Self { asks: Asks::Operation(operation), answer: Shown::Done(words) }
    }

    /// A command whose answer is known.
    fn told(text: &str) -> Self {
        Self { asks: Asks::Nothing(Value::from(text)), answer: Shown::Text }
    }
}

/// Runs a command; `program` is the whole command line, for completions.
///
/// # Errors
/// Why the command failed.
pub fn run(options: Options, mut program: clap::Command) -> Result<(), CtlError> {
    let Options { place, show, script, vhost: typed, command } = options;
    if typed.is_some() && !command.has_vhost() {
        return Err(CtlError::Usage("--vhost has no effect on this command".to_owned()));
    }
    let wait = script.wait()?;
    let vhost = typed.clone().unwrap_or_else(|| VHOST.to_owned());
    let request = match command.command {
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut program, "leveret", &mut text);
            return print(&text);
        }
        Command::AwaitStartup => return await_startup(&place.target()?, wait.unwrap_or(STARTUP_WAIT)),
        Command::Node(command) => command.request()?,
        Command::Checks(command) => command.request(),
        Command::Parameters(command) => command.request(&vhost)?,
        Command::Users(command) => command.request()?,
        Command::Permissions(command) => command.request(vhost),
        Command::VHosts(command) => command.request(typed)?,
        Command::Policies(command) => command.request(vhost)?,
        Command::Objects(command) => command.request(vhost)?,
        Command::Messages(command) => command.request(vhost)?,
        Command::Parked(command) => command.request(vhost)?,
        Command::Clients(command) => command.request(typed)?,
        Command::Definitions(command) => command.request(typed)?,
    };
    if let Asks::Nothing(told) = &request.asks {
        return show.one(told, request.answer);
    }
    let mut broker = Broker::connect(place.target()?, wait.unwrap_or(api_client::WAIT))?;
    match answer(&mut broker, request, show) {
        // What was to be deleted does not exist.
        Err(CtlError::Refused { status: 0, .. }) if show.is_quiet() => Ok(()),
        Err(CtlError::Refused { status: 0, refusal }) => print(format!("{refusal}\n").as_bytes()),
        ended => ended,
    }
}

impl Script {
    /// How long the broker may say nothing, if that is said.
    fn wait(&self) -> Result<Option<Duration>, CtlError> {
        match self.timeout.as_deref() {
            None => Ok(None),
            Some("infinity") => Ok(Some(Duration::MAX)),
            Some(text) => {
                match text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
                    Some(wait) => Ok(Some(wait)),
                    None => Err(CtlError::Usage(format!("'{text}' is not a number of seconds"))),
                }
            }
        }
    }
}

/// Comes back once the broker answers.
fn await_startup(target: &Endpoint, wait: Duration) -> Result<(), CtlError> {
    let ping = Asks::Operation(Operation::Node(NodeOperation::Ping));
    let mut waited = Duration::ZERO;
    loop {
        let asked =
            Broker::connect(target.clone(), api_client::WAIT).and_then(|mut broker| broker.ask(&ping));
        match asked {
            Ok(_answer) => return Ok(()),
            Err(CtlError::NotRunning(_)) if waited < wait => {
                thread::park_timeout(STARTUP_EVERY);
                waited += STARTUP_EVERY;
            }
            Err(error) => return Err(error),
        }
    }
}

fn answer(broker: &mut Broker, request: Request, show: Show) -> Result<(), CtlError> {
    let Request { asks, answer: shown } = request;
    // Before the broker begins to copy.
    let copy = if let Shown::Copy(file) = &shown { Some(Backup::create(file)?) } else { None };
    match (broker.ask(&asks)?, shown) {
        (Reply::Many(mut rows), Shown::List(columns)) => {
            let mut table = show.table(columns);
            while let Some(row) = broker.row(&mut rows)? {
                print(&table.row(row))?;
            }
            print(&table.end())
        }
        (Reply::One(Value::Array(mut rows)), Shown::ListIn(vhost, columns)) => {
            rows.retain(|row| row["vhost"] == vhost.as_str());
            if rows.is_empty() {
                broker.check_vhost(&vhost)?;
            }
            show.rows(rows, columns)
        }
        (Reply::One(Value::Array(rows)), Shown::List(columns)) => show.rows(rows, columns),
        (Reply::One(mut told), Shown::Page(columns)) => match told["message_page"]["messages"].take() {
            Value::Array(messages) => show.rows(messages::with_ids(messages), columns),
            _ => Err(CtlError::Garbled("no messages".to_owned())),
        },
        (Reply::One(told), Shown::Changes(columns)) => {
            let (rows, more) = policies::previewed(&told);
            if more > 0 {
                // The rows are the answer.
                let _told = writeln!(io::stderr(), "leveret: {more} more are not listed");
            }
            show.rows(rows, columns)
        }
        (Reply::One(told), Shown::Status) => {
            let status = node::with_place(broker, told)?;
            show.one(&status, Shown::Thing)
        }
        (Reply::One(mut told), Shown::Cluster(columns)) => {
            let mut status = told["cluster_status"].take();
            if matches!(show.style(), Style::Json) {
                return show.one(&status, Shown::Thing);
            }
            if let Some(why) = status["waits_for"].as_str().filter(|_| !show.is_quiet()) {
                // The rows are the answer.
                let _told = writeln!(io::stderr(), "leveret: the node belongs to no cluster yet: {why}");
            }
            match status["nodes"].take() {
                Value::Array(nodes) => show.rows(nodes, columns),
                _ => Err(CtlError::Garbled("no nodes".to_owned())),
            }
        }
        (Reply::One(told), Shown::Job) => {
            let job = messages::wait_for(broker, told)?;
            show.one(&job, Shown::Count("moved", "messages moved"))
        }
        (Reply::Copy(mut parts), Shown::Copy(file)) => {
            let copy = copy.map_or_else(|| Backup::create(&file), Ok)?;
            let bytes = copy.write(|| broker.part(&mut parts))?;
            if !show.is_quiet() {
                // The copy is there, whether that is read or not.
                let _told = writeln!(io::stderr(), "leveret: wrote {} ({bytes} bytes)", file.display());
            }
            show.one(&Value::Null, Shown::Done(""))
        }
        (Reply::One(told), Shown::Noted(note)) => {
            if let Some(note) = note {
                // It is done, whether that is read or not.
                let _told = writeln!(io::stderr(), "leveret: {note}");
            }
            show.one(&told, Shown::Done(""))
        }
        (Reply::One(told), shown) => show.one(&told, shown),
        (Reply::Many(_) | Reply::Copy(_), _) => {
            Err(CtlError::Garbled("something else was asked for".to_owned()))
        }
    }
}

impl Show {
    fn is_quiet(self) -> bool {
        self.quiet || self.silent
    }

    fn has_headers(self) -> bool {
        !(self.no_table_headers || self.silent)
    }

    fn style(self) -> Style {
        match self.formatter {
            _ if self.json => Style::Json,
            Some(Formatter::Json) => Style::Json,
            Some(Formatter::Table) => Style::Tabs,
            Some(Formatter::Csv) => Style::Csv,
            Some(Formatter::PrettyTable) => Style::Boxes,
            None if io::stdout().is_terminal() => Style::Aligned,
            None => Style::Tabs,
        }
    }

    /// Prints rows that are all there.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn rows(self, rows: Vec<Value>, columns: Columns) -> Result<(), CtlError> {
        let mut table = self.table(columns);
        rows.into_iter().try_for_each(|row| print(&table.row(row)))?;
        print(&table.end())
    }

    fn table(self, columns: Columns) -> Table {
        if !columns.empty().is_empty() {
            let names = columns.empty().join(", ");
            let end = if columns.empty().len() == 1 { "the column is" } else { "these columns are" };
            // Whoever does not hear it sees that they are empty.
            let _told = writeln!(io::stderr(), "leveret: no value here for {names}: {end} empty");
        }
        Table::new(columns, self.style(), self.has_headers())
    }

    /// Shows one thing.
    fn one(self, told: &Value, shown: Shown) -> Result<(), CtlError> {
        let complete = match &shown {
            Shown::Requeued(to) => parked::check_none_left(told, to.as_ref()),
            Shown::ImportPreview => definitions::check_no_problems(told),
            _ => Ok(()),
        };
        let text = match shown {
            Shown::File(file) => return definitions::write(told, file.as_deref()),
            Shown::Listeners(address) => format!("{}\n", checks::connect(told, address.as_deref())?),
            _ if self.style() == Style::Json => format!("{told}\n"),
            Shown::Done(words) if !self.is_quiet() && !words.is_empty() => format!("{words}\n"),
            Shown::Count(name, words) if !self.is_quiet() => {
                format!("{words}: {}\n", told.get(name).and_then(Value::as_u64).unwrap_or_default())
            }
            Shown::Checked(words) if !self.is_quiet() => format!("{words}\n"),
            Shown::Text => match told.as_str() {
                Some("") | None => String::new(),
                Some(text) => format!("{text}\n"),
            },
            Shown::Requeued(_) if !self.is_quiet() => format!("messages moved: {}\n", parked::moved(told)),
            Shown::Imported => definitions::imported(told, !self.is_quiet()),
            Shown::ImportPreview => definitions::previewed(told, !self.is_quiet()),
            Shown::Done(_)
            | Shown::Noted(_)
            | Shown::Count(..)
            | Shown::Checked(_)
            | Shown::Requeued(_)
            | Shown::List(_)
            | Shown::ListIn(..)
            | Shown::Changes(_)
            | Shown::Page(_)
            | Shown::Status
            | Shown::Cluster(_)
            | Shown::Job
            | Shown::Copy(_) => String::new(),
            Shown::Thing => table::thing(told, self.style(), self.has_headers()),
        };
        print(text.as_bytes()).and(complete)
    }
}

/// Writes to standard output. Whoever reads it may have read enough: that is no fault.
fn print(bytes: &[u8]) -> Result<(), CtlError> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(CtlError::Unread),
        written => written.map_err(|error| CtlError::Output(error.to_string())),
    }
}
