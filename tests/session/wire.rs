//! Sentences of a script to bytes, and bytes of the broker to sentences.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use amq_protocol::protocol::{AMQPClass, access, basic, channel, confirm, connection, exchange, queue, tx};
use amq_protocol::types::{AMQPValue, FieldTable};
use leveret::message::properties::{self, Properties};
use leveret::message::table::{self, FieldValue};
use leveret::protocol::amqp::wire::encode;
use leveret::protocol::amqp::wire::encode::Content;
use leveret::protocol::amqp::wire::fields;
use leveret::protocol::amqp::wire::frame::{self, FRAME_MAX, Frame, Kind, PROTOCOL_HEADER};
use leveret::protocol::amqp::wire::header;
use leveret::protocol::amqp::wire::method::{self, Method};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The bytes of a sentence: `CHANNEL METHOD ARGUMENTS FLAGS`.
pub(crate) fn encode(sentence: &str) -> Vec<u8> {
    let words: Vec<&str> = sentence.split(' ').map(|word| if word == "''" { "" } else { word }).collect();
    let mut out = Vec::new();
    match words.as_slice() {
        ["header"] => out.extend_from_slice(&PROTOCOL_HEADER),
        ["bytes", text] => out.extend_from_slice(text.as_bytes()),
        ["hex", digits] => out = hex(digits),
        [channel, "content-header", class, size] => {
            let mut payload = class.parse::<u16>().unwrap().to_be_bytes().to_vec();
            payload.extend_from_slice(&[0, 0]);
            payload.extend_from_slice(&size.parse::<u64>().unwrap().to_be_bytes());
            payload.extend_from_slice(&[0, 0]);
            frame(&mut out, 2, channel, &payload);
        }
        [channel, "content-body", text] => frame(&mut out, 3, channel, text.as_bytes()),
        [channel, "heartbeat"] => frame(&mut out, 8, channel, &[]),
        // A method by its numbers, and its arguments as hexadecimal digits.
        [channel, "method", class, id, arguments @ ..] => {
            let mut payload = class.parse::<u16>().unwrap().to_be_bytes().to_vec();
            payload.extend_from_slice(&id.parse::<u16>().unwrap().to_be_bytes());
            payload.extend(arguments.iter().flat_map(|digits| hex(digits)));
            frame(&mut out, 1, channel, &payload);
        }
        [channel, "basic.publish", exchange, key, body, flags @ ..] => {
            publish(&mut out, number(channel), (exchange, key, body), Flags(flags));
        }
        [channel, name, arguments @ ..] => {
            encode::method(&mut out, number(channel), &method_named(name, arguments));
        }
        _ => panic!("nobody can say this: {sentence}"),
    }
    out
}

fn number(word: &str) -> u16 {
    word.parse().unwrap()
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn frame(out: &mut Vec<u8>, octet: u8, channel: &str, payload: &[u8]) {
    out.push(octet);
    out.extend_from_slice(&number(channel).to_be_bytes());
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    out.extend_from_slice(payload);
    out.push(0xCE);
}

/// Words that may come in any order: `durable`, or `x-max-length=5`.
#[derive(Clone, Copy)]
struct Flags<'a>(&'a [&'a str]);

impl<'a> Flags<'a> {
    fn has(self, name: &str) -> bool {
        self.0.contains(&name)
    }

    fn value(self, name: &str) -> Option<&'a str> {
        self.0
            .iter()
            .find_map(|word| word.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    }

    /// Everything that begins with `x-`, and `CC` and `BCC`: numbers and bools as such, `[a,b]` as
    /// an array, the rest as text.
    fn arguments(self) -> FieldTable {
        let mut table = FieldTable::default();
        for (key, value) in self.0.iter().filter_map(|word| word.split_once('=')) {
            if key.starts_with("x-") || matches!(key, "alternate-exchange" | "CC" | "BCC") {
                table.insert(key.into(), argument(value));
            }
        }
        table
    }
}

fn argument(text: &str) -> AMQPValue {
    if let Some(items) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let items = items.split(',').filter(|item| !item.is_empty()).map(argument);
        return AMQPValue::FieldArray(items.collect::<Vec<_>>().into());
    }
    match (text, text.parse()) {
        ("true" | "false", _) => AMQPValue::Boolean(text == "true"),
        (_, Ok(number)) => AMQPValue::LongInt(number),
        (_, Err(_text)) => AMQPValue::LongString(text.into()),
    }
}

/// A body of `*N` stands for N bytes.
fn publish(out: &mut Vec<u8>, channel: u16, (exchange, key, body): (&str, &str, &str), flags: Flags<'_>) {
    let body = match body.strip_prefix('*') {
        Some(size) => vec![b'x'; size.parse().unwrap()],
        None => body.as_bytes().to_vec(),
    };
    let mut headers = Vec::new();
    table::encode(&fields::read(&flags.arguments()), &mut headers);
    let properties = Properties {
        headers: (!headers.is_empty()).then_some(&headers),
        delivery_mode: flags.has("persistent").then_some(2),
        reply_to: flags.value("reply-to").map(str::as_bytes),
        expiration: flags.value("expiration").map(str::as_bytes),
        user_id: flags.value("user-id").map(str::as_bytes),
        ..Properties::default()
    };
    let mut raw = Vec::new();
    properties::encode(&properties, &mut raw);
    let content =
        Content { exchange: exchange.as_bytes(), routing_key: key.as_bytes(), properties: &raw, body: &body };
    let at = out.len();
    let frame_max = flags.value("frame-max").map_or(FRAME_MAX, |size| size.parse().unwrap());
    encode::publish(out, channel, frame_max, flags.has("mandatory"), &content);
    if flags.has("immediate") {
        // The last byte of the method's arguments holds the bits.
        let bits = at + 7 + 4 + 2 + 1 + exchange.len() + 1 + key.len();
        out[bits] |= 2;
    }
}

fn method_named(name: &str, words: &[&str]) -> AMQPClass {
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let flags = Flags(words);
    let (class, _) = name.split_once('.').unwrap();
    match class {
        "connection" => AMQPClass::Connection(connection_named(name, words)),
        "channel" => AMQPClass::Channel(match name {
            "channel.open" => channel::AMQPMethod::Open(channel::Open {}),
            "channel.flow" => channel::AMQPMethod::Flow(channel::Flow { active: flags.has("active") }),
            "channel.close" => channel::AMQPMethod::Close(channel::Close {
                reply_code: 200,
                reply_text: "bye".into(),
                class_id: 0,
                method_id: 0,
            }),
            "channel.close-ok" => channel::AMQPMethod::CloseOk(channel::CloseOk {}),
            _ => panic!("unknown: {name}"),
        }),
        "exchange" => AMQPClass::Exchange(exchange_named(name, words)),
        "queue" => AMQPClass::Queue(queue_named(name, words)),
        "basic" => AMQPClass::Basic(basic_named(name, words)),
        "access" => AMQPClass::Access(access::AMQPMethod::Request(access::Request::default())),
        "confirm" => {
            AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: word(0) == "nowait" }))
        }
        "tx" => AMQPClass::Tx(match name {
            "tx.select" => tx::AMQPMethod::Select(tx::Select {}),
            "tx.commit" => tx::AMQPMethod::Commit(tx::Commit {}),
            _ => tx::AMQPMethod::Rollback(tx::Rollback {}),
        }),
        _ => panic!("unknown: {name}"),
    }
}

fn connection_named(name: &str, words: &[&str]) -> connection::AMQPMethod {
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    match name {
        "connection.start-ok" => {
            let mut capabilities = FieldTable::default();
            for capability in words.get(3..).unwrap_or_default() {
                capabilities.insert((*capability).into(), AMQPValue::Boolean(true));
            }
            let mut client_properties = FieldTable::default();
            client_properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
            let response = match word(0) {
                "AMQPLAIN" => {
                    let mut login = FieldTable::default();
                    login.insert("LOGIN".into(), AMQPValue::LongString(word(1).into()));
                    login.insert("PASSWORD".into(), AMQPValue::LongString(word(2).into()));
                    let mut bytes = Vec::new();
                    table::encode(&fields::read(&login), &mut bytes);
                    bytes
                }
                _ => format!("\0{}\0{}", word(1), word(2)).into_bytes(),
            };
            connection::AMQPMethod::StartOk(connection::StartOk {
                client_properties,
                mechanism: word(0).into(),
                response: response.into(),
                locale: "en_US".into(),
            })
        }
        "connection.tune-ok" => connection::AMQPMethod::TuneOk(connection::TuneOk {
            channel_max: number(word(0)),
            frame_max: word(1).parse().unwrap(),
            heartbeat: number(word(2)),
        }),
        "connection.open" => connection::AMQPMethod::Open(connection::Open { virtual_host: word(0).into() }),
        "connection.close" => connection::AMQPMethod::Close(connection::Close {
            reply_code: 200,
            reply_text: "bye".into(),
            class_id: 0,
            method_id: 0,
        }),
        "connection.close-ok" => connection::AMQPMethod::CloseOk(connection::CloseOk {}),
        "connection.update-secret" => connection::AMQPMethod::UpdateSecret(connection::UpdateSecret {
            new_secret: word(0).into(),
            reason: "old".into(),
        }),
        _ => panic!("unknown: {name}"),
    }
}

fn exchange_named(name: &str, words: &[&str]) -> exchange::AMQPMethod {
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let flags = Flags(words);
    let (destination, source, routing_key) = (word(0).into(), word(1).into(), word(2).into());
    let (nowait, arguments) = (flags.has("nowait"), flags.arguments());
    match name {
        "exchange.declare" => exchange::AMQPMethod::Declare(exchange::Declare {
            exchange: word(0).into(),
            kind: word(1).into(),
            passive: flags.has("passive"),
            durable: flags.has("durable"),
            auto_delete: flags.has("auto-delete"),
            internal: flags.has("internal"),
            nowait,
            arguments,
        }),
        "exchange.delete" => exchange::AMQPMethod::Delete(exchange::Delete {
            exchange: word(0).into(),
            if_unused: flags.has("if-unused"),
            nowait,
        }),
        "exchange.bind" => {
            exchange::AMQPMethod::Bind(exchange::Bind { destination, source, routing_key, nowait, arguments })
        }
        "exchange.unbind" => exchange::AMQPMethod::Unbind(exchange::Unbind {
            destination,
            source,
            routing_key,
            nowait,
            arguments,
        }),
        _ => panic!("unknown: {name}"),
    }
}

fn queue_named(name: &str, words: &[&str]) -> queue::AMQPMethod {
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let flags = Flags(words);
    let (queue, exchange, routing_key) = (word(0).into(), word(1).into(), word(2).into());
    let (nowait, arguments) = (flags.has("nowait"), flags.arguments());
    match name {
        "queue.declare" => queue::AMQPMethod::Declare(queue::Declare {
            queue,
            passive: flags.has("passive"),
            durable: flags.has("durable"),
            exclusive: flags.has("exclusive"),
            auto_delete: flags.has("auto-delete"),
            nowait,
            arguments,
        }),
        "queue.bind" => {
            queue::AMQPMethod::Bind(queue::Bind { queue, exchange, routing_key, nowait, arguments })
        }
        "queue.unbind" => {
            queue::AMQPMethod::Unbind(queue::Unbind { queue, exchange, routing_key, arguments })
        }
        "queue.purge" => queue::AMQPMethod::Purge(queue::Purge { queue, nowait }),
        "queue.delete" => queue::AMQPMethod::Delete(queue::Delete {
            queue,
            if_unused: flags.has("if-unused"),
            if_empty: flags.has("if-empty"),
            nowait,
        }),
        _ => panic!("unknown: {name}"),
    }
}

fn basic_named(name: &str, words: &[&str]) -> basic::AMQPMethod {
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let flags = Flags(words);
    let (nowait, no_ack) = (flags.has("nowait"), flags.has("no-ack"));
    let (requeue, multiple) = (flags.has("requeue"), flags.has("multiple"));
    let delivery_tag = word(0).parse().unwrap_or_default();
    match name {
        "basic.qos" => basic::AMQPMethod::Qos(basic::Qos {
            prefetch_count: number(word(0)),
            global: flags.has("global"),
        }),
        "basic.consume" => basic::AMQPMethod::Consume(basic::Consume {
            queue: word(0).into(),
            consumer_tag: word(1).into(),
            no_local: false,
            no_ack,
            exclusive: flags.has("exclusive"),
            nowait,
            arguments: flags.arguments(),
        }),
        "basic.cancel" => basic::AMQPMethod::Cancel(basic::Cancel { consumer_tag: word(0).into(), nowait }),
        "basic.get" => basic::AMQPMethod::Get(basic::Get { queue: word(0).into(), no_ack }),
        "basic.ack" => basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple }),
        "basic.nack" => basic::AMQPMethod::Nack(basic::Nack { delivery_tag, multiple, requeue }),
        "basic.reject" => basic::AMQPMethod::Reject(basic::Reject { delivery_tag, requeue }),
        "basic.recover" => basic::AMQPMethod::Recover(basic::Recover { requeue }),
        "basic.recover-async" => basic::AMQPMethod::RecoverAsync(basic::RecoverAsync { requeue }),
        _ => panic!("unknown: {name}"),
    }
}

/// What a broker says, as sentences.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    bytes: Vec<u8>,
    sentences: Vec<String>,
    /// Contents on their way: the sentence, and how many bytes of body are missing.
    contents: BTreeMap<u16, (String, usize, Vec<u8>)>,
}

impl Answers {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes == PROTOCOL_HEADER {
            self.bytes.clear();
            self.sentences.push("header".to_owned());
        }
        let bytes = std::mem::take(&mut self.bytes);
        let mut at = 0;
        while let Some((frame, used)) = frame::decode(&bytes[at..], FRAME_MAX).unwrap() {
            at += used;
            self.add_frame(frame);
        }
        self.bytes = bytes[at..].to_vec();
    }

    /// Whether nothing is missing of what the broker has begun to say.
    pub(crate) fn is_whole(&self) -> bool {
        self.bytes.is_empty() && self.contents.is_empty()
    }

    pub(crate) fn take(&mut self) -> Vec<String> {
        assert!(self.bytes.is_empty() && self.contents.is_empty(), "the broker said half a thing: {self:?}");
        std::mem::take(&mut self.sentences)
    }

    fn add_frame(&mut self, Frame { kind, channel, payload }: Frame<'_>) {
        match kind {
            Kind::Heartbeat => self.sentences.push(format!("{channel} heartbeat")),
            Kind::Method => {
                let sentence = format!("{channel} {}", show(&method::decode(payload).unwrap()));
                if method::ids(payload).0 == 60 && matches!(method::ids(payload).1, 50 | 60 | 71) {
                    self.contents.insert(channel, (sentence, 0, Vec::new()));
                } else {
                    self.sentences.push(sentence);
                }
            }
            Kind::Header => {
                let header = header::decode(payload).unwrap();
                let (sentence, missing, _) = self.contents.get_mut(&channel).unwrap();
                *missing = usize::try_from(header.body_size).unwrap();
                sentence.push_str(&show_properties(header.raw));
                self.finish(channel);
            }
            Kind::Body => {
                let (_, missing, body) = self.contents.get_mut(&channel).unwrap();
                *missing -= payload.len();
                body.extend_from_slice(payload);
                self.finish(channel);
            }
        }
    }

    fn finish(&mut self, channel: u16) {
        if self.contents[&channel].1 > 0 {
            return;
        }
        let (sentence, _, body) = self.contents.remove(&channel).unwrap();
        let body = match body.len() {
            0 => "''".to_owned(),
            size if size > 64 => format!("*{size}"),
            _ => String::from_utf8(body).unwrap(),
        };
        self.sentences.push(format!("{sentence} {body}"));
    }
}

fn show_properties(raw: &[u8]) -> String {
    let properties = properties::decode(raw).unwrap();
    let mut text = String::new();
    if properties.delivery_mode == Some(2) {
        text.push_str(" persistent");
    }
    if let Some(reply_to) = properties.reply_to {
        write!(text, " reply-to={}", String::from_utf8_lossy(reply_to)).unwrap();
    }
    for (key, value) in table::decode(properties.headers.unwrap_or_default()).unwrap() {
        let value = match value {
            FieldValue::LongLongInt(number) => number.to_string(),
            FieldValue::LongInt(number) => number.to_string(),
            FieldValue::LongString(text) => String::from_utf8_lossy(&text).into_owned(),
            FieldValue::FieldArray(array) => show_array(&array),
            other => format!("{other:?}"),
        };
        write!(text, " {key}={value}").unwrap();
    }
    text
}

/// The strings of an array, or how many other values it has.
fn show_array(items: &[FieldValue]) -> String {
    let text = |item: &FieldValue| match item {
        FieldValue::LongString(text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    };
    match items.iter().map(text).collect::<Option<Vec<_>>>() {
        Some(texts) => format!("[{}]", texts.join(",")),
        None => format!("[{}]", items.len()),
    }
}

fn show(method: &Method<'_>) -> String {
    let text = |bytes: &[u8]| {
        if bytes.is_empty() { "''".to_owned() } else { String::from_utf8(bytes.to_vec()).unwrap() }
    };
    let flag = |set: bool, name: &str| if set { format!(" {name}") } else { String::new() };
    match method {
        Method::Deliver { consumer_tag, tag, redelivered, exchange, routing_key } => format!(
            "basic.deliver {} {tag}{} {} {}",
            text(consumer_tag),
            flag(*redelivered, "redelivered"),
            text(exchange),
            text(routing_key)
        ),
        Method::Ack { tag, multiple } => format!("basic.ack {tag}{}", flag(*multiple, "multiple")),
        Method::Nack { tag, multiple, .. } => format!("basic.nack {tag}{}", flag(*multiple, "multiple")),
        Method::Other(class) => match &**class {
            AMQPClass::Basic(basic::AMQPMethod::GetOk(ok)) => format!(
                "basic.get-ok {}{} {} {} {}",
                ok.delivery_tag,
                flag(ok.redelivered, "redelivered"),
                text(ok.exchange.as_str().as_bytes()),
                text(ok.routing_key.as_str().as_bytes()),
                ok.message_count
            ),
            AMQPClass::Basic(basic::AMQPMethod::Return(back)) => format!(
                "basic.return {} {} {} {}",
                back.reply_code,
                back.reply_text,
                text(back.exchange.as_str().as_bytes()),
                text(back.routing_key.as_str().as_bytes())
            ),
            class => show_cold(class),
        },
        Method::Publish { .. } | Method::Reject { .. } => panic!("no broker says {method:?}"),
    }
}

fn show_cold(class: &AMQPClass) -> String {
    use AMQPClass as C;
    match class {
        C::Connection(connection::AMQPMethod::Start(start)) => {
            format!("connection.start {} {}", start.mechanisms, start.locales)
        }
        C::Connection(connection::AMQPMethod::Tune(tune)) => {
            format!("connection.tune {} {} {}", tune.channel_max, tune.frame_max, tune.heartbeat)
        }
        C::Connection(connection::AMQPMethod::OpenOk(_)) => "connection.open-ok".to_owned(),
        C::Connection(connection::AMQPMethod::Close(close)) => format!(
            "connection.close {} {} ({},{})",
            close.reply_code, close.reply_text, close.class_id, close.method_id
        ),
        C::Connection(connection::AMQPMethod::CloseOk(_)) => "connection.close-ok".to_owned(),
        C::Connection(connection::AMQPMethod::Blocked(blocked)) => {
            format!("connection.blocked {}", blocked.reason)
        }
        C::Connection(connection::AMQPMethod::Unblocked(_)) => "connection.unblocked".to_owned(),
        C::Connection(connection::AMQPMethod::UpdateSecretOk(_)) => "connection.update-secret-ok".to_owned(),
        C::Channel(channel::AMQPMethod::OpenOk(_)) => "channel.open-ok".to_owned(),
        C::Channel(channel::AMQPMethod::CloseOk(_)) => "channel.close-ok".to_owned(),
        C::Channel(channel::AMQPMethod::FlowOk(flow)) => format!("channel.flow-ok {}", flow.active),
        C::Channel(channel::AMQPMethod::Close(close)) => format!(
            "channel.close {} {} ({},{})",
            close.reply_code, close.reply_text, close.class_id, close.method_id
        ),
        C::Access(_) => "access.request-ok".to_owned(),
        C::Exchange(exchange::AMQPMethod::DeclareOk(_)) => "exchange.declare-ok".to_owned(),
        C::Exchange(exchange::AMQPMethod::DeleteOk(_)) => "exchange.delete-ok".to_owned(),
        C::Exchange(exchange::AMQPMethod::BindOk(_)) => "exchange.bind-ok".to_owned(),
        C::Exchange(exchange::AMQPMethod::UnbindOk(_)) => "exchange.unbind-ok".to_owned(),
        C::Queue(queue::AMQPMethod::DeclareOk(ok)) => {
            format!("queue.declare-ok {} {} {}", ok.queue, ok.message_count, ok.consumer_count)
        }
        C::Queue(queue::AMQPMethod::BindOk(_)) => "queue.bind-ok".to_owned(),
        C::Queue(queue::AMQPMethod::UnbindOk(_)) => "queue.unbind-ok".to_owned(),
        C::Queue(queue::AMQPMethod::PurgeOk(ok)) => format!("queue.purge-ok {}", ok.message_count),
        C::Queue(queue::AMQPMethod::DeleteOk(ok)) => format!("queue.delete-ok {}", ok.message_count),
        C::Basic(basic::AMQPMethod::QosOk(_)) => "basic.qos-ok".to_owned(),
        C::Basic(basic::AMQPMethod::ConsumeOk(ok)) => format!("basic.consume-ok {}", ok.consumer_tag),
        C::Basic(basic::AMQPMethod::CancelOk(ok)) => format!("basic.cancel-ok {}", ok.consumer_tag),
        C::Basic(basic::AMQPMethod::Cancel(cancel)) => format!("basic.cancel {}", cancel.consumer_tag),
        C::Basic(basic::AMQPMethod::GetEmpty(_)) => "basic.get-empty".to_owned(),
        C::Basic(basic::AMQPMethod::RecoverOk(_)) => "basic.recover-ok".to_owned(),
        C::Confirm(_) => "confirm.select-ok".to_owned(),
        C::Tx(tx::AMQPMethod::SelectOk(_)) => "tx.select-ok".to_owned(),
        C::Tx(tx::AMQPMethod::CommitOk(_)) => "tx.commit-ok".to_owned(),
        C::Tx(tx::AMQPMethod::RollbackOk(_)) => "tx.rollback-ok".to_owned(),
        other => panic!("no broker says {other:?}"),
    }
}
