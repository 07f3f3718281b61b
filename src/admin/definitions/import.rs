//! A document as what there is to be. What a document can say wrongly by itself is found here, what
//! does not fit what is there by the broker.

use super::document::{
    BindingEntry, Document, ExchangeEntry, MetadataEntry, ParameterEntry, PolicyEntry, QueueEntry, UserEntry,
    VHostEntry, read_map,
};
use super::reading::Notes;
use crate::admin::json_fault::in_words;
use crate::admin::parameters::{GlobalParameterRow, text_of};
use crate::admin::policies::definition_of;
use crate::admin::value::{Arguments, Value, table_of};
use crate::auth::password::{Algorithm, PasswordHash};
use crate::auth::permission::{Permission, TopicPermission};
use crate::auth::user::{User, UserLimits, tags_without_meaning};
use crate::auth::vhost::{VHostLimits, VHostRecord};
use crate::broker::Broker;
use crate::broker::definitions::Definitions;
use crate::broker::vhost::{Bind, Destination, Draft, DraftQueue, ExchangeDeclare, QueueDeclare};
use crate::clock::Now;
use crate::ids::ConnectionId;
use crate::near::did_you_mean;
use crate::policy::key::{KEYS, is_used};
use crate::policy::{ApplyTo, Policy, Rank};
use serde::Deserialize;

/// What a document says there is to be.
pub(super) fn read(broker: &Broker, document: &Document, now: Now, notes: &mut Notes) -> Definitions {
    let mut definitions = Definitions::default();
    for entry in &document.vhosts {
        let about = format!("vhost '{}'", entry.name);
        definitions.vhosts.extend(notes.take(&about, vhost(entry)));
    }
    for entry in &document.users {
        let about = format!("user '{}'", entry.name);
        let user = notes.take(&about, user(broker, entry));
        if user.as_ref().is_some_and(User::has_weak_password) {
            notes
                .warnings
                .push(format!("the password of {about} is hashed with MD5, which is not safe: change it"));
        }
        let tags = user.as_ref().and_then(|user| tags_without_meaning(&user.name, &user.tags));
        notes.warnings.extend(tags);
        definitions.users.extend(user);
    }
    definitions.permissions.extend(document.permissions.iter().map(|entry| Permission {
        user: entry.user.clone(),
        vhost: entry.vhost.clone(),
        configure: entry.configure.clone(),
        write: entry.write.clone(),
        read: entry.read.clone(),
    }));
    definitions.topic_permissions.extend(document.topic_permissions.iter().map(|entry| TopicPermission {
        user: entry.user.clone(),
        vhost: entry.vhost.clone(),
        exchange: entry.exchange.clone(),
        write: entry.write.clone(),
        read: entry.read.clone(),
    }));
    for entry in &document.policies {
        let policy = policy(Rank::User, entry, notes);
        definitions.policies.extend(policy.map(|policy| (Rank::User, policy)));
    }
    for entry in &document.parameters {
        let about = format!("parameter '{}' of '{}'", entry.name, entry.component);
        let read = parameter(entry, &mut definitions, notes);
        notes.take(&about, read);
    }
    for GlobalParameterRow { name, value } in &document.global_parameters {
        let about = format!("global parameter '{name}'");
        let text = notes.take(&about, text_of(name, value));
        definitions.parameters.extend(text.map(|text| (name.clone(), text)));
    }
    declarations(document, &mut definitions, now, notes);
    definitions
}

impl Notes {
    /// What was read about something, or nothing, and that it cannot be read.
    fn take<T>(&mut self, about: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|why| self.faults.push(format!("{about}: {why}"))).ok()
    }
}

fn declarations(document: &Document, definitions: &mut Definitions, now: Now, notes: &mut Notes) {
    let mut draft = |vhost: &str, add: &mut dyn FnMut(&mut Draft)| {
        add(definitions.drafts.entry(vhost.to_owned()).or_default());
    };
    for entry in &document.queues {
        let about = format!("queue '{}'", entry.name);
        if let Some(kind) = entry.kind.as_deref().filter(|kind| queue_type(kind).is_none()) {
            notes.skipped.push(format!("{about}: unknown type '{kind}'; only its arguments count"));
        }
        if let Some(queue) = notes.take(&about, queue(entry, now)) {
            draft(&entry.vhost, &mut |draft| draft.queues.push(queue.clone()));
        }
    }
    for entry in &document.exchanges {
        if entry.name.is_empty() {
            let about = format!("exchange '' in vhost '{}'", entry.vhost);
            notes.skipped.push(format!("{about}: every vhost has a default exchange already"));
            continue;
        }
        if let Some(exchange) = notes.take(&format!("exchange '{}'", entry.name), exchange(entry)) {
            draft(&entry.vhost, &mut |draft| draft.exchanges.push(exchange.clone()));
        }
    }
    for entry in &document.bindings {
        let about = format!("binding from '{}' to '{}'", entry.source, entry.destination);
        if entry.source.is_empty() {
            let why = "is bound to the default exchange by its name, and by no other key";
            notes.skipped.push(format!("{about} by '{}': every queue {why}", entry.routing_key));
            continue;
        }
        if let Some(bind) = notes.take(&about, binding(entry)) {
            draft(&entry.vhost, &mut |draft| draft.bindings.push(bind.clone()));
        }
    }
}

fn vhost(entry: &VHostEntry) -> Result<VHostRecord, String> {
    let MetadataEntry { description, tags, default_queue_type, protected_from_deletion } =
        entry.metadata.clone();
    let tags = if tags.is_empty() { entry.tags.clone().unwrap_or_default() } else { tags };
    // RabbitMQ's exports of 3.x write a missing one like this.
    let kind =
        default_queue_type.or_else(|| entry.default_queue_type.clone()).filter(|kind| kind != "undefined");
    Ok(VHostRecord {
        name: entry.name.clone(),
        description: description.or_else(|| entry.description.clone()).unwrap_or_default(),
        tags,
        default_queue_type: kind,
        protected: protected_from_deletion.unwrap_or_default(),
        limits: vhost_limits(&entry.limits)?,
    })
}

fn vhost_limits(limits: &Arguments) -> Result<VHostLimits, String> {
    let mut own = VHostLimits::default();
    for (name, value) in limits {
        match name.as_str() {
            "max-connections" => own.connections_max = limit(name, value)?,
            "max-queues" => own.queues_max = limit(name, value)?,
            _ => return Err(format!("unknown limit '{name}'")),
        }
    }
    Ok(own)
}

/// A limit; one that is negative is none.
fn limit(name: &str, value: &Value) -> Result<Option<u32>, String> {
    match value {
        Value::Signed(number) if *number < 0 => Ok(None),
        Value::Signed(number) if u32::try_from(*number).is_ok() => Ok(u32::try_from(*number).ok()),
        _ => Err(format!("{name} is not a whole number")),
    }
}

fn user(broker: &Broker, entry: &UserEntry) -> Result<User, String> {
    let mut limits = UserLimits::default();
    for (name, value) in &entry.limits {
        match name.as_str() {
            "max-connections" => limits.connections_max = limit(name, value)?,
            "max-channels" => limits.channels_max = limit(name, value)?,
            _ => return Err(format!("unknown limit '{name}'")),
        }
    }
    Ok(User {
        name: entry.name.clone(),
        password: password(broker, entry)?,
        tags: entry.tags.clone(),
        limits,
    })
}

fn password(broker: &Broker, entry: &UserEntry) -> Result<Option<PasswordHash>, String> {
    if let Some(clear) = entry.password.as_deref().filter(|clear| !clear.is_empty()) {
        // The same password in another hash would be a change.
        let known = broker.users().get(&entry.name).and_then(|user| user.password);
        let same = known.filter(|hash| hash.verify(clear.as_bytes()));
        return Ok(Some(same.unwrap_or_else(|| PasswordHash::of(clear.as_bytes()))));
    }
    let Some(hash) = entry.password_hash.as_deref().filter(|hash| !hash.is_empty()) else { return Ok(None) };
    let named = match entry.hashing_algorithm.as_deref() {
        Some(name) => {
            vec![Algorithm::named(name).ok_or_else(|| format!("unknown password hash '{name}'"))?]
        }
        // Before 3.6 there was MD5 alone, and nothing said so. No hash of the one is as long as one
        // of the other.
        None => vec![Algorithm::Sha256, Algorithm::Md5],
    };
    let read = named.iter().find_map(|&algorithm| PasswordHash::from_base64(algorithm, hash));
    read.map(Some).ok_or_else(|| {
        let name = named[0].name();
        format!("the password hash is not in base64, or not as long as {name} makes it")
    })
}

/// A policy, without the keys that are of no use here; none if nothing is left.
fn policy(rank: Rank, entry: &PolicyEntry, notes: &mut Notes) -> Option<Policy> {
    let what = if rank == Rank::User { "policy" } else { "operator policy" };
    let about = format!("{what} '{}' in vhost '{}'", entry.name, entry.vhost);
    let apply_to = notes.take(&about, entry.apply_to.as_deref().map_or(Ok(ApplyTo::All), ApplyTo::named))?;
    let mut definition = definition_of(&entry.definition);
    let was_empty = definition.is_empty();
    definition.retain(|key, _| {
        let is_known = is_used(rank, key);
        if !is_known {
            let known = KEYS.iter().map(|key| key.name).filter(|name| is_used(rank, name));
            let near = did_you_mean(key, known);
            notes.skipped.push(format!("{about}: the key '{key}' has no effect in Leveret{near}"));
        }
        is_known
    });
    if definition.is_empty() && !was_empty {
        notes.skipped.push(format!("{about} is left out: Leveret uses none of its keys"));
        return None;
    }
    let (vhost, name, pattern) = (entry.vhost.clone(), entry.name.clone(), entry.pattern.clone());
    Some(Policy { vhost, name, pattern, apply_to, priority: entry.priority, definition })
}

/// An operator policy, as the value of a parameter.
#[derive(Deserialize)]
struct OperatorPolicy {
    pattern: String,
    #[serde(default, rename = "apply-to")]
    apply_to: Option<String>,
    definition: Arguments,
    #[serde(default)]
    priority: i64,
}

fn parameter(entry: &ParameterEntry, definitions: &mut Definitions, notes: &mut Notes) -> Result<(), String> {
    match entry.component.as_str() {
        "operator_policy" => {
            let value = OperatorPolicy::deserialize(&entry.value).map_err(|error| in_words(&error))?;
            let OperatorPolicy { pattern, apply_to, definition, priority } = value;
            let (vhost, name) = (entry.vhost.clone(), entry.name.clone());
            let all = PolicyEntry { vhost, name, pattern, apply_to, definition, priority };
            let policy = policy(Rank::Operator, &all, notes);
            definitions.policies.extend(policy.map(|policy| (Rank::Operator, policy)));
        }
        "vhost-limits" => {
            let limits = read_map(entry.value.clone()).map_err(|error| in_words(&error))?;
            definitions.vhost_limits.push((entry.vhost.clone(), vhost_limits(&limits)?));
        }
        component => notes.skipped.push(format!(
            "the parameter '{}' in vhost '{}' is for '{component}', which this broker does not have",
            entry.name, entry.vhost
        )),
    }
    Ok(())
}

/// The type of a queue that an entry names, as RabbitMQ 3.8 and later write it, and some tools.
fn queue_type(kind: &str) -> Option<&'static str> {
    match kind {
        "classic" | "rabbit_classic_queue" => Some("classic"),
        "quorum" | "rabbit_quorum_queue" => Some("quorum"),
        "stream" | "rabbit_stream_queue" => Some("stream"),
        _ => None,
    }
}

fn queue(entry: &QueueEntry, now: Now) -> Result<DraftQueue, String> {
    let mut arguments = entry.arguments.clone();
    let kind = entry.kind.as_deref().and_then(queue_type);
    // A classic queue need not say so, and what clients declare again is compared with what it
    // says.
    if let Some(kind) = kind.filter(|&kind| kind != "classic") {
        arguments.entry("x-queue-type".to_owned()).or_insert_with(|| Value::Text(kind.to_owned()));
    }
    let declare = QueueDeclare {
        name: entry.name.clone(),
        passive: false,
        durable: entry.durable,
        exclusive: false,
        auto_delete: entry.auto_delete,
        arguments: table_of(&arguments)?,
        connection: ConnectionId(0),
        now,
    };
    Ok(DraftQueue { declare, is_typed: kind.is_some() })
}

fn exchange(entry: &ExchangeEntry) -> Result<ExchangeDeclare, String> {
    Ok(ExchangeDeclare {
        name: entry.name.clone(),
        kind: entry.kind.clone(),
        passive: false,
        durable: entry.durable,
        auto_delete: entry.auto_delete,
        internal: entry.internal,
        arguments: table_of(&entry.arguments)?,
    })
}

fn binding(entry: &BindingEntry) -> Result<Bind, String> {
    let destination = match entry.destination_type.as_str() {
        "queue" => Destination::Queue(entry.destination.clone()),
        "exchange" => Destination::Exchange(entry.destination.clone()),
        other => return Err(format!("a destination is a queue or an exchange, not '{other}'")),
    };
    if entry.routing_key.len() > usize::from(u8::MAX) {
        return Err(format!("the routing key has more than {} bytes", u8::MAX));
    }
    let (source, routing_key) = (entry.source.clone(), entry.routing_key.clone().into_bytes());
    Ok(Bind { source, destination, routing_key, arguments: table_of(&entry.arguments)? })
}
