//! Readers of a stream against a model of what each is owed.

use super::*;

/// Readers of every kind beside a publisher, retention, and a disk that lags: each is dealt what it
/// wants, in order, once, and passes over nothing but what is gone.
fn check_random(seed: u64) {
    let mut draw = Draw::new(seed);
    let mut next = |below: u64| draw.below(below);
    let limit = FieldValue::LongLongInt(200_000 + i64::try_from(next(3_000_000)).unwrap());
    let mut bench = Bench::new(&[("x-max-length-bytes", limit)]);
    let mut written: Vec<(u64, &str)> = Vec::new();
    // Of each reader: what it wants, since when, the next number it may be dealt, what it holds.
    type Model = (Option<&'static str>, u64, u64, Vec<u64>);
    let mut readers: BTreeMap<u64, Model> = BTreeMap::new();
    let (mut clock, mut ids) = (0, 0);
    for step in 0..400 {
        match next(10) {
            0..=4 => {
                let count = next(40) + 1;
                clock += next(3);
                let body = "x".repeat(usize::try_from(next(4000)).unwrap());
                let values = ["", "a", "b"];
                let block: Vec<_> = (0..count)
                    .map(|_| (clock, values[usize::try_from(next(3)).unwrap()], body.as_str()))
                    .collect();
                written.extend(block.iter().map(|&(at, value, _)| (at, value)));
                bench.publish(&block);
            }
            5 if readers.len() < 12 => {
                ids += 1;
                let filter = [None, Some("a"), Some("b")][usize::try_from(next(3)).unwrap()];
                let (ms, at) = (next(clock + 1), next(written.len() as u64 + 1));
                let arguments: Vec<_> = filter.iter().map(|value| ("x-stream-filter", text(value))).collect();
                let (start, model) = match next(2) {
                    0 => (Start::Since(ms), (filter, ms, 0, Vec::new())),
                    _ => (Start::Offset(at), (filter, 0, at, Vec::new())),
                };
                readers.insert(ids, model);
                let prefetch = u32::try_from(next(300)).unwrap() + 1;
                bench.subscribe(ids, prefetch, Reading { start, ..parsed(&arguments) });
            }
            6 => bench.disk.lag(next(4)),
            7 if next(20) == 0 => {
                bench.restart();
                readers.clear();
            }
            _ => {
                let id = next(ids + 1);
                if let Some((.., held)) = readers.get_mut(&id)
                    && !held.is_empty()
                {
                    let count = usize::try_from(next(held.len() as u64)).unwrap() + 1;
                    let acked: Vec<u64> = held.drain(..count).collect();
                    acked.iter().for_each(|&number| bench.ack(id, number..number + 1));
                }
            }
        }
        let first = written.len() as u64 - bench.queue.stats().ready;
        for (id, number, _) in bench.dealt() {
            let (filter, since, at, held) = readers.get_mut(&id).unwrap();
            let wants = |number: u64| {
                let (time, value) = written[usize::try_from(number).unwrap()];
                filter.is_none_or(|filter| filter == value) && (time >= *since)
            };
            assert!(number >= *at && wants(number), "seed {seed} step {step}: {id} was dealt {number}");
            let skipped = (first.max(*at)..number).find(|&number| wants(number));
            assert_eq!(skipped, None, "seed {seed} step {step}: {id} was dealt {number}");
            *at = number + 1;
            held.push(number);
        }
    }
}

#[test]
fn readers_agree_with_a_model() {
    seeds(19).for_each(check_random);
}
