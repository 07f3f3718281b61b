//! Connections, channels and consumers.

use super::answer::{Fault, done};
use super::call::Call;
use super::list::{self, Listed, Show};
use super::route::{Route, delete, get};
use super::statistics;
use crate::admin::clients::{ChannelRow, ClientOperation, ConnectionRow};
use crate::admin::queues::{ConsumerRow, QueueOperation};
use crate::admin::{Operation, Row, Told};
use crate::statistics::EVENTS;
use axum::http::HeaderName;
use axum::response::Response;
use serde_json::{Value, json};

/// What a client is told whose connection is closed without a reason.
const CLOSED: &str = "Closed via management plugin";

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/connections", "List all connections", connections),
        get("/api/connections/{name}", "Get a connection", connection),
        delete("/api/connections/{name}", "Close a connection", close),
        get("/api/connections/{name}/channels", "List the channels of a connection", channels_of_connection),
        get("/api/connections/username/{user}", "List the connections of a user", of_user),
        delete("/api/connections/username/{user}", "Close all connections of a user", close_of_user),
        get("/api/vhosts/{vhost}/connections", "List the connections to a virtual host", of_vhost),
        get("/api/channels", "List all channels", channels),
        get("/api/channels/{name}", "Get a channel", channel),
        get("/api/vhosts/{vhost}/channels", "List the channels in a virtual host", channels_of_vhost),
        get("/api/consumers", "List all consumers", consumers),
        get("/api/consumers/{vhost}", "List the consumers in a virtual host", consumers),
    ]
}

impl Listed for ConnectionRow {
    fn name(&self) -> &str {
        &self.name
    }

    fn json(&self, show: &Show) -> Value {
        let mut shown = json!(self);
        shown["node"] = json!(show.node);
        shown["type"] = json!("network");
        shown["user_who_performed_action"] = json!(self.user);
        for name in [
            "peer_cert_issuer",
            "peer_cert_serial_number",
            "peer_cert_subject",
            "peer_cert_validity",
            "ssl_cipher",
            "ssl_hash",
            "ssl_key_exchange",
            "ssl_protocol",
        ] {
            shown[name] = Value::Null;
        }
        let [received, sent] = &self.traffic;
        if !show.disable_stats {
            statistics::put(&mut shown, "recv_oct", received);
            statistics::put(&mut shown, "send_oct", sent);
        }
        if let (Value::Object(shown), None) = (&mut shown, &self.user_provided_name) {
            shown.remove("user_provided_name");
        }
        shown
    }

    fn sort_key(&self, path: &str) -> Option<Value> {
        let [received, sent] = &self.traffic;
        match path {
            "recv_oct_details.rate" => Some(json!(received.rate)),
            "send_oct_details.rate" => Some(json!(sent.rate)),
            _ => None,
        }
    }
}

impl Listed for ChannelRow {
    fn name(&self) -> &str {
        &self.name
    }

    fn json(&self, show: &Show) -> Value {
        let mut shown = json!(self);
        shown["node"] = json!(show.node);
        shown["state"] = json!("running");
        shown["user_who_performed_action"] = json!(self.user);
        if let (Some(events), false) = (&self.events, show.disable_stats) {
            shown["message_stats"] = statistics::message_stats(events);
        }
        if let Some(since) = show.idle_since(self.changed_at_ms) {
            shown["idle_since"] = since;
        }
        let (host, port) = ends(&self.connection);
        shown["connection_details"] = json!({"name": self.connection, "peer_host": host, "peer_port": port});
        if let Value::Object(shown) = &mut shown {
            shown.remove("connection");
        }
        shown
    }

    fn sort_key(&self, path: &str) -> Option<Value> {
        statistics::rate(path, self.events.as_ref().map(<[_; EVENTS]>::as_slice), None)
    }
}

/// Where a connection of that name comes from: `127.0.0.1:50000 -> 127.0.0.1:5672`.
fn ends(name: &str) -> (Value, Value) {
    let peer = name.split(" -> ").next().unwrap_or_default();
    match peer.rsplit_once(':') {
        Some((host, port)) => (json!(host.trim_matches(['[', ']'])), json!(port.parse::<u16>().ok())),
        None => (Value::Null, Value::Null),
    }
}

/// A consumer in RabbitMQ's words.
pub(super) fn shown_consumer(row: &ConsumerRow, node: &str) -> Value {
    let (connection, number) = match row.channel_pid.rsplit_once(" (") {
        Some((connection, number)) => (connection, number.trim_end_matches(')').parse::<u16>().ok()),
        None => (row.channel_pid.as_str(), None),
    };
    let (host, port) = ends(connection);
    json!({
        "ack_required": row.ack_required,
        "active": row.active,
        "activity_status": row.activity_status,
        "arguments": row.arguments,
        "channel_details": {
            "name": row.channel_pid,
            "number": number,
            "connection_name": connection,
            "node": node,
            "peer_host": host,
            "peer_port": port,
            "user": row.user,
        },
        "consumer_tag": row.consumer_tag,
        "exclusive": row.exclusive,
        "prefetch_count": row.prefetch_count,
        "queue": {"name": row.queue_name, "vhost": row.vhost},
    })
}

fn connection_row(row: Row) -> Option<ConnectionRow> {
    if let Row::Connection(row) = row { Some(*row) } else { None }
}

fn channel_row(row: Row) -> Option<ChannelRow> {
    if let Row::Channel(row) = row { Some(*row) } else { None }
}

async fn some_connections(
    call: &Call,
    is_wanted: impl Fn(&ConnectionRow) -> bool + Send + 'static,
) -> Result<Response, Fault> {
    let rows = call.rows(Operation::Clients(ClientOperation::ListConnections)).await?;
    list::answer(call, rows.filter_map(connection_row).filter(is_wanted)).await
}

async fn connections(call: Call) -> Result<Response, Fault> {
    some_connections(&call, |_| true).await
}

async fn of_user(call: Call) -> Result<Response, Fault> {
    let user = call.name("user");
    some_connections(&call, move |row| row.user == user).await
}

/// Whether the vhost of the path is there for who asks.
async fn check_vhost(call: &Call) -> Result<String, Fault> {
    let vhost = call.vhost();
    if call.visible_vhosts().await?.contains(&vhost) { Ok(vhost) } else { Err(Fault::no_object()) }
}

async fn of_vhost(call: Call) -> Result<Response, Fault> {
    let vhost = check_vhost(&call).await?;
    some_connections(&call, move |row| row.vhost == vhost).await
}

async fn describe(call: &Call) -> Result<(ConnectionRow, Vec<ChannelRow>), Fault> {
    let connection = call.name("name");
    match call.told(Operation::Clients(ClientOperation::DescribeConnection { connection })).await? {
        Told::Connection(described) => Ok((described.connection, described.channels)),
        _ => Err(Fault::no_object()),
    }
}

async fn connection(call: Call) -> Result<Response, Fault> {
    let (row, _channels) = describe(&call).await?;
    let shown = row.json(&Show::of(&call));
    Ok(call.one(shown).await)
}

async fn channels_of_connection(call: Call) -> Result<Response, Fault> {
    let (_connection, rows) = describe(&call).await?;
    list::answer(&call, rows.into_iter()).await
}

/// What the client is told: what the header says.
fn reason(call: &Call) -> String {
    let given = call.headers.get(HeaderName::from_static("x-reason")).and_then(|value| value.to_str().ok());
    given.unwrap_or(CLOSED).to_owned()
}

async fn close(call: Call) -> Result<Response, Fault> {
    let (connection, reason) = (call.name("name"), reason(&call));
    call.told(Operation::Clients(ClientOperation::CloseConnection { connection, reason })).await?;
    Ok(done())
}

async fn close_of_user(call: Call) -> Result<Response, Fault> {
    let (user, reason) = (call.name("user"), reason(&call));
    let rows = call.rows(Operation::Clients(ClientOperation::ListConnections)).await?;
    let names = rows.filter_map(connection_row).filter(|row| row.user == user).map(|row| row.name);
    for connection in names.collect::<Vec<_>>() {
        let close = ClientOperation::CloseConnection { connection, reason: reason.clone() };
        match call.told(Operation::Clients(close)).await {
            Ok(_) => {}
            // It has gone by itself.
            Err(fault) if fault.is_missing() => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(done())
}

async fn some_channels(
    call: &Call,
    is_wanted: impl Fn(&ChannelRow) -> bool + Send + 'static,
) -> Result<Response, Fault> {
    let rows = call.rows(Operation::Clients(ClientOperation::ListChannels)).await?;
    list::answer(call, rows.filter_map(channel_row).filter(is_wanted)).await
}

async fn channels(call: Call) -> Result<Response, Fault> {
    some_channels(&call, |_| true).await
}

async fn channels_of_vhost(call: Call) -> Result<Response, Fault> {
    let vhost = check_vhost(&call).await?;
    some_channels(&call, move |row| row.vhost == vhost).await
}

async fn channel(call: Call) -> Result<Response, Fault> {
    let name = call.name("name");
    let mut rows =
        call.rows(Operation::Clients(ClientOperation::ListChannels)).await?.filter_map(channel_row);
    let found = rows.find(|row| row.name == name).ok_or_else(Fault::no_object)?;
    let vhost = found.vhost.clone();
    let mut shown = found.json(&Show::of(&call));
    // It may have been deleted meanwhile.
    let consumers = call.rows(Operation::Queues(QueueOperation::ListConsumers { vhost })).await;
    let consumers =
        consumers.into_iter().flatten().filter_map(consumer_row).filter(|row| row.channel_pid == name);
    shown["consumer_details"] = consumers.map(|row| shown_consumer(&row, &call.state.node)).collect();
    shown["deliveries"] = json!([]);
    shown["publishes"] = json!([]);
    Ok(call.one(shown).await)
}

fn consumer_row(row: Row) -> Option<ConsumerRow> {
    if let Row::Consumer(row) = row { Some(row) } else { None }
}

async fn consumers(call: Call) -> Result<Response, Fault> {
    let rows = call.rows_in(|vhost| Operation::Queues(QueueOperation::ListConsumers { vhost })).await?;
    let node = call.state.node.clone();
    list::answer(&call, rows.filter_map(consumer_row).map(move |row| shown_consumer(&row, &node))).await
}
