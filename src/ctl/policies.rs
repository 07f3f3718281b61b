//! Commands about policies.

use super::error::CtlError;
use super::table::Columns;
use super::{Request, Shown};
use crate::admin::Operation;
use crate::admin::policies::{PolicyOperation, PolicySetting};
use clap::{Args, Subcommand};

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// Set a policy for queues and exchanges whose names match a pattern
    SetPolicy(Setting),
    /// Delete a policy
    ClearPolicy {
        /// Name of the policy
        name: String,
    },
    /// List policies in a vhost
    ListPolicies,
    /// Set an operator policy, which bounds what other policies set
    SetOperatorPolicy(Setting),
    /// Delete an operator policy
    ClearOperatorPolicy {
        /// Name of the policy
        name: String,
    },
    /// List operator policies in a vhost
    ListOperatorPolicies,
}

/// A policy as it is typed.
#[derive(Args, Debug, Clone)]
pub struct Setting {
    /// Priority; of several policies that match, the one with the highest applies
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    priority: i64,
    /// What it applies to: all, queues, classic_queues, quorum_queues, streams, exchanges
    #[arg(long = "apply-to", value_name = "WHAT", default_value = "all")]
    apply_to: String,
    /// Name of the policy
    name: String,
    /// Regular expression matched against names
    pattern: String,
    /// JSON, as in {"max-length": 100, "overflow": "reject-publish"}
    definition: String,
}

/// What rabbitmqctl shows of policies.
const COLUMNS: [&str; 6] = ["vhost", "name", "pattern", "apply-to", "definition", "priority"];

impl Command {
    /// What it asks for, in that vhost.
    ///
    /// # Errors
    /// What was typed cannot be meant.
    pub fn request(self, vhost: String) -> Result<Request, CtlError> {
        use PolicyOperation as Asks;
        let operation = match self {
            Self::SetPolicy(setting) => Asks::SetPolicy(setting.of(vhost)?),
            Self::SetOperatorPolicy(setting) => Asks::SetOperatorPolicy(setting.of(vhost)?),
            Self::ClearPolicy { name } => Asks::ClearPolicy { vhost, policy: name },
            Self::ClearOperatorPolicy { name } => Asks::ClearOperatorPolicy { vhost, policy: name },
            Self::ListPolicies => return Ok(list(Asks::ListPolicies { vhost })),
            Self::ListOperatorPolicies => return Ok(list(Asks::ListOperatorPolicies { vhost })),
        };
        Ok(Request::done(Operation::Policies(operation), ""))
    }
}

impl Setting {
    fn of(self, vhost: String) -> Result<PolicySetting, CtlError> {
        let Self { priority, apply_to, name: policy, pattern, definition } = self;
        let definition = serde_json::from_str(&definition).map_err(|error| {
            let example = r#"{"max-length": 100}"#;
            CtlError::Definition(format!("invalid policy definition: {error} (example: {example})"))
        })?;
        Ok(PolicySetting { vhost, policy, pattern, apply_to, priority, definition })
    }
}

fn list(operation: PolicyOperation) -> Request {
    let columns = Columns::fixed(&COLUMNS).with_json("definition");
    Request { operation: Operation::Policies(operation), answer: Shown::List(columns) }
}
