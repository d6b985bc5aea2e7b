"""From a checked request to its answer, in the way the caller asked for: at once, dry, later, or as a stream."""

import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import orjson
from flask import Response, request

from llmapi.api import streaming, wishes
from llmapi.api.context import caller, committing, identity, request_id, services
from llmapi.api.errors import problem
from llmapi.core.lifetime import Lifetime
from llmapi.gateway.recording import Recording

Wanted = dict[str, Any]
# Of several the first one here holds.
MODES = {"no-store": "bypass", "only-if-cached": "only", "no-cache": "refresh", "max-age=0": "refresh"}
MAX_AGE = re.compile(r"max-age=(0*[1-9]\d{0,8})$")
LONGEST_STALE = 604_800.0  # seconds, as in the schema
STALE = re.compile(r"(stale-while-revalidate|stale-if-error)=(\d{1,6})$")


def answer(task: str, wanted: Wanted) -> Response:
    """Return the answer of a task, or the promise of one (202), or a stream of it."""
    if directives := request.headers.get("Cache-Control"):
        wanted = with_cache_control(wanted, directives)
    wanted.pop("request_id", None)  # has done its work (idempotency.py)
    stream = wanted.pop("stream", False)
    if wanted.pop("dry_run", False):
        return shown(services().tasks.preview(task, wanted, caller()))
    if "respond-async" in preferences():
        return accepted(task, wanted)
    if stream:
        return streamed(task, wanted)
    return shown(services().tasks.answer(task, wanted, caller()))


def shown(told: dict[str, Any]) -> Response:
    """Return a task's answer with what the cache did in RFC 9211's words."""
    timing = told["timing"]
    headers = {
        "Cache-Status": cache_status(told["cache"]),
        "Server-Timing": f"total;dur={timing['total_ms']}, provider;dur={timing['provider_ms']}",
        **cost_header(told["cost"]),
    }
    return Response(orjson.dumps(told), headers=headers, content_type="application/json")


def cost_header(cost: dict[str, Any]) -> dict[str, str]:
    """Return what an answer cost as a header; none when nobody knows: no price is never 0."""
    return {} if cost["amount"] is None else {"X-Cost-USD": cost["amount"]}


def cache_status(cache: dict[str, Any]) -> str:
    """Return the Cache-Status header of an answer (RFC 9211)."""
    words = {"hit": "hit", "coalesced": "fwd=miss; collapsed", "bypass": "fwd=bypass"}
    words["semantic"] = "hit; detail=semantic"
    late = f"; ttl={int(cache['ttl_s'] // 1)}" if cache.get("stale") else ""
    return f"llmapi; {words.get(cache['status'], 'fwd=miss')}{late}"


def accepted(task: str, wanted: Wanted, **when: Any) -> Response:
    """Put the work into the job registry and say where its result will be; what cannot be done is refused now.

    when: priority, run_at and timeout, as Registry.put takes them
    """
    asker = caller()
    if asker.provider_key:
        raise wishes.unfit(wishes.PROVIDER_KEY, "A key is used at once or not at all: it is not kept for a job.")
    services().tasks.preview(task, wanted, asker)
    arguments = {"task": task, "request": wanted, "payer": asdict(asker.payer)}
    committing()
    job = services().jobs.put("task", arguments, tenant=identity().tenant, request_id=request_id(), **when)
    response = Response(orjson.dumps({"id": job, "status": "queued"}), 202, mimetype="application/json")
    response.headers["Location"] = f"/v1/jobs/{job}"
    if "respond-async" in preferences():
        response.headers["Preference-Applied"] = "respond-async"
    return response


def streamed(task: str, wanted: Wanted, voice: streaming.Voice | None = None) -> Response:
    """Return the answer as server-sent events; what fails before the first one keeps its own status.

    voice: says them in a door's words; None: in the task doors'
    """
    connection = request.environ.get("gunicorn.socket")
    house = services()
    asker = caller()
    lifetime = Lifetime(house.tasks.timeout(task, asker.limit))
    asker = replace(asker, lifetime=lifetime)
    recording = Recording(asker.tenant, lifetime, finish=wanted.pop("on_disconnect", "cancel") == "finish")
    voice = voice or streaming.Numbered(partial(problem, call_id=asker.request_id))
    events = partial(house.tasks.stream, task, wanted, asker)
    pump = streaming.Pump(lambda: streaming.recorded(events(), recording, voice), lifetime)
    try:
        first = streaming.first_event(pump, connection, house.settings.heartbeat)
    except BaseException:
        pump.stop()
        raise
    stream = house.streams.keep(recording)
    body = streaming.written(
        pump, first, connection, heartbeat=house.settings.heartbeat, voice=voice, leave=recording.leave
    )
    return event_stream(body, stream)


def event_stream(body: Iterable[bytes], stream: str) -> Response:
    """Return server-sent events as a response that no proxy holds back; `stream` is where to read on."""
    response = Response(body, mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    response.headers["X-Stream-ID"] = stream
    return response


def preferences() -> set[str]:
    """Return the names in the Prefer header (RFC 7240)."""
    told = ",".join(request.headers.getlist("Prefer"))
    if not told:
        return set()
    return {part.partition(";")[0].partition("=")[0].strip().lower() for part in told.split(",")}


def with_cache_control(wanted: Wanted, header: str) -> Wanted:
    """Add what Cache-Control says to what the body says of the cache; the body wins."""
    directives = [part.strip().lower() for part in header.split(",")]
    modes = [mode for name, mode in MODES.items() if name in directives]
    said: Wanted = {"mode": modes[0]} if modes else {}
    for directive in directives:
        if found := MAX_AGE.match(directive):
            said["ttl"] = float(found[1])
        elif found := STALE.match(directive):
            said[found[1].replace("-", "_")] = min(float(found[2]), LONGEST_STALE)
    return {**wanted, "cache": {**said, **wanted.get("cache", {})}} if said else wanted
