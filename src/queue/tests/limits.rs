//! What gives way in a full queue.

#![expect(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]

use super::*;

use std::collections::VecDeque;

fn limited(messages: u64, bytes: Option<u64>, overflow: Overflow) -> Settings {
    Settings { length: Some(LengthLimit { messages, bytes, overflow }), ..durable() }
}

fn dead_lettering(settings: Settings) -> Settings {
    Settings { dead_letter_exchange: Some("dlx".into()), ..settings }
}

/// What a call has driven out.
fn bodies(bench: &Bench, effects: Effects) -> Vec<String> {
    let body = |(reason, body)| {
        assert_eq!(reason, DeathReason::MaxLen);
        body
    };
    bench.letters(effects, NOW).into_iter().map(body).collect()
}

impl Bench {
    /// Everything that is ready, in order; it is taken.
    fn drain(&self) -> Vec<String> {
        let mut got = Vec::new();
        loop {
            match self.queue.get(true, &self.mailbox, NOW) {
                (Got::Message { block, index, .. }, effects) => {
                    got.push(String::from_utf8(block.message(index).body.to_vec()).unwrap());
                    self.serve(effects);
                }
                (Got::Paging, effects) => self.serve(effects),
                (Got::Empty, _) => return got,
            }
        }
    }
}

/// A queue without consumers gets `published`: what it refuses, what dies, and what is in it then.
#[track_caller]
fn check(settings: &Settings, published: &[&str], refused: &[Range<u32>], died: &[&str], left: &[&str]) {
    for persistent in [true, false] {
        let bench = Bench::new(settings.clone());
        let effects = bench.publish(published, persistent);
        assert_eq!(effects.refused, refused);
        assert_eq!(bodies(&bench, effects), died);
        let rows = if persistent { left.len() } else { 0 };
        assert_eq!(bench.disk.kept().rows.len(), rows, "what was dropped is not on disk");
        assert_eq!(bench.drain(), left);
    }
}

#[test]
fn the_oldest_go() {
    let limit = limited(2, None, Overflow::DropHead);
    check(&limit, &["a", "b", "c", "d"], &[], &[], &["c", "d"]);
    check(&dead_lettering(limit), &["a", "b", "c", "d"], &[], &["a", "b"], &["c", "d"]);
    check(&limited(0, None, Overflow::DropHead), &["a", "b"], &[], &[], &[]);
}

#[test]
fn the_bytes_of_bodies_count() {
    let limit = dead_lettering(limited(u64::MAX, Some(5), Overflow::DropHead));
    check(&limit, &["aaa", "bb"], &[], &[], &["aaa", "bb"]);
    check(&limit, &["aaa", "bb", "", "c"], &[], &["aaa"], &["bb", "", "c"]);
    check(&limit, &["", "a", "", "ccccc"], &[], &["", "a"], &["", "ccccc"]);
    check(&limit, &["a", "b", "larger"], &[], &["a", "b", "larger"], &[]);
}

#[test]
fn the_newest_are_refused() {
    let limit = limited(2, None, Overflow::Reject);
    check(&dead_lettering(limit), &["a", "b", "c", "d"], &[2..4], &[], &["a", "b"]);
    let limit = limited(1, None, Overflow::RejectAndDeadLetter);
    check(&limit, &["a", "b"], &[1..2], &[], &["a"]);
    check(&dead_lettering(limit), &["a", "b", "c"], &[1..3], &["b", "c"], &["a"]);
}

#[test]
fn what_fits_is_taken_after_what_does_not() {
    let limit = limited(4, Some(5), Overflow::Reject);
    check(&limit, &["aaa", "bbb", "cc", "d", "", "", ""], &[1..2, 3..4, 6..7], &[], &["aaa", "cc", "", ""]);
}

#[test]
fn a_consumer_makes_room_within_a_batch() {
    let bench = Bench::new(limited(1, None, Overflow::Reject));
    bench.subscribe(bench.consumer(1, 2));
    let effects = bench.publish(&["a", "b", "c", "d", "e"], true);
    assert_eq!(effects.refused, [3..5]);
    assert_eq!((bench.dealt(), bench.counts()), (vec!["1:a".into(), "1:b".into()], (1, 2)));
    let bench = Bench::new(limited(0, None, Overflow::Reject));
    bench.subscribe(bench.consumer(1, 0));
    assert_eq!(bench.publish(&["a"], true).refused, [0..1], "it is full before anybody waits");
}

#[test]
fn what_is_consumed_at_once_drives_nothing_out() {
    let bench = Bench::new(limited(1, None, Overflow::DropHead));
    bench.subscribe(bench.consumer(1, 2));
    let _ = bench.publish(&["a", "b", "c", "d"], true);
    assert_eq!((bench.dealt(), bench.drain()), (vec!["1:a".into(), "1:b".into()], vec!["d".into()]));
}

#[test]
fn what_is_unacknowledged_does_not_count_until_it_comes_back() {
    let bench = Bench::new(dead_lettering(limited(2, Some(4), Overflow::DropHead)));
    bench.subscribe(bench.consumer(1, 2));
    let _ = bench.publish(&["aa", "bb", "cc", "dd"], true);
    assert_eq!(bench.dealt(), ["1:aa", "1:bb"]);
    let _ = bench.queue.cancel(ConsumerId(1), NOW);
    let effects = bench.queue.put_back(&held(1, 0, 2), Requeue::Failed, NOW);
    assert_eq!(bodies(&bench, effects), ["aa", "bb"], "they are the oldest again");
    assert_eq!(bench.drain(), ["cc", "dd"]);
}

#[test]
fn what_refuses_keeps_what_comes_back() {
    let bench = Bench::new(limited(1, None, Overflow::Reject));
    bench.subscribe(bench.consumer(1, 1));
    let _ = bench.publish(&["a", "b"], true);
    let _ = bench.queue.cancel(ConsumerId(1), NOW);
    let effects = bench.queue.put_back(&held(1, 0, 1), Requeue::Failed, NOW);
    assert!(!effects.letters);
    assert_eq!(bench.publish(&["c"], true).refused, [0..1]);
    assert_eq!(bench.drain(), ["a", "b"]);
}

#[test]
fn what_is_on_disk_only_dies_in_order() {
    let bench = Bench::new(dead_lettering(limited(100, None, Overflow::DropHead)));
    let number = |n: usize| format!("{n:060000}");
    let mut died = Vec::new();
    for n in 0..150 {
        let effects = bench.publish(&[&number(n)], true);
        died.extend(bodies(&bench, effects));
    }
    assert!(bench.queue.stats().resident < 6_000_000);
    assert_eq!(died, (0..50).map(number).collect::<Vec<_>>());
    assert_eq!(bench.drain(), (50..150).map(number).collect::<Vec<_>>());
}

#[test]
fn sizes_are_known_again_after_a_restart() {
    struct Pages<'a>(&'a Disk);
    impl PageSource for Pages<'_> {
        fn load(&self, _: QueueId, range: SeqRange, _: usize) -> Result<Vec<Page>, StoreError> {
            Ok(self.0.pages(range, 2))
        }
    }
    let before = Bench::new(durable());
    let texts: Vec<String> = (0..20).map(|n| "x".repeat(n % 7)).collect();
    let _ = before.publish(&texts.iter().map(String::as_str).collect::<Vec<_>>(), true);
    let messages = vec![SeqRange { first: 1, end: 9 }, SeqRange { first: 11, end: 20 }];
    let total: usize = (1..9).chain(11..20).map(|n| texts[n].len()).sum();
    let limit = limited(u64::MAX, Some(total as u64), Overflow::Reject);
    let context = before.context();
    let queue = Queue::recover(&recovered(messages, 0), limit, true, &context);
    queue.read_sizes(&Pages(&before.disk)).unwrap();
    let bench =
        Bench { disk: Arc::clone(&before.disk), timers: Arc::default(), queue, mailbox: Mailbox::new() };
    assert_eq!(bench.publish(&["y", ""], true).refused, [0..1], "it is full to the byte");
    assert_eq!(bench.drain().len(), 18);
    assert_eq!(bench.queue.of_classic(|classic| classic.ready_bytes()), 0);
}

/// A queue with a limit against a list of what is ready and a list of what is out.
fn check_against_a_list(seed: u64, overflow: Overflow) {
    let mut draw = Draw::new(seed);
    let mut next = |below: u64| usize::try_from(draw.below(below)).unwrap();
    let (most, most_bytes) = (12, 30);
    let settings = limited(most as u64, Some(most_bytes as u64), overflow);
    let bench = Bench::new(if seed & 2 == 0 { settings } else { dead_lettering(settings) });
    // Number and body of each.
    let mut ready: VecDeque<(u64, String)> = VecDeque::new();
    let mut out: Vec<(u64, String)> = Vec::new();
    let mut tail = 0;
    for step in 0..3_000 {
        let at = format!("seed {seed} {overflow:?} step {step}");
        match next(8) {
            0..=3 => {
                let texts: Vec<String> = (0..=next(5)).map(|_| "b".repeat(next(9))).collect();
                let effects =
                    bench.publish(&texts.iter().map(String::as_str).collect::<Vec<_>>(), next(2) == 0);
                let refused: Vec<u32> = effects.refused.iter().cloned().flatten().collect();
                bench.serve(effects);
                for (index, text) in (0..).zip(texts) {
                    let bytes: usize = ready.iter().map(|(_, body)| body.len()).sum();
                    let full = ready.len() + 1 > most || bytes + text.len() > most_bytes;
                    let refuses = overflow != Overflow::DropHead && full;
                    assert_eq!(refused.contains(&index), refuses, "{at}");
                    if !refuses {
                        ready.push_back((tail, text));
                        tail += 1;
                    }
                }
            }
            4 | 5 => match bench.queue.get(false, &bench.mailbox, NOW).0 {
                Got::Message { first, block, index, .. } => {
                    let (seq, text) = ready.pop_front().unwrap();
                    assert_eq!((seq, text.as_bytes()), (first, block.message(index).body), "{at}");
                    out.push((seq, text));
                }
                got => assert!(matches!(got, Got::Empty) && ready.is_empty(), "{at}"),
            },
            6 if next(20) == 0 => {
                let _ = bench.queue.purge_part(u64::MAX, NOW);
                ready.clear();
            }
            _ if out.is_empty() => {}
            _ => {
                let (seq, text) = out.swap_remove(next(out.len() as u64));
                let settled = [Settled { consumer: None, range: SeqRange::of(seq, 1) }];
                if next(2) == 0 {
                    let _ = bench.queue.settle(&settled, NOW);
                } else {
                    let _ = bench.queue.put_back(&settled, Requeue::Failed, NOW);
                    ready.insert(ready.partition_point(|(other, _)| *other < seq), (seq, text));
                }
            }
        }
        let bytes = |ready: &VecDeque<(u64, String)>| ready.iter().map(|(_, text)| text.len()).sum::<usize>();
        while overflow == Overflow::DropHead && (ready.len() > most || bytes(&ready) > most_bytes) {
            ready.pop_front();
        }
        bench.letters(bench.queue.dispatch_again(NOW), NOW);
        assert_eq!(bench.counts(), (ready.len() as u64, out.len() as u64), "{at}");
        assert_eq!(bench.queue.of_classic(|classic| classic.ready_bytes()), bytes(&ready) as u64, "{at}");
    }
}

#[test]
fn agrees_with_a_list() {
    for seed in seeds(2) {
        check_against_a_list(seed, Overflow::DropHead);
        check_against_a_list(seed, Overflow::Reject);
    }
}

#[test]
fn what_is_dropped_without_a_dead_letter_exchange_is_counted_by_its_reason() {
    let bench = Bench::new(limited(2, None, Overflow::DropHead));
    let _ = bench.publish(&["a", "b"], true);
    let effects = bench.publish(&["c", "d", "e"], true);
    assert_eq!(effects.dropped, Dropped { max_len: 3, ..Dropped::default() });
    bench.subscribe(bench.consumer(1, 1));
    let effects = bench.queue.reject(&held(1, 3, 1), NOW);
    assert_eq!(effects.dropped, Dropped { rejected: 1, ..Dropped::default() });
}
