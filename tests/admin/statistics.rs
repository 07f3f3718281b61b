//! Counts, rates and samples of what clients did.

use super::test_broker::TestBroker;
use leveret::admin::{Answer, Requester, Row, Told};
use leveret::statistics::{EVENT_NAMES, SampleRange, SamplesWanted, TICK_MS, Trend};
use serde_json::{Value, json};

const RANGE: Option<SampleRange> = Some(SampleRange { age_s: 10, increment_s: 5 });
const WANTED: SamplesWanted = SamplesWanted { lengths: RANGE, events: RANGE, data: RANGE, node: RANGE };

/// A broker of which samples are taken when the test says so.
struct Sampled(TestBroker);

impl Sampled {
    /// With a client on whose channel nothing has happened, and a queue.
    fn new() -> Self {
        let mut broker = TestBroker::new();
        broker.client("a", 50_000);
        broker.say("a", &["1 queue.declare q", "1 confirm.select"]);
        let mut sampled = Self(broker);
        sampled.tick();
        sampled
    }

    /// Five seconds later.
    fn tick(&mut self) {
        let world = &mut self.0.world;
        world.now.unix_ms += TICK_MS;
        world.now.mono_ms += TICK_MS;
        world.broker.sample([1000, 10, 1, 5000], world.now);
    }

    fn answer(&mut self, operation: &Value) -> Answer {
        let who = Requester::Operator("test".to_owned());
        self.0.answer(&who, operation, WANTED).expect("it is answered")
    }

    fn rows(&mut self, operation: &Value) -> Vec<Row> {
        match self.answer(operation) {
            Answer::Many(rows) => rows.collect(),
            Answer::One(_) | Answer::Copy(_) => Vec::new(),
        }
    }
}

/// The counts of what has happened, by their names, with their rates.
fn happened(events: &[Trend]) -> Vec<(&'static str, u64, f64)> {
    let named = EVENT_NAMES.iter().zip(events).filter(|(_, trend)| trend.value > 0);
    named.map(|(name, trend)| (*name, trend.value, trend.rate)).collect()
}

fn samples(trend: &Trend) -> Vec<u64> {
    trend.samples.iter().flatten().map(|&(_, value)| value).collect()
}

#[test]
fn queues_channels_exchanges_and_vhosts_tell_what_happened_to_messages() {
    let mut broker = Sampled::new();
    let (publish, get) = ("1 basic.publish '' q body", "1 basic.get q no-ack");
    broker.0.say("a", &[publish, publish, publish, publish, publish, "1 basic.publish '' none x", get]);
    broker.tick();
    let list = |list: &str| json!({"queues": {list: {"vhost": "/"}}});
    let Some(Row::Queue(queue)) = broker.rows(&list("list_queues")).pop() else { panic!("no queue") };
    let events = queue.trends.events.as_ref().expect("something has happened");
    assert_eq!(happened(events), [("publish", 5, 1.0), ("get_no_ack", 1, 0.2)]);
    assert_eq!((queue.trends.ready.value, samples(&queue.trends.ready)), (4, vec![4, 0, 0]));
    assert_eq!((queue.message_bytes, queue.message_bytes_ready, queue.messages_ram), (16, 16, 4));
    assert_eq!(queue.oldest_message_age_ms, Some(TICK_MS));
    assert_eq!(queue.average_message_wait_ms, Some(0.0), "it was fetched in the moment in which it came");

    let Some(Row::Channel(channel)) = broker.rows(&json!({"clients": "list_channels"})).pop() else {
        panic!("no channel")
    };
    let events = channel.events.as_ref().expect("something has happened");
    let expected =
        [("publish", 6, 1.2), ("get_no_ack", 1, 0.2), ("confirm", 6, 1.2), ("drop_unroutable", 1, 0.2)];
    assert_eq!(happened(events), expected);

    let exchanges = broker.rows(&json!({"exchanges": {"list_exchanges": {"vhost": "/"}}}));
    let flows: Vec<_> = exchanges
        .iter()
        .filter_map(|row| if let Row::Exchange(row) = row { Some(row) } else { None })
        .collect();
    let [came, went] = flows[0].flow.as_ref().expect("something went through");
    assert_eq!((came.value, came.rate, went.value, went.rate), (6, 1.2, 5, 1.0));
    assert!(flows[1..].iter().all(|row| row.flow.is_none()), "nothing went through the others");

    // What has closed counts on.
    broker.0.say("a", &["1 channel.close 200 '' 0 0"]);
    broker.tick();
    let Some(Row::VHost(vhost)) = broker.rows(&json!({"vhosts": "list_vhosts"})).pop() else {
        panic!("no vhost")
    };
    let events = vhost.trends.events.as_ref().expect("something has happened");
    assert_eq!(
        happened(events).iter().map(|(name, n, _)| (*name, *n)).collect::<Vec<_>>(),
        [("publish", 6), ("get_no_ack", 1), ("confirm", 6), ("drop_unroutable", 1)]
    );
    assert_eq!(vhost.trends.lengths.map(|[ready, _]| ready.value), Some(4));

    let Answer::One(told) = broker.answer(&json!({"node": "overview"})) else { panic!("no overview") };
    let Told::Overview(overview) = *told else { panic!("no overview") };
    assert_eq!(samples(&overview.lengths[0]), [4, 4, 0]);
    assert_eq!(overview.events.map(|events| samples(&events[0])), Some(vec![6, 6, 0]));
}

#[test]
fn a_queue_tells_how_much_of_the_time_its_consumers_had_room() {
    let mut broker = Sampled::new();
    broker.0.say("a", &["1 basic.qos 1", "1 basic.consume q c", "1 basic.publish '' q one"]);
    broker.tick();
    let capacity = |broker: &mut Sampled| {
        let rows = broker.rows(&json!({"queues": {"list_queues": {"vhost": "/"}}}));
        let Some(Row::Queue(queue)) = rows.into_iter().next() else { panic!("no queue") };
        (queue.trends.capacity, queue.message_bytes_unacknowledged)
    };
    assert_eq!(capacity(&mut broker), (1.0, 3));
    broker.0.say("a", &["1 basic.publish '' q two"]);
    broker.tick();
    assert_eq!(capacity(&mut broker), (0.0, 3), "one waits all the time");
}

#[test]
fn an_idle_queue_takes_no_memory_for_samples() {
    let mut broker = Sampled::new();
    let before = broker.0.world.broker.sampling().bytes();
    for name in 0..50 {
        broker.0.say("a", &[&format!("1 queue.declare idle{name}")]);
    }
    broker.tick();
    let after = broker.0.world.broker.sampling().bytes();
    assert!(after < before + 1000, "{before} and then {after}");
}
