"""Text generation: a prompt or a conversation in, text or a checked JSON value out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import orjson

from llmapi.core.calls import Call, Completion, Message, Role
from llmapi.core.errors import ContextTooLong, UnreadableAnswer, ValidationFailed
from llmapi.tasks.asking import Ask, Tally, follow_up
from llmapi.tasks.json_answers import read_json

__all__ = ["answer_text", "read_text", "text_call"]

Read = Callable[[Completion], dict[str, Any]]  # raises UnreadableAnswer

FOLLOW_THE_SCHEMA = (
    "Answer with one JSON value that follows this JSON schema, and with nothing else: no explanation, no code fence.\n"
)


def text_call(
    base: Call,
    *,
    prompt: str | None = None,
    messages: Sequence[Mapping[str, str]] | None = None,
    system: str = "",
    response_format: Mapping[str, Any] | None = None,
) -> Call:
    """Return the call that asks for a text, or for JSON after a schema; raises ValidationFailed.

    All system turns, the schema's rule last, become one at the front: not every vendor takes them elsewhere. Not every
    vendor can be held to a schema either, so the schema stands in the call and in the words.
    """
    turns = _turns(prompt, messages)
    schema = schema_of(response_format)
    rules = [system, *(turn.text for turn in turns if turn.role == "system")]
    if schema is not None:
        rules.append(FOLLOW_THE_SCHEMA + orjson.dumps(schema).decode())
    rule = "\n\n".join(text for text in rules if text.strip())
    front = [Message("system", rule)] if rule else []
    said = [turn for turn in turns if turn.role != "system"]
    return replace(
        base, messages=(*front, *said), schema=schema, good=lambda answer: worth_keeping(answer, schema)
    )


def read_text(answer: Completion, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return `text`, `finish_reason` and `parsed` (None without a schema); raises UnreadableAnswer."""
    parsed = None
    if schema is not None:
        from llmapi.tasks.json_schemas import complaint

        try:
            parsed = read_json(answer.text, lambda value: complaint(value, schema))
        except UnreadableAnswer as error:
            if answer.finish == "length":
                raise UnreadableAnswer(f"{error.message} It was cut at max_tokens.", **error.details) from error
            raise
    return {"text": answer.text, "finish_reason": answer.finish, "parsed": parsed}


def answer_text(ask: Ask, call: Call) -> dict[str, Any]:
    """Ask for a text and read it."""
    return answered(ask, call, lambda answer: read_text(answer, call.schema))


def answered(ask: Ask, call: Call, read: Read) -> dict[str, Any]:
    """Ask and read; an unreadable answer goes back once with what is wrong with it; raises UnreadableAnswer."""
    asked = Tally(ask)
    answer = asked(call)
    try:
        return read(answer)
    except UnreadableAnswer as error:
        first = error
    try:
        answer = asked(follow_up(call, answer, f"{first.message}\nAnswer again with the JSON value alone."))
        return read(answer)
    except ContextTooLong as error:  # the question fitted, the question with its answer did not
        first.usage = error.usage
        raise first from error
    except UnreadableAnswer as error:
        error.usage = asked.usage
        raise


def _turns(prompt: str | None, messages: Sequence[Mapping[str, str]] | None) -> list[Message]:
    if (prompt is None) == (messages is None):
        raise ValidationFailed("Send either a prompt or messages.", fields={"prompt": ["Send this or `messages`."]})
    if messages is None:
        return [Message("user", prompt or "")]
    turns = [Message(cast(Role, each["role"]), each["content"]) for each in messages]
    if not any(turn.role == "user" for turn in turns):
        raise ValidationFailed("There is no question.", fields={"messages": ["One of them must be the user's."]})
    return turns


def schema_of(response_format: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the schema an answer is to follow, None for plain text; raises ValidationFailed."""
    if response_format is None:
        return None
    from llmapi.tasks.json_schemas import check_schema  # with all it needs 40 ms, for those who ask for JSON

    schema: Mapping[str, Any] = response_format["schema"]
    check_schema(schema)
    return schema


def worth_keeping(answer: Completion, schema: Mapping[str, Any] | None) -> bool:
    """Say whether an answer is whole and can be read."""
    try:
        return answer.finish == "stop" and bool(read_text(answer, schema)["text"].strip())
    except UnreadableAnswer:
        return False
