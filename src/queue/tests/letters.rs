//! Messages that died: the order in which they are sent, and what becomes of those that have
//! nowhere to go.

use super::*;
use crate::queue::classic::core::letters::Batch;

const LATER: Now = Now { mono_ms: NOW.mono_ms + 60_000, unix_ms: NOW.unix_ms + 60_000 };

const LAST: Now = Now { mono_ms: NOW.mono_ms + 120_000, unix_ms: NOW.unix_ms + 120_000 };

fn dead_lettering() -> Settings {
    Settings { dead_letter_exchange: Some("dlx".into()), ..durable() }
}

fn at_least_once() -> Settings {
    Settings { dead_letter_strategy: DeadLetterStrategy::AtLeastOnce, ..dead_lettering() }
}

fn rejected(bodies: &[&str]) -> Vec<(DeathReason, String)> {
    bodies.iter().map(|body| (DeathReason::Rejected, (*body).to_owned())).collect()
}

/// A queue whose messages `bodies` are all with a consumer, under the numbers from 0 on.
fn held_by_a_consumer(settings: Settings, bodies: &[&str]) -> Bench {
    let bench = Bench::new(settings);
    let _ = bench.publish(bodies, true);
    bench.subscribe(bench.consumer(1, 0));
    assert_eq!(bench.dealt().len(), bodies.len());
    bench
}

impl Bench {
    fn reject(&self, first: u64, count: u64) -> Effects {
        self.queue.reject(&held(1, first, count), NOW)
    }

    /// All of so many letters are refused.
    fn refuse(&self, mut batch: Batch, count: usize) {
        assert_eq!(batch.parts.iter().map(|part| part.records.len()).sum::<usize>(), count);
        for part in &mut batch.parts {
            part.records.clone().for_each(|_| part.note(Outcome::Stuck(Cause::Refused)));
        }
        let (effects, _) = self.queue.letters_sent(batch, PLENTY, LATER);
        self.letters_with(effects, LATER, PLENTY, |_| Outcome::Stuck(Cause::Refused));
    }

    /// A batch is refused, and nothing else is sent.
    fn refuse_at(&self, mut batch: Batch, now: Now) {
        for part in &mut batch.parts {
            part.records.clone().for_each(|_| part.note(Outcome::Stuck(Cause::Refused)));
        }
        let _left = self.queue.letters_sent(batch, PLENTY, now);
    }

    /// Nothing finds a way out.
    fn park(&self, effects: Effects, most: ParkedMax) -> Vec<(DeathReason, String)> {
        self.letters_with(effects, NOW, most, |_| Outcome::Stuck(Cause::NoRoute))
    }

    fn parked(&self) -> (u64, u64) {
        let stats = self.queue.stats();
        (stats.parked, stats.parked_bytes)
    }

    /// What the log was told of messages that have died, each message's last mark.
    fn marks(&self) -> BTreeMap<u64, (Mark, u32)> {
        let told = &self.disk.kept().told;
        let mark = |change: &Change| match change {
            Change::Requeue { seq, deliveries, due_ms, .. } => {
                Mark::decode(*due_ms).map(|mark| (*seq, (mark, *deliveries)))
            }
            _ => None,
        };
        told.iter().filter_map(mark).collect()
    }

    /// The queue after a restart that is not clean, with what the log was told.
    fn restarted(&self, settings: Settings) -> Self {
        let seqs: Vec<u64> = self.disk.kept().rows.keys().copied().collect();
        let mut messages: Vec<SeqRange> = Vec::new();
        for seq in seqs {
            match messages.last_mut() {
                Some(last) if last.end == seq => last.end += 1,
                _ => messages.push(SeqRange::of(seq, 1)),
            }
        }
        let requeues = self.marks().into_iter().map(|(seq, (mark, deliveries))| RecoveredRequeue {
            seq,
            deliveries,
            due_ms: mark.encode(),
        });
        let recovered = RecoveredQueue { requeues: requeues.collect(), ..recovered(messages, 0) };
        let queue = Queue::recover(&recovered, settings, false, &self.context());
        Self {
            disk: Arc::clone(&self.disk),
            timers: Arc::clone(&self.timers),
            queue,
            mailbox: Mailbox::new(),
        }
    }
}

#[test]
fn the_order_is_that_of_death_wherever_they_are() {
    for memory in [0, 2 * MEMORY_SHORT] {
        let bodies: Vec<String> = (0..40).map(|n| format!("{n:01000}")).collect();
        let texts: Vec<&str> = bodies.iter().map(String::as_str).collect();
        let bench = Bench::new(dead_lettering());
        // Somebody else's: some of the messages are on disk alone.
        bench.queue.context.memory.fetch_add(memory, Ordering::Relaxed);
        texts.chunks(4).for_each(|part| drop(bench.publish(part, true)));
        bench.subscribe(Consumer { prefetch: 0, ..bench.consumer(1, 0) });
        bench.serve(bench.queue.credit(ConsumerId(1), 1 << 20, NOW));
        let mut effects = Effects::default();
        let order = (20..40).chain(0..5).chain((5..20).rev());
        for seq in order.clone() {
            let next = bench.reject(seq, 1);
            effects = Effects { page: effects.page.or(next.page), ..next };
        }
        let expected: Vec<_> = order.map(|seq| (DeathReason::Rejected, format!("{seq:01000}"))).collect();
        assert!(bench.letters(effects, NOW) == expected, "with {memory} bytes of memory in use");
        assert_eq!(bench.counts(), (0, 0));
        assert!(bench.disk.kept().rows.is_empty());
    }
}

#[test]
fn a_letter_leaves_the_disk_when_it_was_sent_and_not_before() {
    let bench = held_by_a_consumer(dead_lettering(), &["a", "b"]);
    let effects = bench.reject(0, 2);
    assert_eq!((bench.counts(), bench.disk.kept().rows.len()), ((0, 0), 2));
    assert_eq!(bench.letters(effects, NOW), rejected(&["a", "b"]));
    assert!(bench.disk.kept().rows.is_empty());
}

#[test]
fn what_has_nowhere_to_go_is_parked_and_counts_apart() {
    let bench =
        held_by_a_consumer(Settings { expires_ms: Some(1000), ..dead_lettering() }, &["a", "bb", "c"]);
    let effects = bench.reject(0, 2);
    assert_eq!(bench.park(effects, PLENTY), rejected(&["a", "bb"]));
    let (parked, bytes) = bench.parked();
    assert_eq!((parked, bench.counts()), (2, (0, 1)));
    let told: u64 = bench.marks().values().map(|(_, size)| u64::from(*size)).sum();
    assert_eq!(told, bytes, "the disk knows how large they are");
    let _ = bench.queue.settle(&held(1, 2, 1), NOW);
    let (purged, _effects) = bench.queue.purge_part(u64::MAX, NOW);
    assert_eq!((purged, bench.parked().0), (0, 2));
    let _ = bench.queue.cancel(ConsumerId(1), NOW);
    assert!(!bench.queue.close_expired(LATER), "somebody is to find them");
    assert_eq!(bench.queue.close(false, true), Err(Busy::NotEmpty));
    assert_eq!(bench.queue.close(false, false), Ok(0));
}

/// The first is logged at once; of a burst it is one of many.
#[test]
fn what_is_parked_after_that_was_logged_is_logged_when_it_is_time_again() {
    let bench = held_by_a_consumer(dead_lettering(), &["a", "b", "c"]);
    let due = |now: Now| !bench.timers.take_due(now.unix_ms, 10).is_empty();
    let effects = bench.reject(0, 1);
    bench.park(effects, PLENTY);
    assert!(!due(LATER), "all of it was logged");
    let effects = bench.reject(1, 2);
    bench.park(effects, PLENTY);
    assert!(due(LATER));
    let _ = bench.queue.tick(LATER);
    assert!(!due(LAST), "all of it was logged");
}

#[test]
fn parked_messages_are_parked_after_a_restart_in_their_order() {
    let bench = held_by_a_consumer(dead_lettering(), &["a", "b", "c", "d"]);
    for seq in [2, 0, 3] {
        let effects = bench.reject(seq, 1);
        bench.park(effects, PLENTY);
    }
    let again = bench.restarted(at_least_once());
    assert_eq!((again.parked(), again.counts()), (bench.parked(), (1, 0)));
    // With another strategy they are tried again: at once, and in their order.
    assert_eq!(again.letters(again.queue.dispatch_again(NOW), NOW), rejected(&["c", "a", "d"]));
    assert_eq!(again.parked(), (0, 0));
    assert_eq!(again.disk.kept().rows.len(), 1, "b is still there");
}

#[test]
fn no_more_is_parked_than_may_be() {
    let bench = held_by_a_consumer(dead_lettering(), &["a", "b", "c", "d", "e"]);
    let effects = bench.reject(0, 3);
    bench.park(effects, ParkedMax { messages: 2, ..PLENTY });
    assert_eq!((bench.parked().0, bench.disk.kept().rows.len()), (2, 4));
    let bytes = bench.parked().1;
    let effects = bench.reject(3, 2);
    bench.park(effects, ParkedMax { bytes: bytes + bytes / 2, ..PLENTY });
    assert_eq!((bench.parked().0, bench.disk.kept().rows.len()), (3, 3));
}

#[test]
fn what_a_full_queue_drives_out_is_not_parked() {
    let length = Some(LengthLimit { messages: 1, bytes: None, overflow: Overflow::DropHead });
    let bench = Bench::new(Settings { length, ..dead_lettering() });
    let effects = bench.publish(&["a", "b"], true);
    bench.park(effects, PLENTY);
    assert_eq!((bench.parked(), bench.disk.kept().rows.len()), ((0, 0), 1));
}

#[test]
fn a_strategy_of_at_most_once_drops() {
    let dead_letter_strategy = DeadLetterStrategy::AtMostOnce;
    let bench = held_by_a_consumer(Settings { dead_letter_strategy, ..dead_lettering() }, &["a"]);
    let effects = bench.reject(0, 1);
    bench.park(effects, PLENTY);
    assert_eq!((bench.parked(), bench.disk.kept().rows.len()), ((0, 0), 0));
}

#[test]
fn a_message_at_its_limit_is_parked_without_a_dead_letter_exchange() {
    let bench = held_by_a_consumer(Settings { delivery_limit: Some(0), ..durable() }, &["a"]);
    let effects = bench.queue.put_back(&held(1, 0, 1), Requeue::Failed, NOW);
    let sent = bench.letters_with(effects, NOW, PLENTY, |_| Outcome::Stuck(Cause::NoExchange));
    assert_eq!(sent, [(DeathReason::DeliveryLimit, "a".to_owned())]);
    assert_eq!((bench.parked().0, bench.counts()), (1, (0, 0)));
}

#[test]
fn what_is_tried_again_comes_before_what_died_later() {
    let bench = held_by_a_consumer(at_least_once(), &["a", "b", "c"]);
    let effects = bench.reject(0, 2);
    bench.park(effects, PLENTY);
    assert!(!bench.queue.tick(NOW).letters, "not at once");
    let due = bench.timers.take_due(NOW.unix_ms + 3001, 9);
    assert_eq!(due.len(), 1, "every three seconds");
    let later = Now { unix_ms: NOW.unix_ms + 3001, ..NOW };
    let effects = bench.queue.tick(later);
    let _ = bench.reject(2, 1);
    assert_eq!(bench.parked().0, 2, "they are parked until they are elsewhere");
    assert_eq!(bench.letters(effects, later), rejected(&["a", "b", "c"]));
    assert_eq!((bench.parked(), bench.counts()), ((0, 0), (0, 0)));
}

/// A batch that is on its way is not sent again by somebody else, and what could not be sent of it
/// keeps its order.
#[test]
fn what_finds_a_way_goes_and_the_rest_stays_in_order() {
    let bench = held_by_a_consumer(at_least_once(), &["a", "b", "c", "d"]);
    let effects = bench.reject(0, 4);
    let only = |goes: &'static [&str]| {
        move |body: &str| {
            if goes.contains(&body) { Outcome::Gone } else { Outcome::Stuck(Cause::Refused) }
        }
    };
    bench.letters_with(effects, NOW, PLENTY, only(&["b"]));
    bench.letters_with(bench.queue.tick(LATER), LATER, PLENTY, only(&["c"]));
    let last = Now { unix_ms: LATER.unix_ms + 60_000, ..LATER };
    assert_eq!(bench.letters(bench.queue.tick(last), last), rejected(&["a", "d"]));
}

/// The clock may say that it is time while others are being sent.
#[test]
fn what_is_tried_again_is_not_overtaken() {
    let bench = held_by_a_consumer(at_least_once(), &["a", "b", "c"]);
    let effects = bench.reject(0, 1);
    bench.park(effects, PLENTY);
    let _ = bench.reject(1, 1);
    let batch = bench.queue.next_letters().expect("the second");
    assert!(!bench.queue.tick(LATER).letters, "not while that is on its way");
    let _ = bench.reject(2, 1);
    bench.refuse(batch, 1);
    assert_eq!(bench.letters(bench.queue.tick(LAST), LAST), rejected(&["a", "b", "c"]));
}

/// Somebody may look at what is parked while it is tried again, of which a batch has no more than
/// one.
#[test]
fn who_looks_at_what_is_tried_again_changes_no_order() {
    let large = ["a", "b"].map(|body| body.repeat(600_000));
    let bodies = large.each_ref().map(String::as_str);
    let bench = held_by_a_consumer(at_least_once(), &bodies);
    let effects = bench.reject(0, 2);
    bench.park(effects, PLENTY);
    assert!(bench.queue.tick(LATER).letters, "both are tried again");
    let batch = bench.queue.next_letters().expect("the first");
    assert_eq!(bench.queue.unread_parked(), None);
    bench.refuse(batch, 1);
    let sent = bench.letters(bench.queue.tick(LAST), LAST);
    assert!(sent == rejected(&bodies), "{:?}", sent.iter().map(|(_, body)| &body[..1]).collect::<Vec<_>>());
}

/// What was rejected in a transaction that is on disk is dead after a restart, sent or not; and
/// what was before the broker stopped.
#[test]
fn what_stands_in_line_is_dead_after_a_restart_if_the_disk_was_told() {
    let bench = held_by_a_consumer(dead_lettering(), &["a", "b", "c"]);
    let _ = bench.reject(1, 1);
    assert!(bench.marks().is_empty());
    bench.queue.keep_letters();
    let _ = bench.reject(0, 1);
    let again = bench.restarted(dead_lettering());
    assert_eq!(again.counts(), (2, 0), "of the second the disk was not told");
    assert_eq!(again.letters(again.queue.dispatch_again(NOW), NOW), rejected(&["b"]));
}

/// A retry has taken them out of their line, and nobody has sent them yet.
#[test]
fn what_is_tried_again_is_dropped_and_moved_with_the_rest() {
    for drops in [true, false] {
        let bench = held_by_a_consumer(at_least_once(), &["a", "b", "c"]);
        let effects = bench.reject(0, 3);
        bench.park(effects, PLENTY);
        assert!(bench.queue.tick(LATER).letters, "they are tried again");
        assert_eq!(bench.parked().0, 3);
        if drops {
            assert_eq!(bench.queue.drop_parked(LATER).map(|(dropped, _)| dropped), Some(3));
            assert_eq!((bench.parked().0, bench.disk.kept().rows.len()), (0, 0));
            assert!(bench.queue.next_letters().is_none());
        } else {
            let batch = bench.queue.next_parked(u64::MAX).expect("all three");
            assert_eq!(batch.parts.iter().map(|part| part.records.len()).sum::<usize>(), 3);
        }
    }
}

/// What waits for room comes before what dies as the broker starts, with whatever settings.
#[test]
fn what_was_parked_before_a_crash_is_not_overtaken_at_the_start() {
    let bench = held_by_a_consumer(dead_lettering(), &["a", "b", "c", "d"]);
    let effects = bench.reject(1, 2);
    bench.letters_with(effects, NOW, PLENTY, |_| Outcome::Stuck(Cause::Refused));
    let again = bench.restarted(Settings { ttl_ms: Some(1), ..at_least_once() });
    let sent = again.letters(again.queue.start(LATER), LATER);
    let expired = ["a", "d"].map(|body| (DeathReason::Expired, body.to_owned()));
    assert_eq!(sent, [&rejected(&["b", "c"])[..], &expired].concat());
}

/// The room, or the route, may be seen before the queue has taken back what was refused.
#[test]
fn room_that_appears_while_letters_are_on_their_way_is_not_missed() {
    for is_route in [false, true] {
        appears_meanwhile(is_route);
    }
}

fn appears_meanwhile(is_route: bool) {
    let bench = held_by_a_consumer(at_least_once(), &["a", "b"]);
    let _ = bench.reject(0, 2);
    let mut batch = bench.queue.next_letters().expect("both");
    for part in &mut batch.parts {
        part.records.clone().for_each(|_| part.note(Outcome::Stuck(Cause::Refused)));
    }
    if is_route {
        bench.queue.home().stranded.retry();
    } else {
        bench.queue.retry_soon(Some(QueueId(2)));
    }
    let (effects, _) = bench.queue.letters_sent(batch, PLENTY, NOW);
    let mut sent = bench.letters(effects, NOW);
    let soon = Now { unix_ms: NOW.unix_ms + 100, ..NOW };
    for queue in bench.timers.take_due(soon.unix_ms, 9) {
        sent.extend(bench.letters(queue.tick(soon), soon));
    }
    assert_eq!(sent, rejected(&["a", "b"]));
}

/// The numbers below `count` have died and are parked, refused by the queue 2.
fn refused(count: usize) -> Bench {
    let bodies: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    let texts: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let bench = held_by_a_consumer(at_least_once(), &texts);
    let effects = bench.reject(0, count as u64);
    bench.tried(&effects, NOW, |_| Some(QueueId(2)));
    bench
}

impl Bench {
    /// Plays the broker: `refuses` says who refuses the letter of this number. Which were tried.
    fn tried(&self, effects: &Effects, now: Now, refuses: impl Fn(u64) -> Option<QueueId>) -> Vec<u64> {
        let (mut tried, mut todo) = (Vec::new(), effects.letters);
        while todo && let Some(mut batch) = self.queue.next_letters() {
            for part in &mut batch.parts {
                for index in part.records.clone() {
                    let body = part.block.message(index).body;
                    let number = std::str::from_utf8(body).unwrap().parse().unwrap();
                    tried.push(number);
                    let refused_by = refuses(number);
                    refused_by.into_iter().for_each(|queue| batch.waiting.refuse(queue));
                    part.note(refused_by.map_or(Outcome::Gone, |_| Outcome::Stuck(Cause::Refused)));
                }
            }
            todo = self.queue.letters_sent(batch, PLENTY, now).0.letters;
        }
        tried
    }
}

fn after_ms(ms: u64) -> Now {
    Now { mono_ms: NOW.mono_ms + ms, unix_ms: NOW.unix_ms + ms }
}

/// It costs the same however many wait behind them.
#[test]
fn room_has_only_those_in_front_tried_again() {
    let bench = refused(1000);
    bench.queue.retry_soon(Some(QueueId(2)));
    let tried = bench
        .tried(&bench.queue.tick(after_ms(20)), after_ms(20), |number| (number >= 300).then_some(QueueId(2)));
    assert_eq!((tried.len(), bench.parked().0), (512, 700), "two batches, the first of which went");
    assert!(tried.is_sorted());
    assert!(!bench.queue.tick(after_ms(2000)).letters, "nobody has said that there is room again");
    bench.queue.retry_soon(Some(QueueId(2)));
    assert!(bench.queue.tick(after_ms(2000)).letters);
}

/// A letter for it may stand anywhere.
#[test]
fn room_for_those_behind_has_all_tried_again() {
    let bench = refused(1000);
    bench.queue.retry_soon(None);
    let all = bench.tried(&bench.queue.tick(after_ms(100)), after_ms(100), |_| Some(QueueId(2)));
    assert_eq!(all.len(), 1000, "there may be a route for any");
    bench.queue.retry_soon(Some(QueueId(3)));
    let refuses = |number| (number < 900).then_some(QueueId(2));
    assert!(!bench.queue.tick(after_ms(101)).letters, "not at once");
    let first = bench.tried(&bench.queue.tick(after_ms(120)), after_ms(120), refuses);
    assert_eq!(first.len(), 256, "those in front wait for another queue");
    let all = bench.tried(&bench.queue.tick(after_ms(300)), after_ms(300), refuses);
    assert_eq!((all.len(), bench.parked().0), (1000, 900));
    // A try of all that has begun is not begun anew, though there be room.
    bench.queue.retry_soon(None);
    assert!(bench.queue.tick(after_ms(500)).letters);
    let batch = bench.queue.next_letters().unwrap();
    bench.queue.retry_soon(None);
    bench.refuse_at(batch, after_ms(700));
    let batch = bench.queue.next_letters().unwrap();
    let part = &batch.parts[0];
    assert_eq!(part.block.message(part.records.start).body, b"256");
}

/// Who looks at what is parked stops a try of all in the middle.
#[test]
fn a_try_that_is_stopped_in_the_middle_changes_no_order() {
    let bench = refused(600);
    bench.queue.retry_soon(None);
    assert!(bench.queue.tick(after_ms(200)).letters);
    let batch = bench.queue.next_letters().unwrap();
    bench.refuse_at(batch, after_ms(200));
    assert_eq!(bench.queue.unread_parked(), None);
    let tried = bench.tried(&bench.queue.tick(LAST), LAST, |_| None);
    assert!(tried.into_iter().eq(0..600));
}
