//! Growth: what one message costs as bindings, queues and backlog become many.

use crate::bench::broker::Broker;
use crate::bench::perf::{Perf, words};
use crate::bench::say;
use amq_protocol::protocol::{AMQPClass, exchange, queue};
use amq_protocol::types::FieldTable;
use clap::Args;
use conformance::client::{Client, ClientError};

const EXCHANGE: &str = "bench-topic";
const BOUND: &str = "bench-bound";

/// Options of `bench growth`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Bindings of a topic exchange
    #[arg(long, value_delimiter = ',', default_value = "10,1000,100000")]
    bindings: Vec<u32>,
    /// Queues, all published to in turn
    #[arg(long, value_delimiter = ',', default_value = "1,100,10000")]
    queues: Vec<u32>,
    /// Messages that lie in the queue already
    #[arg(long, value_delimiter = ',', default_value = "0,100000,10000000")]
    backlog: Vec<u64>,
    /// Seconds of each run
    #[arg(long, default_value_t = 3)]
    seconds: u32,
}

/// Measures and prints.
///
/// # Errors
/// A run fails or a broker refuses something.
pub(crate) fn run(perf: &Perf, brokers: &[Broker], options: &Options) -> Result<(), String> {
    say("| broker | what grows | how many | published/s | CPU a message |")?;
    say("|---|---|---|---|---|")?;
    for broker in brokers {
        for &bindings in &options.bindings {
            bind(broker, bindings).map_err(|why| format!("{}: {why}", broker.name))?;
            let load = format!(
                "--size 16 --confirm 1000 --consumers 0 --exchange {EXCHANGE} --routing-key bench.none"
            );
            row(perf, broker, options, "bindings of a topic exchange", u64::from(bindings), &load)?;
            unbind(broker).map_err(|why| format!("{}: {why}", broker.name))?;
        }
        for &queues in &options.queues {
            let load = format!("--size 16 --persistent --confirm 1000 --consumers 0 --queues {queues}");
            row(perf, broker, options, "queues", u64::from(queues), &load)?;
        }
        for &backlog in &options.backlog {
            let fill = format!(
                "--size 16 --persistent --confirm 5000 --consumers 0 --queue bench-backlog --keep --messages {}",
                backlog.max(1)
            );
            perf.run(broker, &words(&fill))?;
            let load = "--size 16 --persistent --confirm 1000 --consumers 0 --queue bench-backlog --keep";
            row(perf, broker, options, "backlog", backlog, load)?;
            delete(broker, "bench-backlog").map_err(|why| format!("{}: {why}", broker.name))?;
        }
    }
    Ok(())
}

fn row(
    perf: &Perf,
    broker: &Broker,
    options: &Options,
    what: &str,
    many: u64,
    load: &str,
) -> Result<(), String> {
    let mut load = words(load);
    load.extend(["--time".into(), options.seconds.to_string()]);
    let figures = perf.run(broker, &load)?;
    let per_s = figures.get("published_per_s").unwrap_or_default();
    let cpu = figures.get("broker_cpu_us_per_message").map_or("-".into(), |us| format!("{us:.2} us"));
    say(&format!("| {} | {what} | {many} | {per_s:.0} | {cpu} |", broker.name))
}

/// A topic exchange with `count` bindings that do not match what is published, of the kinds that
/// people use.
fn bind(broker: &Broker, count: u32) -> Result<(), ClientError> {
    let mut client = Client::connect(&broker.address)?;
    client.call(AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
        exchange: EXCHANGE.into(),
        kind: "topic".into(),
        passive: false,
        durable: false,
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: FieldTable::default(),
    })))?;
    client.call(declare(BOUND))?;
    client.cast((0..count).map(|n| {
        let key = match n % 3 {
            0 => format!("user.{n}.created"),
            1 => format!("*.{n}.#"),
            _ => format!("order.*.{n}"),
        };
        AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
            queue: BOUND.into(),
            exchange: EXCHANGE.into(),
            routing_key: key.into(),
            nowait: true,
            arguments: FieldTable::default(),
        }))
    }))?;
    client.call(declare(BOUND))?;
    Ok(())
}

fn declare(name: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
        queue: name.into(),
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: FieldTable::default(),
    }))
}

fn unbind(broker: &Broker) -> Result<(), ClientError> {
    delete(broker, BOUND)?;
    let delete = exchange::Delete { exchange: EXCHANGE.into(), if_unused: false, nowait: false };
    Client::connect(&broker.address)?.call(AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete)))?;
    Ok(())
}

fn delete(broker: &Broker, name: &str) -> Result<(), ClientError> {
    let delete = queue::Delete { queue: name.into(), if_unused: false, if_empty: false, nowait: false };
    Client::connect(&broker.address)?.call(AMQPClass::Queue(queue::AMQPMethod::Delete(delete)))?;
    Ok(())
}
