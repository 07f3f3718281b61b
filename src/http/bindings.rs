//! Bindings, each with the key by which paths name it.

use super::answer::{Fault, done};
use super::call::Call;
use super::exchanges::exchange_name;
use super::given::{arguments, text};
use super::list;
use super::route::{Route, delete, get, post};
use crate::admin::binding_key::quoted;
use crate::admin::exchanges::{BindingRow, BindingSetting, ExchangeOperation, key_for};
use crate::admin::{Operation, RefusalKind, Row, Rows};
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/bindings", "List all bindings", all),
        get("/api/bindings/{vhost}", "List the bindings in a virtual host", all),
        get(
            "/api/bindings/{vhost}/e/{source}/{kind}/{destination}",
            "List the bindings between an exchange and a queue or exchange",
            between,
        ),
        post("/api/bindings/{vhost}/e/{source}/{kind}/{destination}", "Create a binding", bind),
        get("/api/bindings/{vhost}/e/{source}/{kind}/{destination}/{props}", "Get a binding", one),
        delete("/api/bindings/{vhost}/e/{source}/{kind}/{destination}/{props}", "Delete a binding", unbind),
        get("/api/queues/{vhost}/{name}/bindings", "List the bindings of a queue", of_queue),
        get(
            "/api/exchanges/{vhost}/{name}/bindings/source",
            "List the bindings with an exchange as the source",
            from_exchange,
        ),
        get(
            "/api/exchanges/{vhost}/{name}/bindings/destination",
            "List the bindings with an exchange as the destination",
            to_exchange,
        ),
    ]
}

fn binding(row: Row) -> Option<BindingRow> {
    if let Row::Binding(row) = row { Some(row) } else { None }
}

/// Rows in RabbitMQ's order, made when the first is asked for.
fn ordered(rows: Rows) -> impl Iterator<Item = BindingRow> + Send {
    std::iter::once(rows).flat_map(|rows| {
        let mut rows: Vec<_> = rows.filter_map(binding).collect();
        let key = |row: &BindingRow| {
            (row.source_name.clone(), row.destination_name.clone(), row.routing_key.clone())
        };
        rows.sort_by_cached_key(key);
        rows
    })
}

/// A binding in RabbitMQ's words.
fn shown(vhost: &str, row: &BindingRow) -> Value {
    json!({
        "source": row.source_name,
        "vhost": vhost,
        "destination": row.destination_name,
        "destination_type": row.destination_kind,
        "properties_key": row.properties_key,
        "routing_key": row.routing_key,
        "arguments": row.arguments,
    })
}

/// The bindings of a vhost.
async fn of_vhost(call: &Call, vhost: String) -> Result<Rows, Fault> {
    call.rows(Operation::Exchanges(ExchangeOperation::ListBindings { vhost })).await
}

async fn all(call: Call) -> Result<Response, Fault> {
    let vhosts = match call.vhost() {
        all if all.is_empty() => call.visible_vhosts().await?,
        named => vec![named],
    };
    let is_one = vhosts.len() == 1;
    let mut all: Box<dyn Iterator<Item = Value> + Send> = Box::new(std::iter::empty());
    for vhost in vhosts {
        match of_vhost(&call, vhost.clone()).await {
            Ok(rows) => {
                let rows = ordered(rows).map(move |row| shown(&vhost, &row));
                all = Box::new(all.chain(rows));
            }
            Err(fault) if fault.is_missing() && !is_one => {}
            Err(fault) => return Err(fault),
        }
    }
    list::answer(&call, all).await
}

/// Those bindings of the path's vhost that `is_wanted`; none if there is no such vhost, as clients
/// expect who look whether a binding is still there.
async fn some(
    call: &Call,
    is_wanted: impl Fn(&BindingRow) -> bool + Send + 'static,
) -> Result<Response, Fault> {
    let vhost = call.vhost();
    let all = match of_vhost(call, vhost.clone()).await {
        Err(fault) if fault.refusal().is_some_and(|refusal| refusal.kind == RefusalKind::NoVHost) => {
            Box::new(std::iter::empty())
        }
        all => all?,
    };
    let rows = ordered(all).filter(is_wanted);
    list::answer(call, rows.map(move |row| shown(&vhost, &row))).await
}

async fn of_queue(call: Call) -> Result<Response, Fault> {
    let name = call.name("name");
    some(&call, move |row| row.destination_kind == "queue" && row.destination_name == name).await
}

async fn from_exchange(call: Call) -> Result<Response, Fault> {
    let name = exchange_name(call.name("name"));
    some(&call, move |row| row.source_name == name).await
}

async fn to_exchange(call: Call) -> Result<Response, Fault> {
    let name = exchange_name(call.name("name"));
    some(&call, move |row| row.destination_kind == "exchange" && row.destination_name == name).await
}

/// The ends that the path names.
struct Ends {
    source: String,
    destination: String,
    to_exchange: bool,
}

impl Ends {
    fn of(call: &Call) -> Result<Self, Fault> {
        let to_exchange = match call.name("kind").as_str() {
            "q" => false,
            "e" => true,
            _ => return Err(Fault::no_object()),
        };
        let source = exchange_name(call.name("source"));
        Ok(Self { source, destination: call.name("destination"), to_exchange })
    }

    fn are_of(&self, row: &BindingRow) -> bool {
        row.source_name == self.source
            && row.destination_name == self.destination
            && (row.destination_kind == "exchange") == self.to_exchange
    }
}

async fn between(call: Call) -> Result<Response, Fault> {
    let ends = Ends::of(&call)?;
    some(&call, move |row| ends.are_of(row)).await
}

/// A key without the quoting of its routing key.
fn unquoted(key: &str) -> String {
    percent_decode_str(&key.replace('+', "%20")).decode_utf8_lossy().into_owned()
}

/// The binding that the path names.
async fn find(call: &Call) -> Result<(Ends, BindingRow), Fault> {
    let ends = Ends::of(call)?;
    let key = call.name("props");
    // As it is shown, as RabbitMQ reads it, and as somebody writes it who decodes once too often.
    let plain = unquoted(&key);
    let names = |row: &BindingRow| {
        let own = &row.properties_key;
        *own == key || unquoted(own) == plain || (row.arguments.is_empty() && row.routing_key == key)
    };
    let mut rows = of_vhost(call, call.vhost()).await?.filter_map(binding);
    let found = rows.find(|row| ends.are_of(row) && names(row)).ok_or_else(Fault::no_object)?;
    Ok((ends, found))
}

async fn one(call: Call) -> Result<Response, Fault> {
    let (_ends, found) = find(&call).await?;
    Ok(call.one(shown(&call.vhost(), &found)).await)
}

async fn bind(call: Call) -> Result<Response, Fault> {
    let (given, ends) = (call.object().await?, Ends::of(&call)?);
    let (routing_key, arguments) = (text(&given, "routing_key", "")?, arguments(&given)?);
    let key = key_for(&routing_key, &arguments)?.replace('%', "%25").replace('+', "%2B");
    let location = format!("{}/{key}", quoted(ends.destination.as_bytes()));
    let Ends { source, destination, to_exchange } = ends;
    let vhost = call.vhost();
    let setting = BindingSetting { vhost, source, destination, to_exchange, routing_key, arguments };
    let bound = call.told(Operation::Exchanges(ExchangeOperation::Bind(setting))).await;
    bound.map_err(Fault::in_words)?;
    let mut answer = StatusCode::CREATED.into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}

async fn unbind(call: Call) -> Result<Response, Fault> {
    let (Ends { source, destination, to_exchange }, found) = find(&call).await?;
    let vhost = call.vhost();
    let properties_key = found.properties_key;
    let unbind = ExchangeOperation::Unbind { vhost, source, destination, to_exchange, properties_key };
    call.told(Operation::Exchanges(unbind)).await?;
    Ok(done())
}
