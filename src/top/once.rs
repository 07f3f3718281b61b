//! A table for whoever is no terminal: once, in the formats that `ctl` has.

use super::question::{Answer, Question};
use super::state::Top;
use super::view::at;
use crate::ctl::table::Columns;
use crate::ctl::{CtlError, Show};
use serde_json::{Value, json};

/// What is printed of the broker as a whole: the names, and where in the overview or the node they
/// are.
const OF_OVERVIEW: &[(&str, &str)] = &[
    ("product", "product_name"),
    ("version", "product_version"),
    ("node", "node"),
    ("queues", "object_totals.queues"),
    ("exchanges", "object_totals.exchanges"),
    ("connections", "object_totals.connections"),
    ("channels", "object_totals.channels"),
    ("consumers", "object_totals.consumers"),
    ("messages_ready", "queue_totals.messages_ready"),
    ("messages_unacknowledged", "queue_totals.messages_unacknowledged"),
    ("publish_rate", "message_stats.publish_details.rate"),
    ("deliver_get_rate", "message_stats.deliver_get_details.rate"),
    ("ack_rate", "message_stats.ack_details.rate"),
];
const OF_NODE: &[(&str, &str)] = &[
    ("uptime", "uptime"),
    ("mem_used", "mem_used"),
    ("mem_limit", "mem_limit"),
    ("mem_alarm", "mem_alarm"),
    ("disk_free", "disk_free"),
    ("disk_free_limit", "disk_free_limit"),
    ("disk_free_alarm", "disk_free_alarm"),
];

/// Prints what came.
///
/// # Errors
/// It cannot be written.
pub(super) fn print(top: &Top, answer: &Answer, show: Show) -> Result<(), CtlError> {
    let (rows, columns) = match answer.question {
        Question::Node => (node(answer), vec!["field".to_owned(), "value".to_owned()]),
        _ => {
            let columns = top.view.columns();
            let row = |row: &Value| {
                columns.iter().map(|column| (column.field(), at(row, column.path).clone())).collect()
            };
            (answer.rows().iter().map(row).collect(), columns.iter().map(|column| column.field()).collect())
        }
    };
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    show.rows(rows, Columns::fixed(&columns))
}

fn node(answer: &Answer) -> Vec<Value> {
    let [overview, nodes] = answer.both();
    let of = |told: &Value, fields: &[(&str, &str)]| -> Vec<Value> {
        fields.iter().map(|(field, path)| json!({"field": field, "value": at(told, path)})).collect()
    };
    let mut rows = of(overview, OF_OVERVIEW);
    // It is not for everybody.
    rows.extend(if nodes.is_null() { Vec::new() } else { of(&nodes[0], OF_NODE) });
    rows
}
