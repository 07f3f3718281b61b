//! Exchanges.

use super::answer::{Fault, done, put as answer_put};
use super::call::Call;
use super::given::{arguments, flag, text};
use super::list::{self, Listed, Show};
use super::route::{Route, delete, get, put};
use super::statistics;
use crate::admin::exchanges::{ExchangeOperation, ExchangeRow, ExchangeSetting};
use crate::admin::{Operation, Row, Told};
use axum::response::Response;
use serde_json::{Value, json};

/// What the path has for the default exchange, whose name is empty.
const DEFAULT: &str = "amq.default";

/// What goes through an exchange, by RabbitMQ's names.
const FLOW_NAMES: [&str; 2] = ["publish_in", "publish_out"];

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/exchanges", "List all exchanges", all),
        get("/api/exchanges/{vhost}", "List the exchanges in a virtual host", all),
        get("/api/exchanges/{vhost}/{name}", "Get an exchange", one),
        put("/api/exchanges/{vhost}/{name}", "Declare an exchange", declare),
        delete("/api/exchanges/{vhost}/{name}", "Delete an exchange", remove),
    ]
}

/// The name of an exchange as a path has it.
pub(super) fn exchange_name(given: String) -> String {
    if given == DEFAULT { String::new() } else { given }
}

impl Listed for ExchangeRow {
    fn name(&self) -> &str {
        &self.name
    }

    fn json(&self, show: &Show) -> Value {
        let mut shown = json!({
            "name": self.name,
            "vhost": self.vhost,
            "type": self.kind,
            "durable": self.durable,
            "auto_delete": self.auto_delete,
            "internal": self.internal,
            "arguments": self.arguments,
        });
        if let Some(policy) = &self.policy {
            shown["policy"] = json!(policy);
        }
        if let (Some(flow), false) = (&self.flow, show.disable_stats) {
            let mut stats = json!({});
            for (name, trend) in FLOW_NAMES.iter().zip(flow) {
                statistics::put(&mut stats, name, trend);
            }
            shown["message_stats"] = stats;
        }
        shown
    }

    fn sort_key(&self, path: &str) -> Option<Value> {
        let name = path.strip_prefix("message_stats.")?.strip_suffix("_details.rate")?;
        let at = FLOW_NAMES.iter().position(|known| *known == name)?;
        Some(json!(self.flow.as_ref().map(|flow| flow[at].rate)))
    }
}

fn exchange(row: Row) -> Option<ExchangeRow> {
    if let Row::Exchange(row) = row { Some(row) } else { None }
}

async fn all(call: Call) -> Result<Response, Fault> {
    let rows = call.rows_in(|vhost| Operation::Exchanges(ExchangeOperation::ListExchanges { vhost })).await?;
    list::answer(&call, rows.filter_map(exchange)).await
}

async fn one(call: Call) -> Result<Response, Fault> {
    let (vhost, exchange) = (call.vhost(), exchange_name(call.name("name")));
    let told =
        call.told(Operation::Exchanges(ExchangeOperation::DescribeExchange { vhost, exchange })).await?;
    let Told::Exchange(described) = told else { return Err(Fault::no_object()) };
    let mut shown = described.exchange.json(&Show::of(&call));
    shown["incoming"] = json!([]);
    shown["outgoing"] = json!([]);
    Ok(call.one(shown).await)
}

async fn declare(call: Call) -> Result<Response, Fault> {
    let given = call.object().await?;
    let setting = ExchangeSetting {
        vhost: call.vhost(),
        exchange: exchange_name(call.name("name")),
        kind: text(&given, "type", "direct")?,
        durable: flag(&given, "durable")?,
        auto_delete: flag(&given, "auto_delete")?,
        internal: flag(&given, "internal")?,
        arguments: arguments(&given)?,
    };
    let declare = Operation::Exchanges(ExchangeOperation::DeclareExchange(setting));
    let told = call.told(declare).await.map_err(Fault::in_words)?;
    Ok(answer_put(told == Told::Created))
}

async fn remove(call: Call) -> Result<Response, Fault> {
    let operation = ExchangeOperation::DeleteExchange {
        vhost: call.vhost(),
        exchange: exchange_name(call.name("name")),
        if_unused: call.query.is_true("if-unused"),
    };
    call.told(Operation::Exchanges(operation)).await?;
    Ok(done())
}
