//! Definitions: everything that an operator and clients have declared, written as one document and read again, as RabbitMQ does
//! (RabbitMQ: definitions.md). An import is whole or not at all, and doing it again changes nothing.
//!
//! | file | holds |
//! |---|---|
//! | `document` | the document, field by field |
//! | `export` | what there is, as a document |
//! | `import` | a document, as what there is to be |

mod document;
mod export;
mod import;

pub use self::document::Document;

use super::{Caller, Kind, Operation, Performed, Refusal, Told};
use crate::broker::Broker;
use crate::broker::accounts::DEFAULT_USER;
use crate::ids::Ticket;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use tracing::warn;

/// What can be done with definitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DefinitionsOperation {
    /// All there is.
    ExportDefinitions,
    /// All of a document, or nothing.
    ImportDefinitions {
        /// The document.
        document: Source,
    },
}

/// A document as it was given. It is not shown: it has hashes of passwords.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Source(pub serde_json::Value);

impl Source {
    /// What a file holds.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map(Self).map_err(|error| format!("not JSON: {error}"))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// What an import came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// How many users, vhosts, permissions, policies, queues, exchanges and bindings the document names.
    pub defined: usize,
    /// What differs from what is there and stays as it is, a sentence each.
    pub kept: Vec<String>,
    /// What of the document this broker has no use for, a sentence each.
    pub skipped: Vec<String>,
}

impl DefinitionsOperation {
    /// Whether something is not as before afterwards.
    pub(super) fn is_change(&self) -> bool {
        matches!(self, Self::ImportDefinitions { .. })
    }
}

/// What a broker takes in at its start, before anybody can connect. Where that names the first users there ever were, the one
/// that everybody knows is not among them unless it is named too (RabbitMQ: definitions.md).
///
/// # Errors
/// Why not; nothing has changed then.
pub fn start_with(broker: &Arc<Broker>, source: Source, caller: &Caller) -> Result<(), Refusal> {
    let document = Document::deserialize(&source.0).unwrap_or_default();
    let operation = DefinitionsOperation::ImportDefinitions { document: source };
    super::perform(broker, Operation::Definitions(operation), caller)?;
    let others = !document.users.is_empty() && document.users.iter().all(|user| user.name != DEFAULT_USER);
    if others && broker.accounts().is_fresh() && broker.users().get(DEFAULT_USER).is_some() {
        let deleted = broker.users().delete(DEFAULT_USER);
        deleted.map_err(|error| Refusal::of_users(broker, error))?;
    }
    Ok(())
}

/// Does it.
///
/// # Errors
/// Why not; nothing has changed then.
pub(super) fn perform(
    broker: &Broker,
    operation: DefinitionsOperation,
    caller: &Caller,
) -> Result<Performed, Refusal> {
    match operation {
        DefinitionsOperation::ExportDefinitions => {
            Ok(Performed::told(Told::Definitions(export::export(broker)), Ticket(0)))
        }
        DefinitionsOperation::ImportDefinitions { document: Source(value) } => {
            let invalid = |why: String| Refusal::new(Kind::Invalid, why);
            if !value.is_object() {
                return Err(invalid("these are no definitions: not an object".to_owned()));
            }
            let document = Document::deserialize(value)
                .map_err(|error| invalid(format!("these are no definitions: {error}")))?;
            let (definitions, mut skipped) = import::read(broker, &document, caller.now).map_err(invalid)?;
            let defined = document.len();
            let made = broker.define(definitions, caller.now).map_err(invalid)?;
            skipped.extend(made.skipped);
            for what in made.kept.iter().chain(&skipped) {
                warn!("definitions: {what}");
            }
            let imported = Imported { defined, kept: made.kept, skipped };
            Ok(Performed::told(Told::Imported(imported), made.ticket))
        }
    }
}
