//! What a client has a connection keep that it has not finished: bodies whose end has not come, and
//! transactions.
//!
//! Each of them has a limit of its own, but there is one for every channel; this is the limit for
//! all of a connection together. It is looked at once a read, and only after one that brought some
//! of it or while there is some. What all connections keep counts towards the limit of memory at
//! once.
//!
//! A body that does not go on ends its connection after a while: what came of it takes memory, and
//! while memory is short for it nobody may publish.

use super::Fault;
use super::channel::Channel;
use super::channels::Channels;
use super::connection_state::ConnectionState;
use super::deadline::Deadline;
use super::mode::Mode;
use crate::protocol::amqp::fault::AmqpError;

/// Ends a connection that keeps too much.
///
/// # Errors
/// 530, which undoes all of it.
pub(super) fn check_kept(channels: &Channels, link: &mut ConnectionState) -> Result<(), Fault> {
    if !link.tally.partial && !link.tally.transacted && link.unfinished.bytes() == 0 {
        return Ok(());
    }
    let (mut bytes, mut memory) = (0, 0);
    for channel in channels.iter() {
        let kept = kept(channel);
        bytes += kept.0;
        memory += kept.1;
    }
    link.unfinished.set(memory);
    let max = link.broker.limits().get().unfinished_bytes_max;
    if bytes <= max {
        return Ok(());
    }
    Err(Fault::of(AmqpError::UnfinishedLimit { max }, (0, 0)))
}

/// Ends a connection that has left a body where it was for too long; not while it is not read,
/// unless memory is short.
///
/// # Errors
/// 530.
pub(super) fn check_stale(channels: &Channels, link: &mut ConnectionState, reads: bool) -> Result<(), Fault> {
    let now_ms = link.now.mono_ms;
    if !link.stale.is_due(now_ms) {
        return Ok(());
    }
    let timeout_s = link.broker.limits().get().body_timeout_s;
    let timeout_ms = u64::from(timeout_s) * 1000;
    link.stale = Deadline::NEVER;
    if timeout_s == 0 {
        return Ok(());
    }
    let Some((heard_ms, number)) = channels.iter().filter_map(longest_ago).min() else {
        return Ok(());
    };
    link.stale.bring_forward(heard_ms.saturating_add(timeout_ms));
    if !link.stale.is_due(now_ms) {
        return Ok(());
    }
    if !reads && !link.broker.alarms().memory_is_short() {
        link.stale.put_off(now_ms);
        return Ok(());
    }
    Err(Fault::of(AmqpError::ContentStalled { channel: number, timeout_s }, (0, 0)))
}

/// When the content of this channel went on last, and the channel's number.
fn longest_ago(channel: &Channel) -> Option<(u64, u16)> {
    channel.incoming().map(|incoming| (incoming.heard_ms, channel.out.number))
}

/// Bytes that are kept of what is unfinished, and of memory that they take.
fn kept(channel: &Channel) -> (u64, u64) {
    let body = channel.incoming();
    let (bytes, memory) = body.map_or((0, 0), |incoming| (incoming.bytes(), incoming.memory()));
    let transaction = match &channel.mode {
        Mode::Transaction(tx) => tx.bytes(),
        Mode::Plain | Mode::Confirm(_) => 0,
    };
    ((bytes + transaction) as u64, (memory + transaction) as u64)
}
