"""Chat: a conversation in, with tools the model may want called; its next turn out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from llmapi.core.calls import Call, Chunk, Completion, Message, TokenLogprobs, Tool, ToolCall, whole
from llmapi.core.errors import UnreadableAnswer, ValidationFailed
from llmapi.tasks.answers import Json
from llmapi.tasks.asking import Ask
from llmapi.tasks.runner import Plan, StreamEvent, Wanted
from llmapi.tasks.tab import Tab
from llmapi.tasks.text import FOLLOW_THE_SCHEMA, answered, read_text, schema_of, worth_keeping

__all__ = ["ChatTask", "chat_call", "read_chat"]


class ChatTask:
    """The next turn of a conversation. `system` is used when the conversation says nothing of the kind itself."""

    def __init__(self, system: str) -> None:
        self._system = system

    def answer(self, tab: Tab, base: Call, wanted: Wanted) -> Json:
        """Return the turn; JSON that follows no schema goes back once."""
        call = chat_call(base, wanted, self._system)
        return answer_chat(tab.ask, call, wanted)

    def stream(self, tab: Tab, base: Call, wanted: Wanted) -> Iterator[str | StreamEvent | Json]:
        """Yield text, pieces of tool calls and log-probabilities as they come; JSON is checked and not repaired."""
        call, chunks = chat_call(base, wanted, self._system), []
        for chunk in tab.stream(call):
            chunks.append(chunk)
            if piece := piece_of(chunk, wanted):
                yield piece
        yield read_chat(whole(chunks), call.schema, wanted)

    def plan(self, base: Call, wanted: Wanted) -> Plan:
        """Return one call, and one repair of JSON."""
        call = chat_call(base, wanted, self._system)
        return Plan((call,), repairs=0 if call.schema is None else 1)


def chat_call(base: Call, wanted: Wanted, system: str = "") -> Call:
    """Return the call that asks for the next turn; raises ValidationFailed.

    wanted: `messages` (role, content, tool_calls, tool_call_id), `tools` (name, description, parameters),
        `tool_choice`, `response_format` (schema), `logprobs`, `top_logprobs`
    """
    schema = schema_of(wanted.get("response_format"))
    logprobs = max(1, wanted.get("top_logprobs", 0)) if wanted.get("logprobs") else 0
    for needed in ("tools", "logprobs"):
        if wanted.get(needed):
            base = only_able(base, needed)
    return replace(
        base,
        messages=_conversation(wanted["messages"], system, schema),
        tools=tuple(Tool(**each) for each in wanted.get("tools", ())),
        tool_choice=wanted.get("tool_choice", ""),
        schema=schema,
        logprobs=logprobs,
        good=lambda answer: worth_keeping(answer, schema),
    )


def only_able(base: Call, ability: str) -> Call:
    """Return the call without the candidates that lack an ability, of the same name as the field that needs it; raises
    ValidationFailed if none is left."""
    able = [target.can(ability) for target in base.targets]
    if all(able):
        return base
    if not any(able):
        what = f"{base.targets[0].model} cannot do this; GET /v1/models tells what each model can."
        raise ValidationFailed("The model cannot be used for this.", fields={ability: [what]})
    weights = tuple(weight for weight, fit in zip(base.policy.weights, able, strict=False) if fit)
    targets = tuple(target for target, fit in zip(base.targets, able, strict=True) if fit)
    return replace(base, targets=targets, policy=replace(base.policy, weights=weights))


def answer_chat(ask: Ask, call: Call, wanted: Wanted) -> Json:
    """Ask for the turn and read it."""
    return answered(ask, call, lambda answer: read_chat(answer, call.schema, wanted))


def read_chat(answer: Completion, schema: Mapping[str, Any] | None, wanted: Wanted) -> Json:
    """Return `message`, `finish_reason`, `parsed`, and `logprobs` where asked for; raises UnreadableAnswer.

    With a schema `content` is JSON as a whole, also where the model put a fence or a sentence around it. What was cut
    at max_tokens is returned as it is: `finish_reason` says so.
    """
    calls = [shown_call(each) for each in answer.tool_calls if _is_wanted(each, wanted)]
    text, parsed = answer.text, None
    if schema is not None and not calls:
        text, parsed = _json(answer, schema)
    message = {"role": "assistant", "content": text or (None if calls else ""), "tool_calls": calls}
    finish = "tool_calls" if calls and answer.finish != "length" else answer.finish
    told: Json = {"message": message, "finish_reason": finish, "parsed": parsed}
    if wanted.get("logprobs"):
        told["logprobs"] = shown_logprobs(answer.logprobs, wanted)
    return told


def piece_of(chunk: Chunk, wanted: Wanted) -> str | StreamEvent | None:
    """Return what a chunk adds to the answer: mostly text alone."""
    if not (chunk.tool_calls or chunk.logprobs):
        return chunk.text
    told: Json = {"text": chunk.text} if chunk.text else {}
    if calls := [{"index": each.index, **shown_call(each)} for each in chunk.tool_calls if _is_wanted(each, wanted)]:
        told["tool_calls"] = calls
    if wanted.get("logprobs") and chunk.logprobs:
        told["logprobs"] = shown_logprobs(chunk.logprobs, wanted)
    return StreamEvent("chunk", told) if told else None


def shown_call(call: ToolCall) -> Json:
    """Return a tool call, or a piece of one, as callers see it: in OpenAI's shape."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def shown_logprobs(tokens: Sequence[TokenLogprobs], wanted: Wanted) -> list[Json]:
    """Return log-probabilities as callers see them: in OpenAI's shape, as many alternatives as they asked for."""
    most = wanted.get("top_logprobs", 0)
    return [
        {**_token(each.token, each.logprob), "top_logprobs": [_token(*other) for other in each.top[:most]]}
        for each in tokens
    ]


def _token(token: str, logprob: float) -> Json:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "replace"))}


def _is_wanted(call: ToolCall, wanted: Wanted) -> bool:
    """Say whether a caller sees a tool call: not the second one, if he takes one at a time."""
    return call.index == 0 or bool(wanted.get("parallel_tool_calls", True))


def _json(answer: Completion, schema: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the answer's text as JSON alone, and its value."""
    try:
        parsed = read_text(answer, schema)["parsed"]
    except UnreadableAnswer:
        if answer.finish == "length":
            return answer.text, None
        raise
    try:
        orjson.loads(answer.text.encode())
    except orjson.JSONDecodeError:
        return orjson.dumps(parsed).decode(), parsed
    return answer.text, parsed


def _conversation(
    messages: Sequence[Mapping[str, Any]], system: str, schema: Mapping[str, Any] | None
) -> tuple[Message, ...]:
    """Return the turns with all system turns, the schema's rule last, as one at the front, where every vendor takes it.

    System turns alone are a question too: the last of them becomes the user's.
    """
    turns = _turns(messages)
    rules = [turn.text for turn in turns if turn.role == "system" and turn.text.strip()]
    said = [turn for turn in turns if turn.role != "system" and (turn.text or turn.tool_calls or turn.role == "tool")]
    if not said and rules:
        said = [Message("user", rules.pop())]
    if not said:
        raise ValidationFailed("There is no question.", fields={"messages": ["One of them must say something."]})
    if not rules and system.strip():
        rules = [system]
    if schema is not None:
        rules.append(FOLLOW_THE_SCHEMA + orjson.dumps(schema).decode())
    front = (Message("system", "\n\n".join(rules)),) if rules else ()
    return (*front, *said)


def _turns(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Return messages as turns; raises ValidationFailed for a tool's answer to a call nobody made."""
    turns: list[Message] = []
    called: set[str] = set()
    for place, each in enumerate(messages):
        calls = tuple(_call(at, call) for at, call in enumerate(each.get("tool_calls", ())))
        answers = each.get("tool_call_id", "")
        if each["role"] == "tool" and answers not in called:
            what = {f"messages.{place}.tool_call_id": ["No turn before it called a tool under this id."]}
            raise ValidationFailed("A tool answers what was not called.", fields=what)
        called.update(call.id for call in calls)
        turns.append(Message(each["role"], each["content"], calls, answers))
    return turns


def _call(index: int, call: Mapping[str, Any]) -> ToolCall:
    return ToolCall(index, call["id"], call["function"]["name"], call["function"]["arguments"])
