//! A broker as naive as can be: queues are sorted maps, routing looks at every binding, nothing is
//! fast.
//!
//! It says what a step must lead to, not how: which messages are due for delivery, not which of
//! several consumers gets them. Order within a queue is by rank; messages that died together share
//! one, because the order in which one return of many messages dead-letters them is nobody's
//! promise.

use std::collections::{BTreeMap, BTreeSet};

/// A channel of one of the test's clients: (client, channel number).
pub(crate) type ChannelKey = (usize, u16);

/// A copy of a message in one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// What the body says.
    pub(crate) id: u64,
    /// Whether it survives a restart.
    pub(crate) persistent: bool,
    /// Deliveries that failed.
    pub(crate) failures: u32,
    /// Whether it was delivered from this queue before.
    pub(crate) seen: bool,
    /// Whether the broker was restarted since it came.
    pub(crate) aged: bool,
    /// Why and where it died, when it came as a dead letter.
    pub(crate) death: Option<(&'static str, String)>,
}

/// How a queue is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declaration {
    /// Survives a restart.
    pub(crate) durable: bool,
    /// `x-delivery-limit`.
    pub(crate) limit: Option<u32>,
    /// The queue that dead letters go to, by the default exchange.
    pub(crate) dead_letters: Option<String>,
}

/// A message's place in its queue: rank, then a number that tells equals apart.
pub(crate) type Place = (u64, u64);

/// A queue of the naive broker: a sorted map of messages.
#[derive(Debug)]
pub(crate) struct Queue {
    /// How it was declared.
    pub(crate) declared: Declaration,
    /// Tells this queue from an earlier one of its name.
    pub(crate) incarnation: u64,
    /// What waits.
    pub(crate) ready: BTreeMap<Place, Message>,
    /// What is delivered and not settled.
    pub(crate) held: BTreeMap<Place, Message>,
    /// Dead letters that have nowhere to go, by the step in which they died.
    pub(crate) parked: Vec<(u64, Message)>,
    /// By channel and consumer tag.
    pub(crate) consumers: BTreeMap<(ChannelKey, String), Consumer>,
}

/// One consumer.
#[derive(Debug, Clone)]
pub(crate) struct Consumer {
    /// What it may hold; 0 for any number.
    pub(crate) prefetch: u32,
    /// Whether a delivery settles.
    pub(crate) no_ack: bool,
    /// What it holds.
    pub(crate) holding: u32,
}

/// A delivery that a channel may settle.
#[derive(Debug, Clone)]
pub(crate) struct Outstanding {
    queue: String,
    incarnation: u64,
    place: Place,
    consumer: Option<String>,
}

/// How deliveries are settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Done.
    Ack,
    /// Back to the queue.
    Requeue,
    /// To the dead letters.
    Discard,
}

/// What a client saw of one delivery.
#[derive(Debug, Clone)]
pub(crate) struct Delivered {
    /// Where.
    pub(crate) channel: ChannelKey,
    /// To which consumer; none for `basic.get`.
    pub(crate) consumer: Option<String>,
    /// Its delivery tag.
    pub(crate) tag: u64,
    /// The flag.
    pub(crate) redelivered: bool,
    /// `x-delivery-count`.
    pub(crate) count: Option<i64>,
    /// `x-first-death-reason` and `x-first-death-queue`.
    pub(crate) death: Option<(String, String)>,
    /// What the body says.
    pub(crate) id: u64,
}

/// A broker as naive as possible, which the real one is compared with.
#[derive(Debug, Default)]
pub(crate) struct Naive {
    /// By name.
    pub(crate) queues: BTreeMap<String, Queue>,
    /// (exchange, key, queue)
    pub(crate) bindings: BTreeSet<(&'static str, String, String)>,
    /// What each channel may settle, by delivery tag.
    pub(crate) outstanding: BTreeMap<ChannelKey, BTreeMap<u64, Outstanding>>,
    /// Queues that in this step got messages back and dead letters too: which come first is
    /// nobody's promise.
    mixed: BTreeSet<String>,
    numbers: u64,
}

impl Queue {
    /// How many messages are due to consumers.
    pub(crate) fn due(&self) -> usize {
        let room = |consumer: &Consumer| match consumer.prefetch {
            0 => usize::MAX,
            _ if consumer.no_ack => usize::MAX,
            prefetch => (prefetch - consumer.holding) as usize,
        };
        let room = self.consumers.values().map(room).fold(0, usize::saturating_add);
        room.min(self.ready.len())
    }

    /// Messages ready, messages held, messages parked, consumers.
    pub(crate) fn stats(&self) -> (u64, u64, u64, u32) {
        let consumers = u32::try_from(self.consumers.len()).expect("few");
        (self.ready.len() as u64, self.held.len() as u64, self.parked.len() as u64, consumers)
    }

    /// The message that was delivered. One that was published to a queue and to its dead-letter
    /// queue at once may be in there twice: then it is the one that the marks fit, if they fit any.
    fn find(&self, delivery: &Delivered) -> Option<Place> {
        let mut same = self.ready.iter().filter(|(_, message)| message.id == delivery.id).peekable();
        let first = same.peek().map(|&(&place, _)| place);
        same.find(|(_, message)| check_marks(self, message, delivery).is_ok())
            .map_or(first, |(&place, _)| Some(place))
    }
}

impl Naive {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn declare(&mut self, name: &str, declared: &Declaration) {
        let incarnation = self.number();
        self.queues.entry(name.to_owned()).or_insert_with(|| Queue {
            declared: declared.clone(),
            incarnation,
            ready: BTreeMap::new(),
            held: BTreeMap::new(),
            parked: Vec::new(),
            consumers: BTreeMap::new(),
        });
    }

    /// How many messages were ready, and which consumers are cancelled.
    pub(crate) fn delete(&mut self, name: &str) -> (usize, Vec<(ChannelKey, String)>) {
        self.bindings.retain(|(_, _, queue)| queue != name);
        match self.queues.remove(name) {
            Some(queue) => (queue.ready.len(), queue.consumers.into_keys().collect()),
            None => (0, Vec::new()),
        }
    }

    pub(crate) fn purge(&mut self, name: &str) -> usize {
        self.queues.get_mut(name).map_or(0, |queue| std::mem::take(&mut queue.ready).len())
    }

    /// What is parked in a queue comes anew.
    pub(crate) fn requeue_parked(&mut self, name: &str) -> usize {
        let parked =
            self.queues.get_mut(name).map_or_else(Vec::new, |queue| std::mem::take(&mut queue.parked));
        let (count, mut died_in, mut rank) = (parked.len(), None, 0);
        for (step, message) in parked {
            if died_in != Some(step) {
                (died_in, rank) = (Some(step), self.number());
            }
            self.push(name, rank, Message { failures: 0, seen: false, aged: false, ..message });
        }
        count
    }

    /// The queues that a message goes to, each once.
    pub(crate) fn route(&self, exchange: &str, key: &str) -> BTreeSet<String> {
        if exchange.is_empty() {
            return self.queues.keys().filter(|name| *name == key).cloned().collect();
        }
        let matches = |pattern: &str| match exchange {
            "amq.fanout" => true,
            "amq.direct" => pattern == key,
            _ => topic(&pattern.split('.').collect::<Vec<_>>(), &key.split('.').collect::<Vec<_>>()),
        };
        let bound = self.bindings.iter().filter(|(from, pattern, _)| *from == exchange && matches(pattern));
        bound.map(|(_, _, queue)| queue.clone()).collect()
    }

    pub(crate) fn publish(&mut self, queues: &BTreeSet<String>, id: u64, persistent: bool) {
        let message = Message { id, persistent, failures: 0, seen: false, aged: false, death: None };
        let rank = self.number();
        for queue in queues {
            self.push(queue, rank, message.clone());
        }
    }

    fn push(&mut self, queue: &str, rank: u64, message: Message) {
        let number = self.number();
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.ready.insert((rank, number), message);
        }
    }

    /// Settles `tag` of `channel`, or with `multiple` everything up to it (0: everything).
    pub(crate) fn settle(&mut self, channel: ChannelKey, tag: u64, multiple: bool, how: How) {
        let outstanding = self.outstanding.entry(channel).or_default();
        let tags: Vec<u64> = match (multiple, tag) {
            (false, _) => vec![tag],
            (true, 0) => outstanding.keys().copied().collect(),
            (true, _) => outstanding.range(..=tag).map(|(&tag, _)| tag).collect(),
        };
        let settled: Vec<Outstanding> = tags.iter().filter_map(|tag| outstanding.remove(tag)).collect();
        let rank = self.number();
        let died: BTreeSet<_> =
            settled.iter().filter_map(|delivery| self.settle_one(channel, delivery, how, rank)).collect();
        self.mixed =
            settled.into_iter().map(|delivery| delivery.queue).filter(|queue| died.contains(queue)).collect();
    }

    /// Settles one delivery; the queue that it becomes a dead letter in, if it finds one.
    fn settle_one(
        &mut self,
        channel: ChannelKey,
        delivery: &Outstanding,
        how: How,
        rank: u64,
    ) -> Option<String> {
        let queue = self.queues.get_mut(&delivery.queue)?;
        if queue.incarnation != delivery.incarnation {
            return None;
        }
        let mut message = queue.held.remove(&delivery.place).expect("an outstanding message is held");
        if let Some(tag) = &delivery.consumer
            && let Some(consumer) = queue.consumers.get_mut(&(channel, tag.clone()))
        {
            consumer.holding -= 1;
        }
        message.failures += 1;
        let over = queue.declared.limit.is_some_and(|limit| message.failures > limit);
        let reason = match how {
            How::Ack => return None,
            How::Discard => "rejected",
            How::Requeue if over => "delivery_limit",
            How::Requeue => {
                queue.ready.insert(delivery.place, message);
                return None;
            }
        };
        let target = match queue.declared.dead_letters.clone() {
            Some(target) if self.queues.contains_key(&target) => target,
            None if reason == "rejected" => return None,
            Some(_) | None => {
                let queue = self.queues.get_mut(&delivery.queue)?;
                queue.parked.push((rank, message));
                return None;
            }
        };
        let death = Some((reason, delivery.queue.clone()));
        self.push(&target, rank, Message { failures: 0, seen: false, aged: false, death, ..message });
        Some(target)
    }

    /// A channel is gone: its consumers first, then what it held comes back.
    pub(crate) fn close(&mut self, channel: ChannelKey) {
        for queue in self.queues.values_mut() {
            queue.consumers.retain(|(of, _), _| *of != channel);
        }
        self.settle(channel, 0, true, How::Requeue);
        self.outstanding.remove(&channel);
    }

    /// A clean stop and a start, after every channel was closed.
    pub(crate) fn restart(&mut self) {
        self.queues.retain(|_, queue| queue.declared.durable);
        let queues = &self.queues;
        self.bindings.retain(|(_, _, queue)| queues.contains_key(queue));
        for queue in self.queues.values_mut() {
            queue.ready.retain(|_, message| message.persistent);
            queue.parked.retain(|(_, message)| message.persistent);
            for message in queue.ready.values_mut() {
                message.aged = true;
            }
        }
    }

    /// Takes what clients saw of one queue in one step, and says what is wrong with it.
    pub(crate) fn delivered(&mut self, name: &str, seen: &[Delivered]) -> Result<(), String> {
        let queue = self.queues.get_mut(name).ok_or(format!("a delivery from '{name}', which is gone"))?;
        let due = queue.due();
        if seen.len() != due {
            return Err(format!("'{name}' delivered {} messages, {due} were due", seen.len()));
        }
        let ordered = !self.mixed.remove(name);
        let last_due =
            due.checked_sub(1).and_then(|at| queue.ready.keys().nth(at)).map_or(0, |&(rank, _)| rank);
        let mut newest: BTreeMap<(ChannelKey, Option<&str>), u64> = BTreeMap::new();
        for delivery in seen {
            let rank = self.accept(name, delivery)?.0;
            if ordered && rank > last_due {
                return Err(format!("'{name}' delivered {delivery:?} before others that came earlier"));
            }
            let newest = newest.entry((delivery.channel, delivery.consumer.as_deref())).or_default();
            if ordered && rank < *newest {
                return Err(format!("'{name}' delivered {delivery:?} after one that came later"));
            }
            *newest = rank;
        }
        Ok(())
    }

    /// Takes one message from a queue because a client got it, by `basic.get` or as one of those
    /// due.
    pub(crate) fn accept(&mut self, name: &str, delivery: &Delivered) -> Result<Place, String> {
        let queue = self.queues.get_mut(name).ok_or(format!("'{name}' is gone"))?;
        let place =
            queue.find(delivery).ok_or(format!("'{name}' has no such message ready: {delivery:?}"))?;
        let message = queue.ready.remove(&place).expect("it was just found");
        check_marks(queue, &message, delivery)
            .map_err(|what| format!("'{name}': {what} in {delivery:?} of {message:?}"))?;
        let mut settles = false;
        if let Some(tag) = &delivery.consumer {
            let consumer = queue.consumers.get_mut(&(delivery.channel, tag.clone()));
            let consumer = consumer.ok_or(format!("'{name}' has no such consumer: {delivery:?}"))?;
            settles = consumer.no_ack;
            consumer.holding += u32::from(!settles);
            if !settles && consumer.prefetch > 0 && consumer.holding > consumer.prefetch {
                return Err(format!("'{name}' delivered beyond the prefetch: {delivery:?}"));
            }
        }
        if !settles {
            queue.held.insert(place, Message { seen: true, ..message });
            let incarnation = queue.incarnation;
            let consumer = delivery.consumer.clone();
            let held = Outstanding { queue: name.to_owned(), incarnation, place, consumer };
            self.outstanding.entry(delivery.channel).or_default().insert(delivery.tag, held);
        }
        Ok(place)
    }

    /// The message that was got is settled by the getting itself.
    pub(crate) fn forget(&mut self, delivery: &Delivered) {
        self.settle(delivery.channel, delivery.tag, false, How::Ack);
    }
}

/// Whether the flag and the headers say what happened to the message.
fn check_marks(queue: &Queue, message: &Message, delivery: &Delivered) -> Result<(), &'static str> {
    if message.seen && !delivery.redelivered {
        return Err("redelivered is not set");
    }
    if delivery.redelivered && !message.seen && !message.aged {
        return Err("redelivered is set on a first delivery");
    }
    // Only a queue with a limit keeps its counts over a restart.
    let known = queue.declared.limit.is_some() || !message.aged;
    let count = (message.failures > 0).then_some(i64::from(message.failures));
    if known && delivery.count != count {
        return Err("the delivery count is wrong");
    }
    let death = delivery.death.as_ref().map(|(reason, from)| (reason.as_str(), from.as_str()));
    if death != message.death.as_ref().map(|(reason, from)| (*reason, from.as_str())) {
        return Err("the death is not told right");
    }
    Ok(())
}

/// Whether a topic pattern matches a key, word by word.
fn topic(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern.split_first(), key.split_first()) {
        (None, None) => true,
        (Some((&"#", rest)), None) => topic(rest, key),
        (Some((&"#", rest)), Some((_, later))) => topic(rest, key) || topic(pattern, later),
        (Some((word, rest)), Some((same, later))) => (*word == "*" || word == same) && topic(rest, later),
        _ => false,
    }
}

#[test]
fn the_naive_broker_tells_right_from_wrong() {
    let mut naive = Naive::default();
    naive.declare("q", &Declaration { durable: true, limit: Some(1), dead_letters: Some("d".to_owned()) });
    naive.declare("d", &Declaration { durable: true, limit: None, dead_letters: None });
    let consumer = Consumer { prefetch: 2, no_ack: false, holding: 0 };
    let channel = (0, 1);
    naive.queues.get_mut("q").unwrap().consumers.insert((channel, "c".to_owned()), consumer);
    for id in 1..=3 {
        naive.publish(&naive.route("", "q"), id, true);
    }
    let delivery = |tag, id, redelivered, count| Delivered {
        channel,
        consumer: Some("c".to_owned()),
        tag,
        redelivered,
        count,
        death: None,
        id,
    };
    let seen = |ids: [u64; 2]| ids.map(|id| delivery(id, id, false, None));
    let wrong = naive.delivered("q", &seen([1, 2])[..1]).unwrap_err();
    assert!(wrong.contains("1 messages, 2 were due"), "{wrong}");
    assert_eq!(naive.delivered("q", &seen([1, 2])), Ok(()));
    naive.settle(channel, 1, false, How::Requeue);
    let wrong = naive.delivered("q", &[delivery(3, 3, false, None)]).unwrap_err();
    assert!(wrong.contains("before others"), "{wrong}");
    naive.settle(channel, 3, false, How::Ack);
    let wrong = naive.delivered("q", &[delivery(4, 1, false, Some(1))]).unwrap_err();
    assert!(wrong.contains("redelivered is not set"), "{wrong}");
    assert!(topic(&["a", "#"], &["a"]) && topic(&["#", "b"], &["a", "b"]) && !topic(&["*"], &["a", "b"]));
}
