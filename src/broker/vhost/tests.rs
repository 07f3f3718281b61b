//! What clients are told, and what reaches the log.

mod removal;
mod routing;

use super::*;
use crate::arguments::table::ALTERNATE_EXCHANGE;
use crate::auth::vhost::ROOT;
use crate::broker::policies::PolicyBook;
use crate::broker::{AlarmLimits, Alarms};
use crate::config::{CurrentLimits, Limits};
use crate::ids::{ConsumerId, QueueId};
use crate::message::properties::NONE;
use crate::message::table::FieldTable;
use crate::message::{Block, Message};
use crate::queue::mailbox::{Mail, Mailbox};
use crate::queue::timers::Timers;
use crate::queue::{ChannelLimit, Consumer};
use crate::routing::topology::encoded;
use crate::store::change::{
    BindingRecord, Change, ExchangeRecord, Log, QueueRecord, Recovered, RecoveredQueue,
};
use crate::store::fake::FakeLog;
use crate::store::seen::{SeenBy, SeenRecord};

const ME: ConnectionId = ConnectionId(1);
const OTHER: ConnectionId = ConnectionId(2);

struct Fixture {
    vhost: Arc<VHost>,
    log: Arc<FakeLog<Vec<Vec<Change>>>>,
}

fn recover(recovered: &Recovered) -> Fixture {
    let log = Arc::<FakeLog<Vec<Vec<Change>>>>::default();
    let limits = Arc::new(CurrentLimits::new(Limits::default()));
    let (timers, next_queue) = (Arc::<Timers>::default(), recovered.next_queue);
    let policies = PolicyBook::recover(Vec::new(), log.clone());
    let alarms = Arc::new(Alarms::new(AlarmLimits::default()));
    let context =
        BrokerContext::new(log.clone(), timers, limits, next_queue, policies, (Arc::default(), alarms));
    let (mut parts, _orphans) = RecoveredVHost::all(recovered);
    let part = parts.remove(ROOT).unwrap_or_default();
    Fixture { vhost: VHost::recover(ROOT, &part, &context), log }
}

fn fresh() -> Fixture {
    recover(&Recovered { next_queue: 1, clean: true, ..Recovered::default() })
}

const NOW: Now = Now { mono_ms: 0, unix_ms: 1_795_000_000_000 };

fn queue(name: &str) -> QueueDeclare {
    QueueDeclare {
        name: name.to_owned(),
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: FieldTable::default(),
        connection: ME,
        now: NOW,
    }
}

fn exchange(name: &str, kind: &str) -> ExchangeDeclare {
    ExchangeDeclare {
        name: name.to_owned(),
        kind: kind.to_owned(),
        passive: false,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: FieldTable::default(),
    }
}

fn to_queue(source: &str, queue: &str, key: &str) -> Bind {
    Bind {
        source: source.to_owned(),
        destination: Destination::Queue(queue.to_owned()),
        routing_key: key.as_bytes().to_vec(),
        arguments: FieldTable::default(),
    }
}

fn to_exchange(source: &str, exchange: &str, key: &str) -> Bind {
    Bind { destination: Destination::Exchange(exchange.to_owned()), ..to_queue(source, "", key) }
}

fn one(key: &str, value: FieldValue) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert(key.into(), value);
    table
}

fn string(text: &str) -> FieldValue {
    FieldValue::LongString(text.into())
}

#[track_caller]
fn refused<T>(result: Result<T, BrokerError>, expected: &str) {
    assert_eq!(result.err().map(|fault| fault.to_string()).as_deref(), Some(expected));
}

impl Fixture {
    fn queue(&self, name: &str) -> Arc<Queue> {
        self.vhost.declare_queue(queue(name)).unwrap().0
    }

    fn exchange(&self, name: &str, kind: &str) {
        self.vhost.declare_exchange(exchange(name, kind)).unwrap();
    }

    fn bind(&self, bind: Bind) {
        self.vhost.bind(bind, ME).unwrap();
    }

    fn exists(&self, name: &str) -> bool {
        self.vhost.declare_exchange(ExchangeDeclare { passive: true, ..exchange(name, "") }).is_ok()
    }

    #[track_caller]
    fn check(&self, exchange: &str, key: &str, expected: &[&str]) {
        let route = self.vhost.route(exchange.as_bytes(), key.as_bytes(), NONE).unwrap();
        let names: Vec<_> = route.queues.iter().map(|queue| &*queue.name).collect();
        assert_eq!(names, expected, "{exchange} {key}");
    }

    /// What was appended since the last time, one text each time.
    fn appended(&self) -> Vec<String> {
        let text = |change: &Change| match change {
            Change::DeclareQueue(record) => format!("+q {}", record.name),
            Change::DeleteQueue(id) => format!("-q {}", id.0),
            Change::DeclareExchange(record) => format!("+x {}", record.name),
            Change::DeleteExchange { name, .. } => format!("-x {name}"),
            Change::Bind(record) => format!("+b {}>{}", record.source, record.destination),
            Change::Unbind(record) => format!("-b {}>{}", record.source, record.destination),
            Change::Forget(by) => format!("-s {by:?}"),
            other => format!("{other:?}"),
        };
        let appended = mem::take(&mut *self.log.kept());
        appended.iter().map(|unit| unit.iter().map(text).collect::<Vec<_>>().join(" ")).collect()
    }
}

const NOT_DEFAULT: &str = "operation not permitted on the default exchange";
const NO_EXCHANGE: &str = "no exchange 'nx' in vhost '/'";
const NO_QUEUE: &str = "no queue 'nq' in vhost '/'";
/// As it is cut at 255 bytes.
fn locked_text(name: &str) -> String {
    let text = format!(
        "cannot obtain exclusive access to locked queue '{name}' in vhost '/'. It could be \
         originally declared on another connection or the exclusive property value does not match that of the \
         original declaration."
    );
    text[..text.len().min(4 + 255)].to_owned()
}

#[test]
fn exchange_names_and_types_are_checked() {
    let f = fresh();
    let declare = |name, kind| f.vhost.declare_exchange(exchange(name, kind));
    let unknown = "unknown exchange type 'nope'";
    refused(declare("x", "nope"), unknown);
    refused(declare("", "nope"), unknown);
    refused(declare("amq.x", "nope"), unknown);
    refused(declare("x", ""), "invalid exchange type ''");
    refused(declare("", "direct"), NOT_DEFAULT);
    refused(declare("amq.x", "direct"), "exchange name 'amq.x' contains reserved prefix 'amq.*'");
    let passive =
        |name| f.vhost.declare_exchange(ExchangeDeclare { passive: true, ..exchange(name, "nope") });
    refused(passive("nx"), NO_EXCHANGE);
    refused(passive(""), NOT_DEFAULT);
    for name in [
        "amq.direct",
        "amq.fanout",
        "amq.topic",
        "amq.headers",
        "amq.match",
        "amq.rabbitmq.trace",
        "amq.rabbitmq.log",
    ] {
        assert_eq!(passive(name), Ok(Ticket(0)));
    }
    assert_eq!(declare("amq.direct", "direct"), Ok(Ticket(0)), "the same properties");
    assert_eq!(f.appended(), Vec::<String>::new());
}

#[test]
fn exchanges_are_redeclared_alike_or_not_at_all() {
    let f = fresh();
    let plain = || exchange("x", "direct");
    let with_alternate = |value| ExchangeDeclare { arguments: one(ALTERNATE_EXCHANGE, value), ..plain() };
    assert_eq!(f.vhost.declare_exchange(plain()), Ok(Ticket(1)));
    assert_eq!(f.vhost.declare_exchange(plain()), Ok(Ticket(1)), "known to be declared once that is durable");
    let differs = |declare: ExchangeDeclare, text: &str| {
        let head = "inequivalent arg";
        refused(f.vhost.declare_exchange(declare), &format!("{head} {text}"));
    };
    let on = "for exchange 'x' in vhost '/'";
    differs(
        ExchangeDeclare { kind: "fanout".to_owned(), durable: false, ..plain() },
        &format!("'type' {on}: received 'fanout' but current is 'direct'"),
    );
    differs(
        ExchangeDeclare { durable: false, auto_delete: true, ..plain() },
        &format!("'durable' {on}: received 'false' but current is 'true'"),
    );
    differs(
        ExchangeDeclare { auto_delete: true, internal: true, ..plain() },
        &format!("'auto_delete' {on}: received 'true' but current is 'false'"),
    );
    differs(
        ExchangeDeclare { internal: true, ..with_alternate(string("a")) },
        &format!("'internal' {on}: received 'true' but current is 'false'"),
    );
    differs(
        with_alternate(string("a")),
        &format!("'alternate-exchange' {on}: received the value 'a' of type 'longstr' but current is none"),
    );
    let other = ExchangeDeclare { arguments: one("foo", FieldValue::Void), ..plain() };
    assert!(f.vhost.declare_exchange(other).is_ok(), "arguments of the client's own are not compared");
    refused(
        f.vhost.declare_exchange(ExchangeDeclare {
            name: "y".to_owned(),
            ..with_alternate(FieldValue::LongLongInt(1))
        }),
        "invalid type 'long' for arg 'alternate-exchange' in exchange 'y' in vhost '/'",
    );
    assert!(!f.exists("y"));
}

#[test]
fn exchanges_are_deleted_with_care() {
    let f = fresh();
    let delete = |name, if_unused| f.vhost.delete_exchange(name, if_unused);
    refused(delete("", false), NOT_DEFAULT);
    for name in ["amq.direct", "amq.nothing"] {
        let text = format!("deletion of system exchange '{name}' in vhost '/' not allowed");
        refused(delete(name, true), &text);
    }
    assert_eq!(delete("nx", false), Ok(Ticket(0)));
    f.exchange("source", "direct");
    f.exchange("end", "fanout");
    f.bind(to_exchange("source", "end", "k"));
    refused(delete("source", true), "exchange 'source' in vhost '/' in use");
    f.appended();
    assert!(delete("end", true).is_ok(), "nothing is bound from it");
    assert_eq!(f.appended(), ["-x end -b source>end"]);
    assert!(delete("source", true).is_ok());
    assert!(!f.exists("source") && !f.exists("end"));
}

#[test]
fn bindings_need_both_ends() {
    let f = fresh();
    f.queue("q");
    f.exchange("x", "direct");
    let bind = |bind| f.vhost.bind(bind, ME);
    refused(bind(to_queue("", "nq", "k")), NOT_DEFAULT);
    refused(bind(to_queue("nx", "nq", "k")), NO_EXCHANGE);
    refused(bind(to_queue("x", "nq", "k")), NO_QUEUE);
    refused(bind(to_exchange("x", "", "k")), NOT_DEFAULT);
    refused(bind(to_exchange("", "x", "k")), NOT_DEFAULT);
    refused(bind(to_exchange("nx", "ny", "k")), NO_EXCHANGE);
    refused(bind(to_exchange("x", "nx", "k")), NO_EXCHANGE);
    let unbind = |bind| f.vhost.unbind(bind, ME);
    refused(unbind(to_queue("", "q", "k")), NOT_DEFAULT);
    refused(unbind(to_exchange("x", "", "k")), NOT_DEFAULT);
    for missing in [to_queue("nx", "q", "k"), to_queue("x", "nq", "k"), to_queue("x", "q", "k")] {
        assert!(unbind(missing).is_ok());
    }
    assert!(unbind(to_exchange("x", "nx", "k")).is_ok());
    let bad = Bind { arguments: one("x-match", string("x")), ..to_queue("amq.match", "q", "") };
    refused(
        bind(bad.clone()),
        "Invalid x-match field value <<\"x\">>; \
         expected all, any, all-with-x, or any-with-x",
    );
    assert!(
        bind(Bind { source: "x".to_owned(), ..bad.clone() }).is_ok(),
        "only a headers exchange looks at it"
    );
    assert!(unbind(bad).is_ok());
}

#[test]
fn a_binding_is_made_once_and_known_by_all_it_is() {
    let f = fresh();
    f.queue("q");
    let int = |number| Bind { arguments: one("a", number), ..to_queue("amq.direct", "q", "k") };
    f.appended();
    for _ in 0..2 {
        f.bind(to_queue("amq.direct", "q", "k"));
        f.bind(int(FieldValue::LongInt(1)));
        f.bind(int(FieldValue::LongLongInt(1)));
    }
    assert_eq!(f.appended(), vec!["+b amq.direct>q"; 3], "each once");
    f.check("amq.direct", "k", &["q"]);
    f.vhost.unbind(int(FieldValue::LongInt(1)), ME).unwrap();
    f.vhost.unbind(to_queue("amq.direct", "q", "k"), ME).unwrap();
    f.check("amq.direct", "k", &["q"]);
    f.vhost.unbind(int(FieldValue::LongLongInt(1)), ME).unwrap();
    f.check("amq.direct", "k", &[]);
}

#[test]
fn queue_names_are_checked_and_made_up() {
    let f = fresh();
    refused(f.vhost.declare_queue(queue("amq.q")), "queue name 'amq.q' contains reserved prefix 'amq.*'");
    let passive = |name| f.vhost.declare_queue(QueueDeclare { passive: true, ..queue(name) });
    refused(passive("nq"), NO_QUEUE);
    refused(passive(""), "no queue '' in vhost '/'");
    let made_up = f.queue("");
    assert!(made_up.name.starts_with("amq.gen-") && made_up.name.len() == 30, "{}", made_up.name);
    assert!(passive(&made_up.name).is_ok());
    assert_ne!(f.queue("").name, made_up.name);
    let text = format!("queue name '{}' contains reserved prefix 'amq.*'", made_up.name);
    refused(f.vhost.declare_queue(queue(&made_up.name)), &text);
    let quorum = one("x-queue-type", string("quorum"));
    refused(
        f.vhost.declare_queue(QueueDeclare { arguments: quorum, ..queue("") }),
        "Cannot declare a server-named queue for type rabbit_quorum_queue",
    );
    assert_eq!(&*f.queue("a\r\nb").name, "ab", "line ends are dropped");
    assert!(f.vhost.delete_queue("a\nb", ME, false, false).is_ok());
    refused(passive("ab"), "no queue 'ab' in vhost '/'");
}

#[test]
fn an_exclusive_queue_is_for_its_connection_alone() {
    let f = fresh();
    let exclusive = |connection| QueueDeclare { exclusive: true, connection, ..queue("e") };
    f.queue("shared");
    let (queue_e, ticket) = f.vhost.declare_queue(exclusive(ME)).unwrap();
    assert_eq!(ticket, Ticket(0), "nothing to wait for");
    assert!(!queue_e.settings.durable, "whatever was declared");
    assert!(f.vhost.declare_queue(QueueDeclare { durable: false, ..exclusive(ME) }).is_ok());
    let text = &locked_text("e");
    refused(f.vhost.declare_queue(exclusive(OTHER)), text);
    refused(f.vhost.declare_queue(queue("e")), text);
    refused(f.vhost.declare_queue(QueueDeclare { passive: true, ..exclusive(OTHER) }), text);
    refused(f.vhost.queue("e", OTHER), text);
    refused(f.vhost.bind(to_queue("amq.direct", "e", "k"), OTHER), text);
    refused(f.vhost.delete_queue("e", OTHER, false, false), text);
    f.queue("shared");
    refused(
        f.vhost.declare_queue(QueueDeclare { exclusive: true, ..queue("shared") }),
        &locked_text("shared"),
    );
    f.bind(to_queue("amq.direct", "e", "k"));
    refused(f.vhost.unbind(to_queue("amq.direct", "e", "k"), OTHER), text);
    assert!(
        f.vhost.unbind(to_queue("amq.direct", "e", "other"), OTHER).is_ok(),
        "as in RabbitMQ, what is not there"
    );
    assert!(f.vhost.unbind(to_queue("amq.direct", "e", "k"), ME).is_ok());
    assert_eq!(f.vhost.queues_of(ME).len(), 1);
    assert_eq!(f.vhost.queues_of(OTHER).len(), 0);
    f.vhost.remove_queue(&queue_e);
    assert_eq!(f.vhost.queues_of(ME).len(), 0);
    assert_eq!(f.appended(), ["+q shared"], "nothing about the exclusive queue is durable");
}

#[test]
fn any_flags_make_a_queue() {
    let f = fresh();
    for bits in 0..8u8 {
        let [durable, exclusive, auto_delete] = [1, 2, 4].map(|bit| bits & bit != 0);
        let declare = QueueDeclare { durable, exclusive, auto_delete, ..queue(&format!("q{bits}")) };
        let (made, _) = f.vhost.declare_queue(declare.clone()).unwrap();
        assert!(Arc::ptr_eq(&made, &f.vhost.declare_queue(declare).unwrap().0));
    }
    assert_eq!(f.appended(), ["+q q1", "+q q5"]);
}

#[test]
fn a_redeclared_queue_is_the_same_queue() {
    let f = fresh();
    let first = f.queue("q");
    assert!(Arc::ptr_eq(&first, &f.queue("q")));
    refused(
        f.vhost.declare_queue(QueueDeclare { durable: false, auto_delete: true, ..queue("q") }),
        "inequivalent arg 'durable' for queue 'q' in vhost '/': \
         received 'false' but current is 'true'",
    );
    let arguments = one("x-message-ttl", FieldValue::LongInt(-1));
    refused(
        f.vhost.declare_queue(QueueDeclare { arguments: arguments.clone(), ..queue("q") }),
        "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': \
         received the value '-1' of type 'signedint' but current is none",
    );
    refused(
        f.vhost.declare_queue(QueueDeclare { arguments, ..queue("r") }),
        "invalid arg 'x-message-ttl' for queue 'r' in vhost '/': {value_negative,-1}",
    );
    refused(f.vhost.queue("r", ME), "no queue 'r' in vhost '/'");
}

#[test]
fn queues_are_deleted_with_care() {
    let f = fresh();
    let q = f.queue("q");
    let delete = |if_unused, if_empty| f.vhost.delete_queue("q", ME, if_unused, if_empty);
    let message = Message::published(0, (b"", b"q"), NONE, b"");
    for _message in 0..3 {
        let _ = q.enqueue(&Arc::new(Block::of(&message)), NOW);
    }
    let mailbox = Mailbox::new();
    let consumer = Consumer { prefetch: 1, ..Consumer::new(ConsumerId(1), &mailbox, ChannelLimit::new()) };
    let _ = q.subscribe(consumer, NOW).unwrap();
    refused(delete(true, false), "queue 'q' in vhost '/' in use");
    refused(delete(true, true), "queue 'q' in vhost '/' not empty");
    refused(delete(false, true), "queue 'q' in vhost '/' not empty");
    f.bind(to_queue("amq.fanout", "q", ""));
    f.appended();
    assert_eq!(delete(false, false), Ok((2, f.log.durable())), "one is with the consumer");
    let mut mail = Vec::new();
    mailbox.take(&mut mail);
    assert!(matches!(mail.last(), Some(Mail::Cancelled(ConsumerId(1)))), "its consumers are told");
    assert_eq!(f.appended(), ["-q 1 -b amq.fanout>q"], "as one unit");
    assert_eq!(delete(true, true).map(|(count, _)| count), Ok(0), "deleted already");
    f.check("amq.fanout", "", &[]);

    let again = f.queue("q");
    f.vhost.remove_queue(&q);
    assert!(
        f.vhost.queue("q", ME).is_ok_and(|found| Arc::ptr_eq(&found, &again)),
        "another queue of the name"
    );
}

#[test]
fn only_what_is_durable_at_both_ends_is_kept() {
    let f = fresh();
    f.queue("durable");
    f.vhost.declare_queue(QueueDeclare { durable: false, ..queue("passing") }).unwrap();
    f.vhost.declare_exchange(ExchangeDeclare { durable: false, ..exchange("x", "fanout") }).unwrap();
    f.appended();
    for destination in ["durable", "passing"] {
        for source in ["x", "amq.direct"] {
            f.bind(to_queue(source, destination, "k"));
        }
    }
    f.bind(to_exchange("amq.direct", "x", "k"));
    f.bind(to_exchange("amq.direct", "amq.topic", "k"));
    assert_eq!(f.appended(), ["+b amq.direct>durable", "+b amq.direct>amq.topic"]);
    f.vhost.delete_exchange("x", false).unwrap();
    f.vhost.delete_queue("passing", ME, false, false).unwrap();
    assert_eq!(f.appended(), Vec::<String>::new());
}

fn binding(source: &str, to_exchange: bool, destination: &str) -> BindingRecord {
    BindingRecord {
        vhost: ROOT.to_owned(),
        source: source.to_owned(),
        to_exchange,
        destination: destination.to_owned(),
        routing_key: b"k".to_vec(),
        arguments: Vec::new(),
    }
}

#[test]
fn what_was_on_disk_is_there_again() {
    let arguments = encoded(&one("x-delivery-limit", FieldValue::LongInt(3)));
    let record =
        QueueRecord { id: QueueId(7), vhost: ROOT.into(), name: "q".into(), auto_delete: true, arguments };
    let gone = SeenBy::Exchange { vhost: ROOT.into(), name: "gone".into() };
    let seen = |by| SeenRecord { by, slot: 0, number: 0, until_ms: 0, value: Vec::new() };
    let recovered = Recovered {
        ahead_ms: 0,
        auth: None,
        policies: Vec::new(),
        parameters: Vec::new(),
        damaged: Vec::new(),
        queues: vec![RecoveredQueue {
            record,
            messages: Vec::new(),
            bytes: 0,
            requeues: Vec::new(),
            lanes: Vec::new(),
            expires: false,
            stream: None,
        }],
        exchanges: vec![ExchangeRecord {
            vhost: ROOT.into(),
            name: "x".into(),
            kind: "direct".into(),
            auto_delete: false,
            internal: true,
            arguments: encoded(&one(ALTERNATE_EXCHANGE, string("q"))),
        }],
        seen: vec![seen(SeenBy::Queue(QueueId(7))), seen(gone.clone()), seen(gone)],
        bindings: vec![
            binding("amq.direct", true, "x"),
            binding("x", false, "q"),
            binding("gone", false, "q"),
            binding("x", false, "gone"),
            BindingRecord { routing_key: b"#.a.#.b.#.c.#".to_vec(), ..binding("amq.topic", false, "q") },
        ],
        clean: true,
        next_queue: 9,
    };
    let f = recover(&recovered);
    assert_eq!(
        f.appended(),
        ["-b gone>q -b x>gone -s Queue(QueueId(7)) -s Exchange { vhost: \"/\", name: \"gone\" }"],
        "half a binding is none"
    );
    f.check("amq.direct", "k", &["q"]);
    f.check("amq.topic", "a.x.b.c", &["q"]);
    refused(
        f.vhost.bind(to_queue("amq.topic", "q", "#.a.#.b.#"), ME),
        "Topic binding key '#.a.#.b.#' uses 3 '#' wildcards, at most 2 are allowed",
    );
    // One that is there may be made again.
    f.vhost.bind(to_queue("amq.topic", "q", "#.a.#.b.#.c.#"), ME).unwrap();
    let q = f.vhost.queue("q", ME).unwrap();
    assert_eq!(
        (q.settings.delivery_limit, q.settings.auto_delete, q.settings.durable),
        (Some(3), true, true)
    );
    refused(f.vhost.route(b"x", b"k", NONE), "cannot publish to internal exchange 'x' in vhost '/'");
    assert!(f.queue("new").id >= QueueId(9));
    f.vhost.delete_queue("q", ME, false, false).unwrap();
    f.check("amq.direct", "k", &[]);
}
