//! The one table of methods and of content properties: names, numbers and types of fields.
//!
//! From the AMQP 0-9-1 XML specification, with RabbitMQ's extensions (errata at
//! rabbitmq.com/amqp-0-9-1-errata) under the same shape. The parser, the codec and every message
//! about a method read from it.

use std::sync::OnceLock;

/// The type of a method's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One bit, packed with its neighbours.
    Bit,
    /// Unsigned, 8 bits.
    Octet,
    /// Unsigned, 16 bits.
    Short,
    /// Unsigned, 32 bits.
    Long,
    /// Unsigned, 64 bits.
    LongLong,
    /// Up to 255 bytes.
    ShortText,
    /// Up to 4 GiB.
    LongText,
    /// Seconds, 64 bits.
    Timestamp,
    /// A table.
    Table,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            "bit" => Self::Bit,
            "octet" => Self::Octet,
            "short" => Self::Short,
            "long" => Self::Long,
            "longlong" => Self::LongLong,
            "shortstr" => Self::ShortText,
            "longstr" => Self::LongText,
            "timestamp" => Self::Timestamp,
            "table" => Self::Table,
            _ => panic!("the table names a type that does not exist: {name}"),
        }
    }

    /// The letter of the integer type that holds it; `None` for what is no integer.
    pub(crate) fn letter(self) -> Option<char> {
        match self {
            Self::Octet => Some('B'),
            Self::Short => Some('u'),
            Self::Long => Some('i'),
            Self::LongLong | Self::Timestamp => Some('L'),
            Self::Bit | Self::ShortText | Self::LongText | Self::Table => None,
        }
    }
}

/// A field of a method, or a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FieldSpec {
    /// As in the specification: `routing-key`.
    pub(crate) name: &'static str,
    /// Its type.
    pub(crate) kind: Kind,
}

/// A method.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MethodSpec {
    /// `queue.declare-ok`.
    pub(crate) name: &'static str,
    /// The class's number.
    pub(crate) class: u16,
    /// The number in its class.
    pub(crate) id: u16,
    /// In the order of the wire.
    pub(crate) fields: Vec<FieldSpec>,
    /// Whether a content header and body frames follow.
    pub(crate) content: bool,
}

impl MethodSpec {
    /// Its field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<FieldSpec> {
        self.fields.iter().find(|field| field.name == name).copied()
    }
}

/// The class that carries content.
pub(crate) const BASIC: u16 = 60;

const CONTENT: &[&str] = &["basic.publish", "basic.return", "basic.deliver", "basic.get-ok"];

const METHODS: &[(&str, u16, u16, &str)] = &[
    (
        "connection.start",
        10,
        10,
        "version-major:octet version-minor:octet server-properties:table mechanisms:longstr locales:longstr",
    ),
    (
        "connection.start-ok",
        10,
        11,
        "client-properties:table mechanism:shortstr response:longstr locale:shortstr",
    ),
    ("connection.secure", 10, 20, "challenge:longstr"),
    ("connection.secure-ok", 10, 21, "response:longstr"),
    ("connection.tune", 10, 30, "channel-max:short frame-max:long heartbeat:short"),
    ("connection.tune-ok", 10, 31, "channel-max:short frame-max:long heartbeat:short"),
    ("connection.open", 10, 40, "virtual-host:shortstr reserved-1:shortstr reserved-2:bit"),
    ("connection.open-ok", 10, 41, "reserved-1:shortstr"),
    ("connection.close", 10, 50, "reply-code:short reply-text:shortstr class-id:short method-id:short"),
    ("connection.close-ok", 10, 51, ""),
    ("connection.blocked", 10, 60, "reason:shortstr"),
    ("connection.unblocked", 10, 61, ""),
    ("connection.update-secret", 10, 70, "new-secret:longstr reason:shortstr"),
    ("connection.update-secret-ok", 10, 71, ""),
    ("channel.open", 20, 10, "reserved-1:shortstr"),
    ("channel.open-ok", 20, 11, "reserved-1:longstr"),
    ("channel.flow", 20, 20, "active:bit"),
    ("channel.flow-ok", 20, 21, "active:bit"),
    ("channel.close", 20, 40, "reply-code:short reply-text:shortstr class-id:short method-id:short"),
    ("channel.close-ok", 20, 41, ""),
    ("access.request", 30, 10, "realm:shortstr exclusive:bit passive:bit active:bit write:bit read:bit"),
    ("access.request-ok", 30, 11, "reserved-1:short"),
    (
        "exchange.declare",
        40,
        10,
        "reserved-1:short exchange:shortstr type:shortstr passive:bit durable:bit auto-delete:bit internal:bit \
         no-wait:bit arguments:table",
    ),
    ("exchange.declare-ok", 40, 11, ""),
    ("exchange.delete", 40, 20, "reserved-1:short exchange:shortstr if-unused:bit no-wait:bit"),
    ("exchange.delete-ok", 40, 21, ""),
    (
        "exchange.bind",
        40,
        30,
        "reserved-1:short destination:shortstr source:shortstr routing-key:shortstr no-wait:bit arguments:table",
    ),
    ("exchange.bind-ok", 40, 31, ""),
    (
        "exchange.unbind",
        40,
        40,
        "reserved-1:short destination:shortstr source:shortstr routing-key:shortstr no-wait:bit arguments:table",
    ),
    ("exchange.unbind-ok", 40, 51, ""),
    (
        "queue.declare",
        50,
        10,
        "reserved-1:short queue:shortstr passive:bit durable:bit exclusive:bit auto-delete:bit no-wait:bit \
         arguments:table",
    ),
    ("queue.declare-ok", 50, 11, "queue:shortstr message-count:long consumer-count:long"),
    (
        "queue.bind",
        50,
        20,
        "reserved-1:short queue:shortstr exchange:shortstr routing-key:shortstr no-wait:bit arguments:table",
    ),
    ("queue.bind-ok", 50, 21, ""),
    ("queue.purge", 50, 30, "reserved-1:short queue:shortstr no-wait:bit"),
    ("queue.purge-ok", 50, 31, "message-count:long"),
    ("queue.delete", 50, 40, "reserved-1:short queue:shortstr if-unused:bit if-empty:bit no-wait:bit"),
    ("queue.delete-ok", 50, 41, "message-count:long"),
    (
        "queue.unbind",
        50,
        50,
        "reserved-1:short queue:shortstr exchange:shortstr routing-key:shortstr arguments:table",
    ),
    ("queue.unbind-ok", 50, 51, ""),
    ("basic.qos", 60, 10, "prefetch-size:long prefetch-count:short global:bit"),
    ("basic.qos-ok", 60, 11, ""),
    (
        "basic.consume",
        60,
        20,
        "reserved-1:short queue:shortstr consumer-tag:shortstr no-local:bit no-ack:bit exclusive:bit no-wait:bit \
         arguments:table",
    ),
    ("basic.consume-ok", 60, 21, "consumer-tag:shortstr"),
    ("basic.cancel", 60, 30, "consumer-tag:shortstr no-wait:bit"),
    ("basic.cancel-ok", 60, 31, "consumer-tag:shortstr"),
    (
        "basic.publish",
        60,
        40,
        "reserved-1:short exchange:shortstr routing-key:shortstr mandatory:bit immediate:bit",
    ),
    ("basic.return", 60, 50, "reply-code:short reply-text:shortstr exchange:shortstr routing-key:shortstr"),
    (
        "basic.deliver",
        60,
        60,
        "consumer-tag:shortstr delivery-tag:longlong redelivered:bit exchange:shortstr routing-key:shortstr",
    ),
    ("basic.get", 60, 70, "reserved-1:short queue:shortstr no-ack:bit"),
    (
        "basic.get-ok",
        60,
        71,
        "delivery-tag:longlong redelivered:bit exchange:shortstr routing-key:shortstr message-count:long",
    ),
    ("basic.get-empty", 60, 72, "reserved-1:shortstr"),
    ("basic.ack", 60, 80, "delivery-tag:longlong multiple:bit"),
    ("basic.reject", 60, 90, "delivery-tag:longlong requeue:bit"),
    ("basic.recover-async", 60, 100, "requeue:bit"),
    ("basic.recover", 60, 110, "requeue:bit"),
    ("basic.recover-ok", 60, 111, ""),
    ("basic.nack", 60, 120, "delivery-tag:longlong multiple:bit requeue:bit"),
    ("confirm.select", 85, 10, "no-wait:bit"),
    ("confirm.select-ok", 85, 11, ""),
    ("tx.select", 90, 10, ""),
    ("tx.select-ok", 90, 11, ""),
    ("tx.commit", 90, 20, ""),
    ("tx.commit-ok", 90, 21, ""),
    ("tx.rollback", 90, 30, ""),
    ("tx.rollback-ok", 90, 31, ""),
];

/// The properties of a message, from the highest bit of the flags down.
const PROPERTIES: &str = "content-type:shortstr content-encoding:shortstr headers:table delivery-mode:octet \
                          priority:octet correlation-id:shortstr reply-to:shortstr expiration:shortstr \
                          message-id:shortstr timestamp:timestamp type:shortstr user-id:shortstr app-id:shortstr \
                          cluster-id:shortstr";

fn fields(text: &'static str) -> Vec<FieldSpec> {
    text.split_ascii_whitespace()
        .map(|field| {
            let (name, kind) = field.split_once(':').expect("the table writes name:type");
            FieldSpec { name, kind: Kind::of(kind) }
        })
        .collect()
}

fn methods() -> &'static [MethodSpec] {
    static ALL: OnceLock<Vec<MethodSpec>> = OnceLock::new();
    ALL.get_or_init(|| {
        let row = |&(name, class, id, text): &(&'static str, u16, u16, &'static str)| MethodSpec {
            name,
            class,
            id,
            fields: fields(text),
            content: CONTENT.contains(&name),
        };
        METHODS.iter().map(row).collect()
    })
}

/// The method called `name`.
pub(crate) fn method(name: &str) -> Option<&'static MethodSpec> {
    methods().iter().find(|method| method.name == name)
}

/// The method of these numbers.
pub(crate) fn method_of(class: u16, id: u16) -> Option<&'static MethodSpec> {
    methods().iter().find(|method| method.class == class && method.id == id)
}

/// The method whose name is most like `name`, for a hint.
pub(crate) fn nearest_method(name: &str) -> Option<&'static str> {
    nearest(name, methods().iter().map(|method| method.name))
}

/// The word of `all` that is most like `name`, if one is near.
pub(crate) fn nearest<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    all.map(|word| (distance(name, word), word)).filter(|(far, _)| *far <= 3).min().map(|(_, word)| word)
}

/// How many letters must be put in, taken out or changed to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The properties, from the highest bit of the flags down.
pub(crate) fn properties() -> &'static [FieldSpec] {
    static ALL: OnceLock<Vec<FieldSpec>> = OnceLock::new();
    ALL.get_or_init(|| fields(PROPERTIES))
}

/// The property called `name`.
pub(crate) fn property(name: &str) -> Option<FieldSpec> {
    properties().iter().find(|property| property.name == name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_and_numbers_are_used_once() {
        let names: BTreeSet<_> = METHODS.iter().map(|row| row.0).collect();
        let numbers: BTreeSet<_> = METHODS.iter().map(|row| (row.1, row.2)).collect();
        assert_eq!((names.len(), numbers.len()), (METHODS.len(), METHODS.len()));
        assert_eq!(methods().len(), 66);
        assert_eq!(properties().len(), 14);
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        assert_eq!(nearest_method("queue.decalre"), Some("queue.declare"));
        assert_eq!(nearest_method("hare.run"), None);
    }
}
