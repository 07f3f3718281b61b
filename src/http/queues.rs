//! Queues.

use super::answer::{Fault, done, put as answer_put};
use super::call::Call;
use super::connections::shown_consumer;
use super::given::{arguments, check_given, flag};
use super::list::{self, Listed, Show, Window};
use super::route::{Route, delete, get, post, put};
use super::statistics;
use crate::admin::queues::{QueueOperation, QueueRow};
use crate::admin::value::Value as Argument;
use crate::admin::{Operation, Row, Told};
use crate::queue::history::QueueTrends;
use crate::statistics::QUEUE_EVENTS;
use axum::response::Response;
use serde_json::{Value, json};

/// Deliveries of a quorum queue's message that may fail, where nothing is said.
const DELIVERY_LIMIT: i64 = 20;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/queues", "List all queues", all),
        get("/api/queues/detailed", "List all queues in full detail", all),
        get("/api/queues/{vhost}", "List the queues in a virtual host", all),
        get("/api/queues/{vhost}/{name}", "Get a queue", one),
        put("/api/queues/{vhost}/{name}", "Declare a queue", declare),
        delete("/api/queues/{vhost}/{name}", "Delete a queue", remove),
        delete("/api/queues/{vhost}/{name}/contents", "Purge a queue: drop its ready messages", purge),
        post("/api/queues/{vhost}/{name}/actions", "Perform an action on a queue", act),
    ]
}

impl Listed for QueueRow {
    fn name(&self) -> &str {
        &self.name
    }

    fn json(&self, show: &Show) -> Value {
        let is_replicated = self.kind != "classic";
        let mut shown = json!({
            "name": self.name,
            "vhost": self.vhost,
            "type": self.kind,
            "durable": self.durable,
            "auto_delete": self.auto_delete,
            "exclusive": self.exclusive,
            "node": show.node,
            "state": self.state,
        });
        if is_replicated {
            shown["leader"] = json!(show.node);
            shown["members"] = json!([show.node]);
            shown["online"] = json!([show.node]);
        }
        if self.kind == "quorum" {
            shown["delivery_limit"] = delivery_limit(self);
        }
        if show.disable_stats {
            if show.enable_queue_totals {
                totals(self, &mut shown);
            }
            shown["arguments"] = json!(self.arguments);
            return shown;
        }
        statistics::put_lengths(&mut shown, &self.trends.ready, &self.trends.unacked);
        if let Some(events) = &self.trends.events {
            shown["message_stats"] = statistics::message_stats(events);
        }
        let used_at_ms = Some(self.used_at_ms).filter(|&at_ms| at_ms > 0);
        if let Some(since) = show.idle_since(self.trends.changed_at_ms.max(used_at_ms)) {
            shown["idle_since"] = since;
        }
        shown["consumer_capacity"] = json!(self.consumer_capacity);
        shown["consumer_utilisation"] = json!(self.consumer_utilisation);
        shown["head_message_timestamp"] = json!(self.head_message_timestamp);
        shown["oldest_message_age_ms"] = json!(self.oldest_message_age_ms);
        shown["average_message_wait_ms"] = json!(self.average_message_wait_ms);
        shown["message_bytes"] = json!(self.message_bytes);
        shown["message_bytes_ready"] = json!(self.message_bytes_ready);
        shown["message_bytes_unacknowledged"] = json!(self.message_bytes_unacknowledged);
        shown["message_bytes_ram"] = json!(self.message_bytes_ram);
        shown["messages_ram"] = json!(self.messages_ram);
        shown["messages_delayed"] = json!(self.messages_delayed);
        shown["internal"] = json!(false);
        shown["internal_owner"] = json!(false);
        shown["messages_parked"] = json!(self.messages_parked);
        shown["consumers"] = json!(self.consumers);
        shown["memory"] = json!(self.memory);
        shown["policy"] = json!(self.policy);
        shown["operator_policy"] = json!(self.operator_policy);
        shown["effective_policy_definition"] = json!(self.effective_policy_definition);
        shown["exclusive_consumer_tag"] = json!(self.exclusive_consumer_tag);
        shown["single_active_consumer_tag"] = json!(self.single_active_consumer_tag);
        if let Some(owner) = &self.owner_pid {
            shown["owner_pid_details"] = json!({"name": owner});
        }
        shown["arguments"] = json!(self.arguments);
        shown
    }

    fn sort_key(&self, path: &str) -> Option<Value> {
        Some(match path {
            "name" => json!(self.name),
            "vhost" => json!(self.vhost),
            "type" => json!(self.kind),
            "state" => json!(self.state),
            "messages" => json!(self.messages),
            "messages_ready" => json!(self.messages_ready),
            "messages_unacknowledged" => json!(self.messages_unacknowledged),
            "messages_parked" => json!(self.messages_parked),
            "consumers" => json!(self.consumers),
            "memory" => json!(self.memory),
            "messages_delayed" => json!(self.messages_delayed),
            "message_bytes" => json!(self.message_bytes),
            "oldest_message_age_ms" => json!(self.oldest_message_age_ms),
            "average_message_wait_ms" => json!(self.average_message_wait_ms),
            _ => {
                let QueueTrends { events, ready, unacked, .. } = &self.trends;
                let events = events.as_ref().map(<[_; QUEUE_EVENTS]>::as_slice);
                return statistics::rate(path, events, Some([ready, unacked]));
            }
        })
    }
}

fn totals(row: &QueueRow, shown: &mut Value) {
    shown["messages"] = json!(row.messages);
    shown["messages_ready"] = json!(row.messages_ready);
    shown["messages_unacknowledged"] = json!(row.messages_unacknowledged);
}

/// How often the delivery of a quorum queue's message may fail.
fn delivery_limit(row: &QueueRow) -> Value {
    let number = |value: Option<&Argument>| match value {
        Some(Argument::Signed(number)) => Some(*number),
        _ => None,
    };
    let argument = number(row.arguments.get("x-delivery-limit"));
    let policy = number(row.effective_policy_definition.get("delivery-limit"));
    let limit = match (argument, policy) {
        (Some(argument), Some(policy)) if argument >= 0 && policy >= 0 => argument.min(policy),
        (argument, policy) => policy.or(argument).unwrap_or(DELIVERY_LIMIT),
    };
    if limit < 0 { json!("unlimited") } else { json!(limit) }
}

/// A row of a list of queues.
fn queue(row: Row) -> Option<Box<QueueRow>> {
    if let Row::Queue(row) = row { Some(row) } else { None }
}

async fn all(mut call: Call) -> Result<Response, Fault> {
    // There may be many, and a row is not made for its name alone.
    let window = Window::of(&call.query)?;
    call.rows = window.as_ref().map(Window::filter);
    let rows = call.rows_in(|vhost| Operation::Queues(QueueOperation::ListQueues { vhost })).await?;
    list::answer_in(&call, rows.filter_map(queue), window).await
}

async fn one(call: Call) -> Result<Response, Fault> {
    let (vhost, queue) = (call.vhost(), call.name("name"));
    let told = call.told(Operation::Queues(QueueOperation::DescribeQueue { vhost, queue })).await?;
    let Told::Queue(described) = told else { return Err(Fault::no_object()) };
    let mut shown = described.queue.json(&Show::of(&call));
    let consumers = described.consumers.iter().map(|row| shown_consumer(row, &call.state.node));
    shown["consumer_details"] = consumers.collect();
    shown["deliveries"] = json!([]);
    shown["incoming"] = json!([]);
    Ok(call.one(shown).await)
}

async fn declare(call: Call) -> Result<Response, Fault> {
    let given = call.object().await?;
    let operation = QueueOperation::DeclareQueue {
        vhost: call.vhost(),
        queue: call.name("name"),
        durable: flag(&given, "durable")?,
        auto_delete: flag(&given, "auto_delete")?,
        arguments: arguments(&given)?,
    };
    let told = call.told(Operation::Queues(operation)).await.map_err(Fault::in_words)?;
    Ok(answer_put(told == Told::Created))
}

async fn remove(call: Call) -> Result<Response, Fault> {
    let operation = QueueOperation::DeleteQueue {
        vhost: call.vhost(),
        queue: call.name("name"),
        if_empty: call.query.is_true("if-empty"),
        if_unused: call.query.is_true("if-unused"),
    };
    call.told(Operation::Queues(operation)).await?;
    Ok(done())
}

async fn purge(call: Call) -> Result<Response, Fault> {
    let (vhost, queue) = (call.vhost(), call.name("name"));
    call.told(Operation::Queues(QueueOperation::PurgeQueue { vhost, queue })).await?;
    Ok(done())
}

/// What RabbitMQ did to mirrored queues, which it has no longer.
async fn act(call: Call) -> Result<Response, Fault> {
    let given = call.object().await?;
    check_given(&given, &["action"])?;
    Err(Fault::bad_request(json!(["unknown", given["action"]])))
}
