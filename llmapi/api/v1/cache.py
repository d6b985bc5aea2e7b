"""/v1/cache: what it holds and saves, what it would do with a request, what it is to forget, and what to ask ahead."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from flask import Response
from flask.views import MethodView

from llmapi.api.context import caller, committing, identity, request_id, services
from llmapi.api.ledger_questions import USUAL
from llmapi.api.openapi import LOCATION, examples_of
from llmapi.api.parsing import Blueprint
from llmapi.api.private import as_json, never_kept
from llmapi.api.schemas.cache import CacheReport, Cleared, ClearQuery, LookupAnswer, LookupQuery, LookupRequest
from llmapi.api.schemas.cache import StatsQuery, WarmAccepted, WarmRequest
from llmapi.api.v1.jobs import task_request
from llmapi.cache.clearing import mark_of
from llmapi.core.clock import rfc3339, utc_now
from llmapi.core.errors import Forbidden, NotFound, ValidationFailed
from llmapi.core.money import dollars
from llmapi.tasks import warming
from llmapi.tasks.saved import saved_between
from llmapi.tenants.everyone import every_tenant
from llmapi.tenants.roles import allows

ABOUT = "What is kept, and what that saves"
OTHERS = "tenants:write"  # the scope of who may empty other tenants' caches
WITHIN = 2.0  # seconds until every worker knows a mark
AT_ONCE = 100  # tenants in one transaction
UNKNOWN = {"estimate": None, "low": None, "high": None, "n": 0}

bp = Blueprint("cache", __name__, url_prefix="/v1/cache", description=ABOUT)
lookups = Blueprint("cache_lookups", __name__, url_prefix="/v1/cache/lookup", description=ABOUT)
never_kept(bp)
never_kept(lookups)


@bp.route("")
class Cache(MethodView):
    @bp.arguments(ClearQuery(), location="query")
    @bp.response(200, Cleared())
    def delete(self, query: dict[str, Any]) -> Response:
        """Let kept answers be served no more: by cache key, tag, model, template, task or age, or all of them.

        What is asked for from now on is kept anew. Only your own answers are meant.
        """
        house, everyone = services(), query.pop("everyone", False)
        if everyone and not allows(identity().scopes, OTHERS):
            raise Forbidden(f"other tenants' answers are cleared with the scope {OTHERS} alone", scope=OTHERS)
        whose = every_tenant(house.tenants, house.settings.api_keys) if everyone else [identity().tenant]
        marks = [mark_of(tenant, query, utc_now().timestamp()) for tenant in whose]
        for start in range(0, len(marks), AT_ONCE):
            house.marks.add(marks[start : start + AT_ONCE])
        told = asdict(marks[0]) | {"before": rfc3339(datetime.fromtimestamp(marks[0].before, UTC))}
        del told["tenant"]
        return as_json({**told, "tenants": len(marks), "workers_within_s": WITHIN})


@bp.route("/stats")
class Stats(MethodView):
    @bp.arguments(StatsQuery(), location="query")
    @bp.response(200, CacheReport())
    def get(self, query: dict[str, Any]) -> Response:
        """Tell how often the cache answered your calls, what that saved, and how often it was wrong."""
        end = query.get("end") or utc_now()
        start = query.get("start") or end.replace(hour=0, minute=0, second=0, microsecond=0) - USUAL
        if start >= end:
            raise ValidationFailed("The range is empty.", fields={"to": ["Must be later than `from`."]})
        tenant = identity().tenant
        return as_json({"from": rfc3339(start), "to": rfc3339(end), **numbers(tenant, start, end)})


@bp.route("/warm")
class Warm(MethodView):
    @bp.arguments(WarmRequest(), examples=examples_of("warm"))
    @bp.response(202, WarmAccepted(), headers=LOCATION)
    def post(self, wanted: dict[str, Any]) -> Response:
        """Have questions asked now, so that their answers are kept when somebody asks. What is kept costs nothing."""
        wanted.pop("request_id", None)  # has done its work (idempotency.py)
        when = {name: wanted.pop(name) for name in ("priority", "timeout") if name in wanted}
        house, who = services(), identity()
        arguments = {"task": wanted["task"], "refresh": wanted["refresh"], **questions(wanted)}
        arguments |= {"payer": asdict(who.payer), "since": utc_now().timestamp()}
        committing()
        job = house.jobs.put(warming.KIND, arguments, tenant=who.tenant, request_id=request_id(), **when)
        told = {"id": job, "status": "queued", "reaches": reaches(house.settings.cache_url)}
        return as_json(told, 202, f"/v1/jobs/{job}")


@lookups.route("")
class Lookup(MethodView):
    @lookups.arguments(LookupRequest(), examples=examples_of("cache_lookups"))
    @lookups.response(200, LookupAnswer())
    def post(self, wanted: dict[str, Any]) -> Response:
        """Tell whether a request would be answered from the cache, and why or why not. No model is asked."""
        task = wanted["task"]
        return as_json(services().lookup.of_request(task, task_request(task, wanted["request"]), caller()))

    @lookups.arguments(LookupQuery(), location="query")
    @lookups.response(200, LookupAnswer())
    def get(self, query: dict[str, Any]) -> Response:
        """Tell whether an answer is kept under a key of yours."""
        return as_json(services().lookup.of_key(identity().tenant, query["cache_key"]))


def numbers(tenant: str, start: datetime, end: datetime) -> dict[str, Any]:
    """Return what the cache did for a tenant in a time, from the ledger's sums."""
    house = services()
    saved = saved_between(house.usage, tenant, start, end)
    meaning = dict(house.semantic.stats(tenant))
    share = saved.share
    return {
        "calls": dict(saved.by_kind),
        "hit_share": None if share is None else round(share, 4),
        "saved": {"amount": dollars(saved.money), "currency": "USD", "seconds": round(saved.seconds, 3)},
        "semantic_error": meaning.pop("error", None) or UNKNOWN,
        "semantic": meaning,
        "worker": dict(house.cache.stats()),
    }


def questions(wanted: dict[str, Any]) -> dict[str, Any]:
    """Return where a warm-up's questions are, checked as far as that can be done now; raises ValidationFailed."""
    if "top" in wanted:
        if services().settings.requests_kept:
            return {"top": wanted["top"]}
        said = "No requests are kept here (LLMAPI_REQUESTS_KEPT), so nobody knows the most asked: send them."
        raise ValidationFailed(said, fields={"top": [said]})
    if "file" in wanted:
        need_file(wanted["file"])
        return {"file": wanted["file"]}
    found: list[dict[str, Any]] = []
    wrong: dict[str, Any] = {}
    for number, each in enumerate(wanted["requests"]):
        try:
            found.append(task_request(wanted["task"], each))
        except ValidationFailed as error:
            wrong |= {f"requests.{number}{name.removeprefix('request')}": said for name, said in error.fields.items()}
    if wrong:
        raise ValidationFailed("some requests are not valid", fields=dict(list(wrong.items())[:100]))
    return {"requests": found}


def need_file(id: str) -> None:
    """Raise ValidationFailed unless the caller has such a file."""
    try:
        services().batches.files.get(id, identity().tenant)
    except NotFound as error:
        raise ValidationFailed("The file is not there.", fields={"file": ["No such file."]}) from error


def reaches(cache_url: str) -> str:
    """Return whose cache a warm-up fills."""
    alone = cache_url.startswith("memory:") and services().settings.workers > 1
    return "one_worker" if alone else "all_workers"
