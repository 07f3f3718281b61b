"""A publisher and a consumer in callbacks, for every connection of pika that is made of them.

Confirms are counted as pika's own asynchronous publisher counts them; the consumer closes its channel half way and
opens another, as the asynchronous consumer does when a channel ends under it.
"""

import functools

import pika
from house import PATIENCE_S, URI, name
from pika.exceptions import ChannelClosedByClient

MESSAGES = 50
HALF = MESSAGES // 2


class Flow:
    """What happens on one connection, step by step, each started by the answer to the one before."""

    def __init__(self, connection_class):
        self.queue, self.exchange = name("callbacks"), name("callbacks")
        self.returned, self.unconfirmed, self.taken = [], set(range(1, MESSAGES + 2)), []
        self.fault, self.done = None, False
        self.connection = connection_class(
            pika.URLParameters(URI),
            on_open_callback=self.opened,
            on_open_error_callback=self.failed,
            on_close_callback=self.closed,
        )

    def run(self):
        """Runs to the end, which is bounded."""
        loop = self.connection.ioloop
        loop.call_later(PATIENCE_S, self.late)
        # asyncio's loop and pika's own differ in this name only.
        (loop.run_forever if hasattr(loop, "run_forever") else loop.start)()
        assert self.fault is None, self.fault
        assert self.done, "the flow did not come to its end"

    def late(self):
        self.failed(self.connection, f"not done within {PATIENCE_S} s: {len(self.unconfirmed)} unconfirmed, {len(self.taken)} taken")

    def failed(self, _, why):
        self.fault = why
        self.connection.ioloop.stop()

    def closed(self, _, reason):
        if not self.done:
            self.fault = reason
        self.connection.ioloop.stop()

    def opened(self, connection):
        connection.channel(on_open_callback=self.channel_opened)

    def channel_opened(self, channel):
        self.channel = channel
        channel.add_on_close_callback(self.channel_closed)
        channel.add_on_return_callback(lambda _channel, method, _properties, body: self.returned.append((method.reply_code, body)))
        declared = functools.partial(self.declared, channel)
        channel.exchange_declare(self.exchange, exchange_type="topic", callback=declared)

    def channel_closed(self, channel, reason):
        if not isinstance(reason, ChannelClosedByClient):
            self.failed(channel, reason)

    def declared(self, channel, _):
        channel.queue_declare(self.queue, durable=True, callback=functools.partial(self.queue_declared, channel))

    def queue_declared(self, channel, _):
        channel.queue_bind(self.queue, self.exchange, routing_key="a.#", callback=functools.partial(self.bound, channel))

    def bound(self, channel, _):
        channel.confirm_delivery(self.acknowledged, callback=lambda _: self.publish(channel))

    def publish(self, channel):
        properties = pika.BasicProperties(delivery_mode=2, content_type="text/plain", headers={"n": 1})
        for number in range(MESSAGES):
            channel.basic_publish(self.exchange, f"a.{number}", str(number).encode(), properties, mandatory=True)
        channel.basic_publish(self.exchange, "nowhere", b"stray", properties, mandatory=True)

    def acknowledged(self, frame):
        if isinstance(frame.method, pika.spec.Basic.Nack):
            self.failed(frame, "a message was refused")
            return
        tag = frame.method.delivery_tag
        settled = {known for known in self.unconfirmed if known == tag or frame.method.multiple and known < tag}
        if MESSAGES + 1 in settled and self.returned != [(312, b"stray")]:
            self.failed(frame, f"confirmed before it was returned: {self.returned}")
        if not settled:
            self.failed(frame, f"{tag} is confirmed twice")
        self.unconfirmed -= settled
        if not self.unconfirmed:
            self.connection.channel(on_open_callback=self.consume)

    def consume(self, channel):
        ready = functools.partial(self.start, channel)
        channel.basic_qos(prefetch_count=5, callback=ready)

    def start(self, channel, _):
        channel.add_on_close_callback(self.consumer_closed)
        channel.basic_consume(self.queue, self.take)

    def consumer_closed(self, _, reason):
        if not isinstance(reason, ChannelClosedByClient):
            self.failed(None, reason)
        elif len(self.taken) == HALF:
            self.connection.channel(on_open_callback=self.consume)

    def take(self, channel, method, properties, body):
        if not channel.is_open:
            return
        if properties.headers["n"] != 1 or method.exchange != self.exchange:
            self.failed(channel, f"not as it was published: {method} {properties}")
        self.taken.append(int(body))
        channel.basic_ack(method.delivery_tag)
        if len(self.taken) == HALF:
            channel.close()
        elif len(self.taken) == MESSAGES:
            channel.basic_cancel(method.consumer_tag, callback=functools.partial(self.cancelled, channel))

    def cancelled(self, channel, _):
        if self.taken != list(range(MESSAGES)):
            self.failed(channel, f"out of order: {self.taken}")
        channel.queue_delete(self.queue, callback=functools.partial(self.deleted, channel))

    def deleted(self, channel, frame):
        if frame.method.message_count != 0:
            self.failed(channel, "not all was consumed")
        channel.exchange_delete(self.exchange, callback=self.finished)

    def finished(self, _):
        self.done = True
        self.connection.close()
