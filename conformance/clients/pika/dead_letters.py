"""Dead letters: what is rejected goes on with its history in `x-death`."""

import time

import pika
from house import bodies, connect, get, is_empty, name, take

connection = connect()
channel = connection.channel()
graveyard, work, dead = name("graveyard"), name("work"), name("dead")
channel.exchange_declare(graveyard, exchange_type="direct", durable=True)
channel.queue_declare(dead, durable=True)
channel.queue_bind(dead, graveyard, routing_key="buried")
channel.queue_declare(
    work, durable=True, arguments={"x-dead-letter-exchange": graveyard, "x-dead-letter-routing-key": "buried"}
)


def reject_one():
    method, _, _ = channel.basic_get(work)
    channel.basic_nack(method.delivery_tag, requeue=False)
    [(method, properties, body)] = take(connection, channel, dead, 1)
    assert (method.exchange, method.routing_key, method.redelivered) == (graveyard, "buried", False)
    return properties, body


channel.basic_publish("", work, b"poison", pika.BasicProperties(headers={"mine": 1}, delivery_mode=2, message_id="m1"))
properties, body = reject_one()
assert body == b"poison"
assert (properties.message_id, properties.delivery_mode, properties.headers["mine"]) == ("m1", 2, 1)
[death] = properties.headers["x-death"]
assert list(death) == ["count", "reason", "queue", "time", "exchange", "routing-keys"], death
assert abs(death.pop("time").timestamp() - time.time()) < 100 * 24 * 3600
assert death == {"count": 1, "reason": "rejected", "queue": work, "exchange": "", "routing-keys": [work]}, death
for when in ("first", "last"):
    told = [properties.headers[f"x-{when}-death-{what}"] for what in ("reason", "queue", "exchange")]
    assert told == ["rejected", work, ""], told

# Without a routing key of its own the message keeps the one it came with; "" is the default exchange.
retry, back = name("retry"), name("back")
channel.queue_declare(back, durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": retry})
channel.queue_declare(retry, durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": back})
channel.basic_publish("", back, b"ping-pong")
for turn in range(6):
    here, there = (back, retry) if turn % 2 == 0 else (retry, back)
    method, properties, body = get(channel, here)
    assert body == b"ping-pong", turn
    deaths = (properties.headers or {}).get("x-death", [])
    assert [death["queue"] for death in deaths] == [there, here][: min(turn, 2)], (turn, deaths)
    assert [death["count"] for death in deaths] == {0: [], 1: [1], 2: [1, 1], 3: [2, 1], 4: [2, 2], 5: [3, 2]}[turn]
    if turn > 0:
        assert properties.headers["x-first-death-queue"] == back
        assert properties.headers["x-last-death-queue"] == there
    channel.basic_reject(method.delivery_tag, requeue=False)

# Many at once keep their order; without a dead-letter exchange they are gone.
for number in range(20):
    channel.basic_publish("", work, str(number).encode())
for _ in range(20):
    method, _, _ = channel.basic_get(work)
channel.basic_nack(method.delivery_tag, multiple=True, requeue=False)
assert bodies(take(connection, channel, dead, 20)) == [str(number).encode() for number in range(20)]
channel.basic_publish("", dead, b"ends here")
method, _, _ = channel.basic_get(dead)
channel.basic_reject(method.delivery_tag, requeue=False)
assert is_empty(channel, dead) and is_empty(channel, work)
for queue in (work, dead, retry, back):
    channel.queue_delete(queue)
channel.exchange_delete(graveyard)
connection.close()
