//! Messages: published to an exchange, fetched from a queue.

use super::answer::Fault;
use super::call::Call;
use super::exchanges::exchange_name;
use super::given::{check_given, check_known, text};
use super::route::{Route, post};
use crate::admin::exchanges::ExchangeOperation;
use crate::admin::messages::{
    FetchSettlement, FetchedMessage, MessageOperation, MessageProperties, Payload, PayloadEncoding,
};
use crate::admin::value::Arguments;
use crate::admin::{Operation, Told};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// What may become of messages that are fetched.
const ACK_MODES: &str = "ack_requeue_true, ack_requeue_false, reject_requeue_true, reject_requeue_false";

pub(super) fn routes() -> Vec<Route> {
    vec![
        post("/api/exchanges/{vhost}/{name}/publish", "Publish a message", publish),
        post("/api/exchanges/{vhost}/{name}/route", "Show where a message would be routed, and why", route),
        post("/api/queues/{vhost}/{name}/get", "Get messages from a queue", fetch),
    ]
}

async fn publish(call: Call) -> Result<Response, Fault> {
    let given = call.object().await?;
    check_given(&given, &["payload_encoding", "payload", "properties", "routing_key"])?;
    let payload = text(&given, "payload", "")?;
    let payload = match given["payload_encoding"].as_str() {
        Some("string") => payload.into_bytes(),
        Some("base64") => {
            let decoded = STANDARD.decode(&payload);
            decoded.map_err(|_error| Fault::bad_request(json!(["not_base64", payload])))?
        }
        _ => return Err(Fault::bad_request(json!(["unsupported_encoding", given["payload_encoding"]]))),
    };
    let operation = MessageOperation::Publish {
        vhost: call.vhost(),
        exchange: exchange_name(call.name("name")),
        routing_key: text(&given, "routing_key", "")?,
        properties: Box::new(properties(&given["properties"])?),
        payload: Payload(payload),
    };
    match call.told(Operation::Messages(operation)).await {
        Ok(Told::Routed(routed)) => Ok(call.one(json!({"routed": routed})).await),
        Ok(_) => Err(Fault::unavailable("no answer")),
        Err(fault) if fault.is_missing() => Err(Fault::not_found("exchange_not_found")),
        Err(fault) => Err(fault),
    }
}

/// Properties as RabbitMQ reads them: an empty list is none, numbers may be texts.
fn properties(given: &Value) -> Result<MessageProperties, Fault> {
    let empty = Map::new();
    let given = match given {
        Value::Object(given) => given,
        Value::Array(list) if list.is_empty() => &empty,
        _ => return Err(Fault::bad_request("the properties are not an object")),
    };
    let text = |name: &str| match given.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) if name == "expiration" => Ok(Some(number.to_string())),
        Some(_) => Err(Fault::bad_request(json!(["not_binary", name]))),
    };
    let number = |name: &str| match given.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().or_else(|| value.as_str()?.parse().ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(Fault::bad_request(json!(["not_int", name]))),
        },
    };
    let byte = |name: &str| match number(name)?.map(u8::try_from) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_too_large)) => Err(Fault::bad_request(json!(["not_int", name]))),
    };
    let headers = match given.get("headers") {
        None | Some(Value::Null) => None,
        Some(Value::Array(list)) if list.is_empty() => Some(Arguments::new()),
        Some(headers) => {
            let headers = serde_json::from_value(headers.clone());
            Some(headers.map_err(|_error| Fault::bad_request("the headers are not an object"))?)
        }
    };
    Ok(MessageProperties {
        content_type: text("content_type")?,
        content_encoding: text("content_encoding")?,
        headers,
        delivery_mode: byte("delivery_mode")?,
        priority: byte("priority")?,
        correlation_id: text("correlation_id")?,
        reply_to: text("reply_to")?,
        expiration: text("expiration")?,
        message_id: text("message_id")?,
        timestamp: number("timestamp")?,
        kind: text("type")?,
        user_id: text("user_id")?,
        app_id: text("app_id")?,
        cluster_id: text("cluster_id")?,
    })
}

async fn route(call: Call) -> Result<Response, Fault> {
    let given = call.object().await?;
    check_known(&given, &["routing_key", "headers"])?;
    let headers = match given.get("headers") {
        None | Some(Value::Null) => Arguments::new(),
        Some(headers) => serde_json::from_value(headers.clone())
            .map_err(|_error| Fault::bad_request("the headers are not an object"))?,
    };
    let operation = ExchangeOperation::RouteTo {
        vhost: call.vhost(),
        exchange: exchange_name(call.name("name")),
        routing_key: text(&given, "routing_key", "")?,
        headers,
    };
    match call.told(Operation::Exchanges(operation)).await? {
        Told::Explained(explained) => Ok(call.one(json!(explained)).await),
        _ => Err(Fault::unavailable("no answer")),
    }
}

async fn fetch(call: Call) -> Result<Response, Fault> {
    let given = call.object().await?;
    check_given(&given, &["count", "ackmode", "encoding"])?;
    let count = match &given["count"] {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    };
    let count = count.ok_or_else(|| Fault::bad_request(json!(["not_integer", given["count"]])))?;
    let settlement = match given["ackmode"].as_str() {
        Some("ack_requeue_true" | "reject_requeue_true") => FetchSettlement::Requeue,
        Some("ack_requeue_false") => FetchSettlement::Acknowledge,
        Some("reject_requeue_false") => FetchSettlement::Reject,
        other => {
            let given = other.map_or_else(|| given["ackmode"].to_string(), str::to_owned);
            let why = format!("Invalid ackmode value: {given}. Valid values are: {ACK_MODES}");
            return Err(Fault::bad_request(why));
        }
    };
    let encoding = match given["encoding"].as_str() {
        Some("auto") => PayloadEncoding::Auto,
        Some("base64") => PayloadEncoding::Base64,
        _ => return Err(Fault::bad_request("Unsupported encoding. Please use auto or base64.")),
    };
    let truncate = given.get("truncate").and_then(Value::as_u64);
    let truncate = truncate.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let (vhost, queue) = (call.vhost(), call.name("name"));
    let operation = MessageOperation::Fetch { vhost, queue, count, settlement, encoding, truncate };
    match call.told_in_turn(Operation::Messages(operation)).await {
        Ok((Told::Fetched(messages), turn)) => {
            let shown = |message: FetchedMessage| {
                let mut shown = json!(message);
                // Erlang's empty object.
                if message.properties == MessageProperties::default() {
                    shown["properties"] = json!([]);
                }
                shown
            };
            call.large(turn, move || Ok(messages.into_iter().map(shown).collect())).await
        }
        Ok(_) => Err(Fault::unavailable("no answer")),
        Err(fault) if fault.is_missing() => Err(Fault::not_found("queue_not_found")),
        Err(fault) => Err(fault),
    }
}
