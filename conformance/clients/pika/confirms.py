"""Publisher confirms: every message is answered for, and one that no queue takes comes back first."""

import pika
from house import bodies, connect, name, take
from pika.exceptions import UnroutableError

connection = connect()
channel = connection.channel()
channel.confirm_delivery()
queue = name("confirmed")
channel.queue_declare(queue, durable=True)
persistent = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
lines = [f"line {number}".encode() for number in range(50)]
for line in lines:
    # Returns once the broker has confirmed, and raises when it does not.
    channel.basic_publish("", queue, line, persistent, mandatory=True)
assert channel.queue_declare(queue, passive=True).method.message_count == len(lines)

try:
    channel.basic_publish("", name("nowhere"), b"lost?", persistent, mandatory=True)
    raise AssertionError("an unroutable message was not returned")
except UnroutableError as fault:
    [returned] = fault.messages
    assert (returned.method.reply_code, returned.method.reply_text) == (312, "NO_ROUTE")
    assert returned.body == b"lost?"
    assert returned.properties.delivery_mode == 2

# Without mandatory it is confirmed and gone.
channel.basic_publish("", name("nowhere"), b"dropped", persistent)
channel.basic_publish("", queue, b"last", persistent, mandatory=True)
assert bodies(take(connection, channel, queue, len(lines) + 1)) == [*lines, b"last"]
channel.queue_delete(queue)
connection.close()
