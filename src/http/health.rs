//! Health checks: 200 with `ok`, or 503 and why.

use super::answer::{Fault, json_of};
use super::call::Call;
use super::overview::check_node;
use super::route::{Route, get};
use super::state::Listener;
use crate::broker::Shortage;
use crate::clock::{mono_ms, wall_now_ms};
use crate::store::change::Health;
use crate::tls::InUse;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

pub(super) fn routes() -> Vec<Route> {
    const OF_QUEUES: &str = "Whether quorum queues have leaders";
    vec![
        get("/api/health/checks/alarms", "Check that no alarm is in effect", alarms),
        get("/api/health/checks/local-alarms", "Check that no alarm is in effect on this node", local_alarms),
        get(
            "/api/health/checks/certificate-expiration/{within}/{unit}",
            "Check that no certificate expires within a period",
            certificates,
        ),
        get("/api/health/checks/port-listener/{port}", "Check that a port has a listener", port),
        get(
            "/api/health/checks/protocol-listener/{protocol}",
            "Check that a protocol has a listener",
            protocol,
        ),
        get("/api/health/checks/virtual-hosts", "Check that all virtual hosts are running", works),
        get(
            "/api/health/checks/node-is-quorum-critical",
            "Check that no queue would lose its quorum without this node",
            single,
        ),
        get("/api/health/checks/is-in-service", "Check that the node serves clients", works),
        get(
            "/api/health/checks/below-node-connection-limit",
            "Check that the node is below its connection limit",
            room,
        ),
        get("/api/health/checks/ready-to-serve-clients", "Check that the node serves clients", works),
        get(
            "/api/health/checks/reached-target-cluster-size",
            "Check that the cluster has reached its target size",
            works,
        ),
        get(
            "/api/health/checks/metadata-store/initialized",
            "Check that the metadata store is initialized",
            works,
        ),
        get(
            "/api/health/checks/metadata-store/initialized/with-data",
            "Check that the metadata store is initialized and has data",
            works,
        ),
        get("/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts", OF_QUEUES, works),
        get(
            "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}",
            OF_QUEUES,
            works,
        ),
        get("/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}", OF_QUEUES, of_vhost),
        get(
            "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}",
            OF_QUEUES,
            of_vhost,
        ),
        get("/api/aliveness-test/{vhost}", "Check that a virtual host works", of_vhost),
        get("/api/healthchecks/node", "Check that this node works", works),
        get("/api/healthchecks/node/{node}", "Check that a node works", node),
    ]
}

async fn ok(call: &Call) -> Response {
    call.one(json!({"status": "ok"})).await
}

fn failed(reason: &str, more: Value) -> Response {
    let mut told = json!({"status": "failed", "reason": reason});
    if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
        told.extend(more);
    }
    json_of(StatusCode::SERVICE_UNAVAILABLE, &told)
}

async fn alarms(call: Call) -> Response {
    alarms_in(&call, "in the cluster").await
}

async fn local_alarms(call: Call) -> Response {
    alarms_in(&call, "on the node").await
}

async fn alarms_in(call: &Call, place: &str) -> Response {
    let health = call.state.broker.health();
    let Shortage { memory, disk } = call.state.broker.alarms().shortage(health);
    let node = &call.state.node;
    let raised = [(memory, "memory"), (disk, "disk")].into_iter().filter(|(is_on, _)| *is_on);
    let raised: Vec<Value> =
        raised.map(|(_, resource)| json!({"node": node, "resource": resource})).collect();
    if raised.is_empty() {
        return ok(call).await;
    }
    failed(&format!("There are alarms in effect {place}"), json!({"alarms": raised}))
}

/// Whether the broker works at all.
async fn works(call: Call) -> Response {
    match call.state.broker.health() {
        Health::Good | Health::Full => ok(&call).await,
        Health::Failed => failed("the store has failed", Value::Null),
    }
}

async fn single(call: Call) -> Response {
    call.one(json!({"status": "ok", "reason": "single node cluster"})).await
}

async fn of_vhost(call: Call) -> Result<Response, Fault> {
    let vhost = call.vhost();
    if !call.visible_vhosts().await?.contains(&vhost) {
        return Err(Fault::no_object());
    }
    Ok(works(call).await)
}

async fn node(call: Call) -> Result<Response, Fault> {
    check_node(&call)?;
    Ok(works(call).await)
}

async fn certificates(call: Call) -> Result<Response, Fault> {
    const HOUR_MS: u64 = 60 * 60 * 1000;
    // A month is a twelfth of a year, as in RabbitMQ.
    let unit_ms = match call.name("unit").as_str() {
        "days" => 24 * HOUR_MS,
        "weeks" => 7 * 24 * HOUR_MS,
        "months" => 730 * HOUR_MS,
        "years" => 365 * 24 * HOUR_MS,
        _ => {
            let why = "Time unit not recognised. Supported units: days, weeks, months, years.";
            return Err(Fault::bad_request(why));
        }
    };
    let within = call.name("within").parse::<u32>();
    let within = within.map_err(|_none| Fault::bad_request("Invalid expiration period"))?;
    let until_ms = wall_now_ms().saturating_add(u64::from(within) * unit_ms);
    let secure: Vec<&Listener> = call
        .state
        .listeners
        .iter()
        .filter(|listener| matches!(listener.protocol, "amqp/ssl" | "https"))
        .collect();
    let in_use = call.state.certificates.as_ref().filter(|_| !secure.is_empty());
    let in_use = in_use.map_or_else(Vec::new, |certificates| certificates.in_use(mono_ms()));
    let expired: Vec<Value> = secure
        .into_iter()
        .filter_map(|listener| expiring(&call.state.node, listener, &in_use, until_ms))
        .collect();
    if expired.is_empty() {
        return Ok(ok(&call).await);
    }
    Ok(failed("Certificates expiring", json!({"expired": expired})))
}

/// What of the certificates of a listener expires until then, if any does. Browsers are asked for
/// no certificate, so that no authority counts for them.
fn expiring(node: &str, listener: &Listener, in_use: &[InUse], until_ms: u64) -> Option<Value> {
    let of_listener = |one: &&InUse| !one.of_authority || listener.protocol == "amqp/ssl";
    let used: Vec<&InUse> = in_use.iter().filter(of_listener).collect();
    let ends: Vec<&InUse> = used.iter().copied().filter(|one| one.expires_ms <= until_ms).collect();
    if ends.is_empty() {
        return None;
    }
    let file = |of_authority| used.iter().find(|one| one.of_authority == of_authority).map(|one| &one.file);
    let dates = |of_authority| -> Vec<String> {
        ends.iter().filter(|one| one.of_authority == of_authority).map(|one| one.expires_on()).collect()
    };
    let certificates: Vec<Value> = ends
        .iter()
        .map(|one| json!({"file": one.file.display().to_string(), "subject": one.subject, "expires_on": one.expires_on()}))
        .collect();
    Some(json!({
        "node": node,
        "protocol": listener.protocol,
        "interface": listener.address.ip().to_string(),
        "port": listener.address.port(),
        "certfile": file(false).map(|file| file.display().to_string()),
        "certfile_expires_on": dates(false),
        "cacertfile": file(true).map(|file| file.display().to_string()),
        "cacertfile_expires_on": dates(true),
        "certificates": certificates,
    }))
}

async fn port(call: Call) -> Result<Response, Fault> {
    let port: u16 = call.name("port").parse().map_err(|_none| Fault::bad_request("Invalid port"))?;
    let ports: Vec<u16> = call.state.listeners.iter().map(|listener| listener.address.port()).collect();
    if ports.contains(&port) {
        return Ok(call.one(json!({"status": "ok", "port": port})).await);
    }
    Ok(failed("No active listener", json!({"missing": port, "ports": ports})))
}

async fn protocol(call: Call) -> Response {
    let mut protocols: Vec<&str> = call.state.listeners.iter().map(|listener| listener.protocol).collect();
    protocols.dedup();
    let wanted = call.name("protocol");
    let missing: Vec<&str> = wanted.split(',').filter(|name| !protocols.contains(&canonical(name))).collect();
    if missing.is_empty() {
        return call.one(json!({"status": "ok", "protocols": protocols})).await;
    }
    failed("No active listener", json!({"missing": missing, "protocols": protocols}))
}

/// A protocol by the name under which listeners have it.
fn canonical(name: &str) -> &str {
    match name {
        "amqp091" | "amqp0-9-1" | "amqp0.9.1" | "amqp10" | "amqp1.0" => "amqp",
        "amqps" | "amqp/ssl" => "amqp/ssl",
        "management" => "http",
        other => other,
    }
}

async fn room(call: Call) -> Response {
    let broker = &call.state.broker;
    let (limit, there) = (broker.limits().get().connections_max, broker.clients().list().len());
    if there < limit as usize {
        return ok(&call).await;
    }
    failed("Connection limit is reached", json!({"limit": limit, "connections": there}))
}
