"""POST /v1/decisions, in OpenAI's shape."""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from llmapi.api.schemas.fields import choice, many, string
from llmapi.api.schemas.lean import Ignored, LeanSchema
from llmapi.api.schemas.openai_parts import text_of, word

WORDS = {"input_json", "refusal"}  # parts beside text that can be said in words
MOST_ITEMS = 1000
LABEL = 200  # characters of a choice or a level


class Instructions(fields.Raw):
    """A text, or parts of text and JSON; loads to one text."""

    def __init__(self, **more: Any) -> None:
        parts = {"type": "array", "items": {"type": "object"}}
        super().__init__(metadata={"oneOf": [{"type": "string", "minLength": 1}, parts]}, **more)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        if not (text := text_of(value, WORDS).strip()):
            raise ValidationError("Say what is to be decided.")
        return text


class ChoiceValue(fields.Raw):
    """A string or a boolean: "true" and true are two choices."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str | bool:
        if isinstance(value, bool) or (isinstance(value, str) and 1 <= len(value) <= LABEL):
            return value
        raise ValidationError(f"Send a string of 1 to {LABEL} characters, or a boolean.")


class Choice(Schema):
    value = ChoiceValue(required=True, metadata={"oneOf": [{"type": "string"}, {"type": "boolean"}]})
    description = string("What it means", 0, 2000)


class Level(Schema):
    label = string("Its name", 1, LABEL, required=True)
    description = string("What it means", 0, 2000)


class Predicate(Schema):
    type = choice("How probable it is that a statement is true of the input", ("predicate",), required=True)
    instructions = Instructions(required=True)
    name = string("Comes back in the answer", 1, 256)


class ChoiceQuestion(Predicate):
    type = choice("Which of several options fits", ("choice",), required=True)
    choices = many(fields.Nested(Choice), "The options, each another one", 2, 64, required=True)


class ScoreQuestion(Predicate):
    type = choice("Where the input stands among levels", ("score",), required=True)
    levels = many(fields.Nested(Level), "The lowest first; they count from 0", 2, 10, required=True)


QUESTIONS: dict[str, Schema] = {"predicate": Predicate(), "choice": ChoiceQuestion(), "score": ScoreQuestion()}


class Question(fields.Raw):
    """One question of any kind."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        kind = value.get("type") if isinstance(value, Mapping) else None
        if not isinstance(kind, str) or kind not in QUESTIONS:
            raise ValidationError({"type": ["Must be one of: predicate, choice, score."]})
        loaded: dict[str, Any] = QUESTIONS[kind].load(value)
        return loaded


class DecisionInput(fields.Raw):
    """A text, or a conversation; loads to its `text`, and the `rules` that its system and developer turns set."""

    def __init__(self, **more: Any) -> None:
        items = {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": MOST_ITEMS}
        told = "A text, or messages and function calls in their order: text and JSON only"
        super().__init__(metadata={"description": told, "oneOf": [{"type": "string", "minLength": 1}, items]}, **more)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> dict[str, str]:
        rules: list[str] = []
        said: list[tuple[str, str]] = []
        for number, item in enumerate(_items(value)):
            try:
                speaker, text = _turn(item)
            except ValidationError as error:
                raise ValidationError({number: error.messages}) from None
            if speaker in ("system", "developer"):
                rules.append(text)
            else:
                said.append((speaker, text))
        if not any(text.strip() for _, text in said):
            raise ValidationError("There is nothing to decide about.")
        alone = len(said) == 1 and said[0][0] == "user"
        text = said[0][1] if alone else "\n\n".join(f"{speaker}: {text}" for speaker, text in said)
        return {"text": text, "rules": "\n\n".join(rules)}


class DecisionsRequest(LeanSchema):
    input = DecisionInput(required=True)
    model = string("A model or an alias of GET /v1/models; left out: `classify`", 1, 200, example="classify")
    questions = fields.List(
        Question(metadata={"type": "object"}),
        required=True,
        validate=validate.Length(1, 400),
        metadata={"description": "Predicates, choices and scores; the answers come in their order"},
    )
    prompt_cache_key = Ignored("answers are kept by their whole question")
    prompt_cache_options = Ignored("answers are kept by their whole question")
    safety_identifier = Ignored("the key says who asks")


class DecisionTokens(Schema):
    cached_tokens = fields.Integer(required=True)
    cache_write_tokens = fields.Integer(required=True)


class DecisionThought(Schema):
    reasoning_tokens = fields.Integer(required=True)


class DecisionUsage(Schema):
    input_tokens = fields.Integer(required=True)
    input_tokens_details = fields.Nested(DecisionTokens, required=True)
    output_tokens = fields.Integer(required=True)
    output_tokens_details = fields.Nested(DecisionThought, required=True)
    total_tokens = fields.Integer(required=True)


class DecisionsAnswer(Schema):
    answers = fields.List(
        fields.Dict(),
        required=True,
        metadata={"description": "`predicate`, `choice`, `score`, or `refusal` where no answer could be read"},
    )
    model = fields.String(required=True)
    usage = fields.Nested(DecisionUsage, required=True)
    evidence = choice("Where the numbers come from", ("logprobs", "votes", "embedding"), required=True)


def _items(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_ITEMS:
        raise ValidationError(f"Send a string, or a list of 1 to {MOST_ITEMS} items.")
    return value


def _turn(item: Any) -> tuple[str, str]:
    """Return who speaks and what; a call and its output are told in words."""
    if not isinstance(item, Mapping):
        raise ValidationError("Send objects.")
    kind = item.get("type", "message")
    if kind == "message":
        role = item.get("role")
        if role not in ("user", "assistant", "system", "developer"):
            raise ValidationError({"role": ["Must be one of: user, assistant, system, developer."]})
        return str(role), _text(item, "content")
    if kind in ("function_call", "custom_tool_call"):
        given = item.get("arguments" if kind == "function_call" else "input")
        return "assistant", f"calls {word(item, 'name', 256)} with {given}"
    if kind in ("function_call_output", "custom_tool_call_output"):
        return "tool", _text(item, "output")
    raise ValidationError({"type": ["Messages and calls of functions are taken."]})


def _text(item: Mapping[str, Any], field: str) -> str:
    try:
        return text_of(item.get(field), WORDS)
    except ValidationError as error:
        raise ValidationError({field: error.messages}) from None
