//! The queues, the exchange and the bindings of a run: made before it, deleted after it.
//!
//! What was there before the run is used as it is and stays, so that a run on somebody's queue
//! leaves it alone, unless the flags say otherwise. The exception is the default queue, which
//! nobody else has.

use amq_protocol::protocol::{AMQPClass, exchange, queue};
use amq_protocol::types::FieldTable;

use crate::perf::connection::{Connection, short, unexpected};
use crate::perf::error::PerfError;
use crate::perf::options::{Options, QUEUE};

/// How many declares are said before their answers are read: 10,000 queues take no 10,000 round
/// trips.
const PIPELINE: usize = 500;
/// Reply code of a declare of what does not exist.
const NOT_FOUND: u16 = 404;
/// Reply code of a declare of what exists with other properties.
const PRECONDITION_FAILED: u16 = 406;

/// What a run made and has to delete.
#[derive(Debug, Default)]
pub struct Topology {
    queues: Vec<String>,
    exchange: Option<String>,
}

impl Topology {
    /// Declares and binds what the flags name.
    ///
    /// # Errors
    ///
    /// When the broker refuses.
    pub fn declare(
        control: &mut Connection,
        options: &Options,
        queues: &[String],
    ) -> Result<Self, PerfError> {
        let mut made = Self::default();
        // A broker logs it when what is looked for does not exist: only where it decides anything.
        let decides = !options.keep && !options.delete && options.queue != QUEUE;
        let existed = match queues.first() {
            Some(first) if decides => exists(control, &declare_queue(first, true)?)?,
            _ => false,
        };
        for some in queues.chunks(PIPELINE) {
            declare_queues(control, some)?;
        }
        if !options.keep && !existed {
            made.queues = queues.to_vec();
        }
        if !options.exchange.is_empty() {
            let existed = exists(control, &declare_exchange(&options.exchange, true)?)?;
            if !existed {
                call(control, &declare_exchange(&options.exchange, false)?)?;
                made.exchange = (!options.keep).then(|| options.exchange.clone());
            }
            for queue in queues {
                call(control, &bind(queue, &options.exchange, options.key_for(queue))?)?;
            }
        }
        Ok(made)
    }

    /// Deletes what the run made.
    ///
    /// # Errors
    ///
    /// When the broker refuses.
    pub fn delete(self, control: &mut Connection) -> Result<(), PerfError> {
        for some in self.queues.chunks(PIPELINE) {
            for queue in some {
                let delete =
                    queue::Delete { queue: short(queue)?, if_unused: false, if_empty: false, nowait: false };
                control.say(&AMQPClass::Queue(queue::AMQPMethod::Delete(delete)))?;
            }
            for _ in some {
                control.answer()?;
            }
        }
        if let Some(name) = self.exchange {
            let delete = exchange::Delete { exchange: short(&name)?, if_unused: false, nowait: false };
            call(control, &AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete)))?;
        }
        Ok(())
    }
}

/// Declares queues; one that exists with other properties is taken as it is.
///
/// # Errors
///
/// When the broker refuses one that does not exist, for the reason it gives.
fn declare_queues(control: &mut Connection, names: &[String]) -> Result<(), PerfError> {
    let mut from = 0;
    while from < names.len() {
        for name in &names[from..] {
            control.say(&declare_queue(name, false)?)?;
        }
        while from < names.len() {
            match control.answer() {
                Ok(_) => from += 1,
                Err(refused @ PerfError::Refused { what: "channel", code: PRECONDITION_FAILED, .. }) => {
                    control.open_channel()?;
                    // The same code says that there may be no more queues.
                    if !exists(control, &declare_queue(&names[from], true)?)? {
                        return Err(refused);
                    }
                    // The broker ignored the declares after this one: say them again.
                    from += 1;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Whether a passive declare finds what it names.
fn exists(control: &mut Connection, passive_declare: &AMQPClass) -> Result<bool, PerfError> {
    match call(control, passive_declare) {
        Ok(()) => Ok(true),
        Err(PerfError::Refused { what: "channel", code: NOT_FOUND, .. }) => {
            control.open_channel()?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Says a method and checks that its own answer comes: the one with the next id.
fn call(control: &mut Connection, method: &AMQPClass) -> Result<(), PerfError> {
    let ids = (method.get_amqp_class_id(), method.get_amqp_method_id() + 1);
    let answer = control.call(method)?;
    match (answer.get_amqp_class_id(), answer.get_amqp_method_id()) == ids {
        true => Ok(()),
        false => Err(unexpected("the answer to a declare, bind or delete")),
    }
}

fn declare_queue(name: &str, passive: bool) -> Result<AMQPClass, PerfError> {
    Ok(AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
        queue: short(name)?,
        passive,
        durable: true,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: FieldTable::default(),
    })))
}

fn declare_exchange(name: &str, passive: bool) -> Result<AMQPClass, PerfError> {
    Ok(AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
        exchange: short(name)?,
        kind: "direct".into(),
        passive,
        durable: true,
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: FieldTable::default(),
    })))
}

fn bind(queue: &str, exchange: &str, key: &str) -> Result<AMQPClass, PerfError> {
    Ok(AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
        queue: short(queue)?,
        exchange: short(exchange)?,
        routing_key: short(key)?,
        nowait: false,
        arguments: FieldTable::default(),
    })))
}
