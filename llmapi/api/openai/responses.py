"""/v1/responses: a turn of a conversation in OpenAI's newer words; at once, as a stream, or in the background."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import orjson
from flask import Response, request
from flask.views import MethodView

from llmapi.api import wishes
from llmapi.api.answering import streamed, with_cache_control
from llmapi.api.context import caller, committing, identity, request_id, services
from llmapi.api.openai import headers
from llmapi.api.openai.docs import ERRORS, openai_docs
from llmapi.api.openai.response_shapes import PREFIX, REPEATED, ended, of_job
from llmapi.api.openai.response_stream import ResponseEvents
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.openai_responses import ResponseAnswer, ResponseQuery, ResponsesRequest
from llmapi.core.errors import JobNotCancellable, NotFound, ValidationFailed
from llmapi.jobs.job import Job
from llmapi.tasks.later import KIND

Json = dict[str, Any]
TASK = "chat"
SAME = ("model", "temperature", "top_p", "parallel_tool_calls")
OURS = {"messages": "input", "max_tokens": "max_output_tokens", "response_format": "text.format"}  # and what it is here
FUNCTION = ("name", "description", "parameters")
ANY_OBJECT = {"type": "object"}

bp = Blueprint("responses", __name__, url_prefix="/v1/responses", description="OpenAI's responses")
kept = Blueprint("kept_responses", __name__, url_prefix="/v1/responses", description="OpenAI's responses, made before")
for each in (bp, kept):
    headers.install(each)


@bp.route("")
class Responses(MethodView):
    @openai_docs(bp, "responses", ResponsesRequest(), ResponseAnswer(), streams=True)
    def post(self, asked: Json) -> Response:
        """Say the next turn of a conversation, as OpenAI's API does; in the background if wished."""
        with in_their_words():
            wanted = with_cache_control(task_request(asked), request.headers.get("Cache-Control", ""))
            if asked.get("background"):
                return queued(asked, wanted)
            id = PREFIX + request_id()
            if asked.get("stream"):
                return streamed(TASK, wanted, ResponseEvents(id, asked))
            begun = float(int(time.time()))
            told = services().tasks.answer(TASK, wanted, caller())
        response = as_json(ended(id, asked, told, created=begun, done=float(int(time.time()))))
        response.headers.update(headers.facts(told))
        return response


@kept.route("/<string:response_id>")
class KeptResponse(MethodView):
    @kept.arguments(ResponseQuery(), location="query")
    @kept.doc(responses=ERRORS)
    @kept.response(200, ResponseAnswer())
    def get(self, _: Json, response_id: str) -> Response:
        """Tell where a response in the background stands; once it is completed, all of it."""
        return as_json(shown(found(response_id)))


@kept.route("/<string:response_id>/cancel")
class Cancel(MethodView):
    @kept.doc(responses=ERRORS)
    @kept.response(200, ResponseAnswer())
    def post(self, response_id: str) -> Response:
        """Cancel a response in the background: a running one ends within two seconds, an ended one stays as it is."""
        job = found(response_id)
        if job.status in ("queued", "running"):
            job = cancelled(job)
        return as_json(shown(job))


def task_request(asked: Json) -> Json:
    """Return a request in the words of the chat task."""
    wanted = {name: asked[name] for name in SAME if name in asked}
    front = [{"role": "system", "content": asked["instructions"]}] if asked.get("instructions") else []
    wanted["messages"] = front + asked["input"]
    if "max_output_tokens" in asked:
        wanted["max_tokens"] = asked["max_output_tokens"]
    if tools := asked.get("tools"):
        wanted["tools"] = [{name: tool[name] for name in FUNCTION} for tool in tools]
        chosen = asked.get("tool_choice", "auto")
        wanted["tool_choice"] = chosen if isinstance(chosen, str) else chosen["name"]
    form = asked.get("text", REPEATED["text"])["format"]
    if form["type"] != "text":
        wanted["response_format"] = {"type": "json_schema", "schema": form.get("schema", ANY_OBJECT)}
    return wanted


def queued(asked: Json, wanted: Json) -> Response:
    """Put the work into the job registry; what cannot be done is refused now."""
    house, asker = services(), caller()
    if asker.provider_key:
        raise wishes.unfit(wishes.PROVIDER_KEY, "A key is used at once or not at all: it is not kept for later.")
    house.tasks.preview(TASK, wanted, asker)
    repeated = {name: asked[name] for name in ("model", *REPEATED) if name in asked}
    arguments = {"task": TASK, "request": wanted, "response": repeated, "payer": asdict(asker.payer)}
    committing()
    job = house.jobs.put(KIND, arguments, tenant=identity().tenant, request_id=request_id())
    return as_json(shown(house.jobs.get(job, identity().tenant)))


def found(response_id: str) -> Job:
    """Return the job behind an id of ours; raises NotFound, also for somebody else's."""
    unknown = NotFound(f"No response with the id {response_id:.100} is kept here.")
    if not response_id.startswith(PREFIX):
        raise unknown
    try:
        job = services().jobs.get(response_id.removeprefix(PREFIX), identity().tenant)
    except NotFound:
        raise unknown from None
    if "response" not in (job.arguments or {}):
        raise unknown
    return job


def cancelled(job: Job) -> Job:
    """Return the job after it was asked to end; it may have ended in the meantime."""
    jobs = services().jobs
    try:
        jobs.cancel(job.id, job.tenant)
    except JobNotCancellable:
        pass
    return jobs.get(job.id, job.tenant)


def shown(job: Job) -> Json:
    """Return a job as the Response it works on."""
    return of_job(job, (job.arguments or {})["response"])


@contextmanager
def in_their_words() -> Iterator[None]:
    """Name wrong fields as this door calls them."""
    try:
        yield
    except ValidationFailed as error:
        error.fields = {renamed(name): said for name, said in error.fields.items()}
        raise


def renamed(field: str) -> str:
    """Return what a field of the chat task is called here."""
    first, dot, rest = field.partition(".")
    return OURS.get(first, first) + dot + rest


def as_json(told: Json) -> Response:
    """Return a JSON answer."""
    return Response(orjson.dumps(told), mimetype="application/json")
