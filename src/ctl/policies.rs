//! Commands about policies.

use super::error::CtlError;
use super::table::Columns;
use super::{Asks, Request, Shown};
use crate::admin::Operation;
use crate::admin::json_fault::in_words;
use crate::admin::policies::{ObjectKind, PolicyOperation, PolicySetting};
use clap::{Args, Subcommand};
use serde_json::Value;

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// Set a policy for queues and exchanges whose names match a pattern
    SetPolicy {
        /// The policy
        #[command(flatten)]
        setting: Setting,
        /// Only list the queues and exchanges that it would change, and how
        #[arg(long)]
        preview: bool,
    },
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
    /// List the policies that match a name; the first one is in effect
    ListPoliciesThatMatch {
        /// Kind of the object: queues (classic), classic_queues, quorum_queues, streams, exchanges
        #[arg(long = "object-type", value_name = "KIND", default_value = "queues")]
        object_type: String,
        /// Name of a queue or an exchange
        name: String,
    },
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

/// What is shown of a queue or exchange that a policy would change.
const PREVIEW_COLUMNS: [&str; 6] = ["kind", "name", "policy_before", "policy_after", "before", "after"];

/// The rows of a preview, and how many more the policy would change.
#[must_use]
pub fn previewed(told: &Value) -> (Vec<Value>, u64) {
    let preview = &told["policy_preview"];
    let mut rows = Vec::new();
    for (list, kind) in [("queues", "queue"), ("exchanges", "exchange")] {
        for object in preview[list].as_array().into_iter().flatten() {
            let mut row = object.clone();
            row["kind"] = Value::from(kind);
            rows.push(row);
        }
    }
    let total = preview["total"].as_u64().unwrap_or_default();
    let more = total.saturating_sub(rows.len() as u64);
    (rows, more)
}

impl Command {
    /// What it asks for, in that vhost.
    ///
    /// # Errors
    /// What was typed cannot be meant.
    pub fn request(self, vhost: String) -> Result<Request, CtlError> {
        let operation = match self {
            Self::SetPolicy { setting, preview: false } => PolicyOperation::SetPolicy(setting.of(vhost)?),
            Self::SetPolicy { setting, preview: true } => {
                let operation = Operation::Policies(PolicyOperation::PreviewPolicy(setting.of(vhost)?));
                let columns = Columns::fixed(&PREVIEW_COLUMNS);
                return Ok(Request { asks: Asks::Operation(operation), answer: Shown::Changes(columns) });
            }
            Self::SetOperatorPolicy(setting) => PolicyOperation::SetOperatorPolicy(setting.of(vhost)?),
            Self::ClearPolicy { name } => PolicyOperation::ClearPolicy { vhost, policy: name },
            Self::ClearOperatorPolicy { name } => {
                PolicyOperation::ClearOperatorPolicy { vhost, policy: name }
            }
            Self::ListPoliciesThatMatch { object_type, name } => {
                let object = match object_type.as_str() {
                    "queue" | "queues" | "classic_queue" | "classic_queues" => ObjectKind::ClassicQueue,
                    "quorum_queue" | "quorum_queues" => ObjectKind::QuorumQueue,
                    "stream" | "streams" => ObjectKind::Stream,
                    "exchange" | "exchanges" => ObjectKind::Exchange,
                    other => return Err(CtlError::Usage(format!("'{other}' is no kind of object"))),
                };
                return Ok(list(PolicyOperation::ListPoliciesThatMatch { vhost, name, object }));
            }
            Self::ListPolicies => return Ok(list(PolicyOperation::ListPolicies { vhost })),
            Self::ListOperatorPolicies => return Ok(list(PolicyOperation::ListOperatorPolicies { vhost })),
        };
        Ok(Request::done(Operation::Policies(operation), ""))
    }
}

impl Setting {
    fn of(self, vhost: String) -> Result<PolicySetting, CtlError> {
        let Self { priority, apply_to, name: policy, pattern, definition } = self;
        let definition = serde_json::from_str(&definition).map_err(|error| {
            let example = r#"{"max-length": 100}"#;
            CtlError::Definition(format!(
                "invalid policy definition: {} (example: {example})",
                in_words(&error)
            ))
        })?;
        Ok(PolicySetting { vhost, policy, pattern, apply_to, priority, definition })
    }
}

fn list(operation: PolicyOperation) -> Request {
    let columns = Columns::fixed(&COLUMNS).with_json("definition");
    Request { asks: Asks::Operation(Operation::Policies(operation)), answer: Shown::List(columns) }
}
