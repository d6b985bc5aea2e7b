"""POST /v1/classify."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema

from llmapi.api.schemas.common import TaskAnswer, TaskRequest
from llmapi.api.schemas.fields import choice, flag, many, number, part, string

MOST_TEXT = 100_000


class LabelRow(Schema):
    name = string("The label", 1, 64, required=True)
    description = string("What it means", 0, 500)


class Label(fields.Raw):
    """A label: its name, or an object with name and description. Always loads to the object."""

    def __init__(self, **more: Any) -> None:
        name = {"type": "string", "minLength": 1, "maxLength": 64}
        row = {
            "type": "object",
            "properties": {"name": name, "description": {"type": "string", "maxLength": 500}},
            "required": ["name"],
            "additionalProperties": False,
        }
        super().__init__(metadata={"oneOf": [name, row]}, **more)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> dict[str, str]:
        row: dict[str, str] = LabelRow().load({"name": value} if isinstance(value, str) else value)
        return row


class Example(Schema):
    text = string("A text", 1, 10_000, required=True)
    label = string("Its label, one of `labels`", 1, 64, required=True)


class ClassifyRequest(TaskRequest):
    text = string("The text to classify", 1, MOST_TEXT, example="I love this product")
    texts = many(string("A text", 1, MOST_TEXT), "Several texts, instead of `text`", 1, 64)
    labels = many(Label(), "The labels to choose from", 2, 64, required=True, example=["positive", "negative"])
    multi_label = flag("Any number of labels may fit", load_default=False)
    examples = many(fields.Nested(Example), "A few solved examples", 0, 64, load_default=list)
    abstain_below = number("Choose no label when the best one is less probable than this", 0, 1)

    @validates_schema
    def _one_question(self, data: dict[str, object], **_: object) -> None:
        if ("text" in data) == ("texts" in data):
            raise ValidationError("Send either `text` or `texts`.", "text")


class Calibration(Schema):
    method = choice("`none`: the numbers are the evidence as it came", ("none",), required=True)
    n = fields.Integer(required=True, metadata={"description": "Judged answers the calibration rests on"})
    ece = fields.Float(required=True, allow_none=True, metadata={"description": "Expected calibration error"})


class Decision(Schema):
    label = fields.Raw(
        required=True,
        allow_none=True,
        metadata={"description": "The label; a list of labels with `multi_label`; null when abstained"},
    )
    confidence = fields.Float(required=True, allow_none=True)
    probabilities = fields.Dict(keys=fields.String(), values=fields.Float(), required=True)
    abstained = fields.Boolean(required=True)
    evidence = choice("Where the numbers come from", ("logprobs", "votes", "embedding"), required=True)
    calibration = part(Calibration, "How the numbers were calibrated", required=True)


class ClassifyOutput(Decision):
    """Of one text the decision itself, of several `results` in their order."""

    class Meta:
        exclude = ()

    results = fields.List(fields.Nested(Decision))


class ClassifyAnswer(TaskAnswer):
    output = fields.Nested(ClassifyOutput(partial=True), required=True, allow_none=True)
