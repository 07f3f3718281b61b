//! The broker at a glance, and who asks.

use super::answer::{Fault, done};
use super::call::Call;
use super::given::check_given;
use super::list;
use super::route::{Route, delete, get, post, put};
use super::state::Listener;
use super::statistics::{self, message_stats};
use crate::admin::definitions::RABBITMQ_VERSION;
use crate::admin::node::{NodeOperation, Overview};
use crate::admin::parameters::{self, CLUSTER_NAME, ParameterOperation};
use crate::admin::{Operation, Told};
use crate::auth::password::PasswordHash;
use crate::broker::attempts::LoginBy;
use crate::broker::sampling::{CHURN, CHURN_NAMES};
use crate::statistics::Trend;
use axum::response::Response;
use serde_json::{Value, json};

/// Types of exchanges, as RabbitMQ describes them.
const EXCHANGE_TYPES: [(&str, &str); 8] = [
    ("direct", "AMQP direct exchange, as per the AMQP specification"),
    ("fanout", "AMQP fanout exchange, as per the AMQP specification"),
    ("headers", "AMQP headers exchange, as per the AMQP specification"),
    ("topic", "AMQP topic exchange, as per the AMQP specification"),
    ("x-consistent-hash", "Consistent Hashing Exchange"),
    ("x-delayed-message", "Delayed Message Exchange"),
    ("x-local-random", "Picks one random local binding (queue) to route via (to)."),
    ("x-random", "Randomly picks a binding (queue) to route via (to)."),
];

/// What is counted: each object for itself, and not each pair of them.
pub(super) const RATES_MODE: &str = "basic";

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/overview", "Get an overview of the broker", overview),
        get("/api/whoami", "Get the authenticated user", whoami),
        get("/api/version", "Get the RabbitMQ version that this API is compatible with", version),
        get("/api/cluster-name", "Get the cluster name", cluster_name),
        put("/api/cluster-name", "Set the cluster name", name_cluster),
        get("/api/extensions", "List the extensions of the management UI", nothing),
        get("/api/auth/attempts/{node}", "Get the authentication attempts on a node", attempts),
        get(
            "/api/auth/attempts/{node}/source",
            "Get the authentication attempts on a node by source",
            nothing,
        ),
        delete("/api/auth/attempts/{node}", "Reset the authentication attempts of a node", reset_attempts),
        delete(
            "/api/auth/attempts/{node}/source",
            "Reset the authentication attempts of a node by source",
            reset_attempts,
        ),
        get("/api/auth/hash_password/{password}", "Hash a password", hash_password),
        post("/api/rebalance/queues", "Rebalance queue leaders across nodes", rebalance),
        delete("/api/reset", "Reset statistics", reset),
        delete("/api/reset/{node}", "Reset the statistics of a node", reset),
    ]
}

async fn overview(call: Call) -> Result<Response, Fault> {
    let Told::Overview(overview) = call.told(Operation::Node(NodeOperation::Overview)).await? else {
        return Err(Fault::unavailable("no overview"));
    };
    let Overview { queues, exchanges, connections, channels, consumers, .. } = *overview;
    let mut queue_totals = json!({});
    let [ready, unacked] = &overview.lengths;
    statistics::put_lengths(&mut queue_totals, ready, unacked);
    let mut told = json!({
        "management_version": RABBITMQ_VERSION,
        "rates_mode": RATES_MODE,
        "sample_retention_policies": {"global": [600, 28800], "basic": [600, 28800], "detailed": [600]},
        "product_version": overview.version,
        "product_name": overview.product,
        "rabbitmq_version": RABBITMQ_VERSION,
        "cluster_name": parameters::cluster_name(&call.state.broker),
        "cluster_tags": {},
        "node_tags": {},
        "erlang_version": "none",
        "erlang_full_version": "none",
        "disable_stats": false,
        "default_queue_type": "classic",
        "is_op_policy_updating_enabled": true,
        "enable_queue_totals": false,
        "exchange_types": exchange_types(),
        "message_stats": overview.events.as_ref().map_or_else(|| json!({}), |events| message_stats(events)),
        "churn_rates": overview.churn.as_ref().map_or_else(|| json!({}), churn),
        "queue_totals": queue_totals,
        "object_totals": {
            "channels": channels,
            "consumers": consumers,
            "connections": connections,
            "exchanges": exchanges,
            "queues": queues,
        },
        "statistics_db_event_queue": 0,
    });
    if call.monitors() {
        told["node"] = json!(call.state.node);
        told["listeners"] = listeners(&call).collect();
        told["contexts"] = json!([]);
    }
    Ok(call.one(told).await)
}

/// All listeners, as RabbitMQ tells them.
pub(super) fn listeners(call: &Call) -> impl Iterator<Item = Value> {
    call.state.listeners.iter().map(|Listener { protocol, address }| {
        json!({
            "node": call.state.node,
            "protocol": protocol,
            "ip_address": address.ip().to_string(),
            "port": address.port(),
            "socket_opts": {"nodelay": true},
            "tls": protocol.ends_with("ssl") || *protocol == "https",
        })
    })
}

pub(super) fn exchange_types() -> Value {
    let told = |(name, description)| json!({"name": name, "description": description, "enabled": true});
    EXCHANGE_TYPES.into_iter().map(told).collect()
}

/// What came and went, by RabbitMQ's names.
pub(super) fn churn(trends: &[Trend; CHURN]) -> Value {
    let mut churn = json!({});
    for (name, trend) in CHURN_NAMES.iter().zip(trends) {
        statistics::put(&mut churn, name, trend);
    }
    churn
}

async fn whoami(call: Call) -> Response {
    let told = json!({"name": call.user, "tags": call.tags, "is_internal_user": true});
    call.one(told).await
}

async fn version(call: Call) -> Response {
    call.one(json!(RABBITMQ_VERSION)).await
}

async fn cluster_name(call: Call) -> Response {
    let name = json!({"name": parameters::cluster_name(&call.state.broker)});
    call.one(name).await
}

async fn name_cluster(call: Call) -> Result<Response, Fault> {
    check_administers(&call)?;
    let mut given = call.object().await?;
    check_given(&given, &["name"])?;
    let (name, value) = (CLUSTER_NAME.to_owned(), given["name"].take());
    let operation = ParameterOperation::SetGlobalParameter { name, value };
    call.told(Operation::Parameters(operation)).await.map_err(Fault::in_words)?;
    Ok(done())
}

async fn nothing(call: Call) -> Result<Response, Fault> {
    list::answer(&call, std::iter::empty::<Value>()).await
}

/// Whether the path names this node: as it calls itself, or as RabbitMQ's would be called on this
/// machine, which is what the checks for Nagios ask for.
///
/// # Errors
/// It does not.
pub(super) fn check_node(call: &Call) -> Result<(), Fault> {
    let (name, own) = (call.name("node"), call.state.node.as_str());
    let host = |node: &str| node.split_once('@').map(|(_name, host)| host.to_owned());
    let is_rabbit = name.starts_with("rabbit@") && host(&name) == host(own);
    if name == own || is_rabbit { Ok(()) } else { Err(Fault::no_object()) }
}

/// Whether who asks sees the broker as a whole.
///
/// # Errors
/// It does not.
pub(super) fn check_monitors(call: &Call) -> Result<(), Fault> {
    if call.monitors() { Ok(()) } else { Err(Fault::not_authorised("Not monitor user")) }
}

/// Whether who asks may do everything.
///
/// # Errors
/// It may not.
pub(super) fn check_administers(call: &Call) -> Result<(), Fault> {
    if call.administers() { Ok(()) } else { Err(Fault::not_authorised("Not administrator user")) }
}

async fn attempts(call: Call) -> Result<Response, Fault> {
    check_monitors(&call)?;
    check_node(&call)?;
    let rows = LoginBy::ALL.map(|by| {
        let (failed, succeeded) = call.state.broker.attempts().counts(by);
        json!({
            "protocol": by.protocol(),
            "auth_attempts": failed + succeeded,
            "auth_attempts_failed": failed,
            "auth_attempts_succeeded": succeeded,
        })
    });
    list::answer(&call, rows.into_iter()).await
}

async fn reset_attempts(call: Call) -> Result<Response, Fault> {
    check_administers(&call)?;
    check_node(&call)?;
    call.state.broker.attempts().reset();
    Ok(done())
}

async fn hash_password(call: Call) -> Response {
    let hash = PasswordHash::of(call.name("password").as_bytes());
    call.one(json!({"ok": hash.to_base64()})).await
}

/// There is one node, where all of them are.
async fn rebalance(call: Call) -> Result<Response, Fault> {
    check_administers(&call)?;
    Ok(done())
}

/// Statistics are of the moment: there is nothing to begin anew.
async fn reset(call: Call) -> Result<Response, Fault> {
    check_administers(&call)?;
    if !call.name("node").is_empty() {
        check_node(&call)?;
    }
    Ok(done())
}
