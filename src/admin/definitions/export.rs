//! What there is, as a document: what was made to stay, and no message. Exclusive queues go with
//! their connections and are left out, as are transient ones, what is part of a channel or of an
//! exchange, and what every vhost has.

use super::document::{
    BindingEntry, Document, ExchangeEntry, MetadataEntry, ParameterEntry, PermissionEntry, PolicyEntry,
    QueueEntry, TopicPermissionEntry, UserEntry, VHostEntry,
};
use crate::admin::parameters::{self, GlobalParameterRow};
use crate::admin::policies::arguments_of;
use crate::admin::value::{Arguments, Value, arguments, decoded};
use crate::auth::user::User;
use crate::auth::vhost::VHostRecord;
use crate::broker::Broker;
use crate::broker::vhost::VHost;
use crate::broker::vhost::listing::Bound;
use crate::policy::{Policy, Rank};
use crate::queue::Queue;
use crate::routing::topology::{Target, is_predeclared};
use serde_json::json;

/// The version of RabbitMQ whose documents these are.
pub const RABBITMQ_VERSION: &str = "4.3.0";

/// What the names of global parameters begin with that the broker itself keeps, as on RabbitMQ.
const INTERNAL: &str = "internal_";

/// Everything there is.
pub(super) fn export(broker: &Broker) -> Document {
    let users = broker.users();
    let mut document = Document {
        rabbitmq_version: Some(RABBITMQ_VERSION.to_owned()),
        rabbit_version: Some(RABBITMQ_VERSION.to_owned()),
        product_name: Some("Leveret".to_owned()),
        product_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        users: users.list().into_iter().map(UserEntry::of).collect(),
        vhosts: broker.vhosts().list().into_iter().map(vhost).collect(),
        ..Document::default()
    };
    document.permissions.extend(users.permissions().into_iter().map(|of| PermissionEntry {
        user: of.user,
        vhost: of.vhost,
        configure: of.configure,
        write: of.write,
        read: of.read,
    }));
    document.topic_permissions.extend(users.topic_permissions().into_iter().map(|of| TopicPermissionEntry {
        user: of.user,
        vhost: of.vhost,
        exchange: of.exchange,
        write: of.write,
        read: of.read,
    }));
    document.policies.extend(broker.policies().list(Rank::User).into_iter().map(policy));
    document.parameters.extend(broker.policies().list(Rank::Operator).into_iter().map(operator_policy));
    // What the broker itself has noted there is not for another one.
    let own = |parameter: &GlobalParameterRow| parameter.name.starts_with(INTERNAL);
    document
        .global_parameters
        .extend(parameters::all(broker).into_iter().filter(|parameter| !own(parameter)));
    let limited = broker.vhosts().list().into_iter().filter_map(vhost_limits);
    document.parameters.extend(limited);
    for place in broker.vhosts().all() {
        declared(&place, &mut document);
    }
    document
}

impl UserEntry {
    /// A user as definitions have it.
    #[must_use]
    pub fn of(user: User) -> Self {
        let limits =
            [("max-connections", user.limits.connections_max), ("max-channels", user.limits.channels_max)];
        Self {
            name: user.name,
            hashing_algorithm: user.password.as_ref().map(|hash| hash.algorithm().name().to_owned()),
            password_hash: Some(user.password.map(|hash| hash.to_base64()).unwrap_or_default()),
            password: None,
            tags: user.tags,
            limits: limits_of(&limits),
        }
    }
}

fn limits_of(limits: &[(&str, Option<u32>)]) -> Arguments {
    let there =
        limits.iter().filter_map(|(name, limit)| Some(((*name).to_owned(), Value::Signed((*limit)?.into()))));
    there.collect()
}

fn own_limits(record: &VHostRecord) -> Arguments {
    let limits = record.limits;
    limits_of(&[("max-connections", limits.connections_max), ("max-queues", limits.queues_max)])
}

fn vhost(record: VHostRecord) -> VHostEntry {
    let limits = own_limits(&record);
    let VHostRecord { name, description, tags, default_queue_type, protected, .. } = record;
    let protected_from_deletion = protected.then_some(true);
    let metadata =
        MetadataEntry { description: Some(description), tags, default_queue_type, protected_from_deletion };
    VHostEntry { name, metadata, limits, ..VHostEntry::default() }
}

/// The limits of a vhost once more, where RabbitMQ reads them.
fn vhost_limits(record: VHostRecord) -> Option<ParameterEntry> {
    let limits = own_limits(&record);
    (!limits.is_empty()).then(|| ParameterEntry {
        component: "vhost-limits".to_owned(),
        name: "limits".to_owned(),
        vhost: record.name,
        value: json!(limits),
    })
}

fn policy(policy: Policy) -> PolicyEntry {
    PolicyEntry {
        vhost: policy.vhost,
        name: policy.name,
        pattern: policy.pattern,
        apply_to: Some(policy.apply_to.name().to_owned()),
        definition: arguments_of(&policy.definition),
        priority: policy.priority,
    }
}

fn operator_policy(of: Policy) -> ParameterEntry {
    let PolicyEntry { vhost, name, pattern, apply_to, definition, priority } = policy(of);
    let value =
        json!({"pattern": pattern, "apply-to": apply_to, "definition": definition, "priority": priority});
    ParameterEntry { component: "operator_policy".to_owned(), name, vhost, value }
}

/// Whether a queue is written: it stays whoever comes and goes, and is nobody's part.
fn is_kept(queue: &Queue) -> bool {
    queue.is_durable() && !queue.settings.delays && queue.owner().is_none()
}

fn declared(place: &VHost, document: &mut Document) {
    let vhost = place.name.to_string();
    let queues = place.list_queues().into_iter().filter(|queue| is_kept(queue));
    document.queues.extend(queues.map(|queue| QueueEntry {
        name: queue.name.to_string(),
        vhost: vhost.clone(),
        durable: true,
        auto_delete: queue.settings.auto_delete,
        arguments: arguments(&queue.settings.arguments),
        kind: Some(queue.settings.kind.name().to_owned()),
    }));
    let exchanges = place.list_exchanges().into_iter().filter(|declared| !is_predeclared(&declared.name));
    document.exchanges.extend(exchanges.map(|declared| ExchangeEntry {
        name: declared.name.to_string(),
        vhost: vhost.clone(),
        kind: declared.type_name().to_owned(),
        durable: declared.durable,
        auto_delete: declared.auto_delete,
        internal: declared.internal,
        arguments: arguments(&declared.arguments),
    }));
    document.bindings.extend(place.list_bindings().into_iter().filter_map(|bound| binding(&vhost, &bound)));
}

fn binding(vhost: &str, bound: &Bound) -> Option<BindingEntry> {
    let (destination, kind) = match &bound.target {
        Target::Queue(queue) if !is_kept(queue) => return None,
        Target::Queue(queue) => (queue.name.to_string(), "queue"),
        Target::Exchange(declared) => (declared.name.to_string(), "exchange"),
    };
    Some(BindingEntry {
        source: bound.source.name.to_string(),
        vhost: vhost.to_owned(),
        destination,
        destination_type: kind.to_owned(),
        routing_key: String::from_utf8_lossy(&bound.key).into_owned(),
        arguments: decoded(&bound.arguments),
    })
}
