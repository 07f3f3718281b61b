//! What an operator sees of a session and wants of it: how its channels stand, and that it is to
//! go.
//!
//! The session is asked through [`crate::broker::clients`] and answers out of its state, which
//! counts nothing for the purpose but the bytes that came.

use super::Fault;
use super::channel::Channel;
use super::channels::Channels;
use super::connection_state::ConnectionState;
use crate::broker::clients::{ClientReport, ClientStatus};
use crate::ids::QueueId;
use crate::protocol::amqp::fault::AmqpError;

/// Runs of messages of a queue that a session tells of, at most.
const HELD_MAX: usize = 10_000;

/// Answers what an operator asks.
///
/// # Errors
/// 320: the operator ends the connection.
pub(super) fn answer_calls(
    channels: &Channels,
    link: &ConnectionState,
    standing: ClientStatus,
) -> Result<(), Fault> {
    let Some(calls) = link.client.handle.as_ref().and_then(|handle| handle.client().take_calls()) else {
        return Ok(());
    };
    for question in calls.questions {
        let held_of = question.held_of();
        question.answer(report(channels, link, (standing, held_of)));
    }
    calls.close.map_or(Ok(()), |reason| Err(Fault::of(AmqpError::ClosedByOperator(reason), (0, 0))))
}

fn report(
    channels: &Channels,
    link: &ConnectionState,
    (standing, held_of): (ClientStatus, Option<QueueId>),
) -> ClientReport {
    let held = |queue| channels.iter().flat_map(move |channel| channel.held_of(queue)).take(HELD_MAX);
    let pending_bytes = link.output.len() as u64;
    ClientReport {
        standing,
        received_bytes: link.received_bytes,
        sent_bytes: link.output.progress() + pending_bytes,
        pending_bytes,
        channels: channels.iter().map(Channel::report).collect(),
        held: held_of.into_iter().flat_map(held).collect(),
    }
}
