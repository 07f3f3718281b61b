//! Dialogues between clients and the broker, as text.
//!
//! ```text
//! > 1 queue.declare q durable          the client `a` says this on channel 1
//! < 1 queue.declare-ok q 0 0           ... and the broker answers exactly this, and nothing more
//! b> 1 basic.publish '' q hello        another client; it comes into being, with channel 1 open, when it is named
//! ! sync                               something happens, see `happen`
//! > 1 basic.publish '' $1 hello        $1 is the first name of a reply queue that anybody heard, $2 the second
//! ```
//!
//! Lines in a row of one client are one read. What the broker says to anybody is expected before
//! the next thing is said or happens. What clients can say is in
//! `wire::encode`, what the broker can say in `wire::Answers`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::session::wire;
use crate::session::world::{Pieces, World};
use leveret::auth::permission::{Permission, TopicPermission};
use leveret::auth::user::UserLimits;
use leveret::auth::vhost::{VHostLimits, VHostRecord};
use leveret::broker::BrokerSettings;
use leveret::broker::vhosts::VHostMetadata;
use leveret::client::identity::Peer;
use leveret::store::change::Health;

/// The client `h` opens a connection: says `tune_ok` of its limits, and is let in.
pub(crate) fn opening(tune_ok: &str) -> String {
    format!(
        "
        ! accept h
        h> header
        h< 0 connection.start PLAIN AMQPLAIN en_US
        h> 0 connection.start-ok PLAIN guest guest
        h< 0 connection.tune 2047 131072 60
        h> 0 connection.tune-ok {tune_ok}
        h> 0 connection.open /
        h< 0 connection.open-ok
        "
    )
}

/// Plays a script twice: with each line in one piece, and with each byte on its own.
#[track_caller]
pub(crate) fn check(script: &str) {
    check_whole(script);
    play(&mut World::new(Pieces::Bytes, BrokerSettings::default()), script);
}

/// Plays a script whose answers depend on what is read together.
#[track_caller]
pub(crate) fn check_whole(script: &str) {
    play(&mut World::new(Pieces::Whole, BrokerSettings::default()), script);
}

/// Plays a script on a world that may have a history.
#[track_caller]
pub(crate) fn play(world: &mut World, script: &str) {
    let lines: Vec<&str> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut rest = lines.as_slice();
    while let Some(line) = rest.first() {
        if let Some(event) = line.strip_prefix("! ") {
            happen(world, event);
            rest = &rest[1..];
        } else if let Some((name, _)) = split(line, "> ") {
            let said =
                rest.iter().take_while(|line| split(line, "> ").is_some_and(|(by, _)| by == name)).count();
            ensure(world, name);
            let sentences = rest[..said].iter().filter_map(|line| split(line, "> "));
            let bytes: Vec<u8> =
                sentences.flat_map(|(_, sentence)| wire::encode(&world.replies.put_in(sentence))).collect();
            world.say(name, &bytes);
            rest = &rest[said..];
        }
        let expected = rest.iter().take_while(|line| split(line, "< ").is_some()).count();
        listen(world, &rest[..expected], line);
        rest = &rest[expected..];
    }
}

/// Everything that anybody was told is what is expected, nothing more and nothing less.
#[track_caller]
fn listen(world: &mut World, expected: &[&str], after: &str) {
    let mut names: Vec<&str> =
        expected.iter().filter_map(|line| split(line, "< ")).map(|(name, _)| name).collect();
    names.extend(["a", "b", "c", "h"]);
    names.sort_unstable();
    names.dedup();
    for name in names {
        let wanted: Vec<&str> = expected
            .iter()
            .filter_map(|line| split(line, "< "))
            .filter_map(|(to, sentence)| (to == name).then_some(sentence))
            .collect();
        let heard = if world.knows(name) { world.heard(name) } else { Vec::new() };
        let heard: Vec<_> = heard.into_iter().map(|sentence| world.replies.take_out(sentence)).collect();
        assert_eq!(heard, wanted, "what {name} heard (left), and should have heard, after {after:?}");
    }
}

/// The client and the sentence of a line: `a` unless another is named.
fn split<'a>(line: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let (name, sentence) = line.split_once(mark)?;
    match name {
        "" => Some(("a", sentence)),
        name if name.len() == 1 && name.chars().all(char::is_alphabetic) => Some((name, sentence)),
        _ => None,
    }
}

/// A client that is spoken for the first time has shaken hands and opened channel 1.
fn ensure(world: &mut World, name: &str) {
    if !world.knows(name) {
        log_in(world, name, ("guest guest", "/"));
    }
}

/// The client shakes hands as this user with this password, enters this vhost, and opens channel 1.
fn log_in(world: &mut World, name: &str, (credentials, vhost): (&str, &str)) {
    world.accept(name, "127.0.0.1:40000");
    let start_ok = format!(
        "0 connection.start-ok PLAIN {credentials} consumer_cancel_notify connection.blocked \
         authentication_failure_close"
    );
    let open = format!("0 connection.open {vhost}");
    for sentence in ["header", &start_ok, "0 connection.tune-ok 2047 131072 0", &open, "1 channel.open"] {
        world.say(name, &wire::encode(sentence));
    }
    let heard = world.heard(name);
    assert_eq!(heard.last().map(String::as_str), Some("1 channel.open-ok"), "{heard:?}");
}

fn happen(world: &mut World, event: &str) {
    let words: Vec<&str> = event.split(' ').collect();
    match words.as_slice() {
        // A stranger comes: the handshake is up to the script.
        ["accept", name] => drop(world.accept(name, "127.0.0.1:40000")),
        ["accept", name, address] => drop(world.accept(name, address)),
        ["log", "in", name, user, password] => log_in(world, name, (&format!("{user} {password}"), "/")),
        ["log", "in", name, user, password, vhost] => {
            log_in(world, name, (&format!("{user} {password}"), vhost));
        }
        ["vhost", what @ ..] => provide(world, what),
        ["user", what @ ..] => administer(world, what),
        // It has shown the certificate of that user.
        ["accept", name, address, user] => {
            let peer =
                Peer { certificate_name: Some((*user).to_owned()), ..Peer::at(address.parse().unwrap()) };
            world.accept_peer(name, peer);
        }
        // From now on the disk waits for `sync`.
        ["hold"] => world.log.hold(),
        ["sync"] => world.log.sync(),
        ["sync", "when", "asked"] => world.log.sync_when_asked(),
        ["disk", "full"] => world.log.set_health(Health::Full),
        ["disk", "good"] => world.log.set_health(Health::Good),
        ["disk", "failed"] => world.log.set_health(Health::Failed),
        ["wake", name] => world.client(name).session.mailbox().wake(),
        ["wait", ms] => world.wait(ms.parse().unwrap()),
        ["lost", name] => {
            let now = world.now;
            world.client(name).session.handle_disconnect(now);
        }
        ["shutdown", name] => {
            let now = world.now;
            world.client(name).session.handle_shutdown(now);
        }
        ["closed", name] => assert!(world.client(name).session.is_closed(), "{event}"),
        ["open", name] => assert!(!world.client(name).session.is_closed(), "{event}"),
        ["reads", name] => assert!(world.client(name).session.wants_input(), "{event}"),
        ["ignores", name] => assert!(!world.client(name).session.wants_input(), "{event}"),
        _ => panic!("nobody knows what this is: {event}"),
    }
    world.settle();
}

/// An operator does something about users; `''` stands for nothing.
fn administer(world: &World, what: &[&str]) {
    let users = world.broker.users();
    let own = |text: &str| text.replace("''", "");
    match *what {
        ["add", name, password, ref tags @ ..] => users.add(name, password, tags),
        ["delete", name] => users.delete(name),
        ["password", name, password] => users.change_password(name, password),
        ["tags", name, ref tags @ ..] => users.set_tags(name, tags),
        ["may", name, configure, write, read] => {
            let [user, vhost, configure, write, read] = [name, "/", configure, write, read].map(own);
            users.set_permission(Permission { user, vhost, configure, write, read })
        }
        ["may-in", vhost, name, configure, write, read] => {
            let [user, vhost, configure, write, read] = [name, vhost, configure, write, read].map(own);
            users.set_permission(Permission { user, vhost, configure, write, read })
        }
        ["limits", name, connections, channels] => {
            let [connections_max, channels_max] = [connections, channels].map(limit);
            users.set_limits(name, UserLimits { connections_max, channels_max })
        }
        ["may-nothing", name] => users.clear_permission(name, "/"),
        ["keys", name, exchange, write, read] => {
            let [user, vhost, exchange, write, read] = [name, "/", exchange, write, read].map(own);
            users.set_topic_permission(TopicPermission { user, vhost, exchange, write, read })
        }
        ["all-keys", name] => users.clear_topic_permission(name, "/", None),
        _ => panic!("nobody knows what this is: {what:?}"),
    }
    .unwrap();
}

/// An operator does something about vhosts; `guest` may do everything in a new one.
fn provide(world: &World, what: &[&str]) {
    let vhosts = world.broker.vhosts();
    match *what {
        ["add", name] => {
            vhosts.create(VHostRecord::named(name)).unwrap();
            administer(world, &["may-in", name, "guest", ".*", ".*", ".*"]);
        }
        ["delete", name] => drop(vhosts.delete(name).unwrap()),
        ["limits", name, connections, queues] => {
            let [connections_max, queues_max] = [connections, queues].map(limit);
            let _ticket = vhosts.set_limits(name, VHostLimits { connections_max, queues_max }).unwrap();
        }
        ["queue-type", name, kind] => {
            let default_queue_type = Some(kind.to_owned());
            let metadata = VHostMetadata { default_queue_type, ..VHostMetadata::default() };
            let _ticket = vhosts.set_metadata(name, metadata).unwrap();
        }
        _ => panic!("nobody knows what this is: {what:?}"),
    }
}

/// A number, or `-` for no limit.
fn limit(text: &str) -> Option<u32> {
    (text != "-").then(|| text.parse().unwrap())
}
