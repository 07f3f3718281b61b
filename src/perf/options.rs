//! The flags of `leveret perf`, and which of them go together.

use clap::Args;

use crate::perf::error::PerfError;
use crate::perf::inbox::STAMP_BYTES;
use crate::perf::uri::Uri;

/// The queue when none is named. Ours: it is deleted at the end even when an earlier run left it
/// behind.
pub(crate) const QUEUE: &str = "leveret-perf";
/// Seconds measured unless said otherwise.
const TIME_S: u64 = 10;
/// Most threads of a kind; each has a connection and buffers of 512 KiB.
const WORKERS_MAX: usize = 10_000;
/// Most queues.
const QUEUES_MAX: usize = 1_000_000;
/// Largest body: what RabbitMQ takes at most, by default.
const SIZE_MAX: usize = 128 << 20;
/// Longest name that travels as a short string (AMQP 0-9-1 section 4.2.5.3).
const NAME_MAX: usize = 255;

/// Put load on an AMQP 0-9-1 broker and measure it
#[derive(Args, Debug, Clone)]
pub struct Options {
    /// Address of the broker: amqp://USER:PASSWORD@HOST:PORT/VHOST
    #[arg(long, default_value = "amqp://guest:guest@127.0.0.1:5672/%2f")]
    pub uri: Uri,
    /// Publishing connections; 0 only drains the queue
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub producers: usize,
    /// Consuming connections; 0 only publishes
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub consumers: usize,
    /// Bytes of each body
    #[arg(long, value_name = "BYTES", default_value_t = 16)]
    pub size: usize,
    /// Publish persistent messages (delivery mode 2)
    #[arg(long)]
    pub persistent: bool,
    /// Use publisher confirms, with at most N unconfirmed messages per producer; 0 is off
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub confirm: u64,
    /// Acknowledge N messages at a time; 0 consumes without acknowledgements
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub ack: u64,
    /// Prefetch: unacknowledged messages per consumer; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub prefetch: u16,
    /// Publish R messages a second, all producers together [default: as many as possible]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub rate: Option<u64>,
    /// Measure for S seconds, after one second of warm-up [default: 10; unlimited with --messages]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub time: Option<u64>,
    /// Stop after N messages, measured from the first to the last
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub messages: Option<u64>,
    /// Queue to use; unless it exists, it is declared durable and deleted at the end
    #[arg(long, value_name = "NAME", default_value = QUEUE)]
    pub queue: String,
    /// Use N queues, NAME-0 to NAME-(N-1), assigned round robin to producers and consumers
    #[arg(long, value_name = "N")]
    pub queues: Option<usize>,
    /// Publish to this exchange and bind the queues to it; declared as direct unless it exists
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub exchange: String,
    /// Bind and publish with this key [default: the name of each queue]
    #[arg(long, value_name = "KEY", requires = "exchange")]
    pub routing_key: Option<String>,
    /// Poll with basic.get, one message at a time, instead of consuming
    #[arg(long)]
    pub get: bool,
    /// Measure the time from publish to delivery, by a timestamp in the bodies
    #[arg(long)]
    pub latency: bool,
    /// Do not delete the queues and the exchange at the end
    #[arg(long)]
    pub keep: bool,
    /// Delete the queues at the end even if they existed before
    #[arg(long, conflicts_with = "keep")]
    pub delete: bool,
    /// Process id of the broker on this machine: measure its CPU time and memory
    #[arg(long, value_name = "PID")]
    pub broker_pid: Option<u32>,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

impl Options {
    /// Refuses flags that do not go together.
    ///
    /// # Errors
    ///
    /// [`PerfError::Options`], in words for the person who gave them.
    pub fn check(&self) -> Result<(), PerfError> {
        let no = |why: &str| Err(PerfError::Options(why.to_owned()));
        let key = self.routing_key.as_deref().unwrap_or_default();
        if self.producers == 0 && self.consumers == 0 {
            return no("with --producers 0 and --consumers 0 there is nothing to do");
        }
        if self.producers.max(self.consumers) > WORKERS_MAX {
            return no("--producers and --consumers: 10000 at most");
        }
        if self.queues.is_some_and(|queues| queues == 0 || queues > QUEUES_MAX) {
            return no("--queues: 1 to 1000000");
        }
        if self.size > SIZE_MAX {
            return no("--size: 134217728 (128 MiB) at most");
        }
        // The suffix -999999 of --queues included.
        if self.queue.len() > NAME_MAX - 7 || self.exchange.len() > NAME_MAX || key.len() > NAME_MAX {
            return no(
                "--queue, --exchange, --routing-key: 255 bytes at most, and room for the number of the queue",
            );
        }
        if self.queue.is_empty() {
            return no("--queue: a name is needed");
        }
        if self.ack > u64::from(self.prefetch) && self.prefetch > 0 && !self.get {
            return no("--ack: more than --prefetch would wait for ever for the next message");
        }
        if self.latency && (self.producers == 0 || self.consumers == 0 || self.size < STAMP_BYTES) {
            return no(
                "--latency: needs a producer and a consumer in one run, and --size 8 or more for the stamp",
            );
        }
        Ok(())
    }

    /// Names of the queues.
    #[must_use]
    pub fn queue_names(&self) -> Vec<String> {
        match self.queues {
            Some(count) => (0..count).map(|number| format!("{}-{number}", self.queue)).collect(),
            None => vec![self.queue.clone()],
        }
    }

    /// What a message for this queue is published with.
    #[must_use]
    pub fn key_for<'a>(&'a self, queue: &'a str) -> &'a str {
        self.routing_key.as_deref().unwrap_or(queue)
    }

    /// How long to measure, when time ends the run.
    #[must_use]
    pub fn time_s(&self) -> Option<u64> {
        self.time.or_else(|| self.messages.is_none().then_some(TIME_S))
    }
}

/// The share of worker `index` out of `workers` in these queues: dealt round robin, and every
/// worker has at least one.
#[must_use]
pub fn share(queues: &[String], index: usize, workers: usize) -> Vec<&str> {
    let own = queues.iter().skip(index).step_by(workers).map(String::as_str);
    let own: Vec<_> = own.collect();
    if own.is_empty() { vec![&queues[index % queues.len()]] } else { own }
}

/// The share of worker `index` out of `workers` in `total` messages; the first ones take what does
/// not divide.
#[must_use]
pub fn portion(total: u64, index: u64, workers: u64) -> u64 {
    total / workers + u64::from(index < total % workers)
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    /// What a command line of these flags means, or why it is refused.
    pub(crate) fn check(flags: &str) -> Result<Options, String> {
        let words = std::iter::once("perf").chain(flags.split_whitespace());
        let options = Command::try_parse_from(words).map_err(|error| error.to_string())?.options;
        options.check().map_err(|error| error.to_string())?;
        Ok(options)
    }

    #[test]
    fn flags_have_sensible_defaults() {
        let options = check("").unwrap();
        assert_eq!((options.producers, options.consumers, options.size), (1, 1, 16));
        assert_eq!(options.time_s(), Some(10));
        assert_eq!(options.queue_names(), ["leveret-perf"]);
        assert_eq!(check("--messages 5").unwrap().time_s(), None);
        assert_eq!(check("--messages 5 --time 3").unwrap().time_s(), Some(3));
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused() {
        for flags in [
            "--producers 0 --consumers 0",
            "--producers 10001",
            "--queues 0",
            "--size 134217729",
            "--ack 10 --prefetch 5",
            "--latency --size 7",
            "--latency --consumers 0",
            "--rate 0",
            "--time 0",
            "--messages 0",
            "--routing-key k",
            "--keep --delete",
            "--uri http://h",
            "--no-such-flag",
        ] {
            assert!(check(flags).is_err(), "{flags}");
        }
        assert!(check("--ack 10 --prefetch 10 --latency --size 8 --exchange e --routing-key k").is_ok());
    }

    #[test]
    fn queues_are_dealt_round_robin() {
        let queues = check("--queue q --queues 5").unwrap().queue_names();
        assert_eq!(share(&queues, 0, 2), ["q-0", "q-2", "q-4"]);
        assert_eq!(share(&queues, 1, 2), ["q-1", "q-3"]);
        assert_eq!(share(&queues, 6, 7), ["q-1"], "more workers than queues");
    }

    #[test]
    fn portions_add_up() {
        let portions: Vec<_> = (0..3).map(|index| portion(11, index, 3)).collect();
        assert_eq!(portions, [4, 4, 3]);
    }

    #[test]
    fn a_key_is_the_queues_name_unless_given() {
        assert_eq!(check("").unwrap().key_for("q"), "q");
        assert_eq!(check("--exchange e --routing-key k").unwrap().key_for("q"), "k");
    }
}
