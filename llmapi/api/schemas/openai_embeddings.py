"""POST /v1/embeddings, in OpenAI's shape."""

from typing import Any

from marshmallow import Schema, ValidationError, fields

from llmapi.api.schemas.fields import choice, string, whole
from llmapi.api.schemas.lean import Ignored, LeanSchema

MOST = 2048  # texts of one request
LONGEST = 200_000  # characters of a text


class Inputs(fields.Raw):
    """A text or a list of texts; always loads to a list."""

    def __init__(self, **more: Any) -> None:
        one = {"type": "string", "minLength": 1, "maxLength": LONGEST}
        several = {"type": "array", "items": one, "minItems": 1, "maxItems": MOST}
        told = (
            f"One text, or up to {MOST}. Of a text longer than the model's context only the beginning counts: the "
            "embedded model reads 256 tokens; vendors refuse such a text or cut it. Token ids are not taken."
        )
        super().__init__(metadata={"description": told, "oneOf": [one, several]}, **more)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> list[str]:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not 1 <= len(texts) <= MOST:
            raise ValidationError(f"Send a string, or a list of 1 to {MOST} strings.")
        if any(isinstance(text, int | list) for text in texts):
            raise ValidationError("Send text: token ids mean something to one vendor's tokenizer only.")
        if not all(isinstance(text, str) and 1 <= len(text) <= LONGEST for text in texts):
            raise ValidationError(f"Each text must be a string of 1 to {LONGEST} characters.")
        return texts


class EmbeddingsRequest(LeanSchema):
    input = Inputs(required=True)
    model = string("A model or an alias of GET /v1/models; left out: `embed`", 1, 200, example="embed")
    encoding_format = choice("Numbers, or base64 of little-endian float32; left out: float", ("float", "base64"))
    dimensions = whole("Only the first numbers of each vector, for models that allow it", 1, 16_384)
    user = Ignored("the key says who asks")


class EmbeddingRow(Schema):
    object = choice("Always embedding", ("embedding",), required=True)
    index = fields.Integer(required=True)
    embedding = fields.Raw(
        required=True,
        metadata={
            "description": "The vector, of length 1",
            "oneOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string", "format": "byte"}],
        },
    )


class EmbeddingsUsage(Schema):
    prompt_tokens = fields.Integer(required=True)
    total_tokens = fields.Integer(required=True)


class EmbeddingsAnswer(Schema):
    object = choice("Always list", ("list",), required=True)
    data = fields.List(fields.Nested(EmbeddingRow), required=True)
    model = fields.String(required=True)
    usage = fields.Nested(EmbeddingsUsage, required=True)
