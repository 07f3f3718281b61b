//! A document as what there is to be. What a document can say wrongly by itself is found here, what does not fit what is there by
//! the broker.

use super::document::{
    BindingEntry, Document, ExchangeEntry, MetadataEntry, ParameterEntry, PolicyEntry, QueueEntry, UserEntry,
    VHostEntry,
};
use crate::auth::password::{Algorithm, PasswordHash};
use crate::auth::permission::{Permission, TopicPermission};
use crate::auth::user::{User, UserLimits};
use crate::auth::vhost::{VHostLimits, VHostRecord};
use crate::broker::Broker;
use crate::broker::definitions::Definitions;
use crate::broker::vhost::{Bind, Destination, Draft, ExchangeDeclare, QueueDeclare};
use crate::clock::Now;
use crate::ids::ConnectionId;
use crate::manage::policies::definition_of;
use crate::manage::value::{Arguments, Value, table_of};
use crate::policy::{ApplyTo, Policy, Rank};
use serde::Deserialize;

/// How RabbitMQ hashed passwords before 3.6. It is no way to keep a password any more, so whoever has one like that gets none.
const MD5: &str = "rabbit_password_hashing_md5";

/// What a document says there is to be, and what of it has no use here.
pub(super) fn read(
    broker: &Broker,
    document: &Document,
    now: Now,
) -> Result<(Definitions, Vec<String>), String> {
    let (mut definitions, mut skipped) = (Definitions::default(), Vec::new());
    for entry in &document.vhosts {
        let record = vhost(entry).map_err(|why| format!("vhost '{}': {why}", entry.name))?;
        definitions.vhosts.push(record);
    }
    for entry in &document.users {
        let user = user(broker, entry).map_err(|why| format!("user '{}': {why}", entry.name))?;
        definitions.users.push(user);
        if is_md5(entry) {
            let (user, why) = (&entry.name, "hashed by MD5, which is not safe: the user gets none");
            skipped.push(format!("the password of user '{user}' is {why}"));
        }
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
        let policy = policy(entry).map_err(|why| format!("policy '{}': {why}", entry.name))?;
        definitions.policies.push((Rank::User, policy));
    }
    for entry in &document.parameters {
        parameter(entry, &mut definitions, &mut skipped)
            .map_err(|why| format!("parameter '{}' of '{}': {why}", entry.name, entry.component))?;
    }
    declarations(document, &mut definitions, now)?;
    Ok((definitions, skipped))
}

fn declarations(document: &Document, definitions: &mut Definitions, now: Now) -> Result<(), String> {
    let mut draft = |vhost: &str, add: &mut dyn FnMut(&mut Draft)| {
        add(definitions.drafts.entry(vhost.to_owned()).or_default());
    };
    for entry in &document.queues {
        let queue = queue(entry, now).map_err(|why| format!("queue '{}': {why}", entry.name))?;
        draft(&entry.vhost, &mut |draft| draft.queues.push(queue.clone()));
    }
    for entry in &document.exchanges {
        let exchange = exchange(entry).map_err(|why| format!("exchange '{}': {why}", entry.name))?;
        draft(&entry.vhost, &mut |draft| draft.exchanges.push(exchange.clone()));
    }
    for entry in &document.bindings {
        let named = |why| format!("binding from '{}' to '{}': {why}", entry.source, entry.destination);
        let bind = binding(entry).map_err(named)?;
        draft(&entry.vhost, &mut |draft| draft.bindings.push(bind.clone()));
    }
    Ok(())
}

fn vhost(entry: &VHostEntry) -> Result<VHostRecord, String> {
    let MetadataEntry { description, tags, default_queue_type } = entry.metadata.clone();
    let tags = if tags.is_empty() { entry.tags.clone().unwrap_or_default() } else { tags };
    // RabbitMQ's exports of 3.x write a missing one like this.
    let kind =
        default_queue_type.or_else(|| entry.default_queue_type.clone()).filter(|kind| kind != "undefined");
    Ok(VHostRecord {
        name: entry.name.clone(),
        description: description.or_else(|| entry.description.clone()).unwrap_or_default(),
        tags,
        default_queue_type: kind,
        limits: vhost_limits(&entry.limits)?,
    })
}

fn vhost_limits(limits: &Arguments) -> Result<VHostLimits, String> {
    let mut own = VHostLimits::default();
    for (name, value) in limits {
        match name.as_str() {
            "max-connections" => own.connections_max = limit(name, value)?,
            "max-queues" => own.queues_max = limit(name, value)?,
            _ => return Err(format!("there is no limit '{name}'")),
        }
    }
    Ok(own)
}

/// A limit; one that is negative is none.
fn limit(name: &str, value: &Value) -> Result<Option<u32>, String> {
    match value {
        Value::Signed(number) if *number < 0 => Ok(None),
        Value::Signed(number) if u32::try_from(*number).is_ok() => Ok(u32::try_from(*number).ok()),
        other => Err(format!("{name} is {other:?}, which is no limit")),
    }
}

fn user(broker: &Broker, entry: &UserEntry) -> Result<User, String> {
    let mut limits = UserLimits::default();
    for (name, value) in &entry.limits {
        match name.as_str() {
            "max-connections" => limits.connections_max = limit(name, value)?,
            "max-channels" => limits.channels_max = limit(name, value)?,
            _ => return Err(format!("there is no limit '{name}'")),
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
    if is_md5(entry) {
        return Ok(None);
    }
    let Some(hash) = entry.password_hash.as_deref().filter(|hash| !hash.is_empty()) else { return Ok(None) };
    let name = entry.hashing_algorithm.as_deref().unwrap_or_else(|| Algorithm::Sha256.name());
    let algorithm =
        Algorithm::named(name).ok_or_else(|| format!("passwords cannot be hashed by '{name}'"))?;
    let hash = PasswordHash::from_base64(algorithm, hash);
    hash.map(Some).ok_or_else(|| format!("the password's hash is none of '{name}'"))
}

fn is_md5(entry: &UserEntry) -> bool {
    let hashed = entry.password_hash.as_deref().is_some_and(|hash| !hash.is_empty());
    hashed && entry.hashing_algorithm.as_deref() == Some(MD5)
}

fn policy(entry: &PolicyEntry) -> Result<Policy, String> {
    Ok(Policy {
        vhost: entry.vhost.clone(),
        name: entry.name.clone(),
        pattern: entry.pattern.clone(),
        apply_to: entry.apply_to.as_deref().map_or(Ok(ApplyTo::All), ApplyTo::named)?,
        priority: entry.priority,
        definition: definition_of(&entry.definition),
    })
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

fn parameter(
    entry: &ParameterEntry,
    definitions: &mut Definitions,
    skipped: &mut Vec<String>,
) -> Result<(), String> {
    match entry.component.as_str() {
        "operator_policy" => {
            let value = OperatorPolicy::deserialize(&entry.value).map_err(|error| error.to_string())?;
            let OperatorPolicy { pattern, apply_to, definition, priority } = value;
            let (vhost, name) = (entry.vhost.clone(), entry.name.clone());
            let all = PolicyEntry { vhost, name, pattern, apply_to, definition, priority };
            definitions.policies.push((Rank::Operator, policy(&all)?));
        }
        "vhost-limits" => {
            let limits = Arguments::deserialize(&entry.value).map_err(|error| error.to_string())?;
            let limits = vhost_limits(&limits)?;
            let vhost = definitions.vhosts.iter_mut().find(|record| record.name == entry.vhost);
            let vhost = vhost.ok_or_else(|| format!("the document has no vhost '{}'", entry.vhost))?;
            vhost.limits = limits;
        }
        component => skipped.push(format!(
            "the parameter '{}' in vhost '{}' is for '{component}', which this broker does not have",
            entry.name, entry.vhost
        )),
    }
    Ok(())
}

fn queue(entry: &QueueEntry, now: Now) -> Result<QueueDeclare, String> {
    let mut arguments = entry.arguments.clone();
    if let Some(kind) = &entry.kind {
        arguments.entry("x-queue-type".to_owned()).or_insert_with(|| Value::Text(kind.clone()));
    }
    Ok(QueueDeclare {
        name: entry.name.clone(),
        passive: false,
        durable: entry.durable,
        exclusive: false,
        auto_delete: entry.auto_delete,
        arguments: table_of(&arguments)?,
        connection: ConnectionId(0),
        now,
    })
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
