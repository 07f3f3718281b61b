//! What others see, and the disk has, while something with many bindings goes.

use super::*;
use crate::routing::topology::Removal;

/// More than go in two parts.
const MANY: usize = 1500;

/// Removes the first part of a queue and what it takes along.
fn begin(f: &Fixture, name: &str) -> Option<Removal> {
    let begun = f.vhost.objects.change(|state, changes| {
        let _unconditional = state.topology.queue(name).unwrap().close(false, false);
        Ok::<_, Infallible>((state.topology.remove_queue(name, changes), true))
    });
    begun.unwrap().0
}

/// `q`, with many bindings from `x`, which goes with the last of them, and some from `y`.
fn large() -> Fixture {
    let f = fresh();
    f.queue("q");
    f.vhost.declare_exchange(ExchangeDeclare { auto_delete: true, ..exchange("x", "topic") }).unwrap();
    f.exchange("y", "fanout");
    for number in 0..MANY {
        f.bind(to_queue("x", "q", &format!("k{number}")));
    }
    f.bind(to_queue("y", "q", ""));
    f.appended();
    f
}

#[test]
fn a_queue_is_gone_before_its_bindings_are() {
    let f = large();
    let removal = begin(&f, "q");
    assert!(removal.is_some(), "there is more to do");
    refused(f.vhost.queue("q", ME).map(|_| ()), "no queue 'q' in vhost '/'");
    f.check("x", "k1499", &[]);
    f.check("y", "", &[]);
    assert!(f.vhost.list_bindings().is_empty());
    refused(f.vhost.bind(to_queue("y", "q", "new"), ME).map(|_| ()), "no queue 'q' in vhost '/'");
    assert!(f.vhost.delete_exchange("y", true).is_ok(), "nothing is bound to it any more");
    f.vhost.objects.go_on(removal);
    assert!(!f.exists("x"), "it went with its last binding");
    assert_eq!(f.vhost.objects.read().topology.binding_count(), 0);
    let units = f.appended();
    assert!(units.iter().all(|unit| unit.split(" -").count() <= 600), "the lock is held for a part");
    let all = units.join(" ");
    assert!(all.starts_with("-q 1 -b x>q"), "what is gone is told first");
    assert_eq!(all.matches("-b x>q").count(), MANY, "each once");
    assert_eq!((all.matches("-b y>q").count(), all.matches("-x x").count()), (1, 1));
}

#[test]
fn an_exchange_that_got_a_binding_meanwhile_stays() {
    let f = large();
    f.queue("other");
    let removal = begin(&f, "q");
    f.bind(to_queue("x", "other", "k"));
    f.vhost.objects.go_on(removal);
    f.check("x", "k", &["other"]);
}

#[test]
fn a_name_that_is_declared_again_has_no_bindings_from_before() {
    let f = large();
    let _unfinished = begin(&f, "q");
    f.queue("q");
    f.exchange("x", "topic");
    f.check("x", "k1499", &[]);
    let all = f.appended().join(" ");
    let declared = all.find("+q q").expect("it was declared");
    assert_eq!(all[..declared].matches("-b x>q").count(), MANY, "all of them before");
    f.bind(to_queue("x", "q", "k7"));
    f.check("x", "k7", &["q"]);
    f.check("x", "k8", &[]);
}

#[test]
fn an_exchange_is_gone_before_its_bindings_are() {
    let f = large();
    f.exchange("from", "fanout");
    f.bind(to_exchange("from", "x", ""));
    f.appended();
    let begun = f
        .vhost
        .objects
        .change(|state, changes| Ok::<_, Infallible>((state.topology.remove_exchange("x", changes), true)));
    let (removal, _ticket) = begun.unwrap();
    assert!(removal.is_some() && !f.exists("x"));
    f.check("from", "", &[]);
    assert!(f.vhost.delete_exchange("from", true).is_ok(), "nothing is bound to it any more");
    assert_eq!(f.vhost.list_bindings().len(), 1, "that from y");
    // Its other end goes in the meantime, and takes what is left of the bindings along.
    f.vhost.delete_queue("q", ME, false, false).unwrap();
    f.vhost.objects.go_on(removal);
    let all = f.appended().join(" ");
    assert_eq!((all.matches("-b x>q").count(), all.matches("-b from>x").count()), (MANY, 1), "each once");
    assert_eq!(f.vhost.objects.read().topology.binding_count(), 0);
    f.exchange("x", "topic");
    f.queue("q");
    f.check("x", "k1", &[]);
}

#[test]
fn a_vhost_goes_in_parts() {
    let f = large();
    for number in 0..300 {
        f.queue(&format!("q{number}"));
        f.bind(to_queue("y", &format!("q{number}"), ""));
    }
    f.appended();
    let before = f.vhost.epoch();
    let _is_little = f.vhost.shut();
    let changes = f.vhost.clear();
    assert!(f.vhost.epoch() > before);
    assert!(f.appended().is_empty(), "what is told of it is told at once, by who asked");
    let count = |wanted: fn(&Change) -> bool| changes.iter().filter(|change| wanted(change)).count();
    assert_eq!(count(|change| matches!(change, Change::DeleteQueue(_))), 301);
    assert_eq!(
        count(|change| matches!(change, Change::DeleteExchange { .. })),
        2,
        "none of those from the start"
    );
    assert_eq!(count(|change| matches!(change, Change::Unbind(_))), MANY + 301);
    assert_eq!(f.vhost.objects.read().topology.queue_count(), 0);
    assert!(f.vhost.declare_queue(queue("new")).is_err());
}

/// The broker stopped after a queue was gone, and before its bindings were.
#[test]
fn what_a_crash_left_of_a_removal_is_removed_at_the_start() {
    let exchange = |name: &str, auto_delete| ExchangeRecord {
        vhost: ROOT.into(),
        name: name.into(),
        kind: "fanout".into(),
        auto_delete,
        internal: false,
        arguments: Vec::new(),
    };
    let binding = |source: &str, to_exchange, destination: &str| BindingRecord {
        vhost: ROOT.into(),
        source: source.into(),
        to_exchange,
        destination: destination.into(),
        routing_key: Vec::new(),
        arguments: Vec::new(),
    };
    let recovered = Recovered {
        exchanges: vec![
            exchange("auto", true),
            exchange("bare", true),
            exchange("plain", false),
            exchange("up", true),
        ],
        bindings: vec![
            binding("auto", false, "gone"),
            binding("plain", false, "gone"),
            binding("up", true, "auto"),
        ],
        next_queue: 3,
        ..Recovered::default()
    };
    let f = recover(&recovered);
    assert_eq!(f.appended(), ["-b auto>gone -b plain>gone -x auto -b up>auto -x up"]);
    assert!(!f.exists("auto") && !f.exists("up") && f.exists("plain"));
    assert!(f.exists("bare"), "it has lost nothing");
}
