//! Vhosts over restarts, power cuts and races, and what an operator may not do with them.

use super::fixtures::{ME, durable, persistent};
use super::power_cut::{Bell, wait_for};
use crate::broker::start_broker;
use crate::store::golden::image;
use crate::support::disk::SimDisk;
use crate::support::draw::Draw;
use crate::support::folder::Folder;
use crate::support::log::{MemoryLog, NoPages};
use leveret::admin::{Operation, wait_for_leaving_vhosts};
use leveret::auth::permission::Permission;
use leveret::auth::vhost::{ROOT, VHostLimits, VHostRecord};
use leveret::broker::vhost::{Bind, Destination, ExchangeDeclare, QueueDeclare, VHost};
use leveret::broker::vhosts::{VHostError, VHostMetadata};
use leveret::broker::{Broker, BrokerSettings};
use leveret::clock::Now;
use leveret::config::Limits;
use leveret::ids::{ConnectionId, Ticket};
use leveret::message::table::{FieldTable, FieldValue};
use leveret::message::{Block, Message};
use leveret::queue::mailbox::Mailbox;
use leveret::queue::{Got, Queue, Settled};
use leveret::store::change::Recovered;
use leveret::store::{FILE_NAME, Opened, Options, open, open_backend};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use tokio::time::timeout;

const NOW: Now = Now { mono_ms: 1000, unix_ms: 1_795_000_000_000 };

fn start(disk: &SimDisk) -> Arc<Broker> {
    let options = Options { journal_bytes: 3000, ..Options::default() };
    let opened = open_backend(disk.clone(), options).expect("the disk works");
    start_broker(opened, BrokerSettings::default(), NOW).expect("the store is sound")
}

/// Stops the broker and starts it again on what is on disk.
fn restart(broker: Arc<Broker>, disk: &mut SimDisk) -> Arc<Broker> {
    broker.shutdown().expect("the disk works");
    drop(broker);
    *disk = SimDisk::holding(disk.image());
    start(disk)
}

fn names(broker: &Broker) -> Vec<String> {
    let kept: Vec<_> = broker.vhosts().list().into_iter().map(|vhost| vhost.name).collect();
    let there: Vec<_> = broker.vhosts().all().iter().map(|vhost| vhost.name.to_string()).collect();
    assert_eq!(kept, there, "what is kept is there");
    kept
}

fn permission(vhost: &str) -> Permission {
    let [user, vhost, configure, write, read] = ["guest", vhost, ".*", ".*", ".*"].map(str::to_owned);
    Permission { user, vhost, configure, write, read }
}

fn add(broker: &Broker, name: &str) -> Arc<VHost> {
    broker.vhosts().create(VHostRecord::named(name)).expect("it can be added");
    broker.users().set_permission(permission(name)).expect("both are there");
    broker.vhosts().get(name).expect("it was added")
}

fn declare(vhost: &VHost, name: &str, arguments: &[(&str, &str)]) -> (Arc<Queue>, Ticket) {
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert((*key).into(), FieldValue::LongString((*value).into()));
    }
    vhost.declare_queue(queue(name, table)).expect("it can be declared")
}

fn queue(name: &str, arguments: FieldTable) -> QueueDeclare {
    durable(name, arguments, NOW)
}

/// A durable exchange, of that name, bound to a queue, and to another exchange that was always
/// there.
fn bind(vhost: &VHost, exchange: &str, queue: &str) {
    let declare = ExchangeDeclare {
        name: exchange.into(),
        kind: "fanout".into(),
        passive: false,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: FieldTable::default(),
    };
    vhost.declare_exchange(declare).expect("it is new");
    let to = |source: &str, destination| Bind {
        source: source.into(),
        destination,
        routing_key: b"k".to_vec(),
        arguments: FieldTable::default(),
    };
    vhost.bind(to(exchange, Destination::Queue(queue.into())), ME).expect("both are there");
    vhost.bind(to("amq.direct", Destination::Exchange("amq.topic".into())), ME).expect("both are there");
}

fn publish(broker: &Broker, vhost: &VHost, exchange: &str, key: &str, body: &str) -> Ticket {
    let message = Message {
        arrived_at_ms: NOW.unix_ms,
        exchange: exchange.as_bytes(),
        routing_key: key.as_bytes(),
        body: body.as_bytes(),
        ..persistent()
    };
    let route = vhost.route(exchange.as_bytes(), key.as_bytes(), &[0, 0]).expect("the exchange is there");
    broker.enqueue(&route, Block::of(&message), NOW).ticket
}

/// Takes the next message, without settling it.
fn next(broker: &Broker, queue: &Arc<Queue>) -> Option<(u64, String)> {
    let mailbox = Mailbox::new();
    loop {
        match broker.get(queue, false, &mailbox, NOW) {
            Got::Message { first, block, index, .. } => {
                return Some((first, String::from_utf8_lossy(block.message(index).body).into_owned()));
            }
            Got::Empty => return None,
            Got::Paging => wait_for(&mailbox),
        }
    }
}

fn body(broker: &Broker, vhost: &VHost, name: &str) -> Option<String> {
    let queue = vhost.queue(name, ME).expect("it is there");
    next(broker, &queue).map(|(_, body)| body)
}

#[test]
fn vhosts_and_what_is_in_them_outlive_the_broker() {
    let mut disk = SimDisk::default();
    let broker = start(&disk);
    assert_eq!(broker.vhosts().list(), [VHostRecord::root()]);
    let (root, v) = (broker.vhost(), add(&broker, "v"));
    let (of_root, _) = declare(&root, "q", &[]);
    let (of_v, _) = declare(&v, "q", &[]);
    assert_ne!(of_root.id, of_v.id, "ids are of all vhosts");
    bind(&v, "x", "q");
    publish(&broker, &v, "x", "", "of v");
    publish(&broker, &root, "", "q", "of root");
    let limits = VHostLimits { connections_max: Some(3), queues_max: Some(1) };
    broker.vhosts().set_limits("v", limits).expect("it is there");
    let metadata = VHostMetadata {
        description: Some("of the shop".into()),
        tags: Some(vec!["b".into(), "a".into()]),
        default_queue_type: Some("quorum".into()),
    };
    broker.vhosts().set_metadata("v", metadata).expect("it is there");
    let kept = broker.vhosts().list();
    assert_eq!((kept[1].limits, &kept[1].tags), (limits, &vec!["a".to_owned(), "b".to_owned()]));

    let broker = restart(broker, &mut disk);
    assert_eq!(broker.vhosts().list(), kept);
    assert_eq!(names(&broker), [ROOT, "v"]);
    let v = broker.vhosts().get("v").expect("it was added");
    assert_eq!(body(&broker, &v, "q").as_deref(), Some("of v"));
    assert_eq!(body(&broker, &broker.vhost(), "q").as_deref(), Some("of root"));
    assert!(broker.vhost().route(b"x", b"", &[0, 0]).is_err(), "the exchange is in another vhost");
    assert_eq!(v.connections.max(), 3);
    let refused = v.declare_queue(queue("r", FieldTable::default())).expect_err("one is the limit");
    assert!(refused.to_string().ends_with("queue limit in vhost 'v' (1) is reached"), "{refused}");
    assert_eq!(broker.gauges().queues, 2);
}

#[test]
fn what_is_deleted_stays_away() {
    let mut disk = SimDisk::default();
    let broker = start(&disk);
    add(&broker, "v");
    declare(&broker.vhost(), "q", &[]);
    broker.vhosts().delete(ROOT).expect("it is there");
    assert_eq!(names(&broker), ["v"]);
    assert_eq!(broker.users().permissions(), [permission("v")]);
    let broker = restart(broker, &mut disk);
    assert_eq!(names(&broker), ["v"]);
    let refused = broker.vhost().declare_queue(queue("q", FieldTable::default()));
    assert!(refused.is_err(), "there is no root to declare it in");
    broker.vhosts().delete("v").expect("it is there");
    let broker = restart(broker, &mut disk);
    assert_eq!(names(&broker), [""; 0]);
    add(&broker, ROOT);
    assert!(broker.vhost().queue("q", ME).is_err(), "another root is empty");
    assert_eq!(broker.gauges().queues, 0);
}

#[test]
fn a_file_that_knew_one_vhost_gets_others() {
    let folder = Folder::new();
    fs::write(folder.at(FILE_NAME), image("3-killed")).expect("there is room");
    for expected in [&[ROOT, "v"][..], &[ROOT, "v", "w"]] {
        let opened = open(&folder.at(""), Options::default()).expect("it is ours");
        let broker = start_broker(opened, BrokerSettings::default(), NOW).expect("the store is sound");
        broker.vhost().queue("plain", ME).expect("it was in the only vhost there was");
        add(&broker, expected[expected.len() - 1]);
        assert_eq!(names(&broker), expected);
        broker.shutdown().expect("the disk works");
    }
}

#[test]
fn a_deletion_is_whole_whenever_the_power_is_cut() {
    let disk = SimDisk::default();
    let broker = start(&disk);
    let v = add(&broker, "v");
    for name in ["a", "b", "c"] {
        declare(&v, name, &[]);
        bind(&v, &format!("x-{name}"), name);
        publish(&broker, &v, "", name, "kept");
    }
    declare(&broker.vhost(), "a", &[]);
    broker.shutdown().expect("the disk works");
    drop((broker, v));
    let image = disk.image();
    let (mut whole, mut gone) = (0, 0);
    for call in 1.. {
        let disk = SimDisk::holding(image.clone()).cut_at(call, call);
        let broker = start(&disk);
        broker.vhosts().delete("v").expect("it is there");
        let _cut = broker.shutdown();
        drop(broker);
        let Some(cut) = disk.take_cuts().pop() else { break };
        let broker = start(&SimDisk::holding(cut.image));
        broker.vhost().queue("a", ME).expect("the other vhost is not concerned");
        if broker.vhosts().get("v").is_some() {
            whole += 1;
            let v = broker.vhosts().get("v").expect("it was asked for");
            assert_eq!(broker.users().permissions().len(), 2, "call {call}");
            for name in ["a", "b", "c"] {
                assert_eq!(body(&broker, &v, name).as_deref(), Some("kept"), "call {call}");
                let route = v.route(format!("x-{name}").as_bytes(), b"", &[0, 0]).expect("it is there");
                assert_eq!(route.queues.len(), 1, "call {call}");
            }
        } else {
            gone += 1;
            assert_eq!(names(&broker), [ROOT], "call {call}");
            assert_eq!(broker.users().permissions(), [permission(ROOT)], "call {call}");
            assert_eq!(broker.gauges().queues, 1, "call {call}");
            let v = add(&broker, "v");
            assert!(v.route(b"x-a", b"", &[0, 0]).is_err(), "call {call}: an exchange is left");
            assert!(v.queue("a", ME).is_err(), "call {call}: a queue is left");
        }
    }
    assert!(whole > 2 && gone > 2, "{whole} cuts before it, {gone} after it");
}

/// More things than are deleted in one commit.
const MANY: usize = 600;

fn add_large(broker: &Broker) -> Arc<VHost> {
    let v = add(broker, "v");
    for number in 0..MANY {
        declare(&v, &format!("q{number}"), &[]);
    }
    v
}

/// Waits until nothing is left of `v`, by adding another.
fn add_again(broker: &Broker, when: &str) -> Arc<VHost> {
    let v = add(broker, "v");
    assert_eq!(v.list_queues().len(), 0, "{when}: a queue is left");
    assert!(v.list_bindings().is_empty(), "{when}: a binding is left");
    assert!(v.route(b"x-a", b"", &[0, 0]).is_err(), "{when}: an exchange is left");
    v
}

#[test]
fn a_large_vhost_goes_in_parts_that_let_others_in() {
    let log = MemoryLog::new();
    let recovered = Recovered { clean: true, ..Recovered::default() };
    let opened = Opened { log: Arc::clone(&log) as _, pages: Arc::new(NoPages), recovered };
    let broker = start_broker(opened, BrokerSettings::default(), NOW).expect("an empty store");
    let v = add_large(&broker);
    for number in 0..4 * MANY {
        let bind = Bind {
            source: "amq.topic".into(),
            destination: Destination::Queue("q0".into()),
            routing_key: number.to_string().into_bytes(),
            arguments: FieldTable::default(),
        };
        v.bind(bind, ME).expect("both are there");
    }
    let (waits, _so_far) = (log.waits(), log.take_largest());
    broker.vhosts().delete("v").expect("it is there");
    assert_eq!((names(&broker), broker.gauges().queues), (vec![ROOT.to_owned()], 0), "it is gone at once");
    assert_eq!(broker.users().permissions(), [permission(ROOT)]);
    assert!(v.is_deleted() && v.declare_queue(queue("late", FieldTable::default())).is_err());
    let again = add_again(&broker, "at once");
    let (waits, largest) = (log.waits() - waits, log.take_largest());
    assert!(largest <= 2000, "{largest} changes are appended as one");
    assert!(waits >= 10, "{waits} of the parts waited for room in the log");
    assert_eq!(v.list_bindings().len(), 0);
    declare(&again, "q0", &[]);
    assert_eq!((again.list_queues().len(), v.list_queues().len()), (1, 0));
}

/// Each of those that wait would keep one of the few places for operations.
#[test]
fn who_wants_the_name_of_a_vhost_that_goes_waits_outside() {
    let log = MemoryLog::new();
    let recovered = Recovered { clean: true, ..Recovered::default() };
    let opened = Opened { log, pages: Arc::new(NoPages), recovered };
    let broker = start_broker(opened, BrokerSettings::default(), NOW).expect("an empty store");
    let operation = |name: &str| {
        let operation = json!({"vhosts": {"add_vhost": {"vhost": name, "description": "", "tags": []}}});
        serde_json::from_value::<Operation>(operation).expect("it is one")
    };
    let import = json!({"definitions": {"import_definitions": {"document": {}}}});
    let import = serde_json::from_value(import).expect("it is one");
    add_large(&broker);
    // Nobody deletes what is left any more.
    broker.shutdown().expect("the log is in memory");
    broker.vhosts().delete("v").expect("it is there");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime can be made");
    let waits = |operation: &Operation| {
        let wait = wait_for_leaving_vhosts(&broker, operation);
        runtime.block_on(async { timeout(Duration::from_secs(1), wait).await.is_err() })
    };
    assert_eq!(
        [operation("v"), operation("w"), import].map(|operation| waits(&operation)),
        [true, false, true]
    );
    add_again(&broker, "at once");
    assert!(!waits(&operation("v")), "it is gone");
}

#[test]
fn a_large_deletion_is_whole_whenever_the_power_is_cut() {
    let disk = SimDisk::default();
    let broker = start(&disk);
    let v = add_large(&broker);
    declare(&v, "a", &[]);
    bind(&v, "x-a", "a");
    publish(&broker, &v, "", "a", "kept");
    declare(&broker.vhost(), "a", &[]);
    broker.shutdown().expect("the disk works");
    drop((broker, v));
    let image = disk.image();
    let (mut whole, mut begun, mut anew) = (0, 0, 0);
    for call in (1..).step_by(3) {
        let disk = SimDisk::holding(image.clone()).cut_at(call, call);
        let broker = start(&disk);
        let deleted = broker.vhosts().delete("v").expect("it is there");
        let bell = Arc::new(Bell::default());
        broker.log().notify(deleted, &(Arc::clone(&bell) as _));
        bell.wait(deleted);
        let v = add_again(&broker, "at once");
        declare(&v, "a", &[]);
        let _cut = broker.shutdown();
        drop((broker, v));
        let Some(cut) = disk.take_cuts().pop() else { break };
        let (mut disk, when) = (SimDisk::holding(cut.image), format!("call {call}"));
        let broker = start(&disk);
        broker.vhost().queue("a", ME).expect("the other vhost is not concerned");
        let Some(v) = broker.vhosts().get("v") else {
            begun += 1;
            assert_eq!(names(&broker), [ROOT], "{when}");
            assert_eq!(broker.users().permissions(), [permission(ROOT)], "{when}");
            assert_eq!(broker.gauges().queues, 1, "{when}");
            let v = add_again(&broker, &when);
            declare(&v, "b", &[]);
            let broker = restart(broker, &mut disk);
            let v = broker.vhosts().get("v").expect("it was added again");
            assert_eq!(v.list_queues().len(), 1, "{when}: what was declared later stays");
            continue;
        };
        if v.route(b"x-a", b"", &[0, 0]).is_ok() {
            whole += 1;
            assert_eq!((v.list_queues().len(), body(&broker, &v, "a").as_deref()), (MANY + 1, Some("kept")));
        } else {
            anew += 1;
            let left = v.list_queues().len();
            assert!(left <= 1, "{when}: {left} queues of the old one");
            assert_eq!(v.queue("a", ME).ok().and_then(|queue| next(&broker, &queue)), None, "{when}");
        }
    }
    assert!(whole > 2 && begun > 2 && anew > 0, "{whole} before it, {begun} meanwhile, {anew} afterwards");
}

#[test]
fn a_start_goes_on_with_a_deletion() {
    let mut disk = SimDisk::default();
    let broker = start(&disk);
    let v = add_large(&broker);
    broker.vhosts().delete("v").expect("it is there");
    // What the thread that deletes it has not done by then stays on disk.
    let broker = restart(broker, &mut disk);
    drop(v);
    assert_eq!(broker.gauges().queues, 0);
    add_again(&broker, "after a restart");
    broker.vhosts().delete("v").expect("it is there");
    let broker = restart(broker, &mut disk);
    broker.shutdown().expect("the disk works");
    drop(broker);
    let found =
        open_backend(SimDisk::holding(disk.image()), Options::default()).expect("it is ours").recovered;
    assert_eq!(found.queues.len(), 0);
    let text = format!("{:?}", found.auth);
    assert!(!text.contains("BeginVHostDeletion") && !text.contains("\"v\""), "{text}");
}

#[test]
fn nothing_is_declared_in_a_vhost_that_goes() {
    let mut disk = SimDisk::default();
    let broker = start(&disk);
    let v = add(&broker, "v");
    let (work, _) =
        declare(&v, "work", &[("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", "dead")]);
    declare(&v, "dead", &[]);
    declare(&broker.vhost(), "dead", &[]);
    publish(&broker, &v, "", "work", "held");
    let (seq, _) = next(&broker, &work).expect("it was published");
    broker.vhosts().delete("v").expect("it is there");
    let refused = v.declare_queue(queue("late", FieldTable::default())).expect_err("it is gone");
    assert_eq!(refused.to_string(), "vhost 'v' is deleted");
    let range = leveret::ids::SeqRange { first: seq, end: seq + 1 };
    broker.reject(&work, &[Settled { consumer: None, range }], NOW);
    add(&broker, "v");
    assert_eq!(body(&broker, &broker.vhost(), "dead"), None, "a dead letter goes nowhere else");
    let broker = restart(broker, &mut disk);
    let v = broker.vhosts().get("v").expect("it was added again");
    assert!(v.queue("late", ME).is_err() && v.queue("dead", ME).is_err());
}

#[test]
fn operators_are_told_what_is_wrong() {
    let opened = open_backend(SimDisk::default(), Options::default()).expect("the disk works");
    let limits = Limits { vhosts_max: 2, ..Limits::default() };
    let broker = start_broker(opened, BrokerSettings { limits, ..BrokerSettings::default() }, NOW)
        .expect("the store is sound");
    let vhosts = broker.vhosts();
    let text = |outcome: Result<Ticket, VHostError>| outcome.map(|_| ()).map_err(|error| error.to_string());
    let refused = |why: &str| Err(why.to_owned());
    assert_eq!(text(vhosts.delete("v")), refused("there is no vhost 'v'"));
    assert_eq!(text(vhosts.set_limits("v", VHostLimits::default())), refused("there is no vhost 'v'"));
    assert_eq!(
        text(vhosts.create(VHostRecord::named(""))),
        refused("the name of a vhost has 1 to 255 bytes, not 0")
    );
    let bogus = VHostMetadata { default_queue_type: Some("bogus".into()), ..VHostMetadata::default() };
    assert_eq!(
        text(vhosts.set_metadata(ROOT, bogus)),
        refused("the default queue type is classic, quorum or stream, not 'bogus'")
    );
    add(&broker, "v");
    let other = VHostRecord { description: "other".into(), ..VHostRecord::named("v") };
    assert_eq!(text(vhosts.create(other)), Ok(()), "as in RabbitMQ");
    assert_eq!(vhosts.record("v"), Some(VHostRecord::named("v")), "which changes nothing then");
    assert_eq!(
        text(vhosts.create(VHostRecord::named("w"))),
        refused("cannot create vhost 'w': vhost limit of 2 is reached")
    );
    assert!(broker.users().set_permission(permission("w")).is_err());
}

/// Connections come and go while the vhost is deleted and added again: never more than may be
/// there, nobody in a vhost that is gone, and in the end no place is taken.
#[test]
fn places_are_counted_exactly_while_all_come_and_go() {
    const MAX: u32 = 3;
    const WORKERS: usize = 6;
    let disk = SimDisk::default();
    let broker = start(&disk);
    let limits = VHostLimits { connections_max: Some(MAX), queues_max: None };
    let add = || {
        broker.vhosts().create(VHostRecord { limits, ..VHostRecord::named("v") }).expect("there is room");
        broker.vhosts().get("v").expect("only this thread deletes it")
    };
    let seen = AtomicU64::new(0);
    let all = std::sync::Mutex::new(vec![add()]);
    let start = Barrier::new(WORKERS);
    let rounds = 300;
    thread::scope(|scope| {
        for worker in 1..=WORKERS as u64 {
            let (broker, add, seen, all, start) = (&broker, &add, &seen, &all, &start);
            scope.spawn(move || {
                let mailbox = Mailbox::new();
                let id = ConnectionId(worker);
                broker.accounts().log_in(id, ("guest", None), true, &mailbox).expect("guest is there");
                start.wait();
                for round in 0..rounds {
                    if worker == 1 && round % 10 == 9 {
                        broker.vhosts().delete("v").expect("only this thread deletes it");
                        all.lock().expect("nobody panics with it").push(add());
                    }
                    let Some(vhost) = broker.vhosts().get("v") else { continue };
                    if let Ok(entry) = broker.accounts().enter(id, &vhost) {
                        seen.fetch_add(1, Ordering::Relaxed);
                        thread::yield_now();
                        assert!((1..=u64::from(MAX)).contains(&vhost.connections.taken()));
                        drop(entry);
                    }
                }
                broker.accounts().log_out(id);
            });
        }
    });
    // How many of the others found it there and had a place is for the scheduler to say.
    assert!(seen.into_inner() > 0, "everybody was refused");
    let all = all.into_inner().expect("nobody panics with it");
    assert!(all.len() > 20);
    assert!(all.iter().all(|vhost| vhost.connections.taken() == 0), "a place is lost");
    // The user's places are all free too: as many as there are can be taken.
    broker
        .users()
        .set_limits("guest", leveret::auth::user::UserLimits { connections_max: Some(2), channels_max: None })
        .expect("it is there");
    let vhost = broker.vhost();
    let enter = |id: u64| {
        let mailbox = Mailbox::new();
        broker.accounts().log_in(ConnectionId(id), ("guest", None), true, &mailbox).expect("guest is there");
        broker.accounts().enter(ConnectionId(id), &vhost)
    };
    let (one, two, three) = (enter(11), enter(12), enter(13));
    assert!(one.is_ok() && two.is_ok() && three.is_err());
}

/// Random declarations in three vhosts, with restarts: each has its own, and no other's.
#[test]
fn what_is_in_one_vhost_is_in_no_other() {
    let seed = 4711;
    let mut draw = Draw::new(seed);
    let mut disk = SimDisk::default();
    let mut broker = start(&disk);
    let mut expected: BTreeSet<(String, String)> = BTreeSet::new();
    for round in 0..200 {
        let vhost = format!("v{}", draw.below(3));
        let name = format!("q{}", draw.below(5));
        match draw.below(8) {
            0 => {
                if broker.vhosts().delete(&vhost).is_ok() {
                    expected.retain(|(of, _)| *of != vhost);
                }
            }
            1 => {
                broker = restart(broker, &mut disk);
            }
            2 | 3 => {
                if let Some(found) = broker.vhosts().get(&vhost)
                    && found.delete_queue(&name, ME, false, false).is_ok()
                {
                    expected.remove(&(vhost, name));
                }
            }
            _ => {
                broker.vhosts().create(VHostRecord::named(&vhost)).expect("there is room");
                declare(&broker.vhosts().get(&vhost).expect("it is there"), &name, &[]);
                expected.insert((vhost, name));
            }
        }
        let mut found = BTreeSet::new();
        for vhost in broker.vhosts().all() {
            vhost.each_queue(|queue| {
                found.insert((vhost.name.to_string(), queue.name.to_string()));
            });
        }
        assert_eq!(found, expected, "seed {seed}, round {round}");
    }
}
