//! Definitions, there and back: a real export of RabbitMQ's, nothing by halves, nothing twice.

use crate::support::disk::SimDisk;
use leveret::broker::{Broker, BrokerSettings};
use leveret::clock::Now;
use leveret::manage::definitions::{DefinitionsOperation, Source, start_with};
use leveret::manage::{self, Answer, Caller, Operation};
use leveret::store::{Options, open_backend};
use serde_json::{Value, from_str, json, to_value};
use std::sync::Arc;

/// Made by `rabbitmqctl export_definitions`, with a bit of everything declared before.
const REAL: &str = include_str!("rabbitmq-4.3.6.json");

const NOW: Now = Now { mono_ms: 1000, unix_ms: 1_795_000_000_000 };

fn start(disk: &SimDisk) -> Arc<Broker> {
    let options = Options { journal_bytes: 3000, ..Options::default() };
    let opened = open_backend(disk.clone(), options).expect("the disk works");
    Broker::start(opened, BrokerSettings::default(), NOW).expect("the store is sound")
}

fn caller() -> Caller {
    Caller { by: "test".to_owned(), now: NOW, inquiry: None }
}

fn perform(broker: &Arc<Broker>, operation: DefinitionsOperation) -> Result<Value, String> {
    let performed = manage::perform(broker, Operation::Definitions(operation), &caller());
    let performed = performed.map_err(|refusal| refusal.message)?;
    let Answer::One(told) = performed.answer else { panic!("one thing is told") };
    Ok(to_value(*told).expect("it can be told"))
}

fn import(broker: &Arc<Broker>, document: &Value) -> Result<Value, String> {
    let document = Source(document.clone());
    let imported = perform(broker, DefinitionsOperation::ImportDefinitions { document })?;
    Ok(imported["imported"].clone())
}

/// Everything there is, but who wrote it.
fn export(broker: &Arc<Broker>) -> Value {
    let mut told = perform(broker, DefinitionsOperation::ExportDefinitions).expect("it is told");
    let document = told["definitions"].as_object_mut().expect("it is a document");
    for key in ["rabbitmq_version", "rabbit_version", "product_name", "product_version"] {
        assert!(document.remove(key).is_some(), "{key}");
    }
    told["definitions"].take()
}

fn real() -> Value {
    from_str(REAL).expect("it is JSON")
}

/// The entries of a section, in one order.
fn sorted(document: &Value, section: &str) -> Vec<String> {
    let entries = document[section].as_array().expect("it is a list");
    let mut entries: Vec<String> = entries.iter().map(Value::to_string).collect();
    entries.sort();
    entries
}

/// Keys in one order, as texts that can be compared.
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().map(|(key, value)| (key.clone(), normal(value))).collect();
            keys.sort_by(|one, other| one.0.cmp(&other.0));
            keys.into_iter().collect()
        }
        Value::Array(list) => list.iter().map(normal).collect(),
        other => other.clone(),
    }
}

#[test]
fn a_real_export_of_rabbitmq_is_taken_in_and_written_again() {
    let disk = SimDisk::default();
    let broker = start(&disk);
    let imported = import(&broker, &real()).expect("a real one");
    let skipped = "the binding from 'x' to 'h': no exchange 'h' in vhost '/'";
    assert_eq!(imported, json!({"defined": 20, "kept": [], "skipped": [skipped]}));
    let alice = broker.users().get("alice").expect("she is defined");
    assert!(alice.password.is_some_and(|hash| hash.verify(b"secret")));

    let (mut before, mut after) = (normal(&real()), normal(&export(&broker)));
    // RabbitMQ leaves internal exchanges out, and the flag with them; and it has parameters that are of no use here.
    before["bindings"].as_array_mut().unwrap().retain(|binding| binding["destination"] != "h");
    for exchange in after["exchanges"].as_array_mut().unwrap() {
        assert_eq!(exchange.as_object_mut().unwrap().shift_remove("internal"), Some(json!(false)));
    }
    for section in [
        "users",
        "vhosts",
        "permissions",
        "topic_permissions",
        "parameters",
        "policies",
        "queues",
        "exchanges",
        "bindings",
    ] {
        assert_eq!(sorted(&after, section), sorted(&before, section), "{section}");
    }

    broker.shutdown().expect("the disk works");
    let found = export(&start(&SimDisk::holding(disk.image())));
    // What is not durable is gone.
    let lasting = |document: &Value| {
        let mut document = normal(document);
        document["exchanges"].as_array_mut().unwrap().retain(|exchange| exchange["durable"] == true);
        document
    };
    assert_eq!(lasting(&found), lasting(&export(&broker)));
}

#[test]
fn again_is_as_once() {
    let broker = start(&SimDisk::default());
    let mut document = real();
    document["users"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "clear", "password": "in clear", "tags": "a, b"}));
    import(&broker, &document).expect("a real one");
    let (once, log) = (export(&broker), broker.log());
    log.append(&mut Vec::new());
    import(&broker, &document).expect("the same");
    assert_eq!(export(&broker), once);
    let user = broker.users().get("clear").expect("it is defined");
    assert_eq!(user.tags, ["a", "b"]);
    assert!(user.password.is_some_and(|hash| hash.verify(b"in clear")));
    assert!(!once.to_string().contains("in clear"), "a password is never written");
    let other = json!({
        "queues": [{"name": "plain", "vhost": "/", "durable": true, "arguments": {"x-message-ttl": 5}}],
        "exchanges": [{"name": "x", "vhost": "/", "type": "fanout", "durable": true}],
    });
    let kept = import(&broker, &other).expect("what is there stays");
    let ttl = "inequivalent arg 'x-message-ttl' for queue 'plain' in vhost '/': received the value '5' of type 'long' \
               but current is none";
    let kind =
        "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'topic'";
    assert_eq!(kept["kept"], json!([kind, ttl]));
    assert_eq!(export(&broker), once);
}

/// Adds `entry` to a section of a document that is good without it, and shows that nothing of all is taken in.
#[track_caller]
fn refuses(broker: &Arc<Broker>, section: &str, entry: &Value, why: &str) {
    let before = export(broker);
    let mut document = real();
    document[section].as_array_mut().expect("a section is a list").push(entry.clone());
    assert_eq!(import(broker, &document).err().as_deref(), Some(why), "{section}: {entry}");
    assert_eq!(export(broker), before, "{section}: {entry}: something of it was taken in");
    assert_eq!(broker.vhosts().all().len(), 1, "{section}: {entry}");
}

#[test]
fn a_password_that_is_not_kept_safe_is_not_kept() {
    let broker = start(&SimDisk::default());
    let hash = "AAAAAL1sCOUxQYVOuCVBAtNA8eU=";
    let user = json!({"name": "old", "password_hash": hash, "hashing_algorithm": "rabbit_password_hashing_md5", "tags": ""});
    let imported = import(&broker, &json!({"users": [user]})).expect("the user is let in");
    let why = "the password of user 'old' is hashed by MD5, which is not safe: the user gets none";
    assert_eq!(imported["skipped"], json!([why]));
    assert_eq!(broker.users().get("old").map(|user| user.password), Some(None));
}

#[test]
fn nothing_is_taken_in_by_halves() {
    let broker = start(&SimDisk::default());
    let no = |section: &str, entry: Value, why: &str| refuses(&broker, section, &entry, why);
    no(
        "users",
        json!({"name": "u", "password_hash": "AAAA", "tags": []}),
        "user 'u': the password's hash is none of 'rabbit_password_hashing_sha256'",
    );
    no(
        "users",
        json!({"name": "u", "password_hash": "AAAA", "hashing_algorithm": "md5", "tags": []}),
        "user 'u': passwords cannot be hashed by 'md5'",
    );
    no("users", json!({"name": ""}), "the name of a user has 1 to 255 bytes, not 0");
    no("users", json!({"name": "u", "limits": {"max-cats": 1}}), "user 'u': there is no limit 'max-cats'");
    no(
        "vhosts",
        json!({"name": "w", "limits": {"max-queues": 1.5}}),
        "vhost 'w': max-queues is Float(1.5), which is no limit",
    );
    let permission = |user: &str, vhost: &str, pattern: &str| json!({"user": user, "vhost": vhost, "configure": pattern, "write": "", "read": ""});
    no("permissions", permission("nobody", "/", ""), "permission of user 'nobody': there is no such user");
    no(
        "permissions",
        permission("alice", "w", ""),
        "permission of user 'alice' in vhost 'w': there is no vhost 'w'",
    );
    no("queues", json!({"name": "q", "vhost": "w"}), "something is to be declared: there is no vhost 'w'");
    no("queues", json!({"name": "plain", "vhost": "/"}), "queue 'plain' in vhost '/' is defined twice");
}

#[test]
fn nothing_is_declared_by_halves() {
    let broker = start(&SimDisk::default());
    let no = |section: &str, entry: Value, why: &str| refuses(&broker, section, &entry, why);
    no(
        "queues",
        json!({"name": "q", "vhost": "/", "arguments": {"x-message-ttl": -1}}),
        "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': {value_negative,-1}",
    );
    no(
        "queues",
        json!({"name": "q", "vhost": "/", "durable": false, "type": "quorum"}),
        "invalid property 'non-durable' for queue 'q' in vhost '/'",
    );
    no(
        "exchanges",
        json!({"name": "", "vhost": "/", "type": "direct"}),
        "operation not permitted on the default exchange",
    );
    no("exchanges", json!({"name": "e", "vhost": "/", "type": "odd"}), "unknown exchange type 'odd'");
    let binding = json!({"source": "amq.headers", "vhost": "/", "destination": "plain", "destination_type": "queue",
                         "routing_key": "", "arguments": {"x-match": "some"}});
    no(
        "bindings",
        binding,
        "Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x",
    );
    let binding = json!({"source": "x", "vhost": "/", "destination": "plain", "destination_type": "cat", "routing_key": ""});
    no(
        "bindings",
        binding,
        "binding from 'x' to 'plain': a destination is a queue or an exchange, not 'cat'",
    );
    let policy = |definition: Value| json!({"vhost": "/", "name": "p", "pattern": "", "apply-to": "all", "priority": 0, "definition": definition});
    no(
        "policies",
        policy(json!({"message-ttl": -1})),
        "policy 'p' in vhost '/': -1 is not a valid message TTL",
    );
    no("policies", policy(json!({})), "policy 'p' in vhost '/': no policy provided");
    let limits =
        json!({"component": "vhost-limits", "name": "limits", "vhost": "w", "value": {"max-queues": 1}});
    no("parameters", limits, "parameter 'limits' of 'vhost-limits': the document has no vhost 'w'");
    assert_eq!(
        import(&broker, &json!([])).err().map(|why| why.contains("these are no definitions")),
        Some(true)
    );
    import(&broker, &real()).expect("and all of it without");
}

#[test]
fn definitions_are_on_disk_whole_or_not_at_all() {
    let disk = SimDisk::default();
    let broker = start(&disk);
    let without = normal(&export(&broker));
    broker.shutdown().expect("the disk works");
    drop(broker);
    let image = disk.image();
    let mut document = real();
    document["exchanges"].as_array_mut().unwrap().retain(|exchange| exchange["durable"] == true);
    let (mut whole, mut none, mut with) = (0, 0, None);
    for call in 1.. {
        let disk = SimDisk::holding(image.clone()).cut_at(call, call);
        let broker = start(&disk);
        import(&broker, &document).expect("a real one");
        let all = with.get_or_insert_with(|| normal(&export(&broker))).clone();
        let _cut = broker.shutdown();
        drop(broker);
        let Some(cut) = disk.take_cuts().pop() else { break };
        let found = normal(&export(&start(&SimDisk::holding(cut.image))));
        if found == without {
            none += 1;
        } else {
            assert_eq!(found, all, "call {call}");
            whole += 1;
        }
    }
    assert!(whole > 0 && none > 0, "{whole} whole, {none} none");
}

#[test]
fn the_first_user_goes_when_others_are_defined_at_the_first_start() {
    let broker = start(&SimDisk::default());
    let nobody = Source(json!({"vhosts": [{"name": "w"}]}));
    start_with(&broker, nobody, &caller()).expect("it can be taken in");
    assert!(broker.users().get("guest").is_some(), "nobody else could log in");
    let others = Source(json!({"users": [{"name": "op", "password": "x", "tags": "administrator"}]}));
    start_with(&broker, others.clone(), &caller()).expect("it can be taken in");
    assert!(broker.users().get("guest").is_none() && broker.users().get("op").is_some());

    let disk = SimDisk::default();
    start(&disk).shutdown().expect("the disk works");
    let broker = start(&SimDisk::holding(disk.image()));
    start_with(&broker, others, &caller()).expect("it can be taken in");
    assert!(broker.users().get("guest").is_some(), "somebody may be using it");
}
