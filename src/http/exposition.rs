//! Prometheus text of many objects: metrics of tables of rows, written piece by piece as the client
//! reads, so that a page of 100,000 queues is never in memory as a whole.

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::OwnedSemaphorePermit;

/// Bytes that are made at a time: a few hundred lines, which take some 50 us.
const PIECE: usize = 32 * 1024;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetricKind {
    /// It only grows while the object is there.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// What a metric of all objects together is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Total {
    /// The sum.
    Sum,
    /// The largest.
    Max,
    /// Nothing, or it is told elsewhere.
    None,
}

/// The value of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// Of something that is counted.
    Whole(u64),
    /// Of something that is measured.
    Real(f64),
}

/// A metric of a kind of objects.
pub(super) struct Metric<T> {
    /// Its name, without what the page begins all names with.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: MetricKind,
    pub(super) total: Total,
    /// Its value; none where an object has none.
    pub(super) value: fn(&T) -> Option<Number>,
}

/// An object, as the page knows it.
pub(super) struct Labelled<T> {
    /// Its labels, escaped, without braces.
    pub(super) labels: String,
    pub(super) of: T,
}

/// Objects of a kind and what is told of them.
pub(super) struct Table<T: 'static> {
    pub(super) rows: Vec<Labelled<T>>,
    pub(super) metrics: Vec<&'static Metric<T>>,
    /// What names begin with, unless they are Leveret's own.
    pub(super) prefix: &'static str,
    /// Which metric, and which row of it, is next.
    next: (usize, usize),
}

/// Something that is written in pieces.
pub(super) trait Pieces: Send {
    /// Adds lines until there are enough; whether there are more.
    fn write(&mut self, text: &mut String) -> bool;
}

/// A label and its value, escaped; the first has no comma before it.
pub(super) fn label(labels: &mut String, name: &str, value: &str) {
    if !labels.is_empty() {
        labels.push(',');
    }
    labels.push_str(name);
    labels.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => labels.push_str("\\\\"),
            '"' => labels.push_str("\\\""),
            '\n' => labels.push_str("\\n"),
            c => labels.push(c),
        }
    }
    labels.push('"');
}

impl<T> Metric<T> {
    /// The full name: Leveret's own stand for themselves.
    fn name(&self, prefix: &str) -> String {
        if self.name.starts_with("leveret_") {
            self.name.to_owned()
        } else {
            format!("{prefix}{}", self.name)
        }
    }

    fn head(&self, prefix: &str, text: &mut String) {
        let kind = match self.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        let name = self.name(prefix);
        // Writing to a String does not fail.
        let _always = write!(text, "# TYPE {name} {kind}\n# HELP {name} {}\n", self.help);
    }
}

impl<T> Table<T> {
    pub(super) fn new(
        rows: Vec<Labelled<T>>,
        metrics: impl IntoIterator<Item = &'static Metric<T>>,
        prefix: &'static str,
    ) -> Self {
        Self { rows, metrics: metrics.into_iter().collect(), prefix, next: (0, 0) }
    }

    /// The metrics of all rows together.
    pub(super) fn write_totals(&self, text: &mut String) {
        for metric in self.metrics.iter().filter(|metric| metric.total != Total::None) {
            metric.head(self.prefix, text);
            let values = self.rows.iter().filter_map(|row| (metric.value)(&row.of));
            let total = values.reduce(|one, other| one.with(other, metric.total));
            write_number(total.unwrap_or(Number::Whole(0)), &metric.name(self.prefix), "", text);
        }
    }
}

impl Number {
    #[expect(clippy::cast_precision_loss, reason = "nobody reads 53 bits of a measure")]
    fn real(self) -> f64 {
        match self {
            Self::Whole(n) => n as f64,
            Self::Real(n) => n,
        }
    }

    fn with(self, other: Self, total: Total) -> Self {
        match (self, other, total) {
            (Self::Whole(one), Self::Whole(other), Total::Max) => Self::Whole(one.max(other)),
            (Self::Whole(one), Self::Whole(other), _) => Self::Whole(one.saturating_add(other)),
            (one, other, Total::Max) => Self::Real(one.real().max(other.real())),
            (one, other, _) => Self::Real(one.real() + other.real()),
        }
    }
}

fn write_number(number: Number, name: &str, labels: &str, text: &mut String) {
    text.push_str(name);
    if !labels.is_empty() {
        text.push('{');
        text.push_str(labels);
        text.push('}');
    }
    // Writing to a String does not fail.
    let _always = match number {
        Number::Whole(n) => writeln!(text, " {n}"),
        Number::Real(n) => writeln!(text, " {n}"),
    };
}

impl<T: Send> Pieces for Table<T> {
    fn write(&mut self, text: &mut String) -> bool {
        while let Some(metric) = self.metrics.get(self.next.0) {
            if self.next.1 == 0 {
                metric.head(self.prefix, text);
            }
            let name = metric.name(self.prefix);
            for row in &self.rows[self.next.1..] {
                self.next.1 += 1;
                if let Some(number) = (metric.value)(&row.of) {
                    write_number(number, &name, &row.labels, text);
                }
                if text.len() >= PIECE {
                    break;
                }
            }
            if self.next.1 == self.rows.len() {
                self.next = (self.next.0 + 1, 0);
            }
            if text.len() >= PIECE {
                break;
            }
        }
        self.next.0 < self.metrics.len()
    }
}

/// Text that is there already.
impl Pieces for String {
    fn write(&mut self, text: &mut String) -> bool {
        text.push_str(&std::mem::take(self));
        false
    }
}

/// A page, as the body of an answer.
pub(super) struct Page {
    pub(super) parts: VecDeque<Box<dyn Pieces>>,
    /// Others may make a page once this one has been read, or given up.
    pub(super) _turn: OwnedSemaphorePermit,
}

impl HttpBody for Page {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut text = String::with_capacity(PIECE + 1024);
        while text.len() < PIECE
            && let Some(part) = self.parts.front_mut()
        {
            if !part.write(&mut text) {
                self.parts.pop_front();
            }
        }
        Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text.into()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Metric<u64> = Metric {
        name: "size",
        help: "How large it is",
        kind: MetricKind::Gauge,
        total: Total::Sum,
        value: |n| Some(Number::Whole(*n)),
    };
    const AGE: Metric<u64> = Metric {
        name: "leveret_age_seconds",
        help: "How old it is",
        kind: MetricKind::Gauge,
        total: Total::Max,
        value: |n| (*n > 1).then_some(Number::Real(0.5)),
    };

    fn table(rows: u64) -> Table<u64> {
        let rows = (1..=rows).map(|n| {
            let mut labels = String::new();
            label(&mut labels, "vhost", "/");
            label(&mut labels, "queue", &format!("a\"b\\c\n{n}"));
            Labelled { labels, of: n }
        });
        Table::new(rows.collect(), [&SIZE, &AGE], "rabbitmq_")
    }

    fn whole(mut table: Table<u64>) -> (String, usize) {
        let (mut all, mut pieces) = (String::new(), 0);
        loop {
            let mut text = String::new();
            let more = table.write(&mut text);
            all.push_str(&text);
            pieces += 1;
            if !more {
                return (all, pieces);
            }
        }
    }

    #[test]
    fn rows_have_escaped_labels_and_leave_out_what_they_have_not() {
        let expected = "# TYPE rabbitmq_size gauge\n# HELP rabbitmq_size How large it is\n\
            rabbitmq_size{vhost=\"/\",queue=\"a\\\"b\\\\c\\n1\"} 1\n\
            rabbitmq_size{vhost=\"/\",queue=\"a\\\"b\\\\c\\n2\"} 2\n\
            # TYPE leveret_age_seconds gauge\n# HELP leveret_age_seconds How old it is\n\
            leveret_age_seconds{vhost=\"/\",queue=\"a\\\"b\\\\c\\n2\"} 0.5\n";
        assert_eq!(whole(table(2)), (expected.to_owned(), 1));
        let mut totals = String::new();
        table(3).write_totals(&mut totals);
        let samples: Vec<_> = totals.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples, ["rabbitmq_size 6", "leveret_age_seconds 0.5"]);
    }

    #[test]
    fn a_long_page_comes_in_pieces() {
        let (all, pieces) = whole(table(5000));
        assert_eq!(all.lines().filter(|line| line.starts_with("rabbitmq_size{")).count(), 5000);
        assert_eq!(all.lines().filter(|line| line.starts_with("leveret_age_seconds{")).count(), 4999);
        assert!(pieces > 10, "{pieces}");
    }
}
