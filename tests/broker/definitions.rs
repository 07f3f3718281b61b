//! Definitions, there and back: a real export of RabbitMQ's, nothing by halves, nothing twice.

use crate::broker::start_broker;
use crate::support::disk::SimDisk;
use leveret::admin::definitions::{DefinitionsOperation, Source, start_with};
use leveret::admin::{self, Answer, Caller, Operation, Requester};
use leveret::broker::{Broker, BrokerSettings};
use leveret::clock::Now;
use leveret::statistics::SamplesWanted;
use leveret::store::{Options, open_backend};
use serde_json::{Value, from_str, json, to_value};
use std::sync::Arc;

/// Made by `rabbitmqctl export_definitions`, with a bit of everything declared before.
const REAL: &str = include_str!("rabbitmq-4.3.6.json");

const NOW: Now = Now { mono_ms: 1000, unix_ms: 1_795_000_000_000 };

fn start(disk: &SimDisk) -> Arc<Broker> {
    let options = Options { journal_bytes: 3000, ..Options::default() };
    let opened = open_backend(disk.clone(), options).expect("the disk works");
    start_broker(opened, BrokerSettings::default(), NOW).expect("the store is sound")
}

fn caller() -> Caller {
    Caller {
        who: Requester::Operator("test".to_owned()),
        now: NOW,
        inquiry: None,
        samples: SamplesWanted::default(),
        rows: None,
    }
}

fn perform(broker: &Arc<Broker>, operation: DefinitionsOperation) -> Result<Value, String> {
    let performed = admin::perform(broker, Operation::Definitions(operation), &caller());
    let performed = performed.map_err(|refusal| refusal.message)?;
    let Answer::One(told) = performed.answer else { panic!("one thing is told") };
    Ok(to_value(*told).expect("it can be told"))
}

fn import(broker: &Arc<Broker>, document: &Value) -> Result<Value, String> {
    import_into(broker, document, None, false)
}

fn import_into(
    broker: &Arc<Broker>,
    document: &Value,
    vhost: Option<&str>,
    strict: bool,
) -> Result<Value, String> {
    let (document, vhost) = (Source(document.clone()), vhost.map(str::to_owned));
    let imported = perform(
        broker,
        DefinitionsOperation::ImportDefinitions { document, vhost, strict, skip_if_unchanged: false },
    )?;
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
    assert_eq!(
        imported,
        json!({"added": 15, "changed": 2, "same": 2, "kept": [], "skipped": [skipped], "warnings": []})
    );
    let alice = broker.users().get("alice").expect("she is defined");
    assert!(alice.password.is_some_and(|hash| hash.verify(b"secret")));

    let (mut before, mut after) = (normal(&real()), normal(&export(&broker)));
    // RabbitMQ leaves internal exchanges out, and the flag with them; and it has parameters that
    // are of no use here.
    before["bindings"].as_array_mut().unwrap().retain(|binding| binding["destination"] != "h");
    for exchange in after["exchanges"].as_array_mut().unwrap() {
        assert_eq!(exchange.as_object_mut().unwrap().shift_remove("internal"), Some(json!(false)));
    }
    // Every broker has it of its own.
    before["exchanges"].as_array_mut().unwrap().retain(|exchange| exchange["name"] != "amq.rabbitmq.log");
    for section in [
        "users",
        "vhosts",
        "permissions",
        "topic_permissions",
        "parameters",
        "global_parameters",
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
fn what_was_imported_last_is_skipped_if_that_is_asked_for() {
    let disk = SimDisk::default();
    let document = |queue: &str| json!({"queues": [{"name": queue, "vhost": "/"}]});
    let skipping = |broker: &Arc<Broker>, document: &Value, vhost: Option<&str>| {
        let (document, vhost) = (Source(document.clone()), vhost.map(str::to_owned));
        let operation = DefinitionsOperation::ImportDefinitions {
            document,
            vhost,
            strict: false,
            skip_if_unchanged: true,
        };
        let imported = perform(broker, operation).expect("it can be taken in")["imported"].clone();
        imported.get("unchanged") == Some(&json!(true))
    };
    let broker = start(&disk);
    import(&broker, &document("a")).expect("it can be taken in");
    assert_eq!(broker.parameters().list(), [], "nobody has asked for it yet");
    assert!(!skipping(&broker, &document("a"), None), "it is not known that it was the last one");
    let kept = broker.parameters().list();
    assert!(skipping(&broker, &document("a"), None));
    import(&broker, &document("a")).expect("it can be taken in");
    assert_eq!(broker.parameters().list(), kept, "again is as once");
    assert_eq!(export(&broker)["global_parameters"], json!([]), "it is not for other brokers");
    broker.shutdown().expect("the disk works");

    let broker = start(&SimDisk::holding(disk.image()));
    assert!(skipping(&broker, &document("a"), None), "it is known after a restart");
    assert!(!skipping(&broker, &document("a"), Some("/")), "it is not the same import");
    assert!(!skipping(&broker, &document("b"), None));
    assert!(skipping(&broker, &document("b"), None));
    import(&broker, &document("a")).expect("it can be taken in");
    assert!(!skipping(&broker, &document("b"), None), "another one was imported meanwhile");
    let faulty = json!({"queues": [{"name": "q", "vhost": "none"}]});
    import(&broker, &faulty).expect_err("there is no such vhost");
    assert!(skipping(&broker, &document("b"), None), "nothing came of that one");
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
    let again = import(&broker, &document).expect("the same");
    assert_eq!((&again["added"], &again["changed"]), (&json!(0), &json!(0)), "{again}");
    assert_eq!(export(&broker), once);
    let user = broker.users().get("clear").expect("it is defined");
    assert_eq!(user.tags, ["a", "b"]);
    assert!(user.password.is_some_and(|hash| hash.verify(b"in clear")));
    assert!(!once.to_string().contains("in clear"), "a password is never written");
    let other = json!({
        "queues": [{"name": "plain", "vhost": "/", "durable": true, "arguments": {"x-message-ttl": 5}}],
        "exchanges": [{"name": "x", "vhost": "/", "type": "fanout", "durable": true}],
        "parameters": [{"component": "shovel", "name": "s", "vhost": "/", "value": {}}],
        "bindings": [{"source": "gone", "vhost": "/", "destination": "plain", "destination_type": "queue"}],
    });
    let kept = import(&broker, &other).expect("what is there stays");
    assert_eq!(kept["skipped"].as_array().map(Vec::len), Some(2), "{kept}");
    for count in ["added", "changed", "same"] {
        assert_eq!(kept[count], json!(0), "what is kept or skipped is not counted: {kept}");
    }
    let ttl = "inequivalent arg 'x-message-ttl' for queue 'plain' in vhost '/': received the value '5' of type 'long' \
               but current is none";
    let kind =
        "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'topic'";
    assert_eq!(kept["kept"], json!([kind, ttl]));
    assert_eq!(export(&broker), once);
}

/// Adds `entry` to a section of a document that is good without it, and shows that nothing of all
/// is taken in.
#[track_caller]
fn refuses(broker: &Arc<Broker>, section: &str, entry: &Value, why: &str) {
    let before = export(broker);
    let mut document = real();
    document[section].as_array_mut().expect("a section is a list").push(entry.clone());
    assert_eq!(import(broker, &document).err().as_deref(), Some(why), "{section}: {entry}");
    assert_eq!(export(broker), before, "{section}: {entry}: something of it was taken in");
    assert_eq!(broker.vhosts().all().len(), 1, "{section}: {entry}");
}

/// As versions from 3.0 on wrote it, and tools for them; RabbitMQ 4.3.6 takes the user in by that
/// hash, too.
#[test]
fn what_older_versions_wrote_is_taken_in() {
    let broker = start(&SimDisk::default());
    let document = json!({
        "rabbit_version": "3.5.7",
        "users": [
            {"name": "old", "password_hash": "AQIDBDgk9ci8Lfh6CKE9Y0AUfmU=", "tags": "administrator"},
            {"name": "limited", "password_hash": "", "tags": [], "limits": [["max-channels", 5]]},
        ],
        "vhosts": [{"name": "/"}, {"name": "a", "limits": [["max-queues", 100]]}, {"name": "b", "limits": []}],
        "permissions": [{"user": "old", "vhost": "/", "configure": "^(?!amq\\.)", "write": ".*", "read": ".*"}],
        "parameters": [
            {"component": "vhost-limits", "name": "limits", "vhost": "b", "value": [["max-connections", 7]]},
        ],
        "policies": [
            {"vhost": "/", "name": "ha", "pattern": "^q", "definition": {"ha-mode": "all", "max-length": 9}},
            {"vhost": "/", "name": "lazy", "pattern": "^l", "definition": {"queue-mode": "lazy"}, "priority": 1},
        ],
        "queues": [
            {"name": "q", "vhost": "/", "durable": true, "auto_delete": false, "type": "classic", "arguments": {}},
            {"name": "r", "vhost": "/", "durable": true, "auto_delete": false, "arguments": []},
            {"name": "s", "vhost": "/", "durable": true, "auto_delete": false, "type": "rabbit_quorum_queue", "arguments": {}},
        ],
        "exchanges": [{"name": "e", "vhost": "/", "type": "topic", "durable": true, "auto_delete": false}],
        "bindings": [
            {"source": "e", "vhost": "/", "destination": "q", "destination_type": "queue", "arguments": {}},
        ],
    });
    let imported = import(&broker, &document).expect("it can be taken in");
    let weak = "the password of user 'old' is hashed with MD5, which is not safe: change it";
    let ha = "policy 'ha' in vhost '/': the key 'ha-mode' has no effect in Leveret";
    assert_eq!(
        imported,
        json!({"added": 12, "changed": 1, "same": 0, "kept": [], "skipped": [ha], "warnings": [weak]})
    );
    assert!(
        broker.accounts().is_password("old", b"secret") && !broker.accounts().is_password("old", b"other")
    );
    let after = export(&broker);
    assert_eq!(after["users"][1]["limits"], json!({"max-channels": 5}));
    let md5 = json!("rabbit_password_hashing_md5");
    assert_eq!((&after["users"][2]["name"], &after["users"][2]["hashing_algorithm"]), (&json!("old"), &md5));
    assert_eq!(after["vhosts"][1]["limits"], json!({"max-queues": 100}));
    assert_eq!(after["vhosts"][2]["limits"], json!({"max-connections": 7}));
    assert_eq!(after["policies"][0]["name"], "lazy");
    assert_eq!(after["policies"][1]["definition"], json!({"max-length": 9}));
    // None has gained a type that it did not say.
    let arguments: Vec<&Value> = (0..3).map(|at| &after["queues"][at]["arguments"]).collect();
    assert_eq!(arguments, [&json!({}), &json!({}), &json!({"x-queue-type": "quorum"})]);
    assert_eq!(after["bindings"][0]["routing_key"], "");
    import(&broker, &document).expect("again");
    import(&broker, &after).expect("and what was written of it");
    assert_eq!(export(&broker), after);
}

#[test]
fn a_type_that_is_said_counts_and_not_the_default_of_the_vhost() {
    let broker = start(&SimDisk::default());
    let queue = |name: &str, kind: Value| json!({"name": name, "vhost": "v", "type": kind, "arguments": {}});
    let document = json!({
        "vhosts": [{"name": "v", "metadata": {"default_queue_type": "quorum"}}],
        "queues": [queue("a", json!("classic")), queue("b", Value::Null), queue("c", json!("odd"))],
    });
    let odd = "queue 'c': unknown type 'odd'; only its arguments count";
    assert_eq!(import(&broker, &document).expect("it can be taken in")["skipped"], json!([odd]));
    let after = export(&broker);
    let kinds: Vec<&Value> = (0..3).map(|at| &after["queues"][at]["type"]).collect();
    assert_eq!(kinds, ["classic", "quorum", "quorum"]);
    assert_eq!(after["queues"][0]["arguments"], json!({}));
}

#[test]
fn a_queue_that_is_there_keeps_its_type_whatever_the_default_of_its_vhost_is_now() {
    let broker = start(&SimDisk::default());
    let document = |default: &str| {
        json!({
            "vhosts": [{"name": "v", "metadata": {"default_queue_type": default}}],
            "queues": [
                {"name": "lazy", "vhost": "v", "arguments": {"x-max-priority": 5}},
                {"name": "plain", "vhost": "v", "arguments": {}},
            ],
        })
    };
    import(&broker, &document("classic")).expect("it can be taken in");
    for _again in 0..2 {
        let imported = import(&broker, &document("quorum")).expect("what is there stays");
        assert_eq!(imported["kept"], json!([]));
    }
    let after = export(&broker);
    assert_eq!([0, 1].map(|at| &after["queues"][at]["type"]), ["classic", "classic"]);
}

/// Of no use here are keys that nobody knows, what plugins keep, and what every vhost has by
/// itself.
#[test]
fn what_is_left_out_is_told_and_refused_if_nothing_may_be() {
    let broker = start(&SimDisk::default());
    let policy = |name: &str, definition: Value| json!({"vhost": "/", "name": name, "pattern": "", "definition": definition});
    let document = json!({
        "quues": [],
        "explanation": "Definitions of cluster 'rabbit'",
        "vhosts": [{"name": "/", "tracing": true, "metadata": {"description": "d", "colour": "red"}}],
        "global_parameters": [{"name": "cluster_name", "value": "rabbit", "of": "x"}],
        "parameters": [{"component": "shovel", "name": "s", "vhost": "/", "value": {}}],
        "policies": [
            policy("fed", json!({"federation-upstream-set": "all"})),
            policy("old", json!({"queue-master-locator": "min-masters", "shards-per-node": 2, "expires": 9})),
        ],
        "queues": [{"name": "q", "vhost": "/"}],
        "exchanges": [{"name": "", "vhost": "/", "type": "direct"}],
        "bindings": [
            {"source": "", "vhost": "/", "destination": "q", "destination_type": "queue", "routing_key": "q"},
            {"source": "gone", "vhost": "/", "destination": "q", "destination_type": "queue", "routing_key": "k"},
        ],
    });
    let skipped = [
        "vhost '/': unknown key 'tracing'",
        "vhost '/': unknown key 'metadata.colour'",
        "global parameter 'cluster_name': unknown key 'of'",
        "unknown key 'quues' in the document; did you mean 'queues'?",
        "policy 'fed' in vhost '/': the key 'federation-upstream-set' has no effect in Leveret",
        "policy 'fed' in vhost '/' is left out: Leveret uses none of its keys",
        "policy 'old' in vhost '/': the key 'queue-master-locator' has no effect in Leveret",
        "policy 'old' in vhost '/': the key 'shards-per-node' has no effect in Leveret",
        "the parameter 's' in vhost '/' is for 'shovel', which this broker does not have",
        "exchange '' in vhost '/': every vhost has a default exchange already",
        "binding from '' to 'q' by 'q': every queue is bound to the default exchange by its name, and by no other key",
        "the binding from 'gone' to 'q': no exchange 'gone' in vhost '/'",
    ];
    let before = export(&broker);
    let refused = import_into(&broker, &document, None, true).expect_err("something would be left out");
    assert_eq!(refused, format!("{} problems: {}", skipped.len(), skipped.join("; ")));
    assert_eq!(export(&broker), before);
    let mut imported = import(&broker, &document).expect("it can be taken in");
    assert_eq!(imported["skipped"].take(), json!(skipped));
    assert_eq!(export(&broker)["policies"][0]["definition"], json!({"expires": 9}));
    import_into(&broker, &export(&broker), None, true).expect("nothing of our own is left out");
}

/// Whoever mends a document wants to do it once.
#[test]
fn all_faults_are_told_at_once() {
    let broker = start(&SimDisk::default());
    let before = export(&broker);
    let document = json!({
        "users": [{"password": "x"}, {"name": "u", "password_hash": "AAAA"}, {"name": "w", "tags": 5}],
        "vhosts": {"name": "v"},
        "permissions": [{"user": "nobody", "vhost": "/", "configure": "(", "write": "", "read": ""}],
        "policies": [{"vhost": "v", "name": "p", "pattern": "", "definition": {"expires": 0}}],
        "parameters": [{"component": "vhost-limits", "name": "limits", "vhost": "x", "value": {}}],
        "queues": [
            {"name": "q", "vhost": "/", "arguments": {"x-expires": 0}},
            {"name": "r", "vhost": "/"},
            {"name": "r", "vhost": "/", "durable": true},
            {"name": "r", "vhost": "/", "auto_delete": true},
        ],
        "exchanges": [{"name": "e", "vhost": "/", "type": "odd"}],
        "bindings": [{"source": "amq.direct", "vhost": "/", "destination": "q", "destination_type": "cat"}],
    });
    let faults = [
        "entry 1 of users: 'name' is missing",
        "entry 3 of users ('w'): tags are a list of strings, or one string with commas between them",
        "vhosts is not a list",
        "queue 'r' in vhost '/' is defined twice, in different ways",
        "user 'u': the password hash is not in base64, or not as long as rabbit_password_hashing_sha256 makes it",
        "binding from 'amq.direct' to 'q': a destination is a queue or an exchange, not 'cat'",
        "limits of vhost 'x': there is no vhost 'x'",
        "permission of user 'nobody' in vhost '/': '(' is not a pattern: missing closing parenthesis",
        "policy 'p' in vhost 'v': 0 is not a valid queue expiry",
        "policy 'p' in vhost 'v': there is no vhost 'v'",
        "exchange 'e' in vhost '/': unknown exchange type 'odd'",
        "invalid arg 'x-expires' for queue 'q' in vhost '/': {value_zero,0}",
        "permission of user 'nobody': there is no such user",
    ];
    let refused = import(&broker, &document).expect_err("almost all of it is wrong");
    assert_eq!(refused, format!("{} problems: {}", faults.len(), faults.join("; ")));
    assert_eq!(export(&broker), before);
}

/// Made by RabbitMQ's `GET /api/definitions/VHOST`: nothing in it says where it is.
const ONE_VHOST: &str = include_str!("rabbitmq-4.3.6-vhost.json");

#[test]
fn one_vhost_goes_into_another() {
    let broker = start(&SimDisk::default());
    import(&broker, &json!({"vhosts": [{"name": "to"}]})).expect("a vhost");
    let names = |vhost: &str| -> Vec<String> {
        let queues = export(&broker)["queues"].take();
        let of_vhost = queues.as_array().into_iter().flatten().filter(|queue| queue["vhost"] == vhost);
        of_vhost.map(|queue| queue["name"].to_string()).collect()
    };
    let one: Value = from_str(ONE_VHOST).expect("it is JSON");
    let imported = import_into(&broker, &one, Some("to"), false).expect("a real one");
    let fed = "policy 'fed' in vhost 'to': the key 'federation-upstream-set' has no effect in Leveret";
    assert_eq!(imported["skipped"][0], fed);
    assert_eq!((names("to").len(), names("/").len()), (7, 0));
    import(&broker, &one).expect("it goes into '/' if nothing else is said");
    assert_eq!(names("/"), names("to"));

    let queue = |vhost: &str, name: &str| json!({"name": name, "vhost": vhost});
    let document =
        json!({"users": [{"name": "u"}], "queues": [queue("a", "1"), queue("b", "2"), queue("to", "3")]});
    let imported = import_into(&broker, &document, Some("to"), false).expect("it is of that vhost, too");
    let users = "users are not imported: an import into vhost 'to' has none";
    let other = |name: &str| format!("1 entries belong to vhost '{name}', not to vhost 'to'");
    assert_eq!(imported["skipped"], json!([users, other("a"), other("b")]));
    assert!(names("to").contains(&"\"3\"".to_owned()) && names("to").len() == 8);
    let which =
        "it has entries of the vhosts 'a', 'b', 'to'; only one of them can be imported into vhost '/'";
    assert_eq!(import_into(&broker, &document, Some("/"), false), Err(which.to_owned()));
    let nowhere = "there is no vhost 'two'; did you mean 'to'?";
    assert_eq!(import_into(&broker, &document, Some("two"), false), Err(nowhere.to_owned()));
}

#[test]
fn nothing_is_taken_in_by_halves() {
    let broker = start(&SimDisk::default());
    let no = |section: &str, entry: Value, why: &str| refuses(&broker, section, &entry, why);
    no(
        "users",
        json!({"name": "u", "password_hash": "AAAA", "tags": []}),
        "user 'u': the password hash is not in base64, or not as long as rabbit_password_hashing_sha256 makes it",
    );
    no(
        "users",
        json!({"name": "u", "password_hash": "AAAA", "hashing_algorithm": "md5", "tags": []}),
        "user 'u': unknown password hash 'md5'",
    );
    no("users", json!({"name": ""}), "the name of a user has 1 to 255 bytes, not 0");
    no("users", json!({"name": "u", "limits": {"max-cats": 1}}), "user 'u': unknown limit 'max-cats'");
    no(
        "vhosts",
        json!({"name": "w", "limits": {"max-queues": 1.5}}),
        "vhost 'w': max-queues is not a whole number",
    );
    let permission = |user: &str, vhost: &str, pattern: &str| json!({"user": user, "vhost": vhost, "configure": pattern, "write": "", "read": ""});
    no("permissions", permission("nobody", "/", ""), "permission of user 'nobody': there is no such user");
    no(
        "permissions",
        permission("alice", "w", ""),
        "permission of user 'alice' in vhost 'w': there is no vhost 'w'",
    );
    no("queues", json!({"name": "q", "vhost": "w"}), "queue 'q': there is no vhost 'w'");
    no(
        "queues",
        json!({"name": "plain", "vhost": "/"}),
        "queue 'plain' in vhost '/' is defined twice, in different ways",
    );
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
    let untyped = "exchange 'e' in vhost '/': unknown exchange type 'odd'";
    no("exchanges", json!({"name": "e", "vhost": "/", "type": "odd"}), untyped);
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
    no("parameters", limits, "limits of vhost 'w': there is no vhost 'w'");
    assert_eq!(import(&broker, &json!([])).err().map(|why| why.contains("not a JSON object")), Some(true));
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

/// Others reach the disk between two parts. What a crash leaves is in order, and is completed by
/// the same import.
#[test]
fn many_definitions_are_made_in_parts() {
    let names = |kind: &str, count: usize| (0..count).map(|n| format!("{kind}{n}")).collect::<Vec<_>>();
    let (users, queues) = (names("user", 6000), names("queue", 3000));
    let document = json!({
        "users": users.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
        "permissions": users.iter().map(|name| {
            json!({"user": name, "vhost": "/", "configure": "", "write": "", "read": ""})
        }).collect::<Vec<_>>(),
        "queues": queues.iter().map(|name| json!({"name": name, "vhost": "/"})).collect::<Vec<_>>(),
        "bindings": queues.iter().flat_map(|name| ["a", "b", "c"].map(|key| {
            json!({"source": "amq.topic", "vhost": "/", "destination": name, "destination_type": "queue",
                   "routing_key": key, "arguments": {}})
        })).collect::<Vec<_>>(),
    });
    let counts = |broker: &Arc<Broker>| {
        let all = export(broker);
        ["users", "permissions", "queues", "bindings"].map(|of| all[of].as_array().expect("a list").len())
    };
    let disk = SimDisk::default();
    let broker = start(&disk);
    let (before, first) = (counts(&broker), disk.calls());
    import(&broker, &document).expect("it can be made");
    let after = counts(&broker);
    broker.shutdown().expect("the disk works");
    let last = disk.calls();
    let mut partly = 0;
    for tenth in 1..10 {
        let disk = SimDisk::default().cut_at(first + (last - first) * tenth / 10, tenth);
        let broker = start(&disk);
        import(&broker, &document).expect("it can be made");
        let _cut = broker.shutdown();
        drop(broker);
        let Some(cut) = disk.take_cuts().pop() else { continue };
        let broker = start(&SimDisk::holding(cut.image));
        let found = counts(&broker);
        if found != before && found != after {
            partly += 1;
        }
        for (at, pair) in found.windows(2).enumerate() {
            assert!(pair[0] == after[at] || pair[1] == before[at + 1], "cut {tenth}: {found:?} of {after:?}");
        }
        import(&broker, &document).expect("the rest");
        assert_eq!(counts(&broker), after, "cut {tenth}");
    }
    assert!(partly > 0, "all of it was one group");
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
