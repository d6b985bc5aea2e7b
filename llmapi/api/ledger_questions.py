"""Questions of use and cost: from a query to the ledger's sums and back, as JSON or CSV."""

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Response, request

from llmapi.api.context import identity, services
from llmapi.api.csv_answers import as_csv, csv_wanted
from llmapi.api.schemas.usage import NAME
from llmapi.core.clock import rfc3339, utc_now
from llmapi.core.errors import Forbidden, ValidationFailed
from llmapi.costs.usage import Answer, Cursor, Question, Sums
from llmapi.costs.usage_plan import DIMENSIONS
from llmapi.tenants.roles import allows

Json = dict[str, Any]

USUAL = timedelta(days=30)
OTHERS = "tenants:read"  # the scope of who may see what other tenants use
MOST_MICROS = 2**53


def reported(name: str, query: Json, shown: Callable[[Sums], Json], **more: Any) -> Response:
    """Return the answer to a question in the caller's format; `shown` tells a sum, `more` stands beside the rows."""
    asked = question_of(query)
    answer = services().usage.ask(asked)
    if csv_wanted(query.get("format")):
        return csv_report(name, asked, answer, shown)
    rows = [
        {"start": rfc3339(line.start), "end": rfc3339(line.end), "group": line.group, **shown(line.sums)}
        for line in answer.lines
    ]
    told = {"from": rfc3339(asked.start), "to": rfc3339(asked.end), "interval": asked.interval, **more}
    told |= {"group_by": asked.by, "data": rows, "total": shown(answer.total), "next": written(answer.next)}
    return Response(orjson.dumps(told), headers={"Cache-Control": "no-store"}, mimetype="application/json")


def csv_report(name: str, asked: Question, answer: Answer, shown: Callable[[Sums], Json]) -> Response:
    """Return an answer's rows as CSV, the groups as columns."""
    columns = ["start", "end", *asked.by, *shown(Sums())]
    rows = [
        {"start": rfc3339(line.start), "end": rfc3339(line.end), **line.group, **shown(line.sums)}
        for line in answer.lines
    ]
    response = as_csv(name, columns, rows, next_address(asked, answer.next) if answer.next else "")
    response.headers["Cache-Control"] = "no-store"
    return response


def question_of(query: Json) -> Question:
    """Return what a query asks, of the caller's tenant unless it may see others; raises ValidationFailed, Forbidden."""
    end = query.get("end") or utc_now()
    start = query.get("start") or end.replace(hour=0, minute=0, second=0, microsecond=0) - USUAL
    if start >= end:
        raise ValidationFailed("The range is empty.", fields={"to": ["Must be later than `from`."]})
    where = {name: query[name] for name in DIMENSIONS if name in query and name != "tenant"}
    return Question(
        tenant=tenant_of(query),
        start=start,
        end=end,
        interval=query["interval"],
        by=query["by"],
        where=where,
        limit=query["limit"],
        after=read_cursor(query["cursor"], query["by"]) if "cursor" in query else None,
    )


def tenant_of(query: Mapping[str, Any]) -> str | None:
    """Return whose calls are asked for; None: all tenants'."""
    wanted, every = query.get("tenant"), "tenant" in query["by"]
    if wanted in (None, identity().tenant) and not every:
        return identity().tenant
    if not allows(identity().scopes, OTHERS):
        raise Forbidden(f"other tenants are seen with the scope {OTHERS} alone", scope=OTHERS)
    return wanted


def written(after: Cursor | None) -> str | None:
    """Return a cursor as text."""
    return None if after is None else base64.urlsafe_b64encode(orjson.dumps(after)).decode().rstrip("=")


def read_cursor(text: str, by: tuple[str, ...]) -> Cursor:
    """Return a cursor from its text; raises ValidationFailed for what is none of this question's."""
    try:
        found = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        found = None
    if not isinstance(found, list) or not fits(found, by):
        raise ValidationFailed("The cursor fits not.", fields={"cursor": ["Not a cursor of this question."]})
    return tuple(found)


def fits(found: list[Any], by: tuple[str, ...]) -> bool:
    """Say whether these values can be the last row of a page."""
    if len(found) != 1 + len(by) or type(found[0]) is not int or abs(found[0]) > MOST_MICROS:
        return False
    return all(
        type(value) is bool if name == "batch" else isinstance(value, str) and NAME.match(value) is not None
        for name, value in zip(by, found[1:], strict=True)
    )


def next_address(asked: Question, after: Cursor) -> str:
    """Return the address of the next page, with the range that "now" was at first."""
    kept = {name: value for name, value in request.args.items() if name != "cursor"}
    times: dict[str, datetime] = {"from": asked.start, "to": asked.end}
    kept |= {name: at.isoformat().replace("+00:00", "Z") for name, at in times.items()}
    return f"{request.path}?{urlencode({**kept, 'format': 'csv', 'cursor': written(after)})}"
