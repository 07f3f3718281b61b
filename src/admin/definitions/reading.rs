//! A document as it was given, read entry by entry, so that all that is wrong with it is told at
//! once and nothing is left out in silence.
//!
//! What older versions wrote in another way is read as they meant it; which that is, `document`
//! says field by field.

use super::document::{
    BindingEntry, Document, ExchangeEntry, ParameterEntry, PermissionEntry, PolicyEntry, QueueEntry,
    TopicPermissionEntry, UserEntry, VHostEntry,
};
use crate::admin::json_fault::in_words;
use crate::admin::parameters::GlobalParameterRow;
use crate::auth::vhost::ROOT;
use crate::near::did_you_mean;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Keys of a document that tell where it comes from; the last three are in those of one vhost,
/// which its operator has set.
const ORIGIN: [&str; 9] = [
    "rabbit_version",
    "rabbitmq_version",
    "product_name",
    "product_version",
    "explanation",
    "rabbitmq_definition_format",
    "original_cluster_name",
    "original_vhost_name",
    "description",
];

/// Sections whose entries are in a vhost. A document of one vhost has no others, and does not name
/// it.
const IN_VHOST: [&str; 5] = ["parameters", "policies", "queues", "exchanges", "bindings"];

/// Sections of the whole broker.
const OF_BROKER: [&str; 5] = ["users", "vhosts", "permissions", "topic_permissions", "global_parameters"];

/// What is found on the way.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// What keeps the document from being taken in, a sentence each.
    pub(super) faults: Vec<String>,
    /// What of it is left out, a sentence each.
    pub(super) skipped: Vec<String>,
    /// What else the operator should know, a sentence each.
    pub(super) warnings: Vec<String>,
}

/// A thing that a section lists.
trait Entry: DeserializeOwned + PartialEq {
    /// What it is, with its name.
    fn what(&self) -> String;
}

/// What a document says; with a vhost, what it says of that, or of the only one of which it says
/// anything.
pub(super) fn read(mut given: Map<String, Value>, vhost: Option<&str>, notes: &mut Notes) -> Document {
    if let Some(vhost) = vhost {
        only_into(vhost, &mut given, notes);
    }
    for section in IN_VHOST {
        let entries = given.get_mut(section).and_then(Value::as_array_mut).into_iter().flatten();
        for entry in entries.filter_map(Value::as_object_mut) {
            entry.entry("vhost").or_insert_with(|| Value::from(ROOT));
        }
    }
    let document = Document {
        users: section(&mut given, "users", notes),
        vhosts: section(&mut given, "vhosts", notes),
        permissions: section(&mut given, "permissions", notes),
        topic_permissions: section(&mut given, "topic_permissions", notes),
        parameters: section(&mut given, "parameters", notes),
        global_parameters: section(&mut given, "global_parameters", notes),
        policies: section(&mut given, "policies", notes),
        queues: section(&mut given, "queues", notes),
        exchanges: section(&mut given, "exchanges", notes),
        bindings: section(&mut given, "bindings", notes),
        ..Document::default()
    };
    left_over(given, notes);
    document
}

/// Leaves of a document what goes into a vhost.
fn only_into(vhost: &str, given: &mut Map<String, Value>, notes: &mut Notes) {
    for section in OF_BROKER {
        let is_there =
            given.remove(section).is_some_and(|entries| entries.as_array().is_none_or(|all| !all.is_empty()));
        if is_there {
            notes
                .skipped
                .push(format!("{section} are not imported: an import into vhost '{vhost}' has none"));
        }
    }
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    let entries = |given: &mut Map<String, Value>, look: &mut dyn FnMut(&mut Vec<Value>)| {
        IN_VHOST
            .iter()
            .filter_map(|&section| given.get_mut(section)?.as_array_mut().map(&mut *look))
            .for_each(drop);
    };
    let of = |entry: &Value| entry.get("vhost").and_then(Value::as_str).map(str::to_owned);
    entries(given, &mut |all| {
        all.iter().filter_map(of).for_each(|name| *named.entry(name).or_default() += 1)
    });
    if named.len() > 1 && named.contains_key(vhost) {
        for (name, count) in named.iter().filter(|(name, _)| *name != vhost) {
            notes.skipped.push(format!("{count} entries belong to vhost '{name}', not to vhost '{vhost}'"));
        }
        entries(given, &mut |all| all.retain(|entry| of(entry).is_none_or(|name| name == vhost)));
    } else if named.len() > 1 {
        let names: Vec<String> = named.keys().map(|name| format!("'{name}'")).collect();
        let why = format!("only one of them can be imported into vhost '{vhost}'");
        notes.faults.push(format!("it has entries of the vhosts {}; {why}", names.join(", ")));
    }
    entries(given, &mut |all| {
        all.iter_mut().filter_map(Value::as_object_mut).for_each(|entry| {
            entry.insert("vhost".to_owned(), Value::from(vhost));
        });
    });
}

/// The entries of a section. One that is there twice alike is there once.
fn section<E: Entry>(given: &mut Map<String, Value>, name: &str, notes: &mut Notes) -> Vec<E> {
    let all = match given.remove(name) {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(all)) => all,
        Some(_) => {
            notes.faults.push(format!("{name} is not a list"));
            return Vec::new();
        }
    };
    let mut entries: Vec<E> = Vec::with_capacity(all.len());
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (at, value) in all.into_iter().enumerate() {
        let mut ignored = Vec::new();
        let shown =
            value.get("name").and_then(Value::as_str).map(|name| format!(" ('{name}')")).unwrap_or_default();
        let entry: E = match serde_ignored::deserialize(value, |path| ignored.push(path.to_string())) {
            Ok(entry) => entry,
            Err(error) => {
                notes.faults.push(format!("entry {} of {name}{shown}: {}", at + 1, in_words(&error)));
                continue;
            }
        };
        let what = entry.what();
        notes.skipped.extend(ignored.iter().map(|key| format!("{what}: unknown key '{key}'")));
        match places.get(&what).map(|&place| &entries[place]) {
            Some(other) if *other == entry => {}
            Some(_) => notes.faults.push(format!("{what} is defined twice, in different ways")),
            None => {
                places.insert(what, entries.len());
                entries.push(entry);
            }
        }
    }
    entries
}

/// Tells of what no section takes.
fn left_over(given: Map<String, Value>, notes: &mut Notes) {
    let sections: Vec<&str> = IN_VHOST.iter().chain(&OF_BROKER).copied().collect();
    for (key, value) in given {
        match (key.as_str(), value) {
            (origin, _) if ORIGIN.contains(&origin) => {}
            // Those of one vhost, which its operator has set.
            ("metadata", Value::Object(_)) => {}
            ("limits", Value::Object(limits)) if limits.is_empty() => {}
            (key, _) => {
                let near = did_you_mean(key, &sections);
                notes.skipped.push(format!("unknown key '{key}' in the document{near}"));
            }
        }
    }
}

impl Entry for UserEntry {
    fn what(&self) -> String {
        format!("user '{}'", self.name)
    }
}

impl Entry for VHostEntry {
    fn what(&self) -> String {
        format!("vhost '{}'", self.name)
    }
}

impl Entry for PermissionEntry {
    fn what(&self) -> String {
        format!("permission of user '{}' in vhost '{}'", self.user, self.vhost)
    }
}

impl Entry for TopicPermissionEntry {
    fn what(&self) -> String {
        let Self { user, vhost, exchange, .. } = self;
        format!("topic permission of user '{user}' for exchange '{exchange}' in vhost '{vhost}'")
    }
}

impl Entry for ParameterEntry {
    fn what(&self) -> String {
        format!("parameter '{}' of '{}' in vhost '{}'", self.name, self.component, self.vhost)
    }
}

impl Entry for GlobalParameterRow {
    fn what(&self) -> String {
        format!("global parameter '{}'", self.name)
    }
}

impl Entry for PolicyEntry {
    fn what(&self) -> String {
        format!("policy '{}' in vhost '{}'", self.name, self.vhost)
    }
}

impl Entry for QueueEntry {
    fn what(&self) -> String {
        format!("queue '{}' in vhost '{}'", self.name, self.vhost)
    }
}

impl Entry for ExchangeEntry {
    fn what(&self) -> String {
        format!("exchange '{}' in vhost '{}'", self.name, self.vhost)
    }
}

impl Entry for BindingEntry {
    fn what(&self) -> String {
        let Self { source, vhost, destination, destination_type, routing_key, arguments } = self;
        let with = if arguments.is_empty() { String::new() } else { format!(" with {arguments:?}") };
        format!(
            "binding from '{source}' to {destination_type} '{destination}' by '{routing_key}'{with} in vhost '{vhost}'"
        )
    }
}
