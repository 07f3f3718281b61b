"""pika's AsyncioConnection: the same callbacks on asyncio's loop."""

from callbacks import Flow
from pika.adapters.asyncio_connection import AsyncioConnection

Flow(AsyncioConnection).run()
