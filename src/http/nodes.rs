//! Nodes: this one, and the others of its cluster as far as it knows them.

use super::answer::Fault;
use super::call::Call;
use super::list;
use super::overview::{RATES_MODE, check_monitors, check_node, churn, exchange_types};
use super::route::{Route, get};
use super::statistics;
use crate::admin::definitions::RABBITMQ_VERSION;
use crate::admin::node::{NodeOperation, Usage};
use crate::admin::{Operation, Told};
use crate::audit::recent::LINES_MAX;
use crate::broker::sampling::USAGE_NAMES;
use crate::cluster_status::NodeStatus;
use axum::response::Response;
use serde_json::{Map, Value, json};

/// What the Erlang VM has and this process has not: no memory is used for it. Tools ask for all of
/// them.
const NOTHING: [&str; 24] = [
    "allocated_unused",
    "atom",
    "binary",
    "code",
    "connection_channels",
    "connection_other",
    "connection_readers",
    "connection_writers",
    "metadata_store",
    "metadata_store_ets",
    "metrics",
    "mgmt_db",
    "mnesia",
    "msg_index",
    "other_ets",
    "other_proc",
    "plugins",
    "quorum_ets",
    "quorum_queue_dlx_procs",
    "quorum_queue_procs",
    "reserved_unallocated",
    "stream_queue_coordinator_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/log", "List recent log lines", log),
        get("/api/nodes", "List all nodes", all),
        get("/api/nodes/{node}", "Get a node", one),
        get("/api/nodes/{node}/memory", "Get a node's memory use by category", memory),
    ]
}

async fn usage(call: &Call) -> Result<Usage, Fault> {
    check_monitors(call)?;
    match call.told(Operation::Node(NodeOperation::Usage)).await? {
        Told::Usage(usage) => Ok(*usage),
        _ => Err(Fault::unavailable("no usage")),
    }
}

async fn log(call: Call) -> Result<Response, Fault> {
    let lines = match call.query.get("lines").map(str::parse) {
        None => LINES_MAX,
        Some(Ok(lines)) => lines,
        Some(Err(_none)) => return Err(Fault::bad_request("lines is not a number")),
    };
    let (told, turn) = call.told_in_turn(Operation::Node(NodeOperation::ReadLog { lines })).await?;
    let Told::Log(lines) = told else { return Err(Fault::unavailable("no answer")) };
    call.large(turn, move || Ok(json!({"lines": lines}))).await
}

async fn all(call: Call) -> Result<Response, Fault> {
    let node = node(&call, &usage(&call).await?);
    let others = others(&call);
    list::answer(&call, std::iter::once(node).chain(others)).await
}

/// The other nodes of the cluster, of which this one knows little.
fn others(call: &Call) -> Vec<Value> {
    let status = call.state.broker.cluster_status();
    let others = status.nodes.into_iter().filter(|node| node.name != status.node);
    let other = |node: NodeStatus| {
        json!({
            "name": format!("leveret@{}", node.name),
            "type": "disc",
            "running": node.running.unwrap_or_default(),
            "being_drained": false,
            "rates_mode": RATES_MODE,
            "role": node.role.name(),
            "lag": node.lag,
        })
    };
    others.map(other).collect()
}

async fn one(call: Call) -> Result<Response, Fault> {
    check_node(&call)?;
    let node = node(&call, &usage(&call).await?);
    Ok(call.one(node).await)
}

async fn memory(call: Call) -> Result<Response, Fault> {
    check_node(&call)?;
    let usage = usage(&call).await?;
    let (rss, messages) = (usage.memory_bytes.unwrap_or_default(), usage.message_memory_bytes);
    let mut memory: Map<String, Value> = NOTHING.iter().map(|name| ((*name).to_owned(), json!(0))).collect();
    memory.insert("queue_procs".to_owned(), json!(messages));
    memory.insert("other_system".to_owned(), json!(rss.saturating_sub(messages)));
    memory.insert("strategy".to_owned(), json!("rss"));
    memory.insert("total".to_owned(), json!({"rss": rss, "allocated": rss, "erlang": rss}));
    Ok(call.one(json!({"memory": memory})).await)
}

/// A node in RabbitMQ's words.
fn node(call: &Call, usage: &Usage) -> Value {
    let mut node = json!({
        "name": call.state.node,
        "type": "disc",
        "running": usage.store_works,
        "being_drained": false,
        "os_pid": usage.pid.to_string(),
        "uptime": usage.uptime_ms,
        "processors": usage.processors,
        "run_queue": 0,
        "rates_mode": RATES_MODE,
        "mem_used": usage.memory_bytes,
        "mem_limit": usage.memory_limit_bytes,
        "mem_alarm": usage.memory_alarm,
        "mem_calculation_strategy": "rss",
        "disk_free": usage.disk_free_bytes,
        "disk_free_limit": usage.disk_free_limit_bytes,
        "disk_free_alarm": usage.disk_alarm,
        "fd_used": usage.descriptors,
        "fd_total": usage.descriptors_max,
        "sockets_used": usage.connections,
        "sockets_total": usage.connections_max,
        "proc_used": 0,
        "proc_total": 0,
        "partitions": [],
        "exchange_types": exchange_types(),
        "auth_mechanisms": auth_mechanisms(),
        "applications": [],
        "contexts": [],
        "log_files": [],
        "config_files": [],
        "enabled_plugins": [],
        "cluster_links": [],
        "net_ticktime": 0,
        "rabbitmq_version": RABBITMQ_VERSION,
        "erlang_version": "none",
        "erlang_full_version": "none",
    });
    for (what, io) in ["read", "write", "sync"].into_iter().zip(usage.io) {
        node[format!("io_{what}_count")] = json!(io.count);
        // Milliseconds.
        let average = if io.count > 0 { io.us as f64 / 1000.0 / io.count as f64 } else { 0.0 };
        node[format!("io_{what}_avg_time")] = json!(average);
        if what != "sync" {
            node[format!("io_{what}_bytes")] = json!(io.bytes);
        }
    }
    for (name, trend) in USAGE_NAMES.iter().zip(&usage.trends) {
        node[format!("{name}_details")] = statistics::details(trend);
    }
    if let (Value::Object(node), Value::Object(churn)) = (&mut node, churn(&usage.churn)) {
        node.extend(churn);
    }
    node
}

fn auth_mechanisms() -> Value {
    let told = |(name, description): (&str, &str)| json!({"name": name, "description": description, "enabled": true});
    let known = [
        ("PLAIN", "SASL PLAIN authentication mechanism"),
        ("AMQPLAIN", "QPid AMQPLAIN mechanism"),
        ("EXTERNAL", "SASL EXTERNAL authentication mechanism"),
        ("ANONYMOUS", "SASL ANONYMOUS authentication mechanism"),
    ];
    known.into_iter().map(told).collect()
}
