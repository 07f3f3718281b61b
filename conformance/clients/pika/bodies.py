"""Bodies of every size, from none to many frames, come out as they went in: up to 16 MiB, the limit of RabbitMQ 4."""

import hashlib

import pika
from house import connect, name, take

FRAME_MAX = 131_072
SIZES = [0, 1, FRAME_MAX - 9, FRAME_MAX - 8, FRAME_MAX - 7, 2 * (FRAME_MAX - 8), 65_535, 65_536, 1_000_000]


def body_of(size):
    return (hashlib.sha256(str(size).encode()).digest() * (size // 32 + 1))[:size]


for frame_max in (FRAME_MAX, 8_192):
    connection = connect(frame_max=frame_max)
    channel = connection.channel()
    channel.confirm_delivery()
    queue = name("bodies")
    channel.queue_declare(queue, durable=True)
    sizes = [*SIZES, 16 * 1024 * 1024] if frame_max == FRAME_MAX else SIZES
    for size in sizes:
        channel.basic_publish("", queue, body_of(size), pika.BasicProperties(delivery_mode=2))
    for size, (_, _, body) in zip(sizes, take(connection, channel, queue, len(sizes)), strict=True):
        assert len(body) == size, (size, len(body))
        assert body == body_of(size), f"a body of {size} bytes was damaged"
    channel.queue_delete(queue)
    connection.close()
