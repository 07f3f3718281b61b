//! What comes back because it was not settled in time.

use super::*;

#[test]
fn it_is_marked_and_has_not_failed() {
    let bench = Bench::new(Settings { delivery_limit: Some(0), ..durable() });
    bench.subscribe(bench.consumer(1, 1));
    let _ = bench.publish(&["a", "b"], true);
    for _time in 0..3 {
        let _ = bench.queue.put_back(&held(1, 0, 1), Requeue::Overdue, NOW);
    }
    assert_eq!(bench.dealt(), ["1:a", "1:a!", "1:a!", "1:a!"]);
    let counted = |change: &Change| matches!(change, Change::Requeue { .. });
    assert!(!bench.disk.kept().told.iter().any(counted));
    // Not even seen the last time, but before.
    let _ = bench.queue.leave(ConsumerId(1), NOW);
    let _ = bench.queue.put_back(&held(1, 0, 1), Requeue::Unsent, NOW);
    bench.subscribe(bench.consumer(2, 0));
    assert_eq!(bench.dealt(), ["2:a!", "2:b"]);
}
