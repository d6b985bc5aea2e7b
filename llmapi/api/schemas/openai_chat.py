"""POST /v1/chat/completions: OpenAI's request and answer."""

from typing import Any

from marshmallow import Schema, ValidationError, fields

from llmapi.api.schemas.fields import choice, flag, number, part, string, whole
from llmapi.api.schemas.lean import Ignored, LeanSchema, Neutral
from llmapi.api.schemas.tools import ToolChoice, Tools, check_logprobs, check_tools
from llmapi.api.schemas.turns import CALL, Turns, wrong

Json = dict[str, Any]
FORMATS = ("text", "json_object", "json_schema")
ANY_OBJECT = {"type": "object"}


class Stop(fields.Raw):
    """One text or up to four; loads to the list."""

    def __init__(self) -> None:
        text = {"type": "string", "minLength": 1, "maxLength": 200}
        told = {"anyOf": [text, {"type": "array", "items": text, "minItems": 1, "maxItems": 4}]}
        super().__init__(metadata={"description": "Texts that end the answer", **told})

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> list[str]:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or len(texts) > 4:
            raise ValidationError("Must be a text or a list of up to 4.")
        if not all(isinstance(text, str) and 1 <= len(text) <= 200 for text in texts):
            raise ValidationError("Must be texts of 1 to 200 characters.")
        return texts


class Seed(fields.Integer):
    """Any integer; loads to 31 bits, which every vendor takes: the same seed stays the same."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValidationError("Not a valid integer.")
        return value & 0x7FFFFFFF


class Format(fields.Raw):
    """text, json_object or json_schema; loads to what our own doors take, text to None."""

    def __init__(self) -> None:
        inner = {"type": "object", "properties": {"name": {"type": "string"}, "schema": {"type": "object"}}}
        told = {
            "type": "object",
            "properties": {"type": {"type": "string", "enum": list(FORMATS)}, "json_schema": inner},
            "required": ["type"],
        }
        super().__init__(metadata={"description": "Ask for JSON; it is checked before it is returned", **told})

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Json | None:
        kind = value.get("type") if isinstance(value, dict) else None
        if kind not in FORMATS:
            raise wrong("type", f"Must be one of: {', '.join(FORMATS)}.")
        if kind == "text":
            return None
        if kind == "json_object":
            return {"type": "json_schema", "schema": ANY_OBJECT}
        told = value.get("json_schema")
        if not isinstance(told, dict) or not isinstance(told.get("schema"), dict):
            raise wrong("json_schema", 'Must be {"name": …, "schema": a JSON schema}.')
        return {"type": "json_schema", "schema": told["schema"]}


class StreamOptions(Schema):
    include_usage = flag("Send a last chunk with the usage")
    include_obfuscation = flag("Taken, and of no effect here: nothing is padded")


class ChatCompletionRequest(LeanSchema):
    model = string("A model or an alias of GET /v1/models", 1, 200, required=True, example="default")
    messages = Turns(required=True)
    temperature = number("0 is steady, 2 is wild", 0, 2)
    top_p = number("Nucleus sampling: the share of probability to draw from", 0, 1)
    max_completion_tokens = whole("Most tokens of the answer", 1, 65_536)
    max_tokens = whole("The same by its older name", 1, 65_536)
    stop = Stop()
    seed = Seed(metadata={"description": "The same seed asks for the same answer, where the provider can"})
    stream = flag("Send the answer as server-sent events")
    stream_options = part(StreamOptions, "Only with `stream: true`")
    tools = Tools()
    tool_choice = ToolChoice()
    parallel_tool_calls = flag("false: at most one tool call in an answer")
    response_format = Format()
    logprobs = flag("Tell each token's log-probability, where the model can")
    top_logprobs = whole("How many likely alternatives to tell for each token", 0, 20)

    n = Neutral("One answer a request", 1)
    frequency_penalty = Neutral("Not offered", 0)
    presence_penalty = Neutral("Not offered", 0)
    logit_bias = Neutral("Not offered", {})
    modalities = Neutral("Text alone", ["text"])
    reasoning_effort = Neutral("Left to the model", "medium")
    verbosity = Neutral("Left to the model", "medium")
    audio = Neutral("Not offered")
    functions = Neutral("Use `tools`")
    function_call = Neutral("Use `tool_choice`")
    moderation = Neutral("Not offered")
    web_search_options = Neutral("Not offered")

    metadata = Ignored("kept by nobody")
    prediction = Ignored("it makes no model here quicker")
    prompt_cache_key = Ignored("answers are kept by their whole question")
    prompt_cache_options = Ignored("answers are kept by their whole question")
    prompt_cache_retention = Ignored("answers are kept by their whole question")
    safety_identifier = Ignored("the key says who asks")
    service_tier = Ignored("there is one")
    store = Ignored("nothing is stored but in the cache")
    user = Ignored("the key says who asks")

    def check(self, loaded: Json) -> None:
        """Refuse what does not go together."""
        check_tools(loaded)
        check_logprobs(loaded)
        if "stream_options" in loaded and not loaded.get("stream"):
            raise wrong("stream_options", "Goes with `stream: true` alone.")


class CompletionMessage(Schema):
    role = choice("Always assistant", ("assistant",), required=True)
    content = fields.String(required=True, allow_none=True)
    refusal = fields.String(required=True, allow_none=True)
    tool_calls = fields.List(fields.Dict(metadata=CALL))


class CompletionChoice(Schema):
    index = fields.Integer(required=True)
    message = part(CompletionMessage, "The answer", required=True)
    logprobs = fields.Dict(required=True, allow_none=True)
    finish_reason = choice("Why it ended", ("stop", "length", "tool_calls"), required=True)


class CompletionUsage(Schema):
    prompt_tokens = fields.Integer(required=True)
    completion_tokens = fields.Integer(required=True)
    total_tokens = fields.Integer(required=True)
    prompt_tokens_details = fields.Dict(required=True)
    completion_tokens_details = fields.Dict(required=True)


class ChatCompletion(Schema):
    id = fields.String(required=True, metadata={"example": "chatcmpl-req_01kexample0000000000000000"})
    object = choice("Always chat.completion", ("chat.completion",), required=True)
    created = fields.Integer(required=True, metadata={"description": "Seconds since 1970"})
    model = fields.String(required=True, metadata={"description": "The model that answered"})
    choices = fields.List(fields.Nested(CompletionChoice), required=True)
    usage = part(CompletionUsage, "Tokens", required=True)
    system_fingerprint = fields.String(required=True, allow_none=True, metadata={"description": "Always null"})


class OpenAIErrorPart(Schema):
    message = fields.String(required=True)
    type = fields.String(required=True, metadata={"example": "invalid_request_error"})
    param = fields.String(required=True, allow_none=True, metadata={"description": "The first wrong field"})
    code = fields.String(required=True, allow_none=True)


class OpenAIError(Schema):
    """An error in OpenAI's shape."""

    error = part(OpenAIErrorPart, "What is wrong", required=True)
