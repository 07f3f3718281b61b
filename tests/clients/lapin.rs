//! lapin, the Rust client: the flows that programs are made of.

use crate::clients::Subject;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
    BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ErrorKind,
    ExchangeKind,
};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;
use tokio::time::timeout;
use tokio_stream::StreamExt;

/// How long the broker may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs `scenario` with a connection to a broker.
#[track_caller]
fn check<F: Future<Output = lapin::Result<()>>>(scenario: impl FnOnce(Connection) -> F) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let broker = Subject::start();
    let scenario = async {
        let connection = Connection::connect(&broker.uri, ConnectionProperties::default()).await?;
        scenario(connection).await
    };
    let outcome = runtime.block_on(async { timeout(PATIENCE, scenario).await });
    let log = broker.stop();
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(fault)) => panic!("{fault}\nthe broker logged:\n{log}"),
        Err(_late) => panic!("not done within {PATIENCE:?}\nthe broker logged:\n{log}"),
    }
}

/// A name that nothing else has.
fn name(word: &str) -> ShortString {
    format!("{word}-{:x}", RandomState::new().hash_one(word)).into()
}

fn durable() -> QueueDeclareOptions {
    QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() }
}

/// A durable queue; its name.
async fn declare(channel: &Channel, word: &str, arguments: FieldTable) -> lapin::Result<ShortString> {
    let queue = name(word);
    channel.queue_declare(queue.clone(), durable(), arguments).await?;
    Ok(queue)
}

/// An exclusive queue named by the server.
async fn own_queue(channel: &Channel) -> lapin::Result<ShortString> {
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await?;
    Ok(queue.name().clone())
}

async fn consume(channel: &Channel, queue: &ShortString, no_ack: bool) -> lapin::Result<Consumer> {
    let options = BasicConsumeOptions { no_ack, ..BasicConsumeOptions::default() };
    channel.basic_consume(queue.clone(), "".into(), options, FieldTable::default()).await
}

async fn next(consumer: &mut Consumer) -> lapin::Result<Delivery> {
    consumer.next().await.expect("the consumer goes on")
}

/// Publishes and waits for the confirm, if there are confirms.
async fn publish(channel: &Channel, exchange: &str, key: &str, body: &[u8]) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(2);
    channel.basic_publish(exchange.into(), key.into(), options, body, properties).await?.await
}

/// The code and text with which the broker refused.
fn refusal<T>(outcome: lapin::Result<T>) -> (u16, String) {
    match outcome.map(|_done| ()) {
        Err(fault) => match fault.kind() {
            ErrorKind::ProtocolError(refused) => (refused.get_id(), refused.get_message().to_string()),
            other => panic!("not refused but {other:?}"),
        },
        Ok(()) => panic!("not refused"),
    }
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

#[test]
fn a_work_queue_loses_no_task() {
    check(|connection| async move {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let queue = declare(&channel, "work", FieldTable::default()).await?;
        for task in 0..100_u8 {
            assert!(publish(&channel, "", queue.as_str(), &[task]).await?.is_ack());
        }
        let dying = connection.create_channel().await?;
        dying.basic_qos(10, BasicQosOptions::default()).await?;
        let mut worker = consume(&dying, &queue, false).await?;
        for task in 0..5 {
            let delivery = next(&mut worker).await?;
            assert_eq!((delivery.data.as_slice(), delivery.redelivered), ([task].as_slice(), false));
            delivery.ack(BasicAckOptions::default()).await?;
        }
        dying.close(200, "gone".into()).await?;
        let mut worker = consume(&channel, &queue, false).await?;
        for task in 5..100 {
            let delivery = next(&mut worker).await?;
            assert_eq!(delivery.data, [task]);
            // Ten were delivered at once; others may have been on their way when the first were
            // acknowledged.
            if !(10..15).contains(&task) {
                assert_eq!(delivery.redelivered, task < 10, "task {task}");
            }
            let multiple = task == 99;
            if task % 10 == 0 || multiple {
                delivery.ack(BasicAckOptions { multiple: true }).await?;
            }
        }
        channel.basic_cancel(worker.tag(), BasicCancelOptions::default()).await?;
        assert_eq!(channel.queue_delete(queue, QueueDeleteOptions::default()).await?, 0);
        connection.close(200, "done".into()).await
    });
}

#[test]
fn exchanges_route() {
    check(|connection| async move {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut heard = BTreeMap::new();
        for (kind, pattern, keys) in [
            (ExchangeKind::Fanout, "", vec!["a", "a.b", "c"]),
            (ExchangeKind::Direct, "a.b", vec!["a.b"]),
            (ExchangeKind::Topic, "a.#", vec!["a", "a.b"]),
        ] {
            let exchange = name(&format!("{kind:?}"));
            channel
                .exchange_declare(
                    exchange.clone(),
                    kind,
                    ExchangeDeclareOptions::default(),
                    FieldTable::default(),
                )
                .await?;
            let queue = own_queue(&channel).await?;
            let bind = QueueBindOptions::default();
            channel
                .queue_bind(queue.clone(), exchange.clone(), pattern.into(), bind, FieldTable::default())
                .await?;
            for key in ["a", "a.b", "c"] {
                let returned =
                    publish(&channel, exchange.as_str(), key, key.as_bytes()).await?.take_message();
                assert_eq!(returned.is_none(), keys.contains(&key), "{pattern} {key}");
                if let Some(returned) = returned {
                    assert_eq!((returned.reply_code, returned.reply_text.as_str()), (312, "NO_ROUTE"));
                    assert_eq!(returned.delivery.data, key.as_bytes());
                }
            }
            heard.insert(queue, keys);
            channel.exchange_delete(exchange, ExchangeDeleteOptions::default()).await?;
        }
        for (queue, keys) in heard {
            let mut consumer = consume(&channel, &queue, true).await?;
            for key in keys {
                assert_eq!(next(&mut consumer).await?.data, key.as_bytes());
            }
        }
        connection.close(200, "done".into()).await
    });
}

#[test]
fn questions_are_answered() {
    check(|connection| async move {
        let (asking, serving) = (connection.create_channel().await?, connection.create_channel().await?);
        let questions = declare(&serving, "questions", FieldTable::default()).await?;
        let mut server = consume(&serving, &questions, false).await?;
        let replies = own_queue(&asking).await?;
        let mut answers = consume(&asking, &replies, true).await?;
        for number in 0..10_u8 {
            let properties = BasicProperties::default()
                .with_reply_to(replies.clone())
                .with_correlation_id(number.to_string().into());
            let options = BasicPublishOptions::default();
            asking.basic_publish("".into(), questions.clone(), options, &[number], properties).await?.await?;
            let question = next(&mut server).await?;
            let reply_to = question.properties.reply_to().clone().expect("it was sent");
            let correlation_id = question.properties.correlation_id().clone().expect("it was sent");
            let properties = BasicProperties::default().with_correlation_id(correlation_id);
            let answer = [question.data[0] * 2];
            serving.basic_publish("".into(), reply_to, options, &answer, properties).await?.await?;
            question.ack(BasicAckOptions::default()).await?;
            let answer = next(&mut answers).await?;
            assert_eq!(answer.data, [number * 2]);
            assert_eq!(
                answer.properties.correlation_id().as_ref().map(|id| id.as_str().to_owned()),
                Some(number.to_string())
            );
        }
        serving.queue_delete(questions, QueueDeleteOptions::default()).await?;
        connection.close(200, "done".into()).await
    });
}

#[test]
fn a_refused_message_becomes_a_dead_letter() {
    check(|connection| async move {
        let channel = connection.create_channel().await?;
        let dead = declare(&channel, "dead", FieldTable::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-dead-letter-exchange".into(), text(""));
        arguments.insert("x-dead-letter-routing-key".into(), text(dead.as_str()));
        let queue = declare(&channel, "work", arguments).await?;
        for body in [b"1", b"2", b"3"] {
            publish(&channel, "", queue.as_str(), body).await?;
        }
        let mut worker = consume(&channel, &queue, false).await?;
        for _ in 0..2 {
            next(&mut worker).await?;
        }
        next(&mut worker).await?.nack(BasicNackOptions { multiple: true, requeue: false }).await?;
        let mut mourner = consume(&channel, &dead, true).await?;
        for body in [b"1", b"2", b"3"] {
            let delivery = next(&mut mourner).await?;
            assert_eq!(delivery.data, body);
            let headers = delivery.properties.headers().clone().expect("a dead letter has headers");
            assert_eq!(headers.inner().get("x-first-death-reason"), Some(&text("rejected")));
            assert_eq!(headers.inner().get("x-first-death-queue"), Some(&text(queue.as_str())));
        }
        for queue in [queue, dead] {
            channel.queue_delete(queue, QueueDeleteOptions::default()).await?;
        }
        connection.close(200, "done".into()).await
    });
}

#[test]
fn refusals_have_their_codes() {
    check(|connection| async move {
        let channel = connection.create_channel().await?;
        let queue = declare(&channel, "known", FieldTable::default()).await?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let missing = name("missing");
        let (code, said) =
            refusal(channel.queue_declare(missing.clone(), passive, FieldTable::default()).await);
        assert_eq!((code, said), (404, format!("NOT_FOUND - no queue '{missing}' in vhost '/'")));

        let channel = connection.create_channel().await?;
        let mut different = FieldTable::default();
        different.insert("x-max-length".into(), AMQPValue::LongInt(10));
        let (code, said) = refusal(channel.queue_declare(queue.clone(), durable(), different).await);
        assert_eq!(code, 406);
        let start =
            format!("PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '{queue}' in vhost '/'");
        assert!(said.starts_with(&start), "{said}");

        let (channel, other) = (connection.create_channel().await?, connection.create_channel().await?);
        let exclusive = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
        let consumer =
            channel.basic_consume(queue.clone(), "".into(), exclusive, FieldTable::default()).await?;
        let (code, said) = refusal(consume(&other, &queue, false).await);
        assert_eq!(
            (code, said),
            (403, format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"))
        );
        channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
        channel.queue_delete(queue, QueueDeleteOptions::default()).await?;
        connection.close(200, "done".into()).await
    });
}

#[test]
fn bodies_of_many_frames_are_whole() {
    check(|connection| async move {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let queue = declare(&channel, "large", FieldTable::default()).await?;
        let body = |size: usize| -> Vec<u8> {
            (0..size).map(|at| u8::try_from(at * 31 % 251).expect("below 251")).collect()
        };
        for size in [0, 1, 131_064, 131_065, 5_000_000] {
            assert!(publish(&channel, "", queue.as_str(), &body(size)).await?.is_ack());
            let got = channel
                .basic_get(queue.clone(), BasicGetOptions { no_ack: true })
                .await?
                .expect("it was confirmed");
            assert!(got.delivery.data == body(size), "a body of {size} bytes was damaged");
        }
        assert!(channel.basic_get(queue.clone(), BasicGetOptions::default()).await?.is_none());
        publish(&channel, "", queue.as_str(), b"last").await?;
        assert_eq!(channel.queue_purge(queue.clone(), QueuePurgeOptions::default()).await?, 1);
        channel.queue_delete(queue, QueueDeleteOptions::default()).await?;
        connection.close(200, "done".into()).await
    });
}

#[test]
fn no_more_is_delivered_than_was_asked_for() {
    check(|connection| async move {
        let (channel, working) = (connection.create_channel().await?, connection.create_channel().await?);
        let queue = declare(&channel, "work", FieldTable::default()).await?;
        for task in 0..10_u8 {
            publish(&channel, "", queue.as_str(), &[task]).await?;
        }
        working.basic_qos(3, BasicQosOptions::default()).await?;
        let mut worker = consume(&working, &queue, false).await?;
        for done in 0..4 {
            let first = next(&mut worker).await?;
            assert_eq!(first.data, [done]);
            let passive = QueueDeclareOptions { passive: true, ..durable() };
            let left =
                channel.queue_declare(queue.clone(), passive, FieldTable::default()).await?.message_count();
            assert!(left >= 7 - u32::from(done), "{left} left after {done}");
            first.ack(BasicAckOptions::default()).await?;
        }
        channel.queue_delete(queue, QueueDeleteOptions::default()).await?;
        assert!(worker.next().await.transpose()?.is_some(), "what was delivered before comes first");
        connection.close(200, "done".into()).await
    });
}
