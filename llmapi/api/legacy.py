"""Two doors that other services had before: POST /invoke with its own words and errors, and POST /api/query."""

import time
from dataclasses import replace
from typing import Any

import orjson
from flask import Request, Response, g
from flask.views import MethodView

from llmapi.api.answering import cache_status, cost_header
from llmapi.api.context import caller, request_id, services
from llmapi.api.errors import with_hints
from llmapi.api.legacy_shapes import KEY, answer_of, failure_of, question_of, status_of
from llmapi.api.openapi import CACHE_STATUS, examples_of
from llmapi.api.parsing import Blueprint, StrictParser
from llmapi.api.schemas.common import PRINTABLE
from llmapi.api.schemas.legacy import InvokeAnswer, InvokeFailure, InvokeRequest, QueryAnswer, QueryRequest
from llmapi.core.clock import utc_now
from llmapi.core.errors import LlmApiError, ProviderInvalid, Unauthenticated, ValidationFailed
from llmapi.events.redaction import hide
from llmapi.tasks.answers import milliseconds
from llmapi.tasks.runner import Caller

OWN_MODEL = "gpt-4o-mini"  # for callers with their own key who name none
VENDOR = "openai"
REFUSED = (401, 403)
REPLAYED = {"Idempotent-Replayed": {"schema": {"type": "string"}, "description": "`true`: this was answered before"}}


class NamingParser(StrictParser):
    """Notes the id in the body before anything in it is checked: a refusal carries it too. Hides the key from logs."""

    def load_json(self, req: Request, schema: Any) -> Any:
        body = super().load_json(req, schema)
        if isinstance(body, dict):
            name, key = body.get("request_id"), body.get(KEY)
            if isinstance(name, str) and PRINTABLE.fullmatch(name):
                g.invoke_id = name
            if isinstance(key, str):
                hide(key)
        return body


class InvokeBlueprint(Blueprint):
    """The blueprint of /invoke; its document shows every error in its own shape, those nobody listed too."""

    ARGUMENTS_PARSER = NamingParser()

    @staticmethod
    def _prepare_response_doc(doc: Any, doc_info: Any, **rest: Any) -> Any:
        doc = Blueprint._prepare_response_doc(doc, doc_info, **rest)
        content = {key: value for key, value in doc["responses"][500].items() if key == "content"}
        doc["responses"]["default"] = {"description": "Any other error", **content}
        return doc


bp = InvokeBlueprint("invoke", __name__, description="`/invoke`: one question, told apart by its request id")
query = Blueprint("query", __name__, description="`/api/query`: the simplest door")


@bp.route("/invoke")
class Invoke(MethodView):
    @bp.arguments(InvokeRequest(), examples=examples_of("invoke"), error_status_code=400)
    @bp.response(200, InvokeAnswer(), headers={"Cache-Status": CACHE_STATUS, **REPLAYED})
    @bp.alt_response(400, schema=InvokeFailure(), description="A field is wrong")
    @bp.alt_response(401, schema=InvokeFailure(), description="No valid key, or OpenAI refused the own one")
    @bp.alt_response(409, schema=InvokeFailure(), description="The request id is taken")
    @bp.alt_response(429, schema=InvokeFailure(), description="Too many requests, here or at the vendor")
    @bp.alt_response(500, schema=InvokeFailure(), description="A defect of the service")
    @bp.alt_response(503, schema=InvokeFailure(), description="No answer from the vendor")
    def post(self, asked: dict[str, Any]) -> Response:
        """Answer a question; the same request id again gets the same answer."""
        asked = {name: value for name, value in asked.items() if value is not None}
        name, key = asked.pop("request_id"), asked.pop(KEY, "")
        return invoked(name, asked, key)


@query.route("/api/query")
class Query(MethodView):
    @query.arguments(QueryRequest(), examples=examples_of("query"))
    @query.response(200, QueryAnswer(), headers={"Cache-Status": CACHE_STATUS})
    def post(self, asked: dict[str, Any]) -> Response:
        """Answer a question, and say whether the answer was a kept one."""
        told = services().tasks.answer("text", {"prompt": asked["query"]}, caller())
        return Response(orjson.dumps(queried(told)), headers=fact_headers(told), mimetype="application/json")


def invoked(name: str, asked: dict[str, Any], key: str) -> Response:
    """Return a new answer; raises LlmApiError."""
    model = asked.get("model", OWN_MODEL if key else "")
    if key:
        refuse_other_vendors(model)
    told = paid_by(key, question_of(asked, model))
    body = orjson.dumps(answer_of(told, name, milliseconds(time.perf_counter() - g.started)))
    return Response(body, headers=fact_headers(told), mimetype="application/json")


def paid_by(key: str, question: dict[str, Any]) -> dict[str, Any]:
    """Return the text task's answer, asked with the caller's own key if there is one."""
    asker: Caller = caller()
    if not key:
        return services().tasks.answer("text", question, asker)
    try:
        return services().tasks.answer("text", question, replace(asker, provider_key=key))
    except ProviderInvalid as error:
        if error.details.get("provider_status") not in REFUSED:
            raise
    raise Unauthenticated("OpenAI refused the key", fields={KEY: ["OpenAI does not accept this key."]})


def refuse_other_vendors(model: str) -> None:
    """Raise ValidationFailed unless a model is OpenAI's: its key is sent to nobody else."""
    if services().models.resolve(model, own_key=True).targets[0].provider != VENDOR:
        said = f"{KEY} is for OpenAI's models; name one, or leave the key out."
        raise ValidationFailed("The model cannot be used.", fields={"model": [said]})


def queried(told: dict[str, Any]) -> dict[str, Any]:
    """Return a task's answer in five fields."""
    cached = told["cache"]["status"] in ("hit", "semantic")
    return {
        "response": told["output"]["text"],
        "cached": cached,
        "source": "cache" if cached else "model",
        "model": told["model"],
        "latency_ms": told["timing"]["total_ms"],
    }


def fact_headers(told: dict[str, Any]) -> dict[str, str]:
    return {"Cache-Status": cache_status(told["cache"]), **cost_header(told["cost"])}


def invoke_shape(error: LlmApiError) -> Response:
    """Return an error as /invoke shows it."""
    body = failure_of(error, g.get("invoke_id") or request_id(), utc_now())
    return with_hints(Response(orjson.dumps(body), status=status_of(error), mimetype="application/json"), error)
