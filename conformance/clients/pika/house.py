"""What every program here starts from: the broker's URI, a connection, and waiting with an end in sight."""

import contextlib
import signal
import sys
import time
import uuid

import pika
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

PATIENCE_S = 30
URI = sys.argv[1]

# A program that hangs ends itself, whatever it hangs in.
signal.alarm(2 * PATIENCE_S - 5)


def connect(**options):
    """A connection to the broker under test."""
    parameters = pika.URLParameters(URI)
    for option, value in options.items():
        setattr(parameters, option, value)
    return pika.BlockingConnection(parameters)


def is_rabbitmq(connection):
    """Whether the broker is RabbitMQ: for what is better elsewhere on purpose."""
    return connection._impl.server_properties["product"] == "RabbitMQ"


def name(word):
    """A name that nothing else has, so that programs may share a broker."""
    return f"{word}-{uuid.uuid4().hex[:8]}"


def wait(connection, condition, what):
    """Lets `connection` work until `condition` holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        connection.process_data_events(time_limit=0.1)


def take(connection, channel, queue, count):
    """Consumes `count` messages of `queue`, acknowledged as they come; their (method, properties, body)."""
    taken = []
    for method, properties, body in channel.consume(queue, inactivity_timeout=PATIENCE_S):
        assert method is not None, f"{queue} gave {len(taken)} of {count} messages"
        taken.append((method, properties, body))
        channel.basic_ack(method.delivery_tag)
        if len(taken) == count:
            break
    channel.cancel()
    return taken


def get(channel, queue):
    """The next message of `queue`, which is on its way there: (method, properties, body), not acknowledged."""
    end = time.monotonic() + PATIENCE_S
    while True:
        method, properties, body = channel.basic_get(queue)
        if method is not None:
            return method, properties, body
        assert time.monotonic() < end, f"nothing came to {queue}"


def bodies(taken):
    """The bodies of what `take` took."""
    return [body for _, _, body in taken]


def is_empty(channel, queue):
    """Whether `queue` has nothing ready."""
    method, _, _ = channel.basic_get(queue)
    return method is None


@contextlib.contextmanager
def refused(code, *words):
    """What is done inside must be refused with this code and a text that has these words."""
    try:
        yield
    except (ChannelClosedByBroker, ConnectionClosedByBroker) as refusal:
        assert refusal.reply_code == code, refusal
        for word in words:
            assert word in refusal.reply_text, refusal
    else:
        raise AssertionError(f"not refused with {code}")
