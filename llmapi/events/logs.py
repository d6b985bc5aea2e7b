"""Logs: one JSON object a line, whoever wrote it, without secrets, prompts or completions."""

import functools
import json
import logging
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any, Final, TextIO

import orjson
import structlog
from structlog.stdlib import ProcessorFormatter

from llmapi.core.events import CallFinished, JobChanged
from llmapi.core.money import dollars
from llmapi.events.lines import LineWriter, NamedWriter
from llmapi.events.redaction import OF_REQUEST, spellings, without_secret_fields, without_secrets

log = structlog.get_logger("llmapi.calls")

ADOPTED: Final = ("gunicorn.error", "gunicorn.access", "werkzeug", "py.warnings")  # they bring handlers of their own
NOISY: Final = ("httpx", "httpx2", "httpcore", "urllib3", "google_genai", "openai", "alembic")  # warnings are enough

# "abandoned" and "cancelled" are the caller's doing, a miss of who wanted nothing else is an answer.
WELL: Final = frozenset({"ok", "abandoned", "cancelled", "cache_miss"})


def configure_logs(
    *, level: str = "info", out: TextIO | None = None, secrets: Iterable[str] = (), delay: float = 0.0
) -> None:
    """Send every log of this process, structlog's and the standard library's, through one sink.

    out: a text stream over bytes, standard error when None
    secrets: values that must never be written; those of a request are added by `redaction.hide`
    delay: seconds a line of level info may wait for others (lines.py)
    """
    stream = out or sys.stderr
    least = logging.getLevelNamesMapping()[level.upper()]
    render = LineRenderer(secrets)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    writer = LineWriter(stream.buffer, delay)
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, render],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=functools.cache(functools.partial(NamedWriter, writer)),
        cache_logger_on_first_use=False,  # 3 us a line, so that loggers of modules follow a new configuration
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.processors.format_exc_info],
            processors=[ProcessorFormatter.remove_processors_meta, render, _decoded],
        )
    )
    _adopt_standard_logging(handler, least)


def log_calls(event: Any) -> None:
    """Log one line for each finished call and each job that ended: names and numbers, no words of anybody."""
    if isinstance(event, CallFinished):
        write = log.info if event.status in WELL else log.warning
        write("call", **_of_call(event))
    elif isinstance(event, JobChanged) and event.duration is not None:
        write = log.warning if event.status in ("failed", "dead") else log.info
        write(
            "job",
            job_id=event.job_id,
            tenant=event.tenant,
            kind=event.kind,
            status=event.status,
            attempt=event.attempt,
            seconds=round(event.duration, 3),
        )


class LineRenderer:
    """The last processor: an event becomes one line of JSON, and what is secret is taken out of it."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._values = spellings(secrets)

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> bytes:
        values = self._values + event.pop(OF_REQUEST, ())
        safe = without_secret_fields(event)
        try:
            line = orjson.dumps(safe, default=repr, option=orjson.OPT_NON_STR_KEYS)
        except TypeError:  # a number or a text that strict JSON has no room for: a log line must come out
            line = json.dumps(safe, default=repr, skipkeys=True, ensure_ascii=False).encode(errors="replace")
        return without_secrets(line, values)


def _of_call(event: CallFinished) -> dict[str, Any]:
    return {
        "call_id": event.call_id,
        "tenant": event.tenant,
        "task": event.task,
        "asked_model": event.asked_model,
        "provider": event.provider,
        "model": event.model,
        "status": event.status,
        "cache": event.cache,
        "attempts": len(event.attempts),
        "input_tokens": event.usage.input_tokens,
        "output_tokens": event.usage.output_tokens,
        "cost": None if event.cost.nanos is None else dollars(event.cost.nanos),
        "seconds": round(event.duration, 6),
        "provider_seconds": round(event.provider_time, 6),
        "streamed": event.streamed,
    }


def _decoded(_logger: Any, _method: str, line: Any) -> str:
    return str(line, "utf-8")


def _adopt_standard_logging(handler: logging.Handler, least: int) -> None:
    """Make the root logger write through our handler, and let others hand on what they have."""
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(least)
    for name in ADOPTED:
        other = logging.getLogger(name)
        other.handlers.clear()
        other.propagate = True
    for name in NOISY:
        logging.getLogger(name).setLevel(max(least, logging.WARNING))
    logging.captureWarnings(True)
