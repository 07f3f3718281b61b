"""Polling: one message at a time, with what is left, and every property as it was sent."""

import pika
from house import connect, name

connection = connect()
channel = connection.channel()
queue = name("polled")
channel.queue_declare(queue, durable=True)
assert channel.basic_get(queue) == (None, None, None)

sent = pika.BasicProperties(
    content_type="application/json",
    content_encoding="utf-8",
    headers={"n": 1, "big": 2**40, "text": "t", "yes": True, "none": None, "list": [1, "a", {"in": -1}], "table": {"a": 1}},
    delivery_mode=2,
    priority=3,
    correlation_id="correlation",
    reply_to="answers",
    expiration="60000",
    message_id="message",
    timestamp=1_795_000_000,
    type="kind",
    user_id="guest",
    app_id="app",
    cluster_id="cluster",
)
channel.basic_publish("", queue, b"{}", sent)
channel.basic_publish("", queue, b"bare")
method, properties, body = channel.basic_get(queue)
assert (method.message_count, method.redelivered, body) == (1, False, b"{}")
assert properties == sent, properties
channel.basic_reject(method.delivery_tag, requeue=True)
method, properties, body = channel.basic_get(queue)
assert (method.message_count, method.redelivered, body) == (1, True, b"{}")
channel.basic_ack(method.delivery_tag)
method, properties, body = channel.basic_get(queue, auto_ack=True)
assert (method.message_count, body) == (0, b"bare")
assert properties == pika.BasicProperties(), properties
assert channel.basic_get(queue) == (None, None, None)

for number in range(3):
    channel.basic_publish("", queue, str(number).encode())
method, _, _ = channel.basic_get(queue)
assert channel.queue_purge(queue).method.message_count == 2, "what is unacknowledged is not purged"
channel.basic_nack(method.delivery_tag)
assert channel.queue_delete(queue).method.message_count == 1
connection.close()
