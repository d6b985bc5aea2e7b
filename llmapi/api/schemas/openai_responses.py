"""POST /v1/responses: OpenAI's request and answer."""

from collections.abc import Mapping
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields

from llmapi.api.schemas.fields import choice, flag, number, part, string, whole
from llmapi.api.schemas.lean import Ignored, LeanSchema, Neutral
from llmapi.api.schemas.openai_items import Items
from llmapi.api.schemas.openai_parts import Json
from llmapi.api.schemas.tools import LONGEST, MOST_TOOLS, WORDS, described
from llmapi.api.schemas.turns import each_of, tool_name, wrong

FORMATS = ("text", "json_object", "json_schema")
VERBOSITIES = ("low", "medium", "high")
STATUSES = ("queued", "in_progress", "completed", "incomplete", "failed", "cancelled")


class TextConfig(fields.Raw):
    """What form the text has; loads to itself."""

    def __init__(self) -> None:
        form = {
            "type": "object",
            "properties": {
                "type": {"type": "string", "enum": list(FORMATS)},
                "name": {"type": "string"},
                "schema": {"type": "object"},
                "strict": {"type": "boolean"},
            },
            "required": ["type"],
        }
        told = {"type": "object", "properties": {"format": form}}
        super().__init__(metadata={"description": "Ask for JSON; it is checked before it is returned", **told})

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Json:
        if not isinstance(value, dict) or not value.keys() <= {"format", "verbosity"}:
            raise ValidationError('Must be {"format": …}.')
        if value.get("verbosity") not in (None, "medium"):
            raise wrong("verbosity", "How much is said is left to the model; leave it out.")
        form = value.get("format") or {"type": "text"}
        if not isinstance(form, dict) or form.get("type") not in FORMATS:
            raise wrong("format.type", f"Must be one of: {', '.join(FORMATS)}.")
        if form["type"] == "json_schema" and not isinstance(form.get("schema"), dict):
            raise wrong("format.schema", "Must be a JSON schema.")
        return {"format": form}


class FunctionTools(fields.Raw):
    """A list of functions, in the flat shape of this door; loads to itself."""

    def __init__(self) -> None:
        properties = {
            "type": {"type": "string", "enum": ["function"]},
            "name": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
            "description": {"type": "string", "maxLength": LONGEST},
            "parameters": {"type": "object", "description": "A JSON schema"},
            "strict": {"type": "boolean"},
        }
        row = {"type": "object", "properties": properties, "required": ["type", "name"]}
        told = {"type": "array", "items": row, "maxItems": MOST_TOOLS}
        super().__init__(metadata={"description": "Functions the model may want called", **told})

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> list[Json]:
        found = each_of(value, function, most=MOST_TOOLS) if value != [] else []
        if len({each["name"] for each in found}) != len(found):
            raise ValidationError("Two tools have one name.")
        return found


def function(told: Any) -> Json:
    """Return one tool; raises ValidationError naming its wrong field."""
    if not isinstance(told, dict) or told.get("type") != "function":
        raise wrong("type", "Only functions can be called here.")
    return {"type": "function", **described(told), "strict": bool(told.get("strict"))}


class FunctionChoice(fields.Raw):
    """auto, none, required, or one function; loads to itself."""

    def __init__(self) -> None:
        named = {"type": "object", "properties": {"type": {"enum": ["function"]}, "name": {"type": "string"}}}
        told = {"anyOf": [{"type": "string", "enum": list(WORDS)}, named]}
        super().__init__(metadata={"description": "Whether a function must be called", **told})

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str | Json:
        if isinstance(value, str) and value in WORDS:
            return value
        if not isinstance(value, Mapping) or value.get("type") != "function":
            raise ValidationError(f"Must be one of: {', '.join(WORDS)}; or a function.")
        return {"type": "function", "name": tool_name(value.get("name"), "name")}


class Labels(fields.Raw):
    """Up to 16 short texts by name; they come back."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Json:
        if not isinstance(value, dict) or len(value) > 16:
            raise ValidationError("Must be an object of at most 16 texts.")
        if not all(len(key) <= 64 and isinstance(said, str) and len(said) <= 512 for key, said in value.items()):
            raise ValidationError("Names have at most 64 characters, values are texts of at most 512.")
        return value


class StreamWish(Schema):
    include_obfuscation = flag("Taken, and of no effect here: nothing is padded")


class ResponsesRequest(LeanSchema):
    model = string("A model or an alias of GET /v1/models; left out: the default", 1, 200, example="default")
    input = Items(required=True)
    instructions = string("How to behave; stands before the conversation", 0, 200_000)
    temperature = number("0 is steady, 2 is wild", 0, 2)
    top_p = number("Nucleus sampling: the share of probability to draw from", 0, 1)
    max_output_tokens = whole("Most tokens of the answer", 1, 65_536)
    text = TextConfig()
    tools = FunctionTools()
    tool_choice = FunctionChoice()
    parallel_tool_calls = flag("false: at most one function call in an answer")
    stream = flag("Send the answer as server-sent events")
    stream_options = part(StreamWish, "Only with `stream: true`")
    background = flag("Answer at once with `status: queued`; GET /v1/responses/{id} tells how it stands")
    store = flag("Only answers of `background: true` are kept; `store` of the answer says so")
    metadata = Labels(metadata={"type": "object", "additionalProperties": {"type": "string"}})

    previous_response_id = Neutral("Send the conversation in `input`: answers are not continued by id")
    conversation = Neutral("Send the conversation in `input`")
    prompt = Neutral("Not offered")
    include = Neutral("Nothing more can be included", [])
    reasoning = Neutral("Left to the model", {}, {"effort": "medium"})
    truncation = Neutral("What does not fit is refused", "disabled")
    top_logprobs = Neutral("Not offered", 0)
    context_management = Neutral("Not offered", [])
    moderation = Neutral("Not offered")
    background_options = Neutral("Not offered", {})

    max_tool_calls = Ignored("there are no built-in tools")
    prompt_cache_key = Ignored("answers are kept by their whole question")
    prompt_cache_options = Ignored("answers are kept by their whole question")
    prompt_cache_retention = Ignored("answers are kept by their whole question")
    safety_identifier = Ignored("the key says who asks")
    service_tier = Ignored("there is one")
    user = Ignored("the key says who asks")

    def check(self, loaded: Json) -> None:
        """Refuse what does not go together."""
        if loaded.get("background") and loaded.get("stream"):
            raise wrong("stream", "An answer in the background is not streamed; ask for it by its id.")
        if loaded.get("background") and loaded.get("store") is False:
            raise wrong("store", "An answer in the background is kept until it is asked for.")
        if "stream_options" in loaded and not loaded.get("stream"):
            raise wrong("stream_options", "Goes with `stream: true` alone.")
        check_choice(loaded.get("tool_choice", "auto"), [each["name"] for each in loaded.get("tools", ())])


def check_choice(chosen: str | Json, names: list[str]) -> None:
    """Raise ValidationError for a choice that does not go with the tools."""
    if chosen not in ("auto", "none") and not names:
        raise wrong("tool_choice", "There are no tools to choose from.")
    if not isinstance(chosen, str) and chosen["name"] not in names:
        raise wrong("tool_choice", "No tool has this name.")


class ResponseQuery(LeanSchema):
    stream = Neutral("Not offered", "false")
    starting_after = Neutral("Not offered")
    include = Neutral("Nothing more can be included")
    include_obfuscation = Ignored("nothing is padded")


class ResponseTokens(Schema):
    input_tokens = fields.Integer(required=True)
    input_tokens_details = fields.Dict(required=True)
    output_tokens = fields.Integer(required=True)
    output_tokens_details = fields.Dict(required=True)
    total_tokens = fields.Integer(required=True)


class ResponseAnswer(Schema):
    """The fields that say something here; the request's own come beside them, as OpenAI's clients expect."""

    class Meta:
        unknown = INCLUDE

    id = fields.String(required=True, metadata={"example": "resp_req_01kexample0000000000000000"})
    object = choice("Always response", ("response",), required=True)
    created_at = fields.Float(required=True, metadata={"description": "Seconds since 1970"})
    completed_at = fields.Float(required=True, allow_none=True)
    status = choice("Where it stands", STATUSES, required=True)
    model = fields.String(required=True, metadata={"description": "The model that answered"})
    output = fields.List(fields.Dict(), required=True, metadata={"description": "Messages and function calls"})
    usage = part(ResponseTokens, "Tokens; null until it has ended", required=True, allow_none=True)
    error = fields.Dict(required=True, allow_none=True)
    incomplete_details = fields.Dict(required=True, allow_none=True)
    store = flag("Whether GET /v1/responses/{id} knows it", required=True)
    background = flag("As asked for", required=True)
