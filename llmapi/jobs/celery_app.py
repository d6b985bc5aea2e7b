"""The Celery application: how messages travel. They carry a job's id and nothing else; JSON only, no result backend."""

import logging
from typing import Any
from urllib.parse import urlsplit

from celery import Celery, signals  # type: ignore[import-untyped]

from llmapi.core.ids import new_id

TASK = "llmapi.run"
QUEUE = "llmapi"
PATIENCE = 5.0  # seconds the broker may take to answer
VISIBLE_AGAIN = 3600.0  # seconds after which Redis hands out anew what a dead worker had; the sweep is sooner


def open_app(url: str, *, workers: int) -> Celery:
    """Return an application that sends to and works for one broker; nothing is connected yet."""
    here = urlsplit(url).scheme == "memory"
    app = Celery("llmapi", broker="memory://localhost" if here else url, set_as_current=False)
    app.conf.update(
        task_default_queue=new_id(QUEUE) if here else QUEUE,  # queues in memory are shared by the whole process
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_pool="threads",
        worker_concurrency=max(1, workers),
        worker_enable_remote_control=False,  # who can write to the broker shall not command the workers
        worker_send_task_events=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=PATIENCE,
        broker_transport_options=_in_memory() if here else _on_redis(),
    )
    signals.setup_logging.connect(_leave_logging_alone, dispatch_uid="llmapi")
    return app


def _in_memory() -> dict[str, Any]:
    return {"polling_interval": 0.02}


def _on_redis() -> dict[str, Any]:
    return {
        "socket_connect_timeout": 2.0,
        "socket_timeout": PATIENCE,
        "socket_keepalive": True,
        "visibility_timeout": VISIBLE_AGAIN,
    }


def _leave_logging_alone(**_: Any) -> None:
    """Celery sets up the process's logging unless somebody says that he does."""


def tell_warnings_only() -> None:
    """Keep Celery from telling of every message: our own log tells of every job."""
    for name in ("celery", "kombu", "redis"):
        logging.getLogger(name).setLevel(logging.WARNING)
