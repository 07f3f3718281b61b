"""What every program here starts from: an application of its own on the broker under test, and its workers."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid

PATIENCE_S = 30
URI = sys.argv[1]

# A program that hangs ends itself, whatever it hangs in.
signal.alarm(2 * PATIENCE_S - 5)

os.environ["TASKS_WORD"] = uuid.uuid4().hex[:8]
os.environ["TASKS_BROKER"] = URI
# A place for what tasks tell without the broker, which is gone with the program.
SPACE = tempfile.TemporaryDirectory()
PLACE = SPACE.name


def wait(condition, what):
    """Waits until `condition` holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


class Worker:
    """A worker in a process group of its own, for it has children."""

    def __init__(self, *arguments, concurrency=2):
        self.log = os.path.join(PLACE, f"worker-{uuid.uuid4().hex[:8]}.log")
        command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--loglevel", "info"]
        command += ["--concurrency", str(concurrency), "--hostname", f"{uuid.uuid4().hex[:8]}@worker", *arguments]
        with open(self.log, "wb") as log:
            folder = os.path.dirname(os.path.abspath(__file__))
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)

    def ready(self):
        """Waits until it consumes."""
        wait(lambda: " ready." in self.said(), f"a worker: {self.said()}")
        return self

    def said(self):
        """What it has logged."""
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def kill(self):
        """Ends it and its children without a word of goodbye."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Ends it as an operator would. Celery's own shutdown hangs at times, with any broker, and is then cut short."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def worker(*arguments, **options):
    """A worker that is ready, and is stopped at the end; its log is shown when something goes wrong."""
    started = Worker(*arguments, **options)
    try:
        yield started.ready()
        started.stop()
    except BaseException:
        print(started.said(), file=sys.stderr)
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        raise


def clean(app):
    """Removes what the application leaves on a broker that is shared."""
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        channel.queue_delete(app.conf.task_default_queue)
        channel.exchange_delete(app.conf.task_default_exchange)
