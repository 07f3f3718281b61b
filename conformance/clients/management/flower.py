"""Flower, the pages that watch Celery: its page of the broker tells how the queue of an application stands.

It runs as it was published, without a worker, and serves its pages on a socket in a folder of this program.
"""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid

from celery import Celery

PATIENCE_S = 50
URI, API = sys.argv[1:]
# The virtual host / as Celery writes it.
BROKER = re.sub("/%2F$", "//", URI)
QUEUE = f"celery-{uuid.uuid4().hex[:8]}"

signal.alarm(PATIENCE_S + 5)


class Connection(http.client.HTTPConnection):
    """One over a socket that has a path."""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(self.host)


def page(path):
    """The page of the broker; none while there are no pages yet."""
    connection = Connection(path)
    try:
        connection.request("GET", "/broker", headers={"Host": "localhost"})
        answer = connection.getresponse()
        text = answer.read().decode()
    except OSError:
        return None
    finally:
        connection.close()
    assert answer.status == 200, f"{answer.status}: {text}"
    return text


def cells(text):
    """What its table tells of the queue."""
    row = re.search(rf'<tr id="{QUEUE}">(.*?)</tr>', text or "", re.DOTALL)
    return row and re.findall(r"<td[^>]*>(.*?)</td>", row[1], re.DOTALL)[:5]


app = Celery("watched", broker=BROKER)
app.conf.update(task_default_queue=QUEUE, task_default_exchange=QUEUE, task_default_routing_key=QUEUE)
for number in range(3):
    app.send_task("watched.add", (number, number))

with tempfile.TemporaryDirectory() as folder:
    path, log = os.path.join(folder, "pages"), os.path.join(folder, "log")
    with open(os.path.join(folder, "watched.py"), "w") as file:
        file.write(f"from celery import Celery\napp = Celery('watched', broker={BROKER!r})\n")
        file.write(f"app.conf.update(task_default_queue={QUEUE!r})\n")
    where = urllib.parse.urlsplit(API)
    api = f"http://guest:guest@{where.netloc}/api/"
    command = [sys.executable, "-m", "celery", "-A", "watched", "flower", f"--unix_socket={path}", f"--broker_api={api}"]
    with open(log, "wb") as output:
        flower = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        end, expected = time.monotonic() + PATIENCE_S, [QUEUE, "3", "0", "3", "0"]
        # RabbitMQ's statistics are late.
        while (found := cells(text := page(path))) != expected:
            with open(log) as said:
                assert flower.poll() is None and time.monotonic() < end, f"{found}\n{text}\n{said.read()}"
            time.sleep(0.2)
    finally:
        flower.kill()
        flower.wait()
    with app.connection() as connection:
        connection.default_channel.queue_delete(QUEUE)
        connection.default_channel.exchange_delete(QUEUE)
