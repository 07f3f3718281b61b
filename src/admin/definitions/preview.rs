//! What an import would do, before it is done: what it would add and change, what is so already,
//! what it would leave out, and everything that keeps it from being done.
//!
//! Of passwords it is told that they would change, and nothing else.

use crate::admin::policies::arguments_of;
use crate::auth::permission::{Permission, TopicPermission};
use crate::auth::user::User;
use crate::auth::vhost::VHostRecord;
use crate::broker::Broker;
use crate::broker::definitions::Definitions;
use crate::broker::vhost::{Bind, Destination, Draft};
use crate::message::table;
use crate::policy::{Policy, Rank};
use crate::routing::topology::Target;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What an import would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DefinitionsPreview {
    /// What is not there yet.
    pub add: Vec<Addition>,
    /// What is there and would become another.
    pub change: Vec<Change>,
    /// How many are there already as they are defined.
    pub same: usize,
    /// What keeps the document from being imported, a sentence each.
    pub problems: Vec<String>,
    /// What differs from what is there and would stay as it is, a sentence each.
    pub kept: Vec<String>,
    /// What would be left out, a sentence each.
    pub skipped: Vec<String>,
    /// What else should be known, a sentence each.
    pub warnings: Vec<String>,
}

/// Something that would be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addition {
    /// `user`, `vhost`, `permission`, `topic_permission`, `policy`, `operator_policy`,
    /// `global_parameter`, `queue`, `exchange` or `binding`.
    pub kind: &'static str,
    /// Its vhost, if it is in one.
    pub vhost: Option<String>,
    /// Its name; of a permission that of its user, of a binding its ends and its key.
    pub name: String,
}

/// Something that would become another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// As of an addition.
    #[serde(flatten)]
    pub what: Addition,
    /// What would be another: as it is.
    pub before: Map<String, Value>,
    /// The same as it would be.
    pub after: Map<String, Value>,
}

/// Holds what is defined against what is there.
pub(super) fn compare(broker: &Broker, definitions: &Definitions) -> DefinitionsPreview {
    let mut preview = DefinitionsPreview::default();
    vhosts(broker, definitions, &mut preview);
    let users = broker.users();
    for user in &definitions.users {
        let before = users.get(&user.name);
        let is_same = before.as_ref().is_some_and(|before| before.password == user.password);
        let shown = |user: &User, password| user_settings(user, password);
        let before = before.as_ref().map(|before| shown(before, "as it is"));
        let after = shown(user, if is_same { "as it is" } else { "another" });
        preview.note(("user", None, &user.name), before, &after);
    }
    let known: BTreeMap<_, _> =
        users.permissions().into_iter().map(|of| ((of.user.clone(), of.vhost.clone()), of)).collect();
    for of in &definitions.permissions {
        let before = known.get(&(of.user.clone(), of.vhost.clone())).map(permission_settings);
        preview.note(("permission", Some(&of.vhost), &of.user), before, &permission_settings(of));
    }
    let place = |of: &TopicPermission| (of.user.clone(), of.vhost.clone(), of.exchange.clone());
    let known: BTreeMap<_, _> = users.topic_permissions().into_iter().map(|of| (place(&of), of)).collect();
    for of in &definitions.topic_permissions {
        let name = format!("{} for exchange {}", of.user, of.exchange);
        let before = known.get(&place(of)).map(topic_settings);
        preview.note(("topic_permission", Some(&of.vhost), &name), before, &topic_settings(of));
    }
    for rank in [Rank::User, Rank::Operator] {
        let kind = if rank == Rank::User { "policy" } else { "operator_policy" };
        let known = broker.policies().list(rank);
        let known: BTreeMap<_, _> = known.iter().map(|of| ((&of.vhost, &of.name), of)).collect();
        for (_, policy) in definitions.policies.iter().filter(|(of, _)| *of == rank) {
            let before = known.get(&(&policy.vhost, &policy.name)).map(|before| policy_settings(before));
            preview.note((kind, Some(&policy.vhost), &policy.name), before, &policy_settings(policy));
        }
    }
    for (name, value) in &definitions.parameters {
        let before = broker.parameters().get(name).map(|before| parameter_settings(&before));
        preview.note(("global_parameter", None, name), before, &parameter_settings(value));
    }
    for (vhost, draft) in &definitions.drafts {
        declared(broker, vhost, draft, &mut preview);
    }
    preview
}

fn vhosts(broker: &Broker, definitions: &Definitions, preview: &mut DefinitionsPreview) {
    let known: BTreeMap<_, _> =
        broker.vhosts().list().into_iter().map(|record| (record.name.clone(), record)).collect();
    let limited = definitions.vhost_limits.iter();
    let limited: BTreeMap<_, _> = limited.map(|(name, limits)| (name.as_str(), *limits)).collect();
    let with_limits = |record: &VHostRecord| {
        let limits = limited.get(record.name.as_str()).copied().unwrap_or(record.limits);
        vhost_settings(&VHostRecord { limits, ..record.clone() })
    };
    let named: BTreeSet<&str> = definitions.vhosts.iter().map(|record| record.name.as_str()).collect();
    let only_limited = known
        .values()
        .filter(|record| limited.contains_key(record.name.as_str()) && !named.contains(record.name.as_str()));
    for record in definitions.vhosts.iter().chain(only_limited) {
        let before = known.get(&record.name).map(vhost_settings);
        preview.note(("vhost", None, &record.name), before, &with_limits(record));
    }
}

/// What is there of these stays what it is, whatever is defined.
fn declared(broker: &Broker, vhost: &str, draft: &Draft, preview: &mut DefinitionsPreview) {
    let place = broker.vhosts().get(vhost);
    let (mut exchanges, mut bindings) = (BTreeSet::new(), BTreeSet::new());
    if let Some(place) = &place {
        exchanges.extend(place.list_exchanges().into_iter().map(|of| of.name.to_string()));
        bindings.extend(place.list_bindings().into_iter().map(|bound| {
            let (to_exchange, destination) = match &bound.target {
                Target::Queue(queue) => (false, queue.name.to_string()),
                Target::Exchange(exchange) => (true, exchange.name.to_string()),
            };
            let ends = (bound.source.name.to_string(), to_exchange, destination);
            (ends, bound.key.to_vec(), bound.arguments.to_vec())
        }));
    }
    for exchange in &draft.exchanges {
        preview.found(("exchange", Some(vhost), &exchange.name), exchanges.contains(&exchange.name));
    }
    exchanges.extend(draft.exchanges.iter().map(|exchange| exchange.name.clone()));
    let queues: BTreeSet<&str> = draft.queues.iter().map(|queue| queue.declare.name.as_str()).collect();
    for queue in &draft.queues {
        let name = &queue.declare.name;
        let is_there = place.as_ref().is_some_and(|place| place.find_queue(name).is_some());
        preview.found(("queue", Some(vhost), name), is_there);
    }
    for bind in &draft.bindings {
        let Bind { source, destination, routing_key, arguments } = bind;
        let (to_exchange, to) = match destination {
            Destination::Queue(name) => (false, name),
            Destination::Exchange(name) => (true, name),
        };
        let has_queue = || {
            queues.contains(to.as_str()) || place.as_ref().is_some_and(|place| place.find_queue(to).is_some())
        };
        // What it is between is not there: it is left out.
        if !exchanges.contains(source) || !(if to_exchange { exchanges.contains(to) } else { has_queue() }) {
            continue;
        }
        let mut encoded = Vec::new();
        table::encode(arguments, &mut encoded);
        let ends = (source.clone(), to_exchange, to.clone());
        let is_there = bindings.contains(&(ends, routing_key.clone(), encoded));
        let key = String::from_utf8_lossy(routing_key);
        let name = format!("{source} -> {} {to} by '{key}'", if to_exchange { "exchange" } else { "queue" });
        preview.found(("binding", Some(vhost), &name), is_there);
    }
}

impl DefinitionsPreview {
    fn note(
        &mut self,
        (kind, vhost, name): (&'static str, Option<&str>, &str),
        before: Option<Map<String, Value>>,
        after: &Map<String, Value>,
    ) {
        let what = Addition { kind, vhost: vhost.map(str::to_owned), name: name.to_owned() };
        let Some(before) = before else { return self.add.push(what) };
        let differs = |name: &&String| before.get(*name) != after.get(*name);
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).filter(differs).collect();
        if names.is_empty() {
            self.same += 1;
            return;
        }
        let only = |of: &Map<String, Value>| {
            let named = names.iter().filter_map(|name| Some(((*name).clone(), of.get(*name)?.clone())));
            named.collect()
        };
        self.change.push(Change { what, before: only(&before), after: only(after) });
    }

    fn found(&mut self, (kind, vhost, name): (&'static str, Option<&str>, &str), is_there: bool) {
        if is_there {
            self.same += 1;
        } else {
            self.add.push(Addition { kind, vhost: vhost.map(str::to_owned), name: name.to_owned() });
        }
    }
}

/// Settings by name, without those that are not set.
fn settings<const N: usize>(all: [(&str, Value); N]) -> Map<String, Value> {
    let set = all.into_iter().filter(|(_, value)| !value.is_null());
    set.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn user_settings(user: &User, password: &str) -> Map<String, Value> {
    settings([
        ("password", json!(password)),
        ("tags", json!(user.tags)),
        ("max-connections", json!(user.limits.connections_max)),
        ("max-channels", json!(user.limits.channels_max)),
    ])
}

fn vhost_settings(record: &VHostRecord) -> Map<String, Value> {
    settings([
        ("description", json!(record.description)),
        ("tags", json!(record.tags)),
        ("default_queue_type", json!(record.default_queue_type)),
        ("protected_from_deletion", json!(record.protected)),
        ("max-connections", json!(record.limits.connections_max)),
        ("max-queues", json!(record.limits.queues_max)),
    ])
}

fn permission_settings(of: &Permission) -> Map<String, Value> {
    settings([("configure", json!(of.configure)), ("write", json!(of.write)), ("read", json!(of.read))])
}

fn topic_settings(of: &TopicPermission) -> Map<String, Value> {
    settings([("write", json!(of.write)), ("read", json!(of.read))])
}

fn policy_settings(policy: &Policy) -> Map<String, Value> {
    settings([
        ("pattern", json!(policy.pattern)),
        ("apply-to", json!(policy.apply_to.name())),
        ("priority", json!(policy.priority)),
        ("definition", json!(arguments_of(&policy.definition))),
    ])
}

/// Of a JSON text.
fn parameter_settings(value: &str) -> Map<String, Value> {
    settings([("value", serde_json::from_str(value).unwrap_or_default())])
}
