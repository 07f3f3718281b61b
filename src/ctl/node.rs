//! Commands about the broker as a whole.

use super::broker::{Broker, Reply};
use super::error::CtlError;
use super::table::Columns;
use super::{Asks, Request, Shown};
use crate::admin::damage::DamagedRow;
use crate::admin::node::{MEM_RELATIVE, NodeOperation, may_hold_copy};
use crate::admin::{Operation, columns_of};
use crate::api_client::Method;
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// Check that the broker answers
    Ping,
    /// Show the broker's status
    Status,
    /// List the nodes of the cluster: who leads, and how far the others are behind
    ClusterStatus {
        /// Columns, such as name, role, running, lag, address
        columns: Vec<String>,
    },
    /// List messages that are damaged on disk and not delivered; the column records exports their
    /// bytes
    ListDamaged {
        /// Columns, such as queue, vhost, queue_id, first, messages, bytes, records
        columns: Vec<String>,
    },
    /// Copy the data file while the broker works, with everything that is confirmed when it begins;
    /// leveret restore makes a data file of the copy
    Backup {
        /// File to write
        file: PathBuf,
        /// Replace the file if it is such a copy, or empty
        #[arg(long)]
        force: bool,
    },
    /// Set the level of the log, until the broker is started or reloaded
    SetLogLevel {
        /// A level, or levels by module as in info,leveret::server=debug
        level: String,
    },
    /// Set the memory use above which publishers are blocked, until the broker is started or
    /// reloaded
    SetVmMemoryHighWatermark {
        /// A share of the machine's memory, as in 0.6; or the word absolute, then bytes
        #[arg(num_args = 1..=2, required = true)]
        limit: Vec<String>,
    },
    /// Set the free disk space below which publishers are blocked, until the broker is started or
    /// reloaded
    SetDiskFreeLimit {
        /// Bytes, as in 1GB; or mem_relative and a multiple of the machine's memory, as in 1.5
        #[arg(num_args = 1..=2, required = true)]
        limit: Vec<String>,
    },
    /// Close the listeners for AMQP; clients that are connected stay
    SuspendListeners,
    /// Open the listeners for AMQP again
    ResumeListeners,
    /// Do nothing: the log goes to standard error, where another program rotates it
    RotateLogs,
    /// Print the version of this program
    Version,
}

/// What there is to tell of a node.
const NODES_USUAL: [&str; 5] = ["name", "role", "running", "lag", "address"];

/// All but what may be large.
const DAMAGED_USUAL: [&str; 6] = ["queue", "vhost", "queue_id", "first", "messages", "bytes"];

impl Command {
    /// What it asks for.
    ///
    /// # Errors
    /// What was typed cannot be meant, or the file of a copy exists.
    pub fn request(self) -> Result<Request, CtlError> {
        let (operation, answer) = match self {
            Self::Ping => (NodeOperation::Ping, Shown::Done("Ping succeeded")),
            Self::Status => (NodeOperation::Status, Shown::Status),
            Self::ClusterStatus { columns } => {
                let columns = Columns::chosen(&columns, &NODES_USUAL, &NODES_USUAL, &[])?;
                (NodeOperation::ClusterStatus, Shown::Cluster(columns))
            }
            Self::Backup { file, force } => {
                let refused = |why| Err(CtlError::File(format!("{} {why}", file.display())));
                if file.exists() {
                    if !force {
                        return refused("exists: choose another name, or replace it with --force");
                    }
                    if !may_hold_copy(&file) {
                        return refused(
                            "is no copy that leveret ctl backup made, and stays as it is: choose another name",
                        );
                    }
                }
                (NodeOperation::Backup, Shown::Copy(file))
            }
            Self::SetLogLevel { level } => {
                // As RabbitMQ calls them.
                let level = match level.as_str() {
                    "warning" => "warn".to_owned(),
                    "critical" | "alert" | "emergency" => "error".to_owned(),
                    "notice" => "info".to_owned(),
                    "none" => "off".to_owned(),
                    _ => level,
                };
                (NodeOperation::SetLogLevel { level }, Shown::Done(""))
            }
            Self::SetVmMemoryHighWatermark { limit } => {
                let limit = match limit.as_slice() {
                    // All memory, or none: without its point it would be bytes.
                    [limit] if limit == "1" || limit == "0" => format!("{limit}.0"),
                    [limit] => limit.clone(),
                    [word, limit] if word == "absolute" => limit.clone(),
                    _ => {
                        return Err(CtlError::Usage(
                            "the limit is a share, or absolute and bytes".to_owned(),
                        ));
                    }
                };
                (NodeOperation::SetVmMemoryHighWatermark { limit }, Shown::Done(""))
            }
            Self::SetDiskFreeLimit { limit } => {
                let limit = match limit.as_slice() {
                    [limit] => limit.clone(),
                    [word, multiple] if word == MEM_RELATIVE => format!("{word} {multiple}"),
                    _ => {
                        return Err(CtlError::Usage(format!(
                            "the limit is bytes, or {MEM_RELATIVE} and a multiple of the memory"
                        )));
                    }
                };
                (NodeOperation::SetDiskFreeLimit { limit }, Shown::Done(""))
            }
            Self::SuspendListeners => (NodeOperation::SuspendListeners, Shown::Done("")),
            Self::ResumeListeners => (NodeOperation::ResumeListeners, Shown::Done("")),
            Self::RotateLogs => return Ok(Request::told("")),
            Self::Version => return Ok(Request::told(env!("CARGO_PKG_VERSION"))),
            Self::ListDamaged { columns } => {
                let records = columns.iter().any(|column| column == "records");
                let columns = Columns::chosen(&columns, &DAMAGED_USUAL, columns_of::<DamagedRow>(), &[])?;
                (NodeOperation::ListDamaged { records }, Shown::List(columns))
            }
        };
        Ok(Request { asks: Asks::Operation(Operation::Node(operation)), answer })
    }
}

/// The status with the name of the node and where it listens, which its HTTP server knows, and with
/// its data folder, if that is how it was found.
///
/// # Errors
/// The broker is gone.
pub fn with_place(broker: &mut Broker, mut told: Value) -> Result<Value, CtlError> {
    let Reply::One(overview) = broker.ask(&Asks::Path(Method::GET, "/api/overview".to_owned(), None))? else {
        return Err(CtlError::Garbled("no overview".to_owned()));
    };
    let listener = |listener: &Value| {
        json!({
            "protocol": listener["protocol"],
            "address": listener["ip_address"],
            "port": listener["port"],
        })
    };
    let status = &mut told["status"];
    status["node"] = overview["node"].clone();
    if let Some(folder) = broker.folder() {
        let folder = folder.canonicalize().unwrap_or_else(|_unknown| folder.to_owned());
        status["data_dir"] = json!(folder.display().to_string());
    }
    status["listeners"] = overview["listeners"].as_array().into_iter().flatten().map(listener).collect();
    Ok(told)
}
