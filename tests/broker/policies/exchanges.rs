//! Alternate exchanges by policy.

use super::{Bench, policy, string, text};
use leveret::broker::vhost::{Bind, Destination, ExchangeDeclare};
use leveret::ids::ConnectionId;
use leveret::message::table::FieldTable;
use leveret::policy::{ApplyTo, Policy, Rank, Value};

fn exchange(bench: &Bench, name: &str, alternate: Option<&str>) {
    let mut arguments = FieldTable::default();
    if let Some(alternate) = alternate {
        arguments.insert("alternate-exchange".into(), string(alternate));
    }
    let declare = ExchangeDeclare {
        name: name.to_owned(),
        kind: "fanout".to_owned(),
        passive: false,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments,
    };
    bench.broker.vhost().declare_exchange(declare).expect("it can be declared");
}

fn bind(bench: &Bench, source: &str, queue: &str) {
    bench.declare(queue, &[]);
    let bind = Bind {
        source: source.to_owned(),
        destination: Destination::Queue(queue.to_owned()),
        routing_key: Vec::new(),
        arguments: FieldTable::default(),
    };
    bench.broker.vhost().bind(bind, ConnectionId(1)).expect("both ends are there");
}

fn route(bench: &Bench, exchange: &str) -> Vec<String> {
    let route = bench.broker.vhost().route(exchange.as_bytes(), b"", &[0, 0]).expect("it is there");
    route.queues.iter().map(|queue| queue.name.to_string()).collect()
}

#[test]
fn a_policy_names_an_alternate_exchange() {
    let bench = Bench::new();
    for (name, queue) in [("spare", "left"), ("other", "right")] {
        exchange(&bench, name, None);
        bind(&bench, name, queue);
    }
    exchange(&bench, "q-x", None);
    exchange(&bench, "q-own", Some("other"));
    assert_eq!(route(&bench, "q-x"), [""; 0]);
    bench.set(&[("alternate-exchange", text("spare"))]);
    assert_eq!(
        (route(&bench, "q-x"), route(&bench, "q-own")),
        (vec!["left".to_owned()], vec!["right".to_owned()])
    );
    let found = bench.broker.vhost().policies().of_exchange("q-x").expect("it is there");
    assert_eq!(found.policy.as_deref(), Some("p"));
    exchange(&bench, "q-new", None);
    assert_eq!(route(&bench, "q-new"), ["left"]);
    let bench = bench.restart();
    assert_eq!(
        (route(&bench, "q-x"), route(&bench, "q-new")),
        (vec!["left".to_owned()], vec!["left".to_owned()])
    );
    bench.delete();
    assert_eq!(route(&bench, "q-x"), [""; 0]);
}

#[test]
fn a_policy_is_for_exchanges_or_queues_as_it_says() {
    let bench = Bench::new();
    exchange(&bench, "q", None);
    let queue = bench.declare("q", &[]);
    let found = |apply_to| {
        let of = Policy { apply_to, ..policy("p", &[("max-length-bytes", Value::Integer(1))]) };
        bench.broker.policies().set(Rank::User, of, bench.now).unwrap();
        let vhost = bench.broker.vhost();
        let exchanges = vhost.policies().of_exchange("q").expect("it is there");
        (
            vhost.policies().of_queue(&queue).policy.is_some(),
            exchanges.policy.is_some(),
            queue.in_effect().length.is_some(),
        )
    };
    assert_eq!(found(ApplyTo::All), (true, true, true));
    assert_eq!(found(ApplyTo::Exchanges), (false, true, false));
    assert_eq!(found(ApplyTo::ClassicQueues), (true, false, true));
    assert_eq!(found(ApplyTo::QuorumQueues), (false, false, false));
    assert!(bench.broker.vhost().policies().of_exchange("none").is_none());
}
