//! Users over restarts, and what an operator may not do with them.

use crate::broker::start_broker;
use crate::support::disk::SimDisk;
use leveret::auth::permission::{Permission, TopicPermission};
use leveret::auth::user::UserLimits;
use leveret::broker::accounts::Refusal;
use leveret::broker::users::UserError;
use leveret::broker::{Broker, BrokerSettings};
use leveret::clock::Now;
use leveret::ids::ConnectionId;
use leveret::queue::mailbox::Mailbox;
use leveret::store::{Options, open_backend};
use std::sync::Arc;

const NOW: Now = Now { mono_ms: 1000, unix_ms: 1_795_000_000_000 };

fn start(disk: &SimDisk) -> Arc<Broker> {
    let opened = open_backend(disk.clone(), Options::default()).expect("the disk works");
    start_broker(opened, BrokerSettings::default(), NOW).expect("the store is sound")
}

/// Stops the broker and starts it again on what is on disk.
fn restart(broker: Arc<Broker>, disk: &SimDisk) -> Arc<Broker> {
    broker.shutdown().expect("the disk works");
    drop(broker);
    start(&SimDisk::holding(disk.image()))
}

fn log_in(broker: &Broker, user: &str, password: &str, is_local: bool) -> Result<(), Refusal> {
    let mailbox = Mailbox::new();
    let login = (user, password.as_bytes());
    let outcome = broker.accounts().log_in(ConnectionId(1), (login.0, Some(login.1)), is_local, &mailbox);
    broker.accounts().log_out(ConnectionId(1));
    outcome
}

fn permission(user: &str, pattern: &str) -> Permission {
    let [user, vhost, configure, write, read] = [user, "/", pattern, pattern, pattern].map(str::to_owned);
    Permission { user, vhost, configure, write, read }
}

fn topic(user: &str, pattern: &str) -> TopicPermission {
    let [user, vhost, exchange, write, read] = [user, "/", "amq.topic", pattern, pattern].map(str::to_owned);
    TopicPermission { user, vhost, exchange, write, read }
}

fn names(broker: &Broker) -> Vec<String> {
    broker.users().list().into_iter().map(|user| user.name).collect()
}

#[test]
fn the_first_start_makes_a_user_and_no_other_does() {
    let disk = SimDisk::default();
    let broker = start(&disk);
    let guest = &broker.users().list()[0];
    assert_eq!((guest.name.as_str(), guest.tags.as_slice()), ("guest", &["administrator".to_owned()][..]));
    assert_eq!(broker.users().permissions(), [permission("guest", ".*")]);
    assert_eq!(log_in(&broker, "guest", "guest", true), Ok(()));
    assert_eq!(log_in(&broker, "guest", "guest", false), Err(Refusal::NotLocal));
    assert!(broker.accounts().is_untouched());
    let broker = restart(broker, &disk);
    assert_eq!(names(&broker), ["guest"]);
    assert!(broker.accounts().is_untouched());
}

#[test]
fn a_first_user_that_was_deleted_stays_away() {
    let disk = SimDisk::default();
    let broker = start(&disk);
    broker.users().delete("guest").expect("it is there");
    let broker = restart(broker, &disk);
    assert_eq!(names(&broker), [""; 0]);
    assert_eq!(broker.users().permissions(), []);
    assert_eq!(log_in(&broker, "guest", "guest", true), Err(Refusal::UnknownUser));
    assert!(!broker.accounts().is_untouched());
}

#[test]
fn users_and_what_they_may_do_outlive_the_broker() {
    let disk = SimDisk::default();
    let broker = start(&disk);
    let users = broker.users();
    users.add("bob", "secret", &["monitoring", "monitoring"]).expect("there is no bob");
    assert!(!broker.accounts().is_untouched());
    users.set_permission(permission("bob", "^jobs")).expect("bob is there");
    users.set_topic_permission(topic("bob", "^{username}")).expect("bob is there");
    let limits = UserLimits { connections_max: Some(2), channels_max: Some(9) };
    users.set_limits("bob", limits).expect("bob is there");
    users.change_password("guest", "better").expect("guest is there");
    users.add("alice", "test12", &[]).expect("there is no alice");
    let there = (users.list(), users.permissions(), users.topic_permissions());
    let broker = restart(broker, &disk);
    let users = broker.users();
    assert_eq!((users.list(), users.permissions(), users.topic_permissions()), there);
    assert_eq!(users.list()[1].limits, limits);
    for (user, password) in [("bob", "secret"), ("guest", "better"), ("alice", "test12")] {
        assert_eq!(log_in(&broker, user, password, true), Ok(()), "{user}");
        assert_eq!(log_in(&broker, user, "guest", true), Err(Refusal::WrongPassword), "{user}");
    }
}

#[test]
fn a_user_without_a_password_does_not_get_in() {
    let broker = start(&SimDisk::default());
    broker.users().clear_password("guest").expect("guest is there");
    for password in ["", "guest"] {
        assert_eq!(log_in(&broker, "guest", password, true), Err(Refusal::WrongPassword));
    }
    assert!(!broker.accounts().is_untouched());
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let broker = start(&SimDisk::default());
    let users = broker.users();
    #[track_caller]
    fn refused<T: std::fmt::Debug>(outcome: Result<T, UserError>, why: &str) {
        assert_eq!(outcome.expect_err("it cannot be").to_string(), why);
    }
    refused(users.add("guest", "a", &[]), "user 'guest' already exists");
    refused(users.add("bob", "", &[]), "a password may not be empty");
    refused(users.add("", "a", &[]), "the name of a user has 1 to 255 bytes, not 0");
    refused(users.add("bob", "a", &[""]), "the name of a tag has 1 to 255 bytes, not 0");
    refused(users.delete("bob"), "there is no user 'bob'");
    refused(users.change_password("bob", "a"), "there is no user 'bob'");
    refused(users.set_permission(permission("bob", "")), "there is no user 'bob'");
    refused(users.clear_permission("guest", "v"), "there is no vhost 'v'");
    let unclosed = users.set_topic_permission(topic("guest", "("));
    refused(unclosed, "'(' is not a pattern: missing closing parenthesis");
    assert_eq!(names(&broker), ["guest"]);
}

#[test]
fn a_permission_is_replaced_and_taken_back() {
    let broker = start(&SimDisk::default());
    let users = broker.users();
    users.set_permission(permission("guest", "^a")).expect("guest is there");
    users.set_topic_permission(topic("guest", "^a")).expect("guest is there");
    assert_eq!(users.permissions(), [permission("guest", "^a")]);
    users.clear_topic_permission("guest", "/", Some("other")).expect("nothing to be done");
    assert_eq!(users.topic_permissions(), [topic("guest", "^a")]);
    users.clear_topic_permission("guest", "/", None).expect("guest is there");
    users.clear_permission("guest", "/").expect("guest is there");
    assert_eq!((users.permissions(), users.topic_permissions()), (Vec::new(), Vec::new()));
}
