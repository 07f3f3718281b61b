//! Messages that expire, messages that come back later, and queues that nobody uses.

use super::*;
use crate::arguments::Retry;
use crate::statistics::Waits;

fn at(ms: u64) -> Now {
    Now { mono_ms: NOW.mono_ms + ms, unix_ms: NOW.unix_ms + ms }
}

/// A message that came `ms` after [`NOW`], with an expiration of its own.
fn block(ms: u64, expirations: &[Option<&str>]) -> Arc<Block> {
    let mut builder = BlockBuilder::default();
    for (index, expiration) in expirations.iter().enumerate() {
        let mut raw = vec![0x10, 0, 2];
        if let Some(text) = expiration {
            raw = vec![0x11, 0, 2, u8::try_from(text.len()).unwrap()];
            raw.extend_from_slice(text.as_bytes());
        }
        let body = index.to_string();
        builder.push(&Message {
            expires: expiration.is_some(),
            arrived_at_ms: at(ms).unix_ms,
            properties: &raw,
            ..message(body.as_bytes(), true)
        });
    }
    Arc::new(builder.build())
}

fn mortal(ttl_ms: Option<u64>) -> Settings {
    Settings { ttl_ms, dead_letter_exchange: Some("dlx".into()), ..durable() }
}

fn expired(bodies: &[&str]) -> Vec<(DeathReason, String)> {
    bodies.iter().map(|body| (DeathReason::Expired, (*body).to_owned())).collect()
}

fn due(bench: &Bench, now: Now) -> bool {
    !bench.timers.take_due(now.unix_ms, 10).is_empty()
}

#[test]
fn messages_expire_when_their_time_is_up_and_not_before() {
    let bench = Bench::new(mortal(Some(100)));
    let (_, effects) = bench.queue.enqueue(&block(0, &[None, Some("50"), Some("900")]), at(0));
    assert_eq!(bench.letters(effects, NOW), []);
    assert!(!due(&bench, at(99)));
    assert!(due(&bench, at(100)));
    // The first holds back the second, which has less time.
    assert_eq!(bench.letters(bench.queue.tick(at(99)), at(99)), []);
    assert_eq!(bench.letters(bench.queue.tick(at(100)), at(100)), expired(&["0", "1", "2"]));
    assert_eq!(bench.counts(), (0, 0));
    assert!(bench.disk.kept().rows.is_empty(), "the disk has forgotten them");
}

#[test]
fn a_message_of_no_time_goes_to_a_consumer_who_waits_or_dies() {
    let bench = Bench::new(mortal(Some(0)));
    let (_, effects) = bench.queue.enqueue(&block(0, &[None]), at(0));
    assert_eq!(bench.letters(effects, NOW), expired(&["0"]));
    bench.subscribe(bench.consumer(1, 1));
    let (_, effects) = bench.queue.enqueue(&block(5, &[None, None]), at(5));
    assert_eq!(bench.dealt(), ["1:0"]);
    assert_eq!(bench.letters(effects, NOW), expired(&["1"]));
}

#[test]
fn what_is_dealt_as_it_comes_is_not_expired_whatever_the_clock_says() {
    for (ttl_ms, own) in [(Some(0), None), (None, Some("0")), (Some(3), Some("9"))] {
        for kind in [QueueType::Classic, QueueType::Quorum] {
            let bench = Bench::new(Settings { kind, ..mortal(ttl_ms) });
            bench.subscribe(bench.consumer(1, 2));
            let (_, effects) = bench.queue.enqueue(&block(0, &[own, own, own]), at(5));
            assert_eq!(bench.dealt(), ["1:0", "1:1"]);
            assert_eq!(bench.letters(effects, at(5)), expired(&["2"]));
        }
    }
}

#[test]
fn what_was_there_before_expires_though_the_next_is_dealt_as_it_comes() {
    // The window that two queues share is full, and is lifted without this one being told.
    let (bench, other) = (Bench::new(mortal(None)), Bench::new(durable()));
    let consumer = bench.consumer(1, 1);
    let limit = Arc::clone(&consumer.channel);
    limit.set(1);
    other.subscribe(Consumer { channel: Arc::clone(&consumer.channel), ..other.consumer(2, 1) });
    let _ = other.publish(&["x"], true);
    bench.subscribe(consumer);
    let _ = bench.queue.enqueue(&block(0, &[Some("10")]), at(0));
    limit.set(0);
    assert_eq!(bench.dealt(), [""; 0]);
    let (_, effects) = bench.queue.enqueue(&block(20, &[Some("0")]), at(25));
    assert_eq!(bench.dealt(), ["1:0"]);
    assert_eq!(bench.letters(effects, at(25)), expired(&["0"]));
}

#[test]
fn what_comes_back_after_its_time_does_not_go_out_again() {
    for how in [Requeue::Declined, Requeue::Failed, Requeue::Unsent] {
        let bench = Bench::new(mortal(Some(0)));
        bench.subscribe(bench.consumer(1, 5));
        let _ = bench.queue.enqueue(&block(0, &[None, None]), at(0));
        assert_eq!(bench.dealt(), ["1:0", "1:1"]);
        // In the very millisecond in which it came.
        let effects = bench.queue.put_back(&held(1, 0, 2), how, at(0));
        assert_eq!(bench.dealt(), [""; 0]);
        assert_eq!(bench.letters(effects, at(0)), expired(&["0", "1"]));
    }
}

#[test]
fn what_has_expired_is_not_dealt_even_when_nobody_called() {
    let bench = Bench::new(mortal(None));
    let _ = bench.queue.enqueue(&block(0, &[Some("10"), Some("500"), Some("10"), None]), at(0));
    let effects = bench.queue.subscribe(bench.consumer(1, 10), at(200)).unwrap();
    assert_eq!(bench.dealt(), ["1:1", "1:3"]);
    assert_eq!(bench.letters(effects, NOW), expired(&["0", "2"]));
    // What was delivered does not expire until it comes back.
    let _ = bench.queue.cancel(ConsumerId(1), at(900));
    let effects = bench.queue.put_back(&held(1, 1, 1), Requeue::Failed, at(900));
    assert_eq!(bench.letters(effects, NOW), expired(&["1"]));
    let (got, _) = bench.queue.get(true, &bench.mailbox, at(900));
    assert!(matches!(got, Got::Empty), "the last one is unacknowledged");
}

#[test]
fn a_message_on_disk_is_read_to_learn_when_it_expires() {
    let disk = Disk::default();
    let block = block(0, &[Some("50"), None]);
    let mut publish = vec![Change::Publish { queue: QueueId(1), first: 0, range: 0..2, block }];
    disk.append(&mut publish);
    let bench = Bench::on(disk, durable());
    let recovered = RecoveredQueue { expires: true, ..recovered(vec![SeqRange::of(0, 2)], 0) };
    let queue = Queue::recover(&recovered, durable(), true, &bench.context());
    let effects = queue.dispatch_again(at(10));
    let wanted = effects.page.expect("it is read without anybody asking");
    let (_, effects) = queue.pages_loaded(wanted, bench.disk.pages(wanted, 12), at(10));
    assert!(!effects.letters && effects.page.is_none());
    assert!(due(&bench, at(50)));
    let _ = queue.tick(at(50));
    assert_eq!(queue.stats().ready, 1);
}

#[test]
fn what_comes_back_waits_its_delays_and_then_dies() {
    let retry = Retry::Steps { delays_ms: [100, 1000].into(), jitter: 0 };
    let bench = Bench::new(Settings { retry, delivery_limit: Some(2), ..mortal(None) });
    let _ = bench.publish(&["a", "b"], true);
    bench.subscribe(bench.consumer(1, 10));
    assert_eq!(bench.dealt(), ["1:a", "1:b"]);
    let _ = bench.queue.put_back(&held(1, 0, 1), Requeue::Declined, at(0));
    assert_eq!((bench.dealt(), bench.counts()), (vec![], (0, 1)));
    assert!(!due(&bench, at(99)) && due(&bench, at(100)));
    let _ = bench.queue.tick(at(100));
    assert_eq!(bench.dealt(), ["1:a!"]);
    let _ = bench.queue.put_back(&held(1, 0, 1), Requeue::Failed, at(150));
    let _ = bench.queue.tick(at(1149));
    assert_eq!(bench.dealt(), [""; 0]);
    let _ = bench.queue.tick(at(1150));
    assert_eq!(bench.dealt(), ["1:a!"]);
    let effects = bench.queue.put_back(&held(1, 0, 1), Requeue::Failed, at(1200));
    assert_eq!(bench.letters(effects, NOW), [(DeathReason::DeliveryLimit, "a".to_owned())]);
    let told = &bench.disk.kept().told;
    let due: Vec<(u32, u64)> = told
        .iter()
        .filter_map(|change| match change {
            Change::Requeue { deliveries, due_ms, .. } => Some((*deliveries, *due_ms)),
            _ => None,
        })
        .collect();
    assert_eq!(due, [(1, at(100).unix_ms), (2, at(1150).unix_ms)]);
}

#[test]
fn what_waits_is_purged_with_the_rest() {
    let retry = Retry::Steps { delays_ms: [100].into(), jitter: 0 };
    let bench = Bench::new(Settings { retry, ..durable() });
    let _ = bench.publish(&["a", "b"], true);
    bench.subscribe(bench.consumer(1, 1));
    let _ = bench.queue.cancel(ConsumerId(1), at(0));
    let _ = bench.queue.put_back(&held(1, 0, 1), Requeue::Declined, at(0));
    assert_eq!(bench.counts(), (1, 0));
    assert_eq!(bench.queue.purge_part(u64::MAX, at(50)).0, 2);
    let _ = bench.queue.tick(at(100));
    assert_eq!(bench.counts(), (0, 0));
}

#[test]
fn a_queue_whose_messages_all_wait_is_not_empty() {
    let retry = Retry::Steps { delays_ms: [100].into(), jitter: 0 };
    let bench = Bench::new(Settings { retry, ..durable() });
    let _ = bench.publish(&["a"], true);
    bench.subscribe(bench.consumer(1, 1));
    let _ = bench.queue.cancel(ConsumerId(1), at(0));
    let _ = bench.queue.put_back(&held(1, 0, 1), Requeue::Declined, at(0));
    assert_eq!(bench.queue.close(false, true), Err(Busy::NotEmpty));
    assert_eq!(bench.queue.close(false, false), Ok(0));
}

#[test]
fn a_queue_goes_when_nobody_uses_it() {
    let bench = Bench::new(Settings { expires_ms: Some(100), ..durable() });
    bench.queue.touch(at(0));
    assert!(!due(&bench, at(99)) && due(&bench, at(100)));
    let _ = bench.queue.get(true, &bench.mailbox, at(60));
    assert!(!bench.queue.tick(at(100)).expired, "asked for a message at 60");
    bench.queue.touch(at(150));
    assert!(!bench.queue.tick(at(160)).expired, "declared again at 150");
    let _ = bench.queue.subscribe(bench.consumer(1, 1), at(200)).unwrap();
    assert!(!bench.queue.tick(at(1000)).expired, "consumed from");
    let _ = bench.queue.cancel(ConsumerId(1), at(1000));
    assert!(!bench.queue.tick(at(1099)).expired);
    assert!(bench.queue.tick(at(1100)).expired);
    bench.queue.touch(at(1100));
    assert!(!bench.queue.close_expired(at(1100)), "declared again at the last moment");
    assert!(bench.queue.close_expired(at(1200)));
}

/// Of what is acknowledged, or goes to whoever does not acknowledge; of nothing else.
#[test]
fn how_long_messages_waited_is_known_once_they_are_consumed() {
    let bench = Bench::new(durable());
    let waits = || bench.queue.stats().waits;
    bench.subscribe(bench.consumer(1, 4));
    let _ = bench.queue.enqueue(&block(0, &[None; 4]), at(0));
    let _ = bench.queue.enqueue(&block(100, &[None; 4]), at(100));
    assert_eq!(waits(), Waits::default(), "none is consumed yet");
    let _ = bench.queue.reject(&held(1, 0, 1), at(300));
    let _ = bench.queue.put_back(&held(1, 1, 1), Requeue::Failed, at(300));
    assert_eq!(waits(), Waits::default());
    // Three of the first block, and then two of the second.
    let _ = bench.queue.settle(&held(1, 1, 3), at(500));
    assert_eq!(waits(), Waits { count: 3, ms: 1_500 });
    let _ = bench.queue.settle(&held(1, 4, 2), at(600));
    assert_eq!(waits(), Waits { count: 5, ms: 2_500 });
    // The last two, and one that goes as it comes.
    let _ = bench.queue.settle(&held(1, 6, 2), at(600));
    let _ = bench.queue.cancel(ConsumerId(1), at(700));
    let _ = bench.queue.enqueue(&block(700, &[None; 3]), at(700));
    assert!(matches!(bench.queue.get(false, &bench.mailbox, at(800)).0, Got::Message { .. }));
    assert_eq!(waits(), Waits { count: 7, ms: 3_500 });
    assert!(matches!(bench.queue.get(true, &bench.mailbox, at(850)).0, Got::Message { .. }));
    assert_eq!(waits(), Waits { count: 8, ms: 3_650 });
    let eager = Consumer { no_ack: true, ..bench.consumer(2, 0) };
    let _ = bench.queue.subscribe(eager, at(900)).unwrap();
    assert_eq!(waits(), Waits { count: 9, ms: 3_850 });
    assert_eq!(waits().average_ms(), Some(3_850.0 / 9.0));
    let (purged, _) = bench.queue.purge_part(u64::MAX, at(900));
    assert_eq!((purged, waits().count), (0, 9));
}

#[test]
fn how_long_a_message_waited_whose_bytes_are_on_disk_only_is_not_known() {
    let bench = Bench::new(durable());
    bench.subscribe(bench.consumer(1, 100));
    let body = "x".repeat(1_000_000);
    for _message in 0..20 {
        let _ = bench.publish(&[&body], true);
        let _ = bench.queue.credit(ConsumerId(1), 2 * body.len(), NOW);
    }
    assert_eq!(bench.counts(), (0, 20));
    let _ = bench.queue.settle(&held(1, 0, 20), NOW);
    let known = bench.queue.stats().waits.count;
    assert!((1..=6).contains(&known), "{known} of 20");
}
