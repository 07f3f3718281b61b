//! `leveret ctl`: the operator's command line, a client of the management API: by the socket in the
//! broker's data folder, or with a user and a password by a URL.
//!
//! Commands have the names and the arguments that rabbitmqctl gave them, in groups, a file each:
//! what was typed becomes a [`Request`], an operation of [`crate::admin`] and how its answer is to
//! be shown. A new group is a file and a line in `Command`.
//!
//! | file | holds |
//! |---|---|
//! | [`node`], [`users`], [`permissions`], [`vhosts`], [`policies`], [`objects`], [`parked`], [`clients`], [`definitions`] | the commands |
//! | [`target`], [`broker`] | which broker, and the conversation with it |
//! | [`table`], [`text`] | answers as tables, tab-separated lines and JSON |
//! | [`secret`] | passwords that are not on the command line |
//! | [`error`] | why a command did not do what it should |
//!
//! Not here: any decision about what may be done, which is the broker's.

pub mod broker;
pub mod clients;
pub mod definitions;
pub mod error;
pub mod node;
pub mod objects;
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

use self::broker::{Broker, Reply};
use self::table::{Columns, Style, Table};
use crate::admin::Operation;
use crate::api_client;
use clap::{Args, Subcommand};
use clap_complete::Shell;
use serde_json::Value;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

/// The vhost when none is named.
const VHOST: &str = "/";

/// Administer a running broker, as the user that runs it or as root
#[derive(Args, Debug, Clone)]
#[command(disable_help_subcommand = true)]
pub struct Options {
    #[command(flatten)]
    place: target::Location,
    #[command(flatten)]
    show: Show,
    /// Virtual host [default: /]
    #[arg(short = 'p', long, value_name = "VHOST", global = true)]
    vhost: Option<String>,
    #[command(subcommand)]
    command: Command,
}

/// How answers are shown.
#[derive(Args, Debug, Clone, Copy)]
struct Show {
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// Omit headers and informational text
    // Scripts for rabbitmqctl give several of these names at once.
    #[arg(
        short,
        long,
        alias = "silent",
        short_alias = 's',
        alias = "no-table-headers",
        overrides_with = "quiet",
        global = true
    )]
    quiet: bool,
}

#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
enum Command {
    #[command(flatten)]
    Node(node::Command),
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

impl Command {
    /// Whether it is about one vhost, which `-p` names. As in rabbitmqctl, `-p` is refused where it
    /// has no effect.
    fn has_vhost(&self) -> bool {
        match self {
            Self::Node(_) | Self::Users(_) | Self::Clients(_) | Self::Completions { .. } => false,
            Self::Permissions(command) => command.has_vhost(),
            Self::VHosts(command) => command.has_vhost(),
            Self::Definitions(command) => command.has_vhost(),
            Self::Policies(_) | Self::Objects(_) | Self::Parked(_) => true,
        }
    }
}

/// What a command asks of the broker, and how the answer is shown.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub operation: Operation,
    /// How it is shown.
    pub answer: Shown,
}

/// How an answer is shown.
#[derive(Debug)]
pub enum Shown {
    /// Nothing, or these words for people.
    Done(&'static str),
    /// How many messages it was done to.
    Messages(&'static str),
    /// How many parked messages were moved to this exchange and key, or back to their queue.
    Requeued(Option<(String, String)>),
    /// A thing with all its parts.
    Thing,
    /// JSON, into a file or to standard output.
    File(Option<PathBuf>),
    /// What an import came to.
    Imported,
    /// A list with these columns.
    List(Columns),
}

impl Request {
    /// A command that does something.
    fn done(operation: Operation, words: &'static str) -> Self {
        Self { operation, answer: Shown::Done(words) }
    }
}

/// Runs a command; `program` is the whole command line, for completions.
///
/// # Errors
/// Why the command failed.
pub fn run(options: Options, mut program: clap::Command) -> Result<(), CtlError> {
    let Options { place, show, vhost: typed, command } = options;
    if typed.is_some() && !command.has_vhost() {
        return Err(CtlError::Usage("--vhost has no effect on this command".to_owned()));
    }
    let vhost = typed.clone().unwrap_or_else(|| VHOST.to_owned());
    let request = match command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut program, "leveret", &mut script);
            return print(&script);
        }
        Command::Node(command) => command.request()?,
        Command::Users(command) => command.request()?,
        Command::Permissions(command) => command.request(vhost),
        Command::VHosts(command) => command.request(vhost)?,
        Command::Policies(command) => command.request(vhost)?,
        Command::Objects(command) => command.request(vhost)?,
        Command::Parked(command) => command.request(vhost)?,
        Command::Clients(command) => command.request()?,
        Command::Definitions(command) => command.request(typed)?,
    };
    let mut broker = Broker::connect(place.target()?, api_client::WAIT)?;
    match answer(&mut broker, request, show) {
        // What was to be deleted does not exist.
        Err(CtlError::Refused { status: 0, .. }) if show.quiet => Ok(()),
        Err(CtlError::Refused { status: 0, refusal }) => print(format!("{refusal}\n").as_bytes()),
        ended => ended,
    }
}

fn answer(broker: &mut Broker, request: Request, show: Show) -> Result<(), CtlError> {
    let Request { operation, answer: shown } = request;
    match (broker.perform(&operation)?, shown) {
        (Reply::Many(mut rows), Shown::List(columns)) => {
            let mut table = Table::new(columns, show.style(), !show.quiet);
            while let Some(row) = broker.row(&mut rows)? {
                print(&table.row(row))?;
            }
            print(&table.end())
        }
        (Reply::One(told), shown) => show.one(&told, shown),
        (Reply::Many(_), _) => Err(CtlError::Garbled("a list where none was asked for".to_owned())),
    }
}

impl Show {
    fn style(self) -> Style {
        match (self.json, io::stdout().is_terminal()) {
            (true, _) => Style::Json,
            (false, true) => Style::Aligned,
            (false, false) => Style::Tabs,
        }
    }

    /// Shows one thing.
    fn one(self, told: &Value, shown: Shown) -> Result<(), CtlError> {
        let complete = match &shown {
            Shown::Requeued(to) => parked::check_none_left(told, to.as_ref()),
            _ => Ok(()),
        };
        let text = match shown {
            Shown::File(file) => return definitions::write(told, file.as_deref()),
            _ if self.json => format!("{told}\n"),
            Shown::Done(words) if !self.quiet && !words.is_empty() => format!("{words}\n"),
            Shown::Messages(words) if !self.quiet => {
                format!("{words}: {}\n", told.get("messages").and_then(Value::as_u64).unwrap_or_default())
            }
            Shown::Requeued(_) if !self.quiet => format!("messages moved: {}\n", parked::moved(told)),
            Shown::Imported => definitions::imported(told, !self.quiet),
            Shown::Done(_) | Shown::Messages(_) | Shown::Requeued(_) | Shown::List(_) => String::new(),
            Shown::Thing => table::thing(told, self.style(), !self.quiet),
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
