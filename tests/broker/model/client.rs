//! A client without a socket: frames into a session, frames out of it, contents joined. Its codec
//! is amq-protocol's and not the broker's own, so that an error in one does not hide in the other.

use super::naive::Delivered;
use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, gen_frame, parse_frame};
use amq_protocol::protocol::basic::{AMQPMethod as Basic, AMQPProperties, Publish};
use amq_protocol::protocol::connection::{AMQPMethod as Connection, Open, StartOk, TuneOk};
use amq_protocol::protocol::{AMQPClass, channel, confirm};
use amq_protocol::types::{AMQPValue, FieldTable};
use leveret::broker::Broker;
use leveret::client::identity::Peer;
use leveret::clock::Clock;
use leveret::protocol::amqp::session::Session;
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The body of a frame: its size limit less the eight bytes around it.
const BODY_BYTES: usize = 131_072 - 8;

/// What a message's body is padded with.
const PADDING: u8 = 0xCE;

/// A message to publish.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    /// Where to.
    pub(super) exchange: &'static str,
    /// With which key.
    pub(super) key: String,
    /// What the body says.
    pub(super) id: u64,
    /// Whether it survives a restart.
    pub(super) persistent: bool,
    /// Whether it is to come back when no queue takes it.
    pub(super) mandatory: bool,
    /// Bytes of its body, 8 at least.
    pub(super) size: usize,
}

/// A client without a socket, connected to a session.
pub(super) struct Client {
    /// Its place among the clients.
    index: usize,
    session: Session,
    /// What the session has not taken yet.
    to_session: Vec<u8>,
    /// What is not a whole frame yet.
    from_session: Vec<u8>,
    /// Contents that are not complete, by channel.
    joining: BTreeMap<u16, (Basic, Option<AMQPContentHeader>, Vec<u8>)>,
    /// Answers, and methods that the broker sends of itself.
    pub(super) replies: VecDeque<(u16, AMQPClass)>,
    /// Deliveries to consumers.
    pub(super) delivered: Vec<Delivered>,
    /// What `basic.get` brought, with the number of messages left.
    pub(super) got: Option<(Delivered, u32)>,
    /// Ids of messages that came back.
    pub(super) returned: Vec<u64>,
    /// By channel: how many messages were published, and up to which they are confirmed.
    confirms: BTreeMap<u16, (u64, u64)>,
    /// By channel: the newest delivery tag.
    clock: Clock,
    newest_tag: BTreeMap<u16, u64>,
}

impl Client {
    /// A client whose handshake is done and whose `channels` are open and in confirm mode, once the
    /// session has answered everything.
    pub(super) fn connect(index: usize, broker: &Arc<Broker>, channels: &[u16]) -> Self {
        let address = "127.0.0.1:5671".parse().expect("an address");
        let session = Session::new(Arc::clone(broker), Peer::at(address), broker.clock().now());
        let mut client = Self {
            index,
            clock: broker.clock().clone(),
            session,
            to_session: b"AMQP\0\0\x09\x01".to_vec(),
            from_session: Vec::new(),
            joining: BTreeMap::new(),
            replies: VecDeque::new(),
            delivered: Vec::new(),
            got: None,
            returned: Vec::new(),
            confirms: BTreeMap::new(),
            newest_tag: BTreeMap::new(),
        };
        let yes = || AMQPValue::Boolean(true);
        let mut capabilities = FieldTable::default();
        capabilities.insert("consumer_cancel_notify".into(), yes()).insert("basic.nack".into(), yes());
        let mut client_properties = FieldTable::default();
        client_properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
        let (mechanism, locale) = ("PLAIN".into(), "en_US".into());
        let start = StartOk { client_properties, mechanism, response: "\0guest\0guest".into(), locale };
        client.send(0, AMQPClass::Connection(Connection::StartOk(start)));
        let tune = TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 0 };
        client.send(0, AMQPClass::Connection(Connection::TuneOk(tune)));
        client.send(0, AMQPClass::Connection(Connection::Open(Open { virtual_host: "/".into() })));
        for &channel in channels {
            client.open(channel);
        }
        client
    }

    /// Opens a channel and puts it into confirm mode.
    pub(super) fn open(&mut self, channel: u16) {
        self.send(channel, AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
        let select = confirm::Select { nowait: true };
        self.send(channel, AMQPClass::Confirm(confirm::AMQPMethod::Select(select)));
        self.confirms.insert(channel, (0, 0));
        self.newest_tag.insert(channel, 0);
    }

    pub(super) fn send(&mut self, channel: u16, method: AMQPClass) {
        self.frame(&AMQPFrame::Method(channel, method));
    }

    pub(super) fn publish(&mut self, channel: u16, message: &Publication) {
        let method = Publish {
            exchange: message.exchange.into(),
            routing_key: message.key.as_str().into(),
            mandatory: message.mandatory,
            immediate: false,
        };
        self.send(channel, AMQPClass::Basic(Basic::Publish(method)));
        let mut body = message.id.to_be_bytes().to_vec();
        body.resize(message.size, PADDING);
        let properties = AMQPProperties::default().with_delivery_mode(if message.persistent { 2 } else { 1 });
        let header = AMQPContentHeader { class_id: 60, body_size: body.len() as u64, properties };
        self.frame(&AMQPFrame::Header(channel, header));
        for part in body.chunks(BODY_BYTES) {
            self.frame(&AMQPFrame::Body(channel, part.to_vec()));
        }
        self.confirms.entry(channel).or_default().0 += 1;
    }

    fn frame(&mut self, frame: &AMQPFrame) {
        let buffer = std::mem::take(&mut self.to_session);
        let written = gen_frame(frame)(buffer.into()).expect("a frame of our own can be written");
        self.to_session = written.into_inner().0;
    }

    /// Whether everything published on every channel is confirmed.
    pub(super) fn is_confirmed(&self) -> bool {
        self.confirms.values().all(|(published, confirmed)| published == confirmed)
    }

    /// Whether there is nothing from the broker that was not looked at.
    pub(super) fn is_idle(&self) -> bool {
        self.replies.is_empty() && self.delivered.is_empty() && self.returned.is_empty() && self.got.is_none()
    }

    /// Gives the session what is there for it and takes what it says; `waker` learns when there is
    /// more.
    pub(super) fn pump(&mut self, waker: &Waker) -> Result<(), String> {
        loop {
            self.session.renew_budget();
            let mut moved = self.drain()?;
            while self.session.wants_input() && !self.to_session.is_empty() {
                self.session.renew_budget();
                let taken = self.session.handle_input(&self.to_session, self.clock.now());
                self.to_session.drain(..taken);
                moved |= self.drain()?;
                if taken == 0 {
                    break;
                }
            }
            let mail = self.session.mailbox().poll(&Context::from_waker(waker));
            if mail == Poll::Ready(()) || self.session.has_more_mail() {
                self.session.handle_mail(self.clock.now());
                moved = true;
            }
            if !moved {
                return Ok(());
            }
        }
    }

    /// The socket is gone.
    pub(super) fn drop_connection(mut self) {
        self.session.handle_disconnect(self.clock.now());
    }

    /// Takes what the session has to say; whether that was anything.
    fn drain(&mut self) -> Result<bool, String> {
        let output = self.session.output();
        let mut said = false;
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = output.slices(&mut slices);
            let mut written = 0;
            for slice in &slices[..filled] {
                self.from_session.extend_from_slice(slice);
                written += slice.len();
            }
            output.advance(written);
            said = true;
        }
        if said {
            // Room was made: the session may go on with what it held back.
            self.session.handle_mail(self.clock.now());
            self.read_frames()?;
        }
        Ok(said)
    }

    fn read_frames(&mut self) -> Result<(), String> {
        let bytes = std::mem::take(&mut self.from_session);
        let mut rest = bytes.as_slice();
        while let [_, _, _, a, b, c, d, ..] = *rest {
            let size = u32::from_be_bytes([a, b, c, d]) as usize + 8;
            if rest.len() < size {
                break;
            }
            let (_, frame) = parse_frame(&rest[..size]).map_err(|fault| format!("not a frame: {fault}"))?;
            self.take_frame(frame)?;
            rest = &rest[size..];
        }
        self.from_session = rest.to_vec();
        Ok(())
    }

    fn take_frame(&mut self, frame: AMQPFrame) -> Result<(), String> {
        match frame {
            AMQPFrame::Method(channel, AMQPClass::Basic(Basic::Ack(ack))) => {
                let confirmed = &mut self.confirms.entry(channel).or_default().1;
                let exact = ack.multiple || ack.delivery_tag == *confirmed + 1;
                if !exact || ack.delivery_tag <= *confirmed {
                    return Err(format!("confirmed {ack:?} after {confirmed}"));
                }
                *confirmed = ack.delivery_tag;
            }
            AMQPFrame::Method(
                channel,
                AMQPClass::Basic(method @ (Basic::Deliver(_) | Basic::GetOk(_) | Basic::Return(_))),
            ) => {
                self.joining.insert(channel, (method, None, Vec::new()));
            }
            AMQPFrame::Method(
                0,
                AMQPClass::Connection(Connection::Start(_) | Connection::Tune(_) | Connection::OpenOk(_)),
            )
            | AMQPFrame::Method(_, AMQPClass::Channel(channel::AMQPMethod::OpenOk(_))) => {}
            AMQPFrame::Method(channel, method) => self.replies.push_back((channel, method)),
            AMQPFrame::Header(channel, header) => {
                let joining = self.joining.get_mut(&channel).ok_or("a content header without a method")?;
                joining.1 = Some(header);
                self.complete(channel)?;
            }
            AMQPFrame::Body(channel, part) => {
                let joining = self.joining.get_mut(&channel).ok_or("a content body without a method")?;
                joining.2.extend_from_slice(&part);
                self.complete(channel)?;
            }
            AMQPFrame::Heartbeat => {}
            other => return Err(format!("the broker said {other:?}")),
        }
        Ok(())
    }

    /// Takes the content of `channel` when all of it is there.
    fn complete(&mut self, channel: u16) -> Result<(), String> {
        let Some((_, Some(header), body)) = self.joining.get(&channel) else { return Ok(()) };
        if (body.len() as u64) < header.body_size {
            return Ok(());
        }
        let Some((method, Some(header), body)) = self.joining.remove(&channel) else { return Ok(()) };
        let id = read_body(&body)?;
        let content = |consumer, tag, redelivered| Delivered {
            channel: (self.index, channel),
            consumer,
            tag,
            redelivered,
            count: count(&header.properties),
            death: death(&header.properties),
            id,
        };
        match method {
            Basic::Deliver(deliver) => {
                check_tag(&mut self.newest_tag, channel, deliver.delivery_tag)?;
                let consumer = Some(deliver.consumer_tag.as_str().to_owned());
                self.delivered.push(content(consumer, deliver.delivery_tag, deliver.redelivered));
            }
            Basic::GetOk(got) => {
                check_tag(&mut self.newest_tag, channel, got.delivery_tag)?;
                self.got = Some((content(None, got.delivery_tag, got.redelivered), got.message_count));
            }
            _ => self.returned.push(id),
        }
        Ok(())
    }
}

/// Delivery tags of a channel count up by one.
fn check_tag(newest: &mut BTreeMap<u16, u64>, channel: u16, tag: u64) -> Result<(), String> {
    let newest = newest.entry(channel).or_default();
    *newest += 1;
    if tag == *newest {
        Ok(())
    } else {
        Err(format!("delivery tag {tag} on channel {channel}, not {newest}"))
    }
}

fn read_body(body: &[u8]) -> Result<u64, String> {
    let (id, padding) = body.split_first_chunk().ok_or("a body is cut short")?;
    if padding.iter().any(|&byte| byte != PADDING) {
        return Err("a body is damaged".to_owned());
    }
    Ok(u64::from_be_bytes(*id))
}

fn header<'a>(properties: &'a AMQPProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

fn count(properties: &AMQPProperties) -> Option<i64> {
    match header(properties, "x-delivery-count")? {
        AMQPValue::LongLongInt(count) => Some(*count),
        other => panic!("x-delivery-count is {other:?}"),
    }
}

fn death(properties: &AMQPProperties) -> Option<(String, String)> {
    let text = |name| match header(properties, name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        other => panic!("{name} is {other:?}"),
    };
    Some((text("x-first-death-reason")?, text("x-first-death-queue")?))
}
