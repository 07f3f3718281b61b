//! What an operator sees of a session and wants of it: who the client is, how its channels stand,
//! and that it is to go.
//!
//! The session is asked through [`crate::broker::clients`] and answers out of its state, which
//! counts nothing for the purpose but the bytes that came.

use super::Fault;
use super::channel::{Channel, Mode};
use super::connection::Connection;
use super::connection_state::ConnectionState;
use super::slot::Slot;
use crate::broker::clients::{ChannelReport, ClientReport, ClientStatus, Facts, Publishing};
use crate::message::table::{self, FieldTable, FieldValue};
use crate::protocol::amqp::fault::AmqpError;
use crate::protocol::amqp::wire::fields;
use amq_protocol::protocol::connection::StartOk;

/// Bytes that are kept of what a client says of itself; of one that says more, only [`KEPT`].
const PROPERTIES_BYTES_MAX: usize = 4096;

/// What tells clients apart.
const KEPT: [&str; 5] = ["connection_name", "information", "platform", "product", "version"];

/// The longest of these, in bytes.
const KEPT_BYTES_MAX: usize = 255;

/// What is only known while the client logs in.
pub(super) struct Introduction {
    mechanism: String,
    properties: Box<[u8]>,
}

impl Introduction {
    /// As the client logs in.
    pub(super) fn of(start_ok: &StartOk) -> Self {
        let mechanism = start_ok.mechanism.as_str().to_owned();
        Self { mechanism, properties: properties(&fields::read(&start_ok.client_properties)) }
    }
}

impl ConnectionState {
    /// The client is let into a vhost: from now on operators see it.
    pub(super) fn appear(&mut self) {
        let Some(Introduction { mechanism, properties }) = self.introduction.take().map(|boxed| *boxed)
        else {
            return;
        };
        let facts = Facts {
            peer: self.peer.address,
            local: self.peer.local,
            tls: self.peer.tls,
            user: self.user.clone(),
            vhost: self.vhost.name.to_string(),
            mechanism,
            properties,
            connected_at_unix_ms: self.broker.clock().wall_ms(self.now.unix_ms),
            channel_max: self.limits.channel_max,
            frame_max: self.limits.frame_max,
            heartbeat_s: self.limits.heartbeat_s,
        };
        self.appearance = Some(self.broker.clients().enter(self.id, facts, &self.mailbox));
    }
}

impl Connection {
    /// Answers what an operator asks.
    ///
    /// # Errors
    /// 320: the operator ends the connection.
    pub(super) fn answer_calls(&mut self, link: &mut ConnectionState) -> Result<(), Fault> {
        let Some(calls) = link.appearance.as_ref().and_then(|appearance| appearance.client().take_calls())
        else {
            return Ok(());
        };
        for question in calls.questions {
            question.answer(self.report(link));
        }
        calls.close.map_or(Ok(()), |reason| Err(Fault::of(AmqpError::ClosedByOperator(reason), (0, 0))))
    }

    fn report(&self, link: &ConnectionState) -> ClientReport {
        let standing = match (self.blocked, self.throttled) {
            (true, _) => ClientStatus::Blocked,
            (false, true) => ClientStatus::Flow,
            (false, false) => ClientStatus::Running,
        };
        let open = self.slots.iter().filter_map(|slot| match slot {
            Slot::Open(channel) => Some(channel.report()),
            Slot::Free | Slot::Closing(_) | Slot::Draining(_) => None,
        });
        let pending_bytes = link.output.len() as u64;
        ClientReport {
            standing,
            received_bytes: link.received_bytes,
            sent_bytes: link.output.progress() + pending_bytes,
            pending_bytes,
            channels: open.collect(),
        }
    }
}

impl Channel {
    fn report(&self) -> ChannelReport {
        let (publishing, unconfirmed, (uncommitted, acks_uncommitted)) = match &self.mode {
            Mode::Plain => (Publishing::Plain, 0, (0, 0)),
            Mode::Confirm(confirms) => (Publishing::Confirm, confirms.unanswered(), (0, 0)),
            Mode::Transaction(tx) => (Publishing::Transaction, 0, tx.counts()),
        };
        ChannelReport {
            number: self.number,
            publishing,
            consumers: self.consumers.len() as u64,
            unacked: self.unacked.count(),
            unconfirmed,
            uncommitted,
            acks_uncommitted,
            prefetch: self.prefetch,
            shared_prefetch: self.limit.limit(),
        }
    }
}

/// What a client says of itself, as far as it is kept.
fn properties(given: &FieldTable) -> Box<[u8]> {
    let mut bytes = Vec::new();
    table::encode(given, &mut bytes);
    if bytes.len() <= PROPERTIES_BYTES_MAX {
        return bytes.into();
    }
    let mut kept = FieldTable::default();
    for name in KEPT {
        if let Some(value @ FieldValue::LongString(text)) = given.get(name)
            && text.len() <= KEPT_BYTES_MAX
        {
            kept.insert(name.into(), value.clone());
        }
    }
    bytes.clear();
    table::encode(&kept, &mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_client_that_says_too_much_only_what_tells_it_apart_is_kept() {
        let text = |len: usize| FieldValue::LongString("x".repeat(len).into());
        let mut given = FieldTable::default();
        given.insert("product".into(), text(10));
        given.insert("version".into(), text(300));
        given.insert("poem".into(), text(1000));
        let kept = |given: &FieldTable| -> Vec<String> {
            let names = table::decode(&properties(given)).unwrap();
            names.keys().map(ToString::to_string).collect()
        };
        assert_eq!(kept(&given), ["poem", "product", "version"]);
        given.insert("poem".into(), text(5000));
        assert_eq!(kept(&given), ["product"]);
    }
}
