//! Publishes with properties that a broker has to look into: `reply-to`, `expiration`, `user-id`,
//! and headers, which may ask for copies. All others go past this file.
//!
//! What there is to refuse is refused in RabbitMQ's order: the exchange, `reply-to`, `expiration`,
//! copies, `user-id`.

use super::channel::Channel;
use super::connection_state::ConnectionState;
use super::copies::CopyKeys;
use crate::auth::permission::Right;
use crate::broker::vhost::access::may_use_keys;
use crate::message::properties;
use crate::message::{Block, Copies, Message};
use crate::protocol::amqp::fault::{AmqpError, ExpirationFault};

/// Ten years (RabbitMQ: `MAX_EXPIRY_TIMER`).
const EXPIRATION_MAX_MS: i128 = 315_360_000_000;

/// The property flags of headers, `reply-to` and `expiration`, and of `user-id`.
const FLAGS: [u8; 2] = [0x23, 0x10];

/// Whether a message with these properties has to be looked into.
#[inline(always)]
pub(super) fn is_due(raw: &[u8]) -> bool {
    matches!(raw, [high, low, ..] if (high & FLAGS[0]) | (low & FLAGS[1]) != 0)
}

impl Channel {
    /// As [`Channel::publish`], for a message that has to be looked into; `block` is of this
    /// message alone, when there is one already.
    #[inline(never)]
    pub(super) fn publish_inspected(
        &mut self,
        link: &mut ConnectionState,
        mandatory: bool,
        message: &Message<'_>,
        block: Option<Block>,
    ) -> Result<(), AmqpError> {
        link.batch.routes.find(&mut link.client, message)?;
        let properties = properties::decode(message.properties)?;
        let (mut message, mut block, named) =
            (*message, block, self.consumers.name_reply_queue(&properties)?);
        if let Some(named) = &named {
            message.properties = named;
            block = None;
        }
        properties.expiration.map_or(Ok(()), check_expiration)?;
        let copies = properties.headers.map_or(Ok(CopyKeys::default()), CopyKeys::among)?;
        properties.user_id.map_or(Ok(()), |claimed| check_user(link, claimed))?;
        if copies.is_empty() {
            return self.publish_checked(link, mandatory, &message, block);
        }
        self.publish_copies(link, mandatory, &message, &copies, block)
    }

    #[cold]
    fn publish_copies(
        &mut self,
        link: &mut ConnectionState,
        mandatory: bool,
        message: &Message<'_>,
        copies: &CopyKeys<'_>,
        block: Option<Block>,
    ) -> Result<(), AmqpError> {
        let keys = copies.with(message.routing_key);
        let grants = link.client.grants();
        may_use_keys(&grants, &link.client.vhost, Right::Write, message.exchange, &keys)?;
        let route = link.client.vhost.route_copies(message.exchange, &keys, message.properties)?;
        link.batch.routes.set_current(route);
        let message = Message { copies: copies.kind(), ..*message };
        // What has to be hidden is marked in the record, so a block that was made before will not
        // do.
        let block = block.filter(|_| message.copies == Copies::Open);
        self.publish_checked(link, mandatory, &message, block)
    }
}

fn check_user(link: &mut ConnectionState, claimed: &[u8]) -> Result<(), AmqpError> {
    if claimed == link.client.user.as_bytes() || link.client.grants().may_impersonate() {
        return Ok(());
    }
    let claimed = String::from_utf8_lossy(claimed).into_owned();
    Err(AmqpError::OtherUserId { claimed, user: link.client.user.clone() })
}

/// `expiration` is a number of milliseconds in decimal digits (RabbitMQ: ttl.md).
fn check_expiration(expiration: &[u8]) -> Result<(), AmqpError> {
    let text = String::from_utf8_lossy(expiration);
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(if digits == 0 { 0 } else { sign + digits });
    let why = match number.parse::<i128>() {
        Err(_no_digits) if number.is_empty() => ExpirationFault::NoInteger,
        _ if !rest.is_empty() => ExpirationFault::Leftover(rest.to_owned()),
        Ok(ms) if ms < 0 => ExpirationFault::Negative(ms),
        Ok(ms) if ms <= EXPIRATION_MAX_MS => return Ok(()),
        Ok(_) | Err(_) => ExpirationFault::TooLarge(number.to_owned()),
    };
    Err(AmqpError::InvalidExpiration { text: text.into_owned(), why })
}
