//! Queues.

use super::answer::{Fault, done, put as answer_put};
use super::call::Call;
use super::connections::shown_consumer;
use super::given::{arguments, check_given, flag};
use super::list::{self, Listed, Show};
use super::route::{Route, delete, get, post, put};
use crate::admin::queues::{QueueOperation, QueueRow};
use crate::admin::value::Value as Argument;
use crate::admin::{Operation, Row, Told};
use axum::response::Response;
use serde_json::{Value, json};

/// Deliveries of a quorum queue's message that may fail, where nothing is said.
const DELIVERY_LIMIT: i64 = 20;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/queues", "All queues", all),
        get("/api/queues/detailed", "All queues, with everything that is known of them", all),
        get("/api/queues/{vhost}", "The queues of a virtual host", all),
        get("/api/queues/{vhost}/{name}", "A queue", one),
        put("/api/queues/{vhost}/{name}", "Declare a queue", declare),
        delete("/api/queues/{vhost}/{name}", "Delete a queue", remove),
        delete("/api/queues/{vhost}/{name}/contents", "Drop what is ready in a queue", purge),
        post("/api/queues/{vhost}/{name}/actions", "Do something to a queue", act),
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
        totals(self, &mut shown);
        shown["internal"] = json!(false);
        shown["internal_owner"] = json!(false);
        shown["messages_parked"] = json!(self.messages_parked);
        shown["consumers"] = json!(self.consumers);
        shown["memory"] = json!(self.memory);
        shown["policy"] = json!(self.policy);
        shown["operator_policy"] = json!(self.operator_policy);
        shown["effective_policy_definition"] = json!(self.effective_policy_definition);
        shown["exclusive_consumer_tag"] = json!(self.exclusive_consumer_tag);
        if let Some(owner) = &self.owner_pid {
            shown["owner_pid_details"] = json!({"name": owner});
        }
        shown["arguments"] = json!(self.arguments);
        shown
    }

    fn sort_key(&self, field: &str) -> Option<Value> {
        Some(match field {
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
            _ => return None,
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
pub(super) fn queue(row: Row) -> Option<QueueRow> {
    if let Row::Queue(row) = row { Some(*row) } else { None }
}

async fn all(call: Call) -> Result<Response, Fault> {
    let rows = call.rows_in(|vhost| Operation::Queues(QueueOperation::ListQueues { vhost })).await?;
    list::answer(&call, rows.filter_map(queue)).await
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
