//! A definitions document as RabbitMQ writes and reads it (RabbitMQ: definitions.md): JSON, field
//! by field.
//!
//! Plain data: nothing here knows whether a document makes sense. Passwords are hashes; a document
//! that somebody wrote by hand may have one in clear.

use crate::admin::parameters::GlobalParameterRow;
use crate::admin::value::{self, Arguments};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The whole document.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Document {
    /// The version of RabbitMQ whose form this has; some tools look for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rabbitmq_version: Option<String>,
    /// As `rabbitmq_version`, for older tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rabbit_version: Option<String>,
    /// Who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_name: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_version: Option<String>,
    /// Users.
    pub users: Vec<UserEntry>,
    /// Vhosts.
    pub vhosts: Vec<VHostEntry>,
    /// What users may do.
    pub permissions: Vec<PermissionEntry>,
    /// Which keys they may use.
    pub topic_permissions: Vec<TopicPermissionEntry>,
    /// Operator policies, limits of vhosts, and what plugins keep.
    pub parameters: Vec<ParameterEntry>,
    /// Parameters of no vhost.
    pub global_parameters: Vec<GlobalParameterRow>,
    /// Policies.
    pub policies: Vec<PolicyEntry>,
    /// Queues.
    pub queues: Vec<QueueEntry>,
    /// Exchanges.
    pub exchanges: Vec<ExchangeEntry>,
    /// Bindings.
    pub bindings: Vec<BindingEntry>,
}

/// A user.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UserEntry {
    /// Its name.
    pub name: String,
    /// Salt and hash in base64; empty for a user without a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<String>,
    /// The password itself, in place of its hash; never written.
    #[serde(default, skip_serializing)]
    pub password: Option<String>,
    /// `rabbit_password_hashing_sha256` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashing_algorithm: Option<String>,
    /// Tags; a list, or as older versions wrote it a string with commas.
    #[serde(default, deserialize_with = "tags")]
    pub tags: Vec<String>,
    /// `max-connections`, `max-channels`.
    #[serde(default, deserialize_with = "map")]
    pub limits: Arguments,
}

/// A vhost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VHostEntry {
    /// Its name.
    pub name: String,
    /// What it is for, and what its queues are.
    #[serde(default)]
    pub metadata: MetadataEntry,
    /// `max-connections`, `max-queues`.
    #[serde(default, deserialize_with = "map")]
    pub limits: Arguments,
    /// As in `metadata`, where older versions wrote it.
    #[serde(default, skip_serializing)]
    pub description: Option<String>,
    /// As in `metadata`, where older versions wrote it.
    #[serde(default, skip_serializing, deserialize_with = "some_tags")]
    pub tags: Option<Vec<String>>,
    /// As in `metadata`, where older versions wrote it.
    #[serde(default, skip_serializing)]
    pub default_queue_type: Option<String>,
}

/// What is known of a vhost beside its name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MetadataEntry {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Tags.
    #[serde(default, deserialize_with = "tags")]
    pub tags: Vec<String>,
    /// The type of queues that are declared without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_queue_type: Option<String>,
    /// It cannot be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protected_from_deletion: Option<bool>,
}

/// What a user may do in a vhost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PermissionEntry {
    /// The user.
    pub user: String,
    /// The vhost.
    pub vhost: String,
    /// Pattern of what it may make and delete.
    pub configure: String,
    /// Pattern of what it may put something into.
    pub write: String,
    /// Pattern of what it may get something out of.
    pub read: String,
}

/// Which keys a user may use with a topic exchange.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopicPermissionEntry {
    /// The user.
    pub user: String,
    /// The vhost.
    pub vhost: String,
    /// The exchange.
    pub exchange: String,
    /// Pattern of keys it may publish with.
    pub write: String,
    /// Pattern of keys it may bind with.
    pub read: String,
}

/// A parameter of a vhost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParameterEntry {
    /// What it is for: `operator_policy`, `vhost-limits`, or a plugin's name for its own.
    pub component: String,
    /// Its name.
    pub name: String,
    /// The vhost.
    pub vhost: String,
    /// What it says.
    pub value: Value,
}

/// A policy; an operator policy has the same without `vhost` and `name` as the value of a
/// parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyEntry {
    /// The vhost.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// Pattern of the names it applies to.
    pub pattern: String,
    /// `all` when absent.
    #[serde(default, rename = "apply-to", skip_serializing_if = "Option::is_none")]
    pub apply_to: Option<String>,
    /// Keys and values.
    pub definition: Arguments,
    /// The highest wins; 0 when absent.
    #[serde(default)]
    pub priority: i64,
}

/// A durable queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueEntry {
    /// Its name.
    pub name: String,
    /// The vhost.
    pub vhost: String,
    /// As declared; a document by hand may leave it out.
    #[serde(default = "yes")]
    pub durable: bool,
    /// As declared.
    #[serde(default)]
    pub auto_delete: bool,
    /// As declared.
    #[serde(default, deserialize_with = "map")]
    pub arguments: Arguments,
    /// Its type, which `arguments` say too.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// An exchange.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExchangeEntry {
    /// Its name.
    pub name: String,
    /// The vhost.
    pub vhost: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// As declared; a document by hand may leave it out.
    #[serde(default = "yes")]
    pub durable: bool,
    /// As declared.
    #[serde(default)]
    pub auto_delete: bool,
    /// As declared.
    #[serde(default)]
    pub internal: bool,
    /// As declared.
    #[serde(default, deserialize_with = "map")]
    pub arguments: Arguments,
}

/// A binding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BindingEntry {
    /// The exchange that routes.
    pub source: String,
    /// The vhost of both ends.
    pub vhost: String,
    /// What receives.
    pub destination: String,
    /// `queue` or `exchange`.
    pub destination_type: String,
    /// The binding key; empty when absent.
    #[serde(default)]
    pub routing_key: String,
    /// As bound.
    #[serde(default, deserialize_with = "map")]
    pub arguments: Arguments,
}

fn yes() -> bool {
    true
}

/// An object; a list of pairs is one too, and so an empty list, which is how Erlang's maps were
/// written once.
fn map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arguments, D::Error> {
    read_map(Value::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// As it is read where an object is meant.
///
/// # Errors
/// It is none.
pub(super) fn read_map(given: Value) -> Result<Arguments, serde_json::Error> {
    match given {
        Value::Null => Ok(Arguments::new()),
        Value::Array(pairs) => {
            let pairs: Vec<(String, value::Value)> = Vec::deserialize(Value::Array(pairs))?;
            Ok(pairs.into_iter().collect())
        }
        object => Arguments::deserialize(object),
    }
}

/// A list of strings, or one string with commas.
fn tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let tag = |tag: Value| if let Value::String(tag) = tag { Some(tag) } else { None };
    let tags = match Value::deserialize(deserializer)? {
        Value::Array(list) => list.into_iter().map(tag).collect(),
        Value::String(text) => {
            let tags = text.split(',').map(str::trim).filter(|tag| !tag.is_empty());
            Some(tags.map(str::to_owned).collect())
        }
        _ => None,
    };
    tags.ok_or_else(|| D::Error::custom("tags are a list of strings, or one string with commas between them"))
}

fn some_tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    tags(deserializer).map(Some)
}
