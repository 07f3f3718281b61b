//! An answer is told once what it says is on disk, and not before.

use super::test_broker::TestBroker;
use leveret::admin::{Answer, Operation, Refusal, RefusalKind, Requester, perform_durably};
use leveret::broker::Broker;
use leveret::store::change::Health;
use serde_json::{from_value, json};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, yield_now};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("there are threads")
}

/// Adds a user, and comes back when it is there.
async fn adding(broker: &Arc<Broker>) -> JoinHandle<Result<Answer, Refusal>> {
    let operation = json!({ "users": { "add_user": { "user": "ann", "password": "a", "tags": [] } } });
    let operation: Operation = from_value(operation).expect("it is an operation");
    let (of, who) = (Arc::clone(broker), Requester::Operator("test".to_owned()));
    let asked = tokio::spawn(async move { perform_durably(&of, operation, who).await });
    while broker.users().get("ann").is_none() {
        yield_now().await;
    }
    asked
}

#[test]
fn an_answer_waits_for_the_disk() {
    let fixture = TestBroker::new();
    let (broker, log) = (&fixture.world.broker, &fixture.world.log);
    log.hold();
    runtime().block_on(async {
        let asked = adding(broker).await;
        yield_now().await;
        assert!(!asked.is_finished(), "it is not on disk");
        log.sync();
        assert!(matches!(asked.await.expect("it ends"), Ok(Answer::One(_))));
    });
}

#[test]
fn who_waits_is_told_that_the_store_has_failed() {
    let fixture = TestBroker::new();
    let (broker, log) = (&fixture.world.broker, &fixture.world.log);
    log.hold();
    runtime().block_on(async {
        let asked = adding(broker).await;
        log.set_health(Health::Failed);
        let Err(refusal) = asked.await.expect("it ends") else { panic!("it is not on disk") };
        assert_eq!(refusal.kind, RefusalKind::Unavailable);
        let words = "applied, but not persisted: a restart will lose it: the store has failed";
        assert_eq!(refusal.message, words);
    });
}

#[test]
fn who_publishes_by_http_waits_while_the_disk_is_behind() {
    let mut fixture = TestBroker::new();
    fixture.client("a", 50_000);
    fixture.say("a", &["1 queue.declare q"]);
    let publish = json!({ "messages": { "publish": {
        "vhost": "/", "exchange": "", "routing_key": "q", "properties": {}, "payload": "eA==",
    } } });
    let before = fixture.world.log.waits();
    fixture.answers(&publish, &json!({ "routed": true }));
    assert_eq!(fixture.world.log.waits() - before, 1);
}
