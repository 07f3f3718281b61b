"""Beyond RabbitMQ: a delivery limit on any queue counts every return, nacks and lost connections too."""

import sys

from house import connect, is_rabbitmq, name, take

connection = connect()
if is_rabbitmq(connection):
    print("skipped: RabbitMQ has delivery limits on quorum queues alone, and does not count nacks")
    sys.exit()
channel = connection.channel()
poisoned, dead = name("poisoned"), name("dead")
channel.queue_declare(dead, durable=True)
channel.queue_declare(
    poisoned,
    durable=True,
    arguments={"x-delivery-limit": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead},
)
channel.basic_publish("", poisoned, b"poison")


def get(on):
    method, properties, _ = on.basic_get(poisoned)
    return method, (properties.headers or {}).get("x-delivery-count", 0)


method, count = get(channel)
assert (method.redelivered, count) == (False, 0)
channel.basic_nack(method.delivery_tag, requeue=True)
method, count = get(channel)
assert (method.redelivered, count) == (True, 1)
channel.basic_reject(method.delivery_tag, requeue=True)
dying = connect()
method, count = get(dying.channel())
assert (method.redelivered, count) == (True, 2)
dying.close()
[(_, properties, _)] = take(connection, channel, dead, 1)
assert properties.headers["x-first-death-reason"] == "delivery_limit"
for queue in (poisoned, dead):
    channel.queue_delete(queue)
connection.close()
