//! Policies of both ranks: each operation once as it is meant, and once refused; and how what they
//! do is listed.

use super::test_broker::TestBroker;
use leveret::admin::RefusalKind;
use leveret::ids::Ticket;
use serde_json::{Value, json};

/// As a user's, and as an operator's.
const RANKS: [(&str, &str); 2] = [("policy", "policies"), ("operator_policy", "operator_policies")];

fn policies(operation: &Value) -> Value {
    json!({ "policies": operation })
}

fn set(rank: &str, policy: &str, definition: &Value) -> Value {
    let asked = json!({
        "vhost": "/", "policy": policy, "pattern": "^q", "apply_to": "queues", "priority": -3,
        "definition": definition,
    });
    policies(&json!({ format!("set_{rank}"): asked }))
}

fn with(set: &Value, name: &str, value: &Value) -> Value {
    let mut changed = set.clone();
    let operation = changed["policies"].as_object_mut().expect("it is an operation");
    operation.values_mut().for_each(|asked| asked[name] = value.clone());
    changed
}

fn clear(rank: &str, policy: &str) -> Value {
    policies(&json!({ format!("clear_{rank}"): { "vhost": "/", "policy": policy } }))
}

fn list(ranks: &str, vhost: &str) -> Value {
    policies(&json!({ format!("list_{ranks}"): { "vhost": vhost } }))
}

#[test]
fn policies_come_change_and_go() {
    for (rank, ranks) in RANKS {
        let mut fixture = TestBroker::new();
        fixture.answers(&set(rank, "p", &json!({ "max-length": 5 })), &json!("done"));
        assert!(fixture.ticket > Ticket(0) && fixture.ticket <= fixture.world.broker.log().durable());
        let definition = json!({ "max-length": 6, "overflow": "reject-publish" });
        fixture.answers(&set(rank, "p", &definition), &json!("done"));
        fixture.answers(
            &list(ranks, "/"),
            &json!([{
                "vhost": "/", "name": "p", "pattern": "^q", "apply-to": "queues", "definition": definition,
                "priority": -3,
            }]),
        );
        let other = if rank == "policy" { RANKS[1].1 } else { RANKS[0].1 };
        fixture.answers(&list(other, "/"), &json!([]));
        fixture.answers(&clear(rank, "p"), &json!("done"));
        fixture.answers(&list(ranks, "/"), &json!([]));
    }
}

#[test]
fn what_cannot_be_done_with_policies_is_refused_and_changes_nothing() {
    let nowhere = "there is no vhost '/x'; did you mean '/'?";
    for (rank, ranks) in RANKS {
        let mut fixture = TestBroker::new();
        let good = set(rank, "lengths", &json!({ "max-length": 5 }));
        fixture.answers(&good, &json!("done"));
        let what = rank.replace('_', " ");
        let near = format!("there is no {what} 'length'; did you mean 'lengths'?");
        fixture.refuses(&clear(rank, "length"), RefusalKind::NotFound, &near);
        fixture.refuses(&with(&clear(rank, "lengths"), "vhost", &json!("/x")), RefusalKind::NoVHost, nowhere);
        fixture.refuses(&with(&good, "vhost", &json!("/x")), RefusalKind::NoVHost, nowhere);
        fixture.refuses(&list(ranks, "/x"), RefusalKind::NoVHost, nowhere);
        let says = |definition: &Value| with(&good, "definition", definition);
        for (refused, words) in [
            (says(&json!({ "max-length": -5 })), "-5 is not a valid maximum length"),
            (says(&json!({ "max-length": 1.5 })), "1.5 is not a valid maximum length"),
            (
                says(&json!({ "max-length": { "a": [null] } })),
                r#"#{<<"a">> => [null]} is not a valid maximum length"#,
            ),
            (says(&json!({ "foo": "x" })), r#"[{<<"foo">>,<<"x">>}] are not recognised policy settings"#),
            (says(&json!({})), "no policy provided"),
            (
                with(&good, "apply_to", &json!("foo")),
                "apply-to 'foo' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', \
                 'streams', 'exchanges', or 'all'",
            ),
            (with(&good, "policy", &json!("")), "the name of a policy has 1 to 255 bytes, not 0"),
        ] {
            fixture.refuses(&refused, RefusalKind::Invalid, words);
        }
        let (_, words) = fixture.ask(&with(&good, "pattern", &json!("("))).unwrap_err();
        assert!(words.starts_with("pattern should be regular expression but is invalid: "), "{words}");
        assert_eq!(fixture.column(&list(ranks, "/"), "definition"), [json!({ "max-length": 5 })]);
    }
    let mut fixture = TestBroker::new();
    let users = json!({ "dead-letter-exchange": "x" });
    fixture.answers(&set("policy", "p", &users), &json!("done"));
    let (kind, words) = fixture.ask(&set("operator_policy", "p", &users)).unwrap_err();
    let head = r#"[{<<"dead-letter-exchange">>,<<"x">>}] are not recognised policy settings; operator policies may set: "#;
    assert_eq!((kind, words.starts_with(head)), (RefusalKind::Invalid, true), "{words}");
}

#[test]
fn what_is_in_effect_is_told_of_queues_and_exchanges() {
    let mut fixture = TestBroker::new();
    fixture.client("a", 50_000);
    fixture.say("a", &["1 queue.declare q durable", "1 queue.declare other"]);
    let users = set("policy", "u", &json!({ "max-length": 5, "retry-delays": [10, 20] }));
    fixture.answers(&users, &json!("done"));
    fixture.answers(&set("operator_policy", "o", &json!({ "max-length": 3 })), &json!("done"));
    let exchanges =
        with(&set("policy", "x", &json!({ "alternate-exchange": "t" })), "apply_to", &json!("exchanges"));
    fixture.answers(&with(&exchanges, "pattern", &json!("fanout")), &json!("done"));
    let queues = json!({ "queues": { "list_queues": { "vhost": "/" } } });
    let mut of = |operation: &Value, column: &str| fixture.column(operation, column);
    assert_eq!(of(&queues, "policy"), [Value::Null, json!("u")]);
    assert_eq!(of(&queues, "operator_policy"), [Value::Null, json!("o")]);
    let effective = json!({ "max-length": 3, "retry-delays": [10, 20] });
    assert_eq!(of(&queues, "effective_policy_definition"), [json!({}), effective.clone()]);
    let exchanges = json!({ "exchanges": { "list_exchanges": { "vhost": "/" } } });
    let named: Vec<Value> = of(&exchanges, "policy").into_iter().filter(|policy| !policy.is_null()).collect();
    assert_eq!(named, ["x"]);
    let told =
        fixture.ask(&json!({ "queues": { "describe_queue": { "vhost": "/", "queue": "q" } } })).unwrap();
    assert_eq!(told["queue"]["queue"]["effective_policy_definition"], effective);
    let fanout = json!({ "exchanges": { "describe_exchange": { "vhost": "/", "exchange": "amq.fanout" } } });
    assert_eq!(fixture.ask(&fanout).unwrap()["exchange"]["exchange"]["policy"], "x");
    fixture.say(
        "a",
        &[
            "1 basic.publish '' q 1",
            "1 basic.publish '' q 2",
            "1 basic.publish '' q 3",
            "1 basic.publish '' q 4",
        ],
    );
    assert_eq!(fixture.column(&queues, "messages"), [0, 3]);
    fixture.answers(&clear("policy", "u"), &json!("done"));
    assert_eq!(
        fixture.column(&queues, "effective_policy_definition"),
        [json!({}), json!({ "max-length": 3 })]
    );
}
