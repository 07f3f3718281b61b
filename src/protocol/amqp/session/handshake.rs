//! From the protocol header to `connection.open-ok` (AMQP 0-9-1 section 2.2.4): who the client is,
//! what it understands, and which limits hold.

use super::connection_state::{Capabilities, ConnectionState, NegotiatedLimits};
use super::introduction::Introduction;
use super::{Fault, Next};
use crate::admin::parameters::cluster_name;
use crate::broker::attempts::LoginBy;
use crate::broker::clients::Facts;
use crate::broker::entry::no_vhost;
use crate::client::identity::Peer;
use crate::message::table;
use crate::protocol::amqp::fault::{AmqpError, Bound};
use crate::protocol::amqp::wire::encode;
use crate::protocol::amqp::wire::frame::{self, FRAME_MIN, Frame, Header, Kind, PROTOCOL_HEADER};
use crate::protocol::amqp::wire::method::{self, Method};
use amq_protocol::protocol::{AMQPClass, connection as amqp};
use amq_protocol::types::{AMQPValue, FieldTable};
use std::mem;
use tracing::warn;

/// What this broker understands beyond AMQP 0-9-1, under the names that RabbitMQ gave it.
const CAPABILITIES: [&str; 9] = [
    "authentication_failure_close",
    "basic.nack",
    "connection.blocked",
    "consumer_cancel_notify",
    "consumer_priorities",
    "direct_reply_to",
    "exchange_exchange_bindings",
    "per_consumer_qos",
    "publisher_confirms",
];

/// The mechanism by which a client says that it has shown who it is already (RFC 4422 appendix A).
const EXTERNAL: &str = "EXTERNAL";

/// The mechanism by which a client says that it has no name (RFC 4505).
const ANONYMOUS: &str = "ANONYMOUS";

/// What is expected next.
pub(super) enum Handshake {
    Header,
    StartOk,
    /// With what the client said of itself as it logged in.
    TuneOk(Introduction),
    /// As before.
    Open(Introduction),
}

impl Handshake {
    /// Takes what it can; `used` grows by its bytes.
    pub(super) fn handle_input(
        &mut self,
        link: &mut ConnectionState,
        input: &[u8],
        used: &mut usize,
    ) -> Result<Next, Fault> {
        loop {
            if matches!(self, Self::Header) {
                match frame::protocol_header(input) {
                    Header::Incomplete => return Ok(Next::Stay),
                    Header::Other => {
                        warn!(peer = %link.client.peer.address, "refused: does not speak AMQP 0-9-1");
                        link.output.own().extend_from_slice(&PROTOCOL_HEADER);
                        *used = input.len();
                        return Ok(Next::Closed);
                    }
                    Header::Amqp091 => *used += PROTOCOL_HEADER.len(),
                }
                say(link, start(link));
                *self = Self::StartOk;
            }
            let frame_max = link.broker.limits().get().handshake_frame_max;
            let decoded = frame::decode(&input[*used..], frame_max);
            let decoded = decoded.map_err(|error| Fault::unreadable(error.into(), input, used))?;
            let Some((frame, len)) = decoded else { return Ok(Next::Stay) };
            *used += len;
            match self.handle_frame(link, frame)? {
                Next::Stay => {}
                next => return Ok(next),
            }
        }
    }

    fn handle_frame(&mut self, link: &mut ConnectionState, frame: Frame<'_>) -> Result<Next, Fault> {
        let payload = match frame {
            Frame { kind: Kind::Method, channel: 0, payload } => payload,
            Frame { kind: Kind::Heartbeat, channel: 0, .. } => return Ok(Next::Stay),
            Frame { kind, channel, .. } => {
                let octet = kind.octet();
                return Err(Fault::of(AmqpError::UnexpectedFrameInHandshake { octet, channel }, (0, 0)));
            }
        };
        let fault = |error| Fault::of(error, method::ids(payload));
        match method::decode(payload).map_err(|error| fault(error.into()))? {
            Method::Other(class) => match *class {
                AMQPClass::Connection(method) => self.handle_method(link, &method).map_err(fault),
                _ => Err(fault(self.unexpected())),
            },
            _ => Err(fault(self.unexpected())),
        }
    }

    fn handle_method(
        &mut self,
        link: &mut ConnectionState,
        method: &amqp::AMQPMethod,
    ) -> Result<Next, AmqpError> {
        match (&mut *self, method) {
            (Self::StartOk, amqp::AMQPMethod::StartOk(start_ok)) => {
                link.capabilities = capabilities(&start_ok.client_properties);
                match log_in(link, start_ok) {
                    Ok(user) => {
                        link.broker.attempts().succeed(LoginBy::Amqp);
                        link.client.user = user;
                    }
                    Err(refused @ AmqpError::LoginRefused { .. }) => return Ok(refuse(link, refused)),
                    Err(error) => return Err(error),
                }
                let NegotiatedLimits { channel_max, frame_max, heartbeat_s } = link.limits;
                say(
                    link,
                    amqp::AMQPMethod::Tune(amqp::Tune { channel_max, frame_max, heartbeat: heartbeat_s }),
                );
                *self = Self::TuneOk(Introduction::of(start_ok));
                Ok(Next::Stay)
            }
            (Self::TuneOk(introduction), amqp::AMQPMethod::TuneOk(tune_ok)) => {
                link.limits = negotiate(link.limits, tune_ok)?;
                *self = Self::Open(mem::take(introduction));
                Ok(Next::Stay)
            }
            (Self::Open(introduction), amqp::AMQPMethod::Open(open)) => {
                enter(link, open.virtual_host.as_str())?;
                appear(link, mem::take(introduction));
                say(link, amqp::AMQPMethod::OpenOk(amqp::OpenOk {}));
                Ok(Next::Opened)
            }
            (_, amqp::AMQPMethod::Close(_)) => {
                say(link, amqp::AMQPMethod::CloseOk(amqp::CloseOk {}));
                Ok(Next::ClosedByClient)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn unexpected(&self) -> AmqpError {
        let state = match self {
            Self::Header | Self::StartOk => "starting",
            Self::TuneOk(_) => "tuning",
            Self::Open(_) => "opening",
        };
        AmqpError::UnexpectedMethod { state }
    }
}

/// What is said to a client whose login is refused, and when: the more logins from its address were
/// refused, the later.
fn refuse(link: &ConnectionState, refused: AmqpError) -> Next {
    let (address, now_ms) = (link.client.peer.address.ip(), link.now.mono_ms);
    let wait = link.broker.attempts().fail(LoginBy::Amqp, address, now_ms);
    if link.capabilities.authentication_failure_close {
        Next::Refused(Fault::of(refused, (0, 0)), wait)
    } else {
        Next::Silence
    }
}

/// Lets the client into a vhost, if it may be there.
///
/// # Errors
/// 530: there are too many already, there is no such vhost, or it is not for this user.
fn enter(link: &mut ConnectionState, name: &str) -> Result<(), AmqpError> {
    let (broker, client) = (&link.broker, &mut link.client);
    let place = broker.places().connections.take();
    let place = place.map_err(|max| AmqpError::ConnectionLimit { max })?;
    let vhost = broker.vhosts().get(name).ok_or_else(|| no_vhost(name))?;
    let entry = broker.accounts().enter(client.id, &vhost)?;
    client.vhost = vhost;
    if !client.grants().may_enter() {
        return Err(AmqpError::NoAccess { vhost: name.to_owned(), user: client.user.clone() });
    }
    client.places = Some((place, entry));
    Ok(())
}

/// The client is let into a vhost: from now on operators see it.
fn appear(link: &mut ConnectionState, Introduction { mechanism, properties }: Introduction) {
    let client = &link.client;
    let facts = Facts {
        peer: client.peer.address,
        local: client.peer.local,
        tls: client.peer.tls,
        user: client.user.clone(),
        vhost: client.vhost.name.to_string(),
        mechanism,
        properties,
        connected_at_unix_ms: link.broker.clock().wall_ms(link.now.unix_ms),
        channel_max: link.limits.channel_max,
        frame_max: link.limits.frame_max,
        heartbeat_s: link.limits.heartbeat_s,
    };
    link.client.handle = Some(link.broker.clients().enter(client.id, facts, &link.inbox.mailbox));
}

fn say(link: &mut ConnectionState, method: amqp::AMQPMethod) {
    encode::method(link.output.own(), 0, &AMQPClass::Connection(method));
}

fn start(link: &ConnectionState) -> amqp::AMQPMethod {
    let text = |value: &str| AMQPValue::LongString(value.into());
    let mut capabilities = FieldTable::default();
    for name in CAPABILITIES {
        capabilities.insert(name.into(), AMQPValue::Boolean(true));
    }
    let mut server_properties = FieldTable::default();
    server_properties
        .insert("capabilities".into(), AMQPValue::FieldTable(capabilities))
        .insert("cluster_name".into(), text(&cluster_name(&link.broker)))
        .insert("copyright".into(), text("The Leveret authors"))
        .insert("information".into(), text("Licensed under the Apache License 2.0"))
        .insert("platform".into(), text("Rust"))
        .insert("product".into(), text(link.broker.product()))
        .insert("version".into(), text(link.broker.version()));
    amqp::AMQPMethod::Start(amqp::Start {
        version_major: 0,
        version_minor: 9,
        server_properties,
        mechanisms: mechanisms(&link.client.peer, link.broker.anonymous_user().is_some()).into(),
        locales: "en_US".into(),
    })
}

/// What a client may log in by. EXTERNAL is for those who have shown who they are already, and
/// ANONYMOUS wants somebody whom all who use it are.
fn mechanisms(peer: &Peer, anonymous: bool) -> String {
    let external = peer.certificate_name.as_ref().map(|_shown| EXTERNAL);
    let all = ["PLAIN", "AMQPLAIN"].into_iter().chain(external).chain(anonymous.then_some(ANONYMOUS));
    all.collect::<Vec<_>>().join(" ")
}

fn capabilities(properties: &FieldTable) -> Capabilities {
    let Some(AMQPValue::FieldTable(table)) = properties.inner().get("capabilities") else {
        return Capabilities::default();
    };
    let has = |name: &str| matches!(table.inner().get(name), Some(AMQPValue::Boolean(true)));
    Capabilities {
        authentication_failure_close: has("authentication_failure_close"),
        connection_blocked: has("connection.blocked"),
        consumer_cancel_notify: has("consumer_cancel_notify"),
    }
}

/// The user's name, when the password is right (EXTERNAL: when the certificate is that of a user;
/// ANONYMOUS: always) and the user may come from there.
fn log_in(link: &ConnectionState, start_ok: &amqp::StartOk) -> Result<String, AmqpError> {
    let mechanism = start_ok.mechanism.as_str();
    let response = start_ok.response.as_bytes();
    let (peer, anonymous) = (&link.client.peer, link.broker.anonymous_user());
    let credentials = match (mechanism, &peer.certificate_name) {
        ("PLAIN", _) => with_password(plain(response)),
        ("AMQPLAIN", _) => with_password(amqplain(response)),
        // What the client responds is not looked at: it could only name somebody else.
        (EXTERNAL, Some(name)) => Some((name.as_bytes(), None)),
        (ANONYMOUS, _) if anonymous.is_some() => anonymous.map(|name| (name.as_bytes(), None)),
        _ => return Err(AmqpError::UnknownMechanism(mechanism.to_owned())),
    };
    let refused = |user: &str, why: &str| {
        warn!(peer = %peer.address, user, mechanism, "login refused: {why}");
        Err(AmqpError::LoginRefused { mechanism: mechanism.to_owned() })
    };
    let Some((user, password)) = credentials else { return refused("", "there are no credentials") };
    let Ok(user) = str::from_utf8(user) else { return refused("", "the user's name is not UTF-8") };
    match link.broker.accounts().log_in(link.client.id, (user, password), is_local(peer), &link.inbox.mailbox)
    {
        Ok(()) => Ok(user.to_owned()),
        Err(refusal) => refused(user, refusal.text()),
    }
}

fn with_password<'a>(credentials: Option<(&'a [u8], &'a [u8])>) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    credentials.map(|(user, password)| (user, Some(password)))
}

/// User and password of `NUL user NUL password` (RFC 4616).
fn plain(response: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = response.splitn(3, |&byte| byte == 0);
    // Nobody may act as somebody else, and RabbitMQ takes not even a user's own name.
    parts.next().filter(|authorization_id| authorization_id.is_empty())?;
    Some((parts.next()?, parts.next()?))
}

/// User and password of a field table without its length (RabbitMQ:
/// `rabbit_auth_mechanism_amqplain`).
fn amqplain(response: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = |key| table::get(response, key).filter(|value| value.kind == b'S').map(|value| value.bytes);
    text(b"LOGIN".as_slice()).zip(text(b"PASSWORD"))
}

/// The user everybody knows may come from this machine only (RabbitMQ: `loopback_users`).
fn is_local(peer: &Peer) -> bool {
    peer.address.ip().to_canonical().is_loopback()
}

fn negotiate(offer: NegotiatedLimits, wish: &amqp::TuneOk) -> Result<NegotiatedLimits, AmqpError> {
    const CHANNEL_MIN: u32 = 1;
    within("channel_max", wish.channel_max.into(), CHANNEL_MIN, offer.channel_max.into())?;
    within("frame_max", wish.frame_max, FRAME_MIN, offer.frame_max)?;
    let channel_max = if wish.channel_max == 0 { u16::MAX } else { wish.channel_max };
    Ok(NegotiatedLimits { channel_max, frame_max: wish.frame_max, heartbeat_s: wish.heartbeat })
}

/// 0 stands for no limit, on both sides.
fn within(field: &'static str, wish: u32, min: u32, max: u32) -> Result<(), AmqpError> {
    let bound = if wish != 0 && wish < min {
        Bound::Least(min)
    } else if max != 0 && (wish == 0 || wish > max) {
        Bound::Most(max)
    } else {
        return Ok(());
    };
    Err(AmqpError::LimitNotNegotiable { field, wish, bound })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_from_both_mechanisms() {
        assert_eq!(plain(b"\0guest\0gu\0est"), Some((&b"guest"[..], &b"gu\0est"[..])));
        assert_eq!(plain(b"guest"), None);
        assert_eq!(plain(b"admin\0guest\0guest"), None);
        let table = b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x03abc";
        assert_eq!(amqplain(table), Some((&b"guest"[..], &b"abc"[..])));
        assert_eq!(amqplain(&table[..20]), None);
    }

    #[test]
    fn wishes_have_to_lie_within_the_offer() {
        assert_eq!(within("frame_max", 4096, 4096, 131_072), Ok(()));
        assert_eq!(within("channel_max", 0, 1, 0), Ok(()));
        let refusal = |wish| within("frame_max", wish, 4096, 131_072).unwrap_err().reply().text;
        assert_eq!(
            refusal(131_073),
            "NOT_ALLOWED - negotiated frame_max = 131073 is higher than the maximum allowed value (131072)"
        );
        assert_eq!(
            refusal(4095),
            "NOT_ALLOWED - negotiated frame_max = 4095 is lower than the minimum allowed value (4096)"
        );
        assert_eq!(
            refusal(0),
            "NOT_ALLOWED - negotiated frame_max = 0 (no limit) is higher than the maximum allowed value (131072)"
        );
    }
}
