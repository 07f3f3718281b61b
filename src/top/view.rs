//! What can be looked at: the views, and what the rows of the lists have.
//!
//! A column is a row of a table: its name, where it is in the API's answer, which key sorts by it.
//! The first ones are those that a narrow terminal shows.

use super::format::{age, bytes, count, rate};
use crate::ctl::text::cell;
use clap::ValueEnum;
use serde_json::Value;
use std::time::Duration;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum View {
    /// The queues
    Queues,
    /// The connections of clients
    Connections,
    /// The broker as a whole
    Node,
}

/// All of them, in the order of their numbers.
pub(super) const VIEWS: [View; 3] = [View::Queues, View::Connections, View::Node];

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Words, of which the first of the alphabet come first.
    Text,
    Count,
    /// How often in a second.
    Rate,
    Bytes,
    /// Bytes in a second.
    ByteRate,
    /// Milliseconds.
    Age,
}

/// A column of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// What it is called, and sorted by.
    pub(super) name: &'static str,
    /// Where it is in a row of the API, with points.
    pub(super) path: &'static str,
    /// The key that sorts by it, if there is one.
    pub(super) key: Option<char>,
    pub(super) kind: Kind,
    /// Characters that it takes.
    pub(super) width: u16,
}

const fn column(
    name: &'static str,
    path: &'static str,
    key: Option<char>,
    (kind, width): (Kind, u16),
) -> Column {
    Column { name, path, key, kind, width }
}

/// Characters that the first column takes, the name, at least; it gets all that is left.
pub(super) const NAME_WIDTH: u16 = 18;

const QUEUES: &[Column] = &[
    column("name", "name", Some('n'), (Kind::Text, NAME_WIDTH)),
    column("vhost", "vhost", None, (Kind::Text, 8)),
    column("in", "message_stats.publish_details.rate", Some('i'), (Kind::Rate, 9)),
    column("out", "message_stats.deliver_get_details.rate", Some('o'), (Kind::Rate, 9)),
    column("depth", "messages", Some('d'), (Kind::Count, 10)),
    column("age", "oldest_message_age_ms", Some('a'), (Kind::Age, 7)),
    column("consumers", "consumers", Some('c'), (Kind::Count, 11)),
    column("ready", "messages_ready", None, (Kind::Count, 10)),
    column("unacked", "messages_unacknowledged", Some('u'), (Kind::Count, 9)),
    column("ack", "message_stats.ack_details.rate", None, (Kind::Rate, 9)),
    column("redelivered", "message_stats.redeliver_details.rate", None, (Kind::Rate, 15)),
    column("bytes", "message_bytes", Some('b'), (Kind::Bytes, 10)),
    column("delayed", "messages_delayed", None, (Kind::Count, 9)),
    column("parked", "messages_parked", None, (Kind::Count, 8)),
    column("wait", "average_message_wait_ms", Some('w'), (Kind::Age, 8)),
    column("memory", "memory", Some('m'), (Kind::Bytes, 10)),
    column("type", "type", None, (Kind::Text, 8)),
    column("state", "state", None, (Kind::Text, 8)),
];

const CONNECTIONS: &[Column] = &[
    column("name", "name", Some('n'), (Kind::Text, 34)),
    column("user", "user", Some('u'), (Kind::Text, 10)),
    column("in", "recv_oct_details.rate", Some('i'), (Kind::ByteRate, 11)),
    column("out", "send_oct_details.rate", Some('o'), (Kind::ByteRate, 11)),
    column("channels", "channels", Some('c'), (Kind::Count, 10)),
    column("state", "state", None, (Kind::Text, 8)),
    column("vhost", "vhost", None, (Kind::Text, 10)),
    column("waiting", "send_pend", None, (Kind::Bytes, 10)),
    column("client", "user_provided_name", None, (Kind::Text, 20)),
    column("received", "recv_oct", None, (Kind::Bytes, 10)),
    column("sent", "send_oct", None, (Kind::Bytes, 10)),
];

impl View {
    /// What it is called.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Queues => "Queues",
            Self::Connections => "Connections",
            Self::Node => "Node",
        }
    }

    /// The columns of its list; none, if it is no list.
    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Queues => QUEUES,
            Self::Connections => CONNECTIONS,
            Self::Node => &[],
        }
    }
}

impl Column {
    /// What is at its head.
    pub(super) fn title(&self) -> String {
        let per_second = matches!(self.kind, Kind::Rate | Kind::ByteRate);
        format!("{}{}", self.name, if per_second { "/s" } else { "" })
    }

    /// Its name for scripts: that of the API's field.
    pub(super) fn field(&self) -> String {
        self.path.trim_start_matches("message_stats.").replace("_details.rate", "_rate")
    }

    /// What it has in a row.
    pub(super) fn shown(&self, row: &Value) -> String {
        shown(self.kind, at(row, self.path))
    }
}

/// What is in a value at a path with points; null, if it is not there.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| &value[name])
}

/// A value in a cell: nothing that a terminal would obey.
pub(super) fn shown(kind: Kind, value: &Value) -> String {
    let (whole, number) = (value.as_u64(), value.as_f64());
    match kind {
        Kind::Count => whole.map(count),
        Kind::Age => number.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok()).map(age),
        Kind::Rate => number.map(rate),
        Kind::Bytes | Kind::ByteRate => number.map(bytes),
        Kind::Text => None,
    }
    .unwrap_or_else(|| cell(value))
}
