"""/v1/jobs."""

from marshmallow import Schema, fields, validate

from llmapi.api.schemas.common import Problem
from llmapi.api.schemas.fields import choice, many, string, whole

STATUSES = ("queued", "running", "succeeded", "failed", "cancelled", "dead")
TASKS = ("text", "code", "classify")


class JobRequest(Schema):
    task = choice("Which task", TASKS, required=True)
    request = fields.Dict(required=True, metadata={"description": "The request, as the task's own route takes it"})
    priority = whole("9 is first, 0 is last", 0, 9, load_default=5)


class JobQuery(Schema):
    status = choice("Only jobs in this status", STATUSES)
    limit = fields.Integer(load_default=20, validate=validate.Range(1, 100), metadata={"description": "How many"})
    after = string("The id to go on after", 1, 64)


class Job(Schema):
    id = fields.String(required=True)
    kind = fields.String(required=True, metadata={"example": "task"})
    task = fields.String(required=True, allow_none=True)
    status = choice("Where it stands", STATUSES, required=True)
    priority = fields.Integer(required=True)
    attempts = fields.Integer(required=True, metadata={"description": "How often it was started"})
    created = fields.DateTime(required=True)
    started = fields.DateTime(required=True, allow_none=True)
    finished = fields.DateTime(required=True, allow_none=True)
    request_id = fields.String(required=True, allow_none=True)
    result = fields.Dict(required=True, allow_none=True, metadata={"description": "The answer"})
    error = fields.Nested(Problem, required=True, allow_none=True)


class JobList(Schema):
    data = many(fields.Nested(Job), "Newest first", 0, 100, required=True)
    next = fields.String(required=True, allow_none=True, metadata={"description": "Send as `after` for the next page"})


class Accepted(Schema):
    id = fields.String(required=True, metadata={"example": "job_01kexample0000000000000000"})
    status = choice("Where it stands", STATUSES, required=True)
