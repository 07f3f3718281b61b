//! Definitions: everything that an operator and clients have declared, written as one document and
//! read again, as RabbitMQ does (RabbitMQ: definitions.md). An import is whole or not at all, and
//! doing it again changes nothing.
//!
//! | file | holds |
//! |---|---|
//! | `document` | the document, field by field |
//! | `reading` | a document as it was given, entry by entry |
//! | `export` | what there is, as a document |
//! | `import` | a document, as what there is to be |
//! | `preview` | what an import would do |

mod document;
mod export;
mod import;
mod preview;
mod reading;

pub use self::document::{Document, UserEntry};
pub use self::export::RABBITMQ_VERSION;
pub use self::preview::DefinitionsPreview;

use self::reading::Notes;
use super::access::{Requirement, Tag};
use super::json_fault::in_words;
use super::{Caller, Operation, Performed, Refusal, RefusalKind, Told, find, secret};
use crate::auth::password::{Algorithm, PasswordHash};
use crate::auth::user::ADMINISTRATOR;
use crate::broker::Broker;
use crate::broker::accounts::DEFAULT_USER;
use crate::broker::definitions::{Mode, NotDefined};
use crate::ids::Ticket;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::fmt;
use std::sync::Arc;
use tracing::warn;

/// The global parameter that has the hash of the last import. Exports are without it, as without
/// all whose names begin like this.
const IMPORTED: &str = "internal_imported_definitions";

/// Faults of a document that are told, at most: nobody mends more in one go.
const FAULTS_MAX: usize = 1000;

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
        /// The vhost that it goes into, if it does not go where it says: what it says of that
        /// vhost, or of the only one of which it says anything.
        #[serde(default)]
        vhost: Option<String>,
        /// Whether it is refused if something would be left out.
        #[serde(default)]
        strict: bool,
        /// Whether it is skipped if the last import was the same.
        #[serde(default)]
        skip_if_unchanged: bool,
    },
    /// What an import would do; nothing changes.
    PreviewDefinitions {
        /// The document.
        document: Source,
        /// As of an import.
        #[serde(default)]
        vhost: Option<String>,
    },
}

/// A document as it was given. It is not shown: it has hashes of passwords.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Source(#[serde(serialize_with = "secret::serialize")] pub Value);

impl Source {
    /// What a file holds.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map(Self).map_err(|error| format!("not JSON: {}", in_words(&error)))
    }

    /// An administrator, who may do everything in a vhost.
    #[must_use]
    pub fn of_administrator(name: &str, password: &str, vhost: &str) -> Self {
        Self(json!({
            "users": [{"name": name, "password": password, "tags": [ADMINISTRATOR]}],
            "vhosts": [{"name": vhost}],
            "permissions": [
                {"user": name, "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"}
            ],
        }))
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
    /// How many things were made: users, vhosts, permissions, policies, parameters, queues,
    /// exchanges and bindings.
    pub added: usize,
    /// How many were there and have become what the document says.
    pub changed: usize,
    /// How many were there already as they are defined.
    pub same: usize,
    /// What differs from what is there and stays as it is, a sentence each.
    pub kept: Vec<String>,
    /// What of the document is left out, being of no use here, a sentence each.
    pub skipped: Vec<String>,
    /// What else should be known, a sentence each.
    pub warnings: Vec<String>,
    /// Nothing was done: the last import was the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unchanged: bool,
}

/// How a document is taken in.
#[derive(Debug, Clone, Copy, Default)]
struct ImportOptions<'a> {
    /// As of [`DefinitionsOperation::ImportDefinitions`].
    vhost: Option<&'a str>,
    /// As there.
    strict: bool,
    /// As there.
    skip_if_unchanged: bool,
}

impl DefinitionsOperation {
    /// Whether it changes anything.
    pub(super) fn is_change(&self) -> bool {
        matches!(self, Self::ImportDefinitions { .. })
    }

    /// What it takes of a user, whichever it is: hashes of passwords are in it.
    pub(super) fn requirement() -> Requirement<'static> {
        Requirement::Tag(Tag::Administrator)
    }
}

/// What a broker takes in at its start, before anybody can connect. Where that names the first
/// users there ever were, the one that everybody knows is not among them unless it is named too
/// (RabbitMQ: definitions.md).
///
/// # Errors
/// Why not; nothing has changed then.
pub fn start_with(broker: &Arc<Broker>, source: Source, caller: &Caller) -> Result<(), Refusal> {
    let is_default = |user: &Value| user.get("name").and_then(Value::as_str) == Some(DEFAULT_USER);
    let users = source.0.get("users").and_then(Value::as_array);
    let others = users.is_some_and(|users| !users.is_empty() && !users.iter().any(is_default));
    let operation = DefinitionsOperation::ImportDefinitions {
        document: source,
        vhost: None,
        strict: false,
        skip_if_unchanged: false,
    };
    super::perform(broker, Operation::Definitions(operation), caller)?;
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
        DefinitionsOperation::ImportDefinitions {
            document: Source(Value::Object(given)),
            vhost,
            strict,
            skip_if_unchanged,
        } => {
            if let Some(vhost) = &vhost {
                find::vhost(broker, vhost)?;
            }
            import(
                broker,
                given,
                ImportOptions { vhost: vhost.as_deref(), strict, skip_if_unchanged },
                caller,
            )
        }
        DefinitionsOperation::PreviewDefinitions { document: Source(Value::Object(given)), vhost } => {
            if let Some(vhost) = &vhost {
                find::vhost(broker, vhost)?;
            }
            let preview = preview(broker, given, vhost.as_deref(), caller);
            Ok(Performed::told(Told::DefinitionsPreview(Box::new(preview)), Ticket(0)))
        }
        DefinitionsOperation::ImportDefinitions { .. } | DefinitionsOperation::PreviewDefinitions { .. } => {
            Err(Refusal::new(RefusalKind::Invalid, "the definitions are not a JSON object"))
        }
    }
}

fn import(
    broker: &Broker,
    given: Map<String, Value>,
    options: ImportOptions<'_>,
    caller: &Caller,
) -> Result<Performed, Refusal> {
    let ImportOptions { vhost, strict: is_strict, skip_if_unchanged } = options;
    let last = last_import(broker);
    // Once somebody has asked for it, each import is noted, so that none is taken for the last one
    // that is not.
    let noted = (skip_if_unchanged || last.is_some()).then(|| json!([given, vhost, is_strict]).to_string());
    let is_last = noted.iter().zip(&last).any(|(noted, last)| last.verify(noted.as_bytes()));
    if skip_if_unchanged && is_last {
        let imported = Imported { unchanged: true, ..Imported::default() };
        return Ok(Performed::told(Told::Imported(imported), Ticket(0)));
    }
    let mut notes = Notes::default();
    let document = reading::read(given, vhost, &mut notes);
    let mut definitions = import::read(broker, &document, caller.now, &mut notes);
    let DefinitionsPreview { add, change, same, .. } = preview::compare(broker, &definitions);
    if let Some(noted) = noted.filter(|_| !is_last) {
        let hash = PasswordHash::of(noted.as_bytes()).to_base64();
        definitions.parameters.push((IMPORTED.to_owned(), json!(hash).to_string()));
    }
    let Notes { mut faults, mut skipped, warnings } = notes;
    let mode = if is_strict { Mode::Strict } else { Mode::Lenient };
    if is_strict {
        faults.append(&mut skipped);
    }
    let made = definitions
        .make(broker.vhosts(), broker.policies(), broker.parameters(), (faults, mode), caller.now)
        .map_err(|why| match why {
            NotDefined::Faults(faults) => refusal(&faults),
            NotDefined::Scarce(what) => {
                Refusal::new(RefusalKind::Unavailable, format!("nothing is defined: {what}"))
            }
        })?;
    if let Some(what) = made.stopped {
        let why = format!("a part is defined, and the rest when it is tried again: {what}");
        return Err(Refusal::new(RefusalKind::Unavailable, why));
    }
    skipped.extend(made.skipped);
    for (word, all) in [("kept", &made.kept), ("skipped", &skipped), ("warning", &warnings)] {
        for what in all {
            warn!("definitions: {word}: {what}");
        }
    }
    let imported = Imported {
        added: add.len(),
        changed: change.len(),
        same: same.saturating_sub(made.kept.len()),
        kept: made.kept,
        skipped,
        warnings,
        unchanged: false,
    };
    Ok(Performed::told(Told::Imported(imported), made.ticket))
}

/// The hash of the last import, if one was noted. It is made as that of a password is, with a salt:
/// there are hashes of passwords in what was imported.
fn last_import(broker: &Broker) -> Option<PasswordHash> {
    let text: String = serde_json::from_str(&broker.parameters().get(IMPORTED)?).ok()?;
    PasswordHash::from_base64(Algorithm::Sha256, &text)
}

fn preview(
    broker: &Broker,
    given: Map<String, Value>,
    vhost: Option<&str>,
    caller: &Caller,
) -> DefinitionsPreview {
    let mut notes = Notes::default();
    let document = reading::read(given, vhost, &mut notes);
    let definitions = import::read(broker, &document, caller.now, &mut notes);
    let Notes { faults, skipped, warnings } = notes;
    let mut preview = preview::compare(broker, &definitions);
    (preview.skipped, preview.warnings) = (skipped, warnings);
    match definitions.make(
        broker.vhosts(),
        broker.policies(),
        broker.parameters(),
        (faults, Mode::Look),
        caller.now,
    ) {
        Ok(looked) => {
            // What differs and stays as it is was found, but is not the same.
            preview.same = preview.same.saturating_sub(looked.kept.len());
            preview.kept = looked.kept;
            preview.skipped.extend(looked.skipped);
        }
        Err(NotDefined::Scarce(what)) => preview.problems = vec![what.to_string()],
        Err(NotDefined::Faults(mut faults)) => {
            faults.truncate(FAULTS_MAX);
            preview.problems = faults;
        }
    }
    preview
}

/// All that is wrong with a document, in one line.
fn refusal(faults: &[String]) -> Refusal {
    let mut message = match faults.len() {
        1 => String::new(),
        count => format!("{count} problems: "),
    };
    message.push_str(&faults[..faults.len().min(FAULTS_MAX)].join("; "));
    if faults.len() > FAULTS_MAX {
        message.push_str(&format!("; and {} more", faults.len() - FAULTS_MAX));
    }
    Refusal::new(RefusalKind::Invalid, message)
}
