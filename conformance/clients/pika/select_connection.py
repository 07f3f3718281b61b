"""pika's SelectConnection: everything by callback, on a loop of pika's own."""

from callbacks import Flow
from pika import SelectConnection

Flow(SelectConnection).run()
