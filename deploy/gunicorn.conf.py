"""How gunicorn runs the service: many threads, code loaded once before the fork, everything alive made after it."""

import gc
import os
import signal
import sys
import warnings

import structlog

from llmapi.core.errors import BadSetting
from llmapi.settings import load_settings

gc.disable()  # until all is loaded: nothing of it is garbage, and looking for some is an eighth of the start

# Vendors' libraries quote in warnings what vendors said: not for the log, and Python keeps every one of them for ever.
warnings.simplefilter("ignore", UserWarning)

try:
    settings = load_settings()
except BadSetting as error:
    sys.exit(f"llmapi cannot start: {error}")

wsgi_app = "wsgi:app"
bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
workers = settings.workers
worker_class = "gthread"
threads = settings.threads
preload_app = True
reuse_port = settings.workers > 1 and sys.platform == "linux"
worker_connections = settings.threads + 2048  # what is above the threads may wait, kept alive
backlog = 4096
keepalive = 5
graceful_timeout = int(settings.grace) + 1
timeout = 60
control_socket_disable = True
max_requests = 0
limit_request_fields = 64
limit_request_field_size = 8190
limit_request_line = 4094
accesslog = None  # the application writes its own line, with the request id and without the query string
errorlog = "-"
loglevel = "warning"
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None


# A call of a vendor's library leaves 85 objects in cycles. Collecting them by 50,000 held everybody up for 120 ms (p99.9
# of 50 calls a second: 190 ms); by 10,000 that is 55 ms, for the same CPU in all.
COLLECT = (10_000, 20, 100)


def when_ready(server):
    """Keep what the fork shares out of the garbage collector's way: its marks would copy every page."""
    keep_out_of_sight()
    gc.enable()
    address = f"http://{bind}"
    structlog.get_logger("llmapi").info("listening", address=address, docs=f"{address}/docs", workers=workers)


def keep_out_of_sight():
    """Let the garbage collector forget what stays for good: a fifth less CPU a request."""
    gc.collect()
    gc.freeze()


def post_worker_init(worker):
    """Make what a fork cannot carry: threads, connections, the model's process."""
    gc.set_threshold(*COLLECT)
    services = worker.wsgi.extensions["llmapi"]
    finish_requests = signal.getsignal(signal.SIGTERM)

    def stop_softly(number, frame):
        services.drain()  # /readyz says 503 and no job is taken any more while the running requests end
        finish_requests(number, frame)

    signal.signal(signal.SIGTERM, stop_softly)
    services.start(settled=keep_out_of_sight)


def worker_exit(server, worker):
    """Give everything back; runs after the last request has been answered."""
    if getattr(worker, "wsgi", None) is not None:
        worker.wsgi.extensions["llmapi"].close()


def child_exit(server, worker):
    """Forget the numbers of a worker that is gone."""
    from llmapi.events.metrics import forget_process

    forget_process(worker.pid)
