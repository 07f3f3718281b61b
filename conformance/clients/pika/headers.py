"""A headers exchange routes by the headers of a message, all of them or any."""

import pika
from house import bodies, connect, name, take

BINDINGS = {
    "all": {"x-match": "all", "format": "pdf", "pages": 3},
    "any": {"x-match": "any", "format": "pdf", "pages": 3},
    "present": {"x-match": "all", "format": None},
    "no match given": {"format": "zip"},
    "all with x": {"x-match": "all-with-x", "x-kind": "report"},
    "any with x": {"x-match": "any-with-x", "x-kind": "report", "format": "zip"},
}
MESSAGES = {
    b"pdf of 3": {"format": "pdf", "pages": 3},
    b"pdf of 4": {"format": "pdf", "pages": 4},
    b"zip": {"format": "zip"},
    b"report": {"x-kind": "report"},
    b"nothing": {},
}
EXPECTED = {
    "all": [b"pdf of 3"],
    "any": [b"pdf of 3", b"pdf of 4"],
    "present": [b"pdf of 3", b"pdf of 4", b"zip"],
    "no match given": [b"zip"],
    "all with x": [b"report"],
    "any with x": [b"zip", b"report"],
}

connection = connect()
channel = connection.channel()
exchange = name("documents")
channel.exchange_declare(exchange, exchange_type="headers")
queues = {}
for title, arguments in BINDINGS.items():
    queues[title] = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queues[title], exchange, routing_key="", arguments=arguments)
for body, headers in MESSAGES.items():
    channel.basic_publish(exchange, "ignored", body, pika.BasicProperties(headers=headers))
for title, expected in EXPECTED.items():
    taken = take(connection, channel, queues[title], len(expected))
    assert bodies(taken) == expected, (title, bodies(taken))
    for _, properties, body in taken:
        assert properties.headers == MESSAGES[body]
for queue in queues.values():
    assert channel.queue_declare(queue, passive=True).method.message_count == 0
channel.exchange_delete(exchange)
connection.close()
