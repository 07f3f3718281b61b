//! Where messages go as exchanges and bindings come and go.

use super::*;
use crate::message::properties::{self, Properties};

#[test]
fn auto_delete_exchanges_go_with_their_last_binding() {
    let f = fresh();
    f.queue("q");
    let auto =
        |name| f.vhost.declare_exchange(ExchangeDeclare { auto_delete: true, ..exchange(name, "fanout") });
    auto("a").unwrap();
    auto("b").unwrap();
    f.bind(to_exchange("a", "b", ""));
    f.bind(to_queue("b", "q", "1"));
    f.bind(to_queue("b", "q", "2"));
    f.vhost.unbind(to_queue("b", "q", "1"), ME).unwrap();
    assert!(f.exists("b"), "a binding is left");
    f.appended();
    f.vhost.unbind(to_queue("b", "q", "2"), ME).unwrap();
    assert!(!f.exists("b") && !f.exists("a"), "one takes the other along");
    assert_eq!(f.appended(), ["-b b>q -x b -b a>b -x a"]);

    auto("a").unwrap();
    assert!(f.exists("a"), "not before it had a binding");
    f.bind(to_exchange("a", "a", ""));
    f.bind(to_queue("a", "q", ""));
    f.vhost.delete_queue("q", ME, false, false).unwrap();
    assert!(f.exists("a"), "bound to itself");
    f.vhost.unbind(to_exchange("a", "a", ""), ME).unwrap();
    assert!(!f.exists("a"));
}

#[test]
fn a_long_chain_of_auto_delete_exchanges_goes_at_once() {
    let f = fresh();
    let name = |index: u32| format!("x{index}");
    for index in 0..20_000 {
        let declare =
            ExchangeDeclare { auto_delete: true, durable: false, ..exchange(&name(index), "fanout") };
        f.vhost.declare_exchange(declare).unwrap();
        if index > 0 {
            f.bind(to_exchange(&name(index - 1), &name(index), ""));
        }
    }
    f.queue("q");
    f.bind(to_queue(&name(19_999), "q", ""));
    f.check("x0", "", &["q"]);
    f.vhost.delete_queue("q", ME, false, false).unwrap();
    assert!(!f.exists("x0") && !f.exists("x19999"));
}

#[test]
fn messages_follow_exchanges_once_and_loops_end() {
    let f = fresh();
    for name in ["1", "2", "3"] {
        f.queue(name);
    }
    for name in ["a", "b", "c"] {
        f.exchange(name, "fanout");
    }
    for (source, destination) in [("a", "b"), ("a", "c"), ("b", "c"), ("c", "a"), ("b", "b")] {
        f.bind(to_exchange(source, destination, ""));
    }
    for (source, destination) in [("a", "1"), ("b", "1"), ("b", "2"), ("c", "2"), ("c", "3")] {
        f.bind(to_queue(source, destination, ""));
    }
    for name in ["a", "b", "c"] {
        f.check(name, "k", &["1", "2", "3"]);
    }
    f.bind(to_exchange("amq.topic", "a", "x.#"));
    f.check("amq.topic", "x.y", &["1", "2", "3"]);
    f.check("amq.topic", "y", &[]);
}

#[test]
fn the_default_exchange_knows_every_queue_by_name() {
    let f = fresh();
    f.queue("q");
    f.check("", "q", &["q"]);
    f.check("", "nq", &[]);
    let route = f.vhost.route(b"", b"\xff", NONE).unwrap();
    assert!(route.queues.is_empty() && route.cacheable);
    refused(f.vhost.route(b"nx", b"q", NONE), NO_EXCHANGE);
}

#[test]
fn an_alternate_exchange_takes_what_leads_nowhere() {
    let f = fresh();
    let with = |name: &str, alternate: &str| {
        let arguments = one(ALTERNATE_EXCHANGE, string(alternate));
        f.vhost.declare_exchange(ExchangeDeclare { arguments, ..exchange(name, "direct") }).unwrap();
    };
    f.queue("kept");
    f.queue("stray");
    f.exchange("last", "fanout");
    f.bind(to_queue("last", "stray", ""));
    with("first", "second");
    with("second", "last");
    f.bind(to_queue("first", "kept", "k"));
    f.check("first", "k", &["kept"]);
    f.check("first", "other", &["stray"]);
    f.vhost.delete_exchange("last", false).unwrap();
    f.check("first", "other", &[]);
    with("to-default", "");
    f.check("to-default", "stray", &[]);
    with("loop", "loop");
    f.check("loop", "k", &[]);
}

#[test]
fn many_keys_are_one_message() {
    let f = fresh();
    f.queue("1");
    f.queue("2");
    f.queue("stray");
    f.exchange("spare", "fanout");
    f.bind(to_queue("spare", "stray", ""));
    let arguments = one(ALTERNATE_EXCHANGE, string("spare"));
    f.vhost.declare_exchange(ExchangeDeclare { arguments, ..exchange("x", "topic") }).unwrap();
    f.exchange("behind", "fanout");
    f.bind(to_queue("x", "1", "#.a"));
    f.bind(to_exchange("x", "behind", "#.a"));
    f.bind(to_queue("behind", "2", ""));
    let names = |keys: &[&[u8]]| -> Vec<String> {
        let route = f.vhost.route_copies(b"x", keys, NONE).unwrap();
        route.queues.iter().map(|queue| queue.name.to_string()).collect()
    };
    assert_eq!(names(&[b"no", b"c.a", b"a"]), ["1", "2"], "the alternate exchange is for what no key routes");
    assert_eq!(names(&[b"no", b"neither"]), ["stray"]);
    let many: Vec<_> = (0..10_000).map(|count| format!("{count}.a")).collect();
    let many: Vec<_> = many.iter().map(String::as_bytes).collect();
    assert_eq!(names(&many), ["1", "2"]);
}

#[test]
fn internal_exchanges_are_for_exchanges() {
    let f = fresh();
    f.queue("q");
    f.vhost.declare_exchange(ExchangeDeclare { internal: true, ..exchange("inside", "fanout") }).unwrap();
    f.exchange("outside", "fanout");
    f.bind(to_queue("inside", "q", ""));
    f.bind(to_exchange("outside", "inside", ""));
    refused(f.vhost.route(b"inside", b"", NONE), "cannot publish to internal exchange 'inside' in vhost '/'");
    f.check("outside", "", &["q"]);
    assert_eq!(f.vhost.route_own("inside", &[b""], NONE).unwrap().queues.len(), 1);
    assert_eq!(f.vhost.route_own("", &[b"q"], NONE).unwrap().queues.len(), 1);
    assert!(f.vhost.route_own("nx", &[b""], NONE).is_none());
}

#[test]
fn headers_decide_for_each_message() {
    let f = fresh();
    f.queue("q");
    let route = |bytes: Option<&[u8]>| {
        let mut raw = Vec::new();
        properties::encode(&Properties { headers: bytes, ..Properties::default() }, &mut raw);
        f.vhost.route(b"amq.match", b"", &raw).unwrap()
    };
    assert!(route(None).cacheable, "nothing to decide");
    f.bind(Bind { arguments: one("a", FieldValue::LongInt(1)), ..to_queue("amq.match", "q", "") });
    assert_eq!(route(Some(&encoded(&one("a", FieldValue::ShortInt(1))))).queues.len(), 1);
    let none = route(Some(&encoded(&one("a", FieldValue::ShortInt(2)))));
    assert!(none.queues.is_empty() && !none.cacheable);
    assert!(route(None).queues.is_empty());
}

#[test]
fn a_route_that_more_than_the_key_decides_is_not_remembered() {
    let f = fresh();
    let by = one("hash-property", string("message_id"));
    f.vhost
        .declare_exchange(ExchangeDeclare { arguments: by, ..exchange("by-id", "x-consistent-hash") })
        .unwrap();
    for (name, kind, cacheable) in [
        ("by-id", "x-consistent-hash", false),
        ("by-key", "x-consistent-hash", true),
        ("modulus", "x-modulus-hash", true),
        ("random", "x-random", false),
        ("local", "x-local-random", false),
    ] {
        if name != "by-id" {
            f.exchange(name, kind);
        }
        let key = if kind == "x-consistent-hash" { "5" } else { "" };
        for queue in ["1", "2"] {
            f.queue(queue);
            f.bind(to_queue(name, queue, key));
        }
        for count in 0..50 {
            let route = f.vhost.route(name.as_bytes(), format!("{count}").as_bytes(), NONE).unwrap();
            assert_eq!((route.queues.len(), route.cacheable), (1, cacheable), "{name}");
        }
        let copies: &[&[u8]] = &[b"k", b"l", b"m"];
        assert_eq!(f.vhost.route_copies(name.as_bytes(), copies, NONE).unwrap().queues.len(), 1, "{name}");
    }
}

#[test]
fn keys_keep_their_queues_over_a_restart_and_a_redeclare() {
    let homes = |f: &Fixture| -> Vec<String> {
        let routes = ["consistent", "modulus"].iter().flat_map(|name| {
            (0..100).map(|key| f.vhost.route(name.as_bytes(), format!("{key}").as_bytes(), NONE).unwrap())
        });
        routes.map(|route| route.queues[0].name.to_string()).collect()
    };
    let f = fresh();
    f.exchange("consistent", "x-consistent-hash");
    f.exchange("modulus", "x-modulus-hash");
    let bind = |name: &str| {
        f.queue(name);
        f.bind(to_queue("consistent", name, "3"));
        f.bind(to_queue("modulus", name, "3"));
    };
    ["c", "a", "d", "b"].into_iter().for_each(bind);
    // One that is ignored is not kept either.
    f.bind(to_queue("consistent", "a", "9"));
    let before = homes(&f);
    f.vhost.delete_queue("a", ME, false, false).unwrap();
    assert_ne!(homes(&f), before);
    bind("a");
    assert_eq!(homes(&f), before);

    let mut recovered = Recovered { next_queue: 9, ..Recovered::default() };
    for change in f.log.kept().drain(..).flatten() {
        match change {
            Change::DeclareExchange(record) => recovered.exchanges.push(record),
            Change::Bind(record) => recovered.bindings.push(record),
            Change::Unbind(record) => recovered.bindings.retain(|other| *other != record),
            Change::DeleteQueue(id) => recovered.queues.retain(|queue| queue.record.id != id),
            Change::DeclareQueue(record) => recovered.queues.push(RecoveredQueue {
                record,
                messages: Vec::new(),
                bytes: 0,
                requeues: Vec::new(),
                lanes: Vec::new(),
                expires: false,
                stream: None,
            }),
            _ => {}
        }
    }
    assert_eq!(recovered.bindings.len(), 8);
    recovered.bindings.sort();
    assert_eq!(homes(&recover(&recovered)), before);
}

#[test]
fn the_epoch_changes_with_the_topology_only() {
    let f = fresh();
    let mut last = f.vhost.epoch();
    let mut changed = || mem::replace(&mut last, f.vhost.epoch()) != f.vhost.epoch();
    f.queue("q");
    assert!(changed());
    f.queue("q");
    assert!(!changed());
    f.exchange("x", "topic");
    assert!(changed());
    f.bind(to_queue("x", "q", "k"));
    assert!(changed());
    f.bind(to_queue("x", "q", "k"));
    f.vhost.unbind(to_queue("x", "q", "l"), ME).unwrap();
    assert!(!changed());
    f.vhost.unbind(to_queue("x", "q", "k"), ME).unwrap();
    assert!(changed());
    f.vhost.delete_exchange("x", false).unwrap();
    assert!(changed());
    f.vhost.delete_queue("q", ME, false, false).unwrap();
    assert!(changed());
    f.vhost.delete_queue("q", ME, false, false).unwrap();
    assert!(!changed());
}
