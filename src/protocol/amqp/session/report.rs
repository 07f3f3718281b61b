//! What an operator sees of a session and wants of it: how its channels stand, and that it is to go.
//!
//! The session is asked through [`crate::broker::clients`] and answers out of its state, which
//! counts nothing for the purpose but the bytes that came.

use super::Fault;
use super::channels::Slot;
use super::connection::Connection;
use super::connection_state::ConnectionState;
use crate::broker::clients::{ClientReport, ClientStatus};
use crate::protocol::amqp::fault::AmqpError;

impl Connection {
    /// Answers what an operator asks.
    ///
    /// # Errors
    /// 320: the operator ends the connection.
    pub(super) fn answer_calls(&mut self, link: &mut ConnectionState) -> Result<(), Fault> {
        let Some(calls) = link.client.handle.as_ref().and_then(|appearance| appearance.client().take_calls())
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
