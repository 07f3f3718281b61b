//! Commands about the broker as a whole.

use super::{Request, Shown};
use crate::manage::Operation;
use crate::manage::node::NodeOperation;
use clap::Subcommand;

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// Ask whether the broker answers
    Ping,
    /// Tell how the broker stands
    Status,
}

impl Command {
    /// What it asks for.
    #[must_use]
    pub fn request(self) -> Request {
        match self {
            Self::Ping => Request::done(Operation::Node(NodeOperation::Ping), "Ping succeeded"),
            Self::Status => {
                Request { operation: Operation::Node(NodeOperation::Status), answer: Shown::Thing }
            }
        }
    }
}
