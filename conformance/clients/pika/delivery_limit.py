"""A delivery limit ends the loop of a message that nobody can process."""

from house import connect, name, take

LIMIT = 3

connection = connect()
channel = connection.channel()
poisoned, dead = name("poisoned"), name("dead")
channel.queue_declare(dead, durable=True)
channel.queue_declare(
    poisoned,
    durable=True,
    arguments={
        "x-queue-type": "quorum",
        "x-delivery-limit": LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead,
    },
)
channel.basic_publish("", poisoned, b"poison")
counts = []
for method, properties, body in channel.consume(poisoned, inactivity_timeout=2):
    if method is None:
        break
    assert body == b"poison"
    counts.append((method.redelivered, (properties.headers or {}).get("x-delivery-count", 0)))
    channel.basic_reject(method.delivery_tag, requeue=True)
    if len(counts) == LIMIT + 1:
        break
channel.cancel()
assert counts == [(False, 0), (True, 1), (True, 2), (True, 3)], counts
[(_, properties, body)] = take(connection, channel, dead, 1)
[death] = properties.headers["x-death"]
assert (death["reason"], death["queue"], death["count"]) == ("delivery_limit", poisoned, 1), death
assert channel.queue_delete(poisoned).method.message_count == 0
channel.queue_delete(dead)
connection.close()
