"""Heartbeats: a silent connection is given up, one that answers is kept however idle it is."""

import time

from house import PATIENCE_S, connect, name
from pika.exceptions import ChannelClosedByBroker

alive, silent = connect(heartbeat=1), connect(heartbeat=1)
queue = name("owned-by-the-silent")
silent.channel().queue_declare(queue, exclusive=True)


def is_gone():
    """Whether the broker has given the silent connection up: its exclusive queue goes with it."""
    try:
        alive.channel().queue_declare(queue, passive=True)
    except ChannelClosedByBroker as refusal:
        assert refusal.reply_code in (404, 405), refusal
        return refusal.reply_code == 404
    raise AssertionError("a queue of another connection was shown")


assert not is_gone()
start = time.monotonic()
while not is_gone():
    assert time.monotonic() - start < PATIENCE_S, "the silent connection is kept"
    alive.process_data_events(time_limit=0.2)
assert time.monotonic() - start > 1, "it was given up before a heartbeat was missed"
assert alive.is_open
alive.close()
