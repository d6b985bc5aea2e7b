"""/v1/jobs."""

from datetime import datetime, timedelta
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from llmapi.api.schemas.common import once
from llmapi.api.schemas.fields import choice, many, number, part, string, whole
from llmapi.core.clock import utc_now

STATUSES = ("queued", "running", "succeeded", "failed", "cancelled", "dead")
REASONS = ("attempts_spent", "worker_lost")
TASKS = ("text", "code", "classify", "chat")
AHEAD = timedelta(days=30)


class Soon(fields.AwareDateTime):
    """An instant with its offset, at most 30 days ahead; one that is past means now."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        if not isinstance(value, str) or "T" not in value.upper():
            raise ValidationError("Not a valid RFC 3339 date and time.")
        found, now = super()._deserialize(value, *args, **kwargs), utc_now()
        if found - now > AHEAD:
            raise ValidationError("Must be at most 30 days ahead.")
        return max(found, now)


class JobRequest(Schema):
    task = choice("Which task", TASKS, required=True)
    request = fields.Dict(required=True, metadata={"description": "The request, as the task's own route takes it"})
    priority = whole("9 is first, 0 is last; a waiting job rises by one every minute", 0, 9, load_default=5)
    run_at = Soon(metadata={"description": "Not before this instant (RFC 3339), at most 30 days ahead"})
    request_id = once()
    timeout = number("Seconds an attempt may take; the server's own limit stays", 0.1, 86_400)


class JobQuery(Schema):
    status = choice("Only jobs in this status", STATUSES)
    limit = fields.Integer(load_default=20, validate=validate.Range(1, 100), metadata={"description": "How many"})
    after = string("The id to go on after", 1, 64)


class DeadQuery(Schema):
    limit = fields.Integer(load_default=20, validate=validate.Range(1, 100), metadata={"description": "How many"})
    after = string("The id to go on after", 1, 64)


class JobError(Schema):
    code = fields.String(required=True, metadata={"description": "Stable", "example": "provider_unavailable"})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    message = fields.String(required=True)
    errors = fields.Dict(metadata={"description": "Each wrong field"})
    details = fields.Dict()


class JobProgress(Schema):
    done = fields.Float(required=True, allow_none=True)
    total = fields.Float(required=True, allow_none=True)
    unit = fields.String(required=True, allow_none=True)
    eta_s = fields.Float(
        required=True, allow_none=True, metadata={"description": "Seconds left at this attempt's pace, while it runs"}
    )


class Job(Schema):
    id = fields.String(required=True)
    kind = fields.String(required=True, metadata={"example": "task"})
    task = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "Told by GET of the job and in its last event; null elsewhere, and for a batch",
            "example": "text",
        },
    )
    status = choice("Where it stands", STATUSES, required=True)
    priority = fields.Integer(required=True)
    attempts = fields.Integer(required=True, metadata={"description": "How often it was started"})
    max_attempts = fields.Integer(required=True)
    cancel_asked = fields.Boolean(required=True, metadata={"description": "It runs, and ends soon"})
    timeout = fields.Float(required=True, allow_none=True)
    run_at = fields.DateTime(required=True, metadata={"description": "Not before this; moved by a failed attempt"})
    created = fields.DateTime(required=True)
    started = fields.DateTime(required=True, allow_none=True)
    finished = fields.DateTime(required=True, allow_none=True)
    request_id = fields.String(required=True, allow_none=True)
    progress = part(JobProgress, "How far it is", required=True, allow_none=True)
    result = fields.Dict(required=True, allow_none=True, metadata={"description": "The answer"})
    error = part(JobError, "Why it failed, or why its last attempt did", required=True, allow_none=True)
    reason = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Why it is dead", "enum": [*REASONS, None]},
    )


class JobList(Schema):
    data = many(fields.Nested(Job), "Newest first", 0, 100, required=True)
    next = fields.String(required=True, allow_none=True, metadata={"description": "Send as `after` for the next page"})


class Purged(Schema):
    deleted = fields.Integer(required=True)


class Accepted(Schema):
    id = fields.String(required=True, metadata={"example": "job_01kexample0000000000000000"})
    status = choice("Where it stands", STATUSES, required=True)
