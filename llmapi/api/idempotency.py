"""A POST that costs money is done once for each `Idempotency-Key`, or `request_id` in its body: a repeat gets the
answer that was given (draft-ietf-httpapi-idempotency-key-header).

Around the views and not in them: `install` wraps those of PAID, so that callers are known and counted before, and the
body is checked after a key was claimed, which a refusal frees again.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Flask, Response, g, request

from llmapi.api.context import HELD, identity
from llmapi.api.idempotency_streams import Recorded
from llmapi.api.schemas.common import PRINTABLE
from llmapi.api.under_way import ASKING
from llmapi.core.errors import DuplicateRequestId, IdempotencyInProgress, IdempotencyKeyReused
from llmapi.core.errors import LlmApiError, ValidationFailed
from llmapi.gateway.idempotency import Keys
from llmapi.gateway.idempotency_held import Held, Name
from llmapi.gateway.idempotency_kept import Kept

HEADER = "Idempotency-Key"
FIELD = "request_id"
SECRET = "openai_api_key"  # of /invoke: a repeat may be paid for with another key
WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})")
LONGEST_WAIT = 60.0  # seconds that a repeat may wait for the first
LOOK = (0.02, 0.25)  # seconds between two looks at a request under way: at first, and later
REPLAYED = "Idempotent-Replayed"
KEPT_HEADERS = ("Content-Type", "Location", "Cache-Status", "Server-Timing", "Preference-Applied", "X-Cost-USD")
STREAM = "text/event-stream"

# The endpoints whose POST costs money.
PAID = (*ASKING, "jobs.Jobs", "batches.Batches", "cache.Warm")
View = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """The key of a request, and where it stood."""

    key: str
    in_body: bool


def install(app: Flask, keys: Keys) -> None:
    """Wrap the views of PAID; after the blueprints were registered."""
    for endpoint in PAID:
        app.view_functions[endpoint] = once(app, keys, app.view_functions[endpoint])


def once(app: Flask, keys: Keys, view: View) -> View:
    """Return a view that answers a repeated request without working on it again."""

    def answer(**arguments: Any) -> Any:
        asked = key_of_request() if request.method == "POST" else None
        if asked is None:
            return view(**arguments)
        if asked.in_body:
            g.invoke_id = asked.key  # /invoke's errors carry it
        found = claimed(keys, asked)
        if isinstance(found, Kept):
            return replayed(found)
        setattr(g, HELD, found)
        return worked(app, keys, found, lambda: view(**arguments))

    return answer


def key_of_request() -> Asked | None:
    """Return the key in the header or in the body, or None; raises ValidationFailed for one that cannot be a key."""
    header = request.headers.get(HEADER)
    field = key_in_body()
    if header is None:
        return None if field is None else Asked(field, in_body=True)
    if not PRINTABLE.fullmatch(header):
        raise unfit(HEADER, "1 to 255 printable ASCII characters.")
    if field is not None and field != header:
        raise unfit(FIELD, f"It differs from {HEADER}, which means the same: send one of them.")
    return Asked(header, in_body=False)


def key_in_body() -> str | None:
    """Return the body's request_id if it has a good one; a bad one, or a bad body, is for the view to refuse."""
    if not request.is_json:
        return None
    raw = request.get_data()
    if b'"request_id"' not in raw and b"\\u00" not in raw:
        return None
    found = object_in(raw).get(FIELD)
    return found if isinstance(found, str) and PRINTABLE.fullmatch(found) else None


def object_in(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in a body, or an empty one."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def claimed(keys: Keys, asked: Asked) -> Held | Kept:
    """Return the right to work on this request, or its answer; waits for another's as long as `Prefer: wait` says."""
    route = request.url_rule.rule if request.url_rule else request.path
    name = Name(identity().tenant, route, asked.key)
    fingerprint = keys.fingerprint(request.method.encode(), route.encode(), canonical(request.get_data()))
    until = time.monotonic() + patience()
    while True:
        try:
            return keys.claim(name, fingerprint)
        except IdempotencyKeyReused as error:
            if not asked.in_body:
                error.fields = {HEADER: [error.message]}
                raise
            said = "This request id was used for another request."
            raise DuplicateRequestId(said, fields={FIELD: [said]}) from None
        except IdempotencyInProgress:
            if time.monotonic() >= until:
                raise
        wait_for(keys, name, until)


def canonical(raw: bytes) -> bytes:
    """Return a body in the one way of writing it; bytes that are no JSON object as they are."""
    if not request.is_json or not (body := object_in(raw)):
        return raw
    told = {name: value for name, value in body.items() if value is not None}
    if SECRET in told:
        told[SECRET] = True
    try:
        return orjson.dumps(told, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # too deep, as the view will say
        return raw


def patience() -> float:
    """Return the seconds the caller wants to wait for a request under way (RFC 7240)."""
    found = WAIT.search(",".join(request.headers.getlist("Prefer")).lower())
    return min(LONGEST_WAIT, float(found[1])) if found else 0.0


def wait_for(keys: Keys, name: Name, until: float) -> None:
    """Return when nobody works on a request any more, or it is time."""
    pause, longest = LOOK
    while time.monotonic() < until and keys.under_way(name):
        time.sleep(min(pause, max(0.0, until - time.monotonic())))
        pause = min(longest, pause * 1.5)


def worked(app: Flask, keys: Keys, held: Held, work: Callable[[], Any]) -> Response:
    """Return the answer of the view, having kept it; a failure frees the key, or is kept if it was paid for."""
    try:
        response = app.make_response(work())
    except LlmApiError as error:
        if not held.paid:
            held.give_up()
            raise
        response = app.make_response(app.handle_user_exception(error))
        response.headers["X-Should-Retry"] = "false"  # under this key it stays the answer
    except BaseException:
        held.give_up()
        raise
    if response.mimetype == STREAM:
        response.response = Recorded(response.response, held, kept_headers(response), keys.largest)
    else:
        body = response.get_data()
        held.keep(Kept(response.status_code, kept_headers(response), body if len(body) <= keys.largest else None))
    return response


def kept_headers(response: Response) -> tuple[tuple[str, str], ...]:
    """Return the headers a repeat gets too."""
    names = (*KEPT_HEADERS, *(("X-Should-Retry",) if response.status_code >= 400 else ()))
    return tuple((name, response.headers[name]) for name in names if name in response.headers)


def replayed(kept: Kept) -> Response:
    """Return an answer again; a stream all at once, as the same events."""
    response = Response(kept.body, kept.status)
    response.headers.update(dict(kept.headers))
    response.headers[REPLAYED] = "true"
    if response.mimetype == STREAM:
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Accel-Buffering"] = "no"
    return response


def unfit(name: str, what: str) -> ValidationFailed:
    """Return the error for a key that is none."""
    return ValidationFailed("The key of this request is not valid.", fields={name: [what]})
