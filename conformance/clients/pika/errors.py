"""What goes wrong closes a channel with a code and a text that programs match; the connection goes on."""

import pika
from house import connect, name, refused

connection = connect()
queue, exchange = name("queue"), name("exchange")
channel = connection.channel()
channel.queue_declare(queue, durable=True, arguments={"x-max-priority": 4})
channel.exchange_declare(exchange, exchange_type="direct", durable=True)
missing = name("missing")

for words, code, wrong in [
    ([f"NOT_FOUND - no queue '{missing}' in vhost '/'"], 404, lambda c: c.queue_declare(missing, passive=True)),
    ([f"NOT_FOUND - no exchange '{missing}' in vhost '/'"], 404, lambda c: c.exchange_declare(missing, passive=True)),
    ([f"NOT_FOUND - no queue '{missing}'"], 404, lambda c: c.basic_consume(missing, print)),
    ([f"NOT_FOUND - no queue '{missing}'"], 404, lambda c: c.basic_get(missing)),
    ([f"NOT_FOUND - no queue '{missing}'"], 404, lambda c: c.queue_bind(missing, exchange, "k")),
    ([f"NOT_FOUND - no exchange '{missing}'"], 404, lambda c: c.queue_bind(queue, missing, "k")),
    (
        ["PRECONDITION_FAILED - inequivalent arg 'durable' for queue", queue, "'false'", "'true'"],
        406,
        lambda c: c.queue_declare(queue, durable=False, arguments={"x-max-priority": 4}),
    ),
    (["inequivalent arg 'x-max-priority'", queue], 406, lambda c: c.queue_declare(queue, durable=True)),
    (
        ["inequivalent arg 'type' for exchange", exchange, "'fanout'", "'direct'"],
        406,
        lambda c: c.exchange_declare(exchange, exchange_type="fanout", durable=True),
    ),
    (["ACCESS_REFUSED", "amq."], 403, lambda c: c.queue_declare("amq.mine", durable=True)),
    (["ACCESS_REFUSED", "amq."], 403, lambda c: c.exchange_declare("amq.mine")),
    (["ACCESS_REFUSED", "default exchange"], 403, lambda c: c.queue_bind(queue, "", "k")),
]:
    channel = connection.channel()
    with refused(code, *words):
        wrong(channel)
    assert channel.is_closed and connection.is_open

channel = connection.channel()
channel.confirm_delivery()
with refused(404, "no exchange"):
    channel.basic_publish(missing, "k", b"nowhere")
channel = connection.channel()
channel.basic_publish("", queue, b"once")
method, _, _ = channel.basic_get(queue)
channel.basic_ack(method.delivery_tag)
with refused(406, "PRECONDITION_FAILED - unknown delivery tag 1"):
    channel.basic_ack(method.delivery_tag)
    channel.queue_declare(queue, passive=True)
channel = connection.channel()
channel.basic_consume(queue, print, exclusive=True)
with refused(403, "ACCESS_REFUSED", queue, "in exclusive use"):
    connection.channel().basic_consume(queue, print)
channel.close()

# A wrong password, and faults that end the whole connection.
try:
    connect(credentials=pika.PlainCredentials("guest", "wrong"))
    raise AssertionError("a wrong password was accepted")
except pika.exceptions.ProbableAuthenticationError as refusal:
    assert "403" in str(refusal) and "ACCESS_REFUSED" in str(refusal), refusal
second = connect()
with refused(540, "NOT_IMPLEMENTED - prefetch_size!=0 (1)"):
    second.channel().basic_qos(prefetch_size=1)
assert second.is_closed

channel = connection.channel()
channel.queue_delete(queue)
channel.exchange_delete(exchange)
connection.close()
