//! One thing with all its parts: what is said of it, charts of how that changed, and what belongs
//! to it.

use super::question::{Answer, Question};
use super::view::{Kind, at, shown};
use crate::ctl::text::cell;
use serde_json::Value;

/// Lines that a chart takes, with its title.
pub(super) const CHART_LINES: u16 = 4;

/// One thing with all its parts, from the top.
#[derive(Debug, Default)]
pub(super) struct Sheet(pub(super) Vec<Part>);

/// A part of it.
#[derive(Debug)]
pub(super) enum Part {
    /// A name and a value; whether it is an alarm.
    Fact(&'static str, String, bool),
    /// What is drawn, its value now, and values from the newest to the oldest.
    Chart(&'static str, String, Vec<u64>),
    /// What the lines below have.
    Head(String),
    /// A line of a list.
    Line(String),
}

impl Part {
    /// Lines that it takes.
    pub(super) fn lines(&self) -> u16 {
        if let Self::Chart(..) = self { CHART_LINES } else { 1 }
    }
}

/// What is said of what was asked for.
pub(super) fn of(answer: &Answer) -> Sheet {
    let mut sheet = Sheet::default();
    let [first, second] = answer.both();
    match &answer.question {
        Question::List(_) => {}
        Question::Node => sheet.node(first, second),
        Question::Queue { .. } => sheet.queue(first),
        Question::Connection { .. } => sheet.connection(first, second),
    }
    sheet
}

impl Sheet {
    /// Lines that all of it takes.
    pub(super) fn lines(&self) -> u16 {
        self.0.iter().fold(0, |lines, part| lines.saturating_add(part.lines()))
    }

    fn fact(&mut self, name: &'static str, value: impl Into<String>) {
        let value = value.into();
        // What does not apply is left out.
        if !value.is_empty() {
            self.0.push(Part::Fact(name, value, false));
        }
    }

    /// Several numbers of `told` beside each other, each after its name.
    fn numbers(&mut self, name: &'static str, told: &Value, numbers: &[(&str, &str, Kind)]) {
        let number = |&(name, path, kind): &(&str, &str, Kind)| {
            let value = at(told, path);
            (!value.is_null()).then(|| format!("{} {name}", shown(kind, value)))
        };
        self.fact(name, numbers.iter().filter_map(number).collect::<Vec<_>>().join("   "));
    }

    /// How a count rises, or how a number changes, if there are samples of it.
    fn chart(&mut self, name: &'static str, told: &Value, path: &str, kind: Kind) {
        let is_rate = matches!(kind, Kind::Rate | Kind::ByteRate);
        let details = at(told, &format!("{path}_details"));
        let now = if is_rate { at(details, "rate") } else { at(told, path) };
        let samples = samples(details);
        if samples.len() > 1 {
            let values =
                if is_rate { rises(&samples) } else { samples.iter().map(|&(_, value)| value).collect() };
            self.0.push(Part::Chart(name, shown(kind, now), values));
        }
    }

    fn node(&mut self, overview: &Value, nodes: &Value) {
        let text = |path: &str| shown(Kind::Text, at(overview, path));
        self.fact("broker", format!("{} {}", text("product_name"), text("product_version")));
        let node = &nodes[0];
        let node_text = |path: &str, kind: Kind| shown(kind, at(node, path));
        if node.is_null() {
            self.fact("node", "memory and disk are shown to users with the tag monitoring or administrator");
        } else {
            self.fact("node", node_text("name", Kind::Text));
            self.fact(
                "up",
                format!(
                    "{}   pid {}   {} processors",
                    node_text("uptime", Kind::Age),
                    node_text("os_pid", Kind::Text),
                    node_text("processors", Kind::Count)
                ),
            );
            self.usage(node);
        }
        self.numbers(
            "objects",
            overview,
            &[
                ("queues", "object_totals.queues", Kind::Count),
                ("exchanges", "object_totals.exchanges", Kind::Count),
                ("connections", "object_totals.connections", Kind::Count),
                ("channels", "object_totals.channels", Kind::Count),
                ("consumers", "object_totals.consumers", Kind::Count),
            ],
        );
        self.numbers(
            "messages",
            overview,
            &[
                ("ready", "queue_totals.messages_ready", Kind::Count),
                ("unacked", "queue_totals.messages_unacknowledged", Kind::Count),
            ],
        );
        self.rates(overview);
        self.numbers(
            "a second",
            overview,
            &[
                ("connections opened", "churn_rates.connection_created_details.rate", Kind::Rate),
                ("closed", "churn_rates.connection_closed_details.rate", Kind::Rate),
                ("queues declared", "churn_rates.queue_declared_details.rate", Kind::Rate),
                ("deleted", "churn_rates.queue_deleted_details.rate", Kind::Rate),
            ],
        );
        self.charts(overview, "queue_totals.messages");
    }

    /// What the node uses, and its alarms.
    fn usage(&mut self, node: &Value) {
        let number = |path: &str| at(node, path).as_f64();
        let of = |used: &str, limit: &str| {
            let (used, limit) = (number(used)?, number(limit)?);
            (limit > 0.0).then(|| format!(" ({:.0} %)", used / limit * 100.0))
        };
        let bytes = |path: &str| shown(Kind::Bytes, at(node, path));
        let memory = match number("mem_limit") {
            Some(_) => format!(
                "{} of {}{}",
                bytes("mem_used"),
                bytes("mem_limit"),
                of("mem_used", "mem_limit").unwrap_or_default()
            ),
            None => format!("{}, no limit", bytes("mem_used")),
        };
        let disk = format!("{} free, limit {}", bytes("disk_free"), bytes("disk_free_limit"));
        for (name, value, alarm) in [("memory", memory, "mem_alarm"), ("disk", disk, "disk_free_alarm")] {
            let is_alarm = at(node, alarm) == true;
            let value = if is_alarm { format!("{value}   ALARM: publishers wait") } else { value };
            self.0.push(Part::Fact(name, value, is_alarm));
        }
        if at(node, "running") == false {
            self.0.push(Part::Fact("store", "FAILED: only a restart helps".to_owned(), true));
        }
        let count = |path: &str| shown(Kind::Count, at(node, path));
        self.fact("files", format!("{} of {}", count("fd_used"), count("fd_total")));
        self.fact("sockets", format!("{} of {}", count("sockets_used"), count("sockets_total")));
    }

    fn queue(&mut self, queue: &Value) {
        let text = |path: &str| shown(Kind::Text, at(queue, path));
        let flags = ["durable", "auto_delete", "exclusive"];
        let flags: Vec<&str> = flags.into_iter().filter(|flag| at(queue, flag) == true).collect();
        self.fact("state", text("state"));
        self.fact("type", format!("{}   {}", text("type"), flags.join("   ")).trim_end().to_owned());
        self.numbers(
            "messages",
            queue,
            &[
                ("ready", "messages_ready", Kind::Count),
                ("unacked", "messages_unacknowledged", Kind::Count),
                ("delayed", "messages_delayed", Kind::Count),
                ("parked", "messages_parked", Kind::Count),
            ],
        );
        self.fact("oldest", shown(Kind::Age, at(queue, "oldest_message_age_ms")));
        self.fact("average wait", shown(Kind::Age, at(queue, "average_message_wait_ms")));
        self.numbers(
            "bytes",
            queue,
            &[
                ("of bodies", "message_bytes", Kind::Bytes),
                ("in memory", "message_bytes_ram", Kind::Bytes),
                ("memory of the queue", "memory", Kind::Bytes),
            ],
        );
        self.rates(queue);
        self.fact("dead letters", dead_letters(queue));
        self.fact("policy", text("policy"));
        self.fact("operator policy", text("operator_policy"));
        for (name, path) in [("of policies", "effective_policy_definition"), ("arguments", "arguments")] {
            let value = at(queue, path);
            self.fact(
                name,
                value
                    .as_object()
                    .filter(|table| !table.is_empty())
                    .map_or_else(String::new, |_| cell(&Value::from(value.to_string()))),
            );
        }
        self.fact("owner", text("owner_pid_details.name"));
        self.fact(
            "consumers have room",
            queue["consumer_capacity"]
                .as_f64()
                .filter(|_| queue["consumers"] != 0)
                .map_or_else(String::new, |share| format!("{:.0} % of the time", share * 100.0)),
        );
        self.charts(queue, "messages");
        let consumers = queue["consumer_details"].as_array().map_or(&[] as &[Value], Vec::as_slice);
        self.list(
            "consumers",
            consumers,
            &[
                ("tag", "consumer_tag"),
                ("channel", "channel_details.name"),
                ("prefetch", "prefetch_count"),
                ("state", "activity_status"),
            ],
        );
    }

    fn connection(&mut self, connection: &Value, channels: &Value) {
        let text = |path: &str| shown(Kind::Text, at(connection, path));
        self.fact("state", text("state"));
        self.fact("user", format!("{} in vhost {}", text("user"), text("vhost")));
        let tls = if connection["ssl"] == true { "   TLS" } else { "" };
        self.fact("protocol", format!("{}   {}{tls}", text("protocol"), text("auth_mechanism")));
        self.fact("client", text("user_provided_name"));
        let properties =
            ["product", "version", "platform"].map(|name| text(&format!("client_properties.{name}")));
        self.fact("library", properties.join(" ").trim().to_owned());
        self.numbers(
            "bytes",
            connection,
            &[
                ("came", "recv_oct", Kind::Bytes),
                ("went", "send_oct", Kind::Bytes),
                ("wait", "send_pend", Kind::Bytes),
            ],
        );
        self.numbers(
            "a second",
            connection,
            &[
                ("came", "recv_oct_details.rate", Kind::ByteRate),
                ("went", "send_oct_details.rate", Kind::ByteRate),
            ],
        );
        self.fact("heartbeat", format!("{} s", text("timeout")));
        self.chart("bytes in a second", connection, "recv_oct", Kind::ByteRate);
        self.chart("bytes out a second", connection, "send_oct", Kind::ByteRate);
        let channels = channels["items"].as_array().map_or(&[] as &[Value], Vec::as_slice);
        self.list(
            "channels",
            channels,
            &[
                ("number", "number"),
                ("consumers", "consumer_count"),
                ("prefetch", "prefetch_count"),
                ("unacked", "messages_unacknowledged"),
                ("unconfirmed", "messages_unconfirmed"),
                ("in/s", "message_stats.publish_details.rate"),
                ("out/s", "message_stats.deliver_get_details.rate"),
            ],
        );
    }

    /// What happens to messages in a second.
    fn rates(&mut self, told: &Value) {
        self.numbers(
            "messages a second",
            told,
            &[
                ("in", "message_stats.publish_details.rate", Kind::Rate),
                ("out", "message_stats.deliver_get_details.rate", Kind::Rate),
                ("acked", "message_stats.ack_details.rate", Kind::Rate),
                ("redelivered", "message_stats.redeliver_details.rate", Kind::Rate),
                ("confirmed", "message_stats.confirm_details.rate", Kind::Rate),
                ("returned", "message_stats.return_unroutable_details.rate", Kind::Rate),
                ("dropped", "message_stats.drop_unroutable_details.rate", Kind::Rate),
            ],
        );
    }

    fn charts(&mut self, told: &Value, depth: &str) {
        self.chart("in a second", told, "message_stats.publish", Kind::Rate);
        self.chart("out a second", told, "message_stats.deliver_get", Kind::Rate);
        self.chart("messages", told, depth, Kind::Count);
    }

    /// Rows with columns under each other: of each its name and its path.
    fn list(&mut self, name: &str, rows: &[Value], columns: &[(&str, &str)]) {
        let cells = |row: &Value| columns.iter().map(|(_, path)| cell(at(row, path))).collect::<Vec<_>>();
        let heads = columns.iter().map(|&(head, _)| head.to_owned()).collect::<Vec<_>>();
        let lines: Vec<Vec<String>> = std::iter::once(heads).chain(rows.iter().map(cells)).collect();
        let width = |at: usize| lines.iter().map(|cells| cells[at].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns.len()).map(width).collect();
        let line = |cells: &Vec<String>| {
            let padded = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.0.push(Part::Head(format!("{name}: {}", rows.len())));
        if !rows.is_empty() {
            self.0.push(Part::Head(line(&lines[0])));
            self.0.extend(lines[1..].iter().map(|cells| Part::Line(line(cells))));
        }
    }
}

/// Where the dead letters of a queue go, as its arguments say, or else its policy.
fn dead_letters(queue: &Value) -> String {
    let of = |table: &str, key: &str| queue[table][key].as_str().map(|text| cell(&Value::from(text)));
    let say = |name: &str| {
        of("arguments", &format!("x-{name}")).or_else(|| of("effective_policy_definition", name))
    };
    match (say("dead-letter-exchange"), say("dead-letter-routing-key")) {
        (None, _) => String::new(),
        (Some(exchange), key) => {
            let key = key.map_or_else(String::new, |key| format!(" with the key '{key}'"));
            format!("to exchange '{exchange}'{key}")
        }
    }
}

/// Samples from the newest to the oldest: when, and how many.
fn samples(details: &Value) -> Vec<(u64, u64)> {
    let sample = |sample: &Value| Some((sample["timestamp"].as_u64()?, sample["sample"].as_u64()?));
    let mut samples: Vec<_> =
        details["samples"].as_array().into_iter().flatten().filter_map(sample).collect();
    samples.sort_unstable_by(|one, other| other.cmp(one));
    samples
}

/// How much a count has risen between neighbours, in a second.
fn rises(samples: &[(u64, u64)]) -> Vec<u64> {
    let rise = |pair: &[(u64, u64)]| match pair {
        [(late_ms, more), (early_ms, less)] => {
            more.saturating_sub(*less).saturating_mul(1000) / late_ms.saturating_sub(*early_ms).max(1)
        }
        _ => 0,
    };
    samples.windows(2).map(rise).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn charts_are_of_what_came_in_a_second() {
        let details = json!({"samples": [
            {"sample": 100, "timestamp": 5_000}, {"sample": 400, "timestamp": 15_000}, {"sample": 150, "timestamp": 10_000},
        ]});
        assert_eq!(samples(&details), [(15_000, 400), (10_000, 150), (5_000, 100)]);
        assert_eq!(rises(&samples(&details)), [50, 10]);
        assert_eq!(rises(&samples(&json!({"rate": 1.0}))), [0_u64; 0]);
    }

    #[test]
    fn dead_letters_go_where_arguments_say_and_else_policies() {
        let policy = json!({"dead-letter-exchange": "p", "dead-letter-routing-key": "k"});
        let of = |arguments: Value| {
            dead_letters(&json!({"arguments": arguments, "effective_policy_definition": policy}))
        };
        assert_eq!(of(json!({})), "to exchange 'p' with the key 'k'");
        assert_eq!(
            of(json!({"x-dead-letter-exchange": "a\u{1b}"})),
            r"to exchange 'a\u{1b}' with the key 'k'"
        );
        assert_eq!(dead_letters(&json!({"arguments": {}})), "");
    }
}
