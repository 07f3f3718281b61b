//! Operations as they are written and read: nothing is lost, nothing unknown is taken, no password
//! is shown.

use leveret::admin::Operation;
use serde_json::{from_str, to_string};

#[test]
fn operations_come_back_as_they_went() {
    for text in [
        r#"{"node":"status"}"#,
        r#"{"users":{"set_user_limits":{"user":"a","limits":{"max-channels":3}}}}"#,
        r#"{"users":{"clear_user_limits":{"user":"a","which":"max-connections"}}}"#,
        r#"{"permissions":{"set_permissions":{"user":"a","vhost":"/","configure":"","write":"","read":""}}}"#,
        r#"{"policies":{"set_policy":{"vhost":"/","policy":"p","pattern":"","apply_to":"all","priority":0,"definition":{"a":[1]}}}}"#,
        r#"{"queues":{"delete_queue":{"vhost":"/","queue":"q","if_empty":true,"if_unused":false}}}"#,
        r#"{"parked":{"list_parked":{"vhost":"/","queue":null}}}"#,
        r#"{"parked":{"requeue_parked":{"vhost":"/","queue":"q","to":["","other"]}}}"#,
        r#"{"exchanges":{"list_bindings":{"vhost":"/"}}}"#,
        r#"{"clients":"list_channels"}"#,
    ] {
        let operation: Operation = from_str(text).unwrap();
        assert_eq!(to_string(&operation).unwrap(), text);
    }
}

#[test]
fn what_is_not_known_is_refused() {
    for text in [
        "{}",
        r#"{"node":"stop"}"#,
        r#"{"users":{"delete_user":{"user":"a","force":true}}}"#,
        r#"{"users":{"delete_user":{}}}"#,
        r#"{"users":{"set_user_limits":{"user":"a","limits":{"foo":1}}}}"#,
        r#"{"users":"list_users","node":"ping"}"#,
        r#"{"policies":{"clear_policy":{"vhost":"/","policy":"p","force":true}}}"#,
    ] {
        assert!(from_str::<Operation>(text).is_err(), "{text}");
    }
}

#[test]
fn a_password_is_written_for_the_broker_and_not_for_the_log() {
    let text = r#"{"users":{"add_user":{"user":"a","password":"hush","tags":[]}}}"#;
    let operation: Operation = from_str(text).unwrap();
    assert!(to_string(&operation).unwrap().contains("hush"));
    let shown = format!("{operation:?}");
    assert!(!shown.contains("hush") && shown.contains("***"), "{shown}");
}
