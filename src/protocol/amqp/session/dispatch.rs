//! Which method of a channel goes where.

use super::channel::Channel;
use super::connection_state::ConnectionState;
use super::consume::handle_basic;
use super::declare::{handle_exchange, handle_queue};
use crate::protocol::amqp::fault::AmqpError;
use amq_protocol::protocol::{AMQPClass, access, channel as amqp, confirm};

/// Any method but publishes and acknowledgements. Everything that the read brought before it has
/// taken effect.
pub(super) fn handle_method(
    channel: &mut Channel,
    link: &mut ConnectionState,
    method: AMQPClass,
) -> Result<(), AmqpError> {
    let Channel { out, mode, deliveries, consumers, last_queue, .. } = channel;
    link.tally.declared |= matches!(method, AMQPClass::Exchange(_) | AMQPClass::Queue(_));
    match method {
        AMQPClass::Basic(method) => handle_basic(channel, link, method),
        AMQPClass::Exchange(method) => handle_exchange(out, link, method),
        AMQPClass::Queue(method) => handle_queue((out, last_queue), link, method),
        AMQPClass::Tx(method) => mode.handle_tx((out, consumers, &mut deliveries.unacked), link, &method),
        AMQPClass::Confirm(confirm::AMQPMethod::Select(select)) => mode.select_confirms(out, link, &select),
        AMQPClass::Channel(amqp::AMQPMethod::Flow(flow)) => {
            if !flow.active {
                return Err(AmqpError::FlowStop);
            }
            let ok = amqp::AMQPMethod::FlowOk(amqp::FlowOk { active: true });
            out.reply(link, &AMQPClass::Channel(ok));
            Ok(())
        }
        AMQPClass::Channel(amqp::AMQPMethod::Open(_)) => Err(AmqpError::ChannelOpen),
        AMQPClass::Access(access::AMQPMethod::Request(_)) => {
            let ok = access::AMQPMethod::RequestOk(access::RequestOk {});
            out.reply(link, &AMQPClass::Access(ok));
            Ok(())
        }
        AMQPClass::Access(_) | AMQPClass::Channel(_) | AMQPClass::Confirm(_) | AMQPClass::Connection(_) => {
            Err(AmqpError::UnknownMethod)
        }
    }
}
