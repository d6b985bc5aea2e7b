"""From our words into LangChain's: a call's messages, and how a LangChain model is asked."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from llmapi.core.calls import Message, ToolCall


def langchain_messages(messages: Sequence[Message], *, verbatim: bool = False) -> list[Any]:
    """Return a conversation's messages as LangChain's.

    verbatim: the vendor takes the arguments of a tool's call as text, whatever it is; else they go as an object
    """
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

    names: dict[str, str] = {}  # of the tools, by the id of their call: some vendors want it beside the result
    found: list[Any] = []
    for message in messages:
        match message.role:
            case "assistant":
                names |= {call.id: call.name for call in message.tool_calls}
                found.append(AIMessage(message.text, **wanted_calls(message.tool_calls, verbatim)))
            case "tool":
                id = message.tool_call_id
                found.append(ToolMessage(message.text, tool_call_id=id, name=names.get(id)))
            case "system":
                found.append(SystemMessage(message.text))
            case _:
                found.append(HumanMessage(message.text))
    return found


def wanted_calls(calls: Sequence[ToolCall], verbatim: bool) -> dict[str, Any]:
    """Return what an AIMessage is told of the tools it wanted called."""
    if verbatim:  # LangChain sends the text of a call it holds to be invalid, and rewrites the others
        rows = [{"id": call.id, "name": call.name, "args": call.arguments.strip() or "{}"} for call in calls]
        return {"invalid_tool_calls": [row | {"error": None} for row in rows]}
    return {"tool_calls": [{"id": call.id, "name": call.name, "args": read_arguments(call)} for call in calls]}


def read_arguments(call: ToolCall) -> dict[str, Any]:
    """Return a call's arguments as an object; text that is none goes into one, so that the model learns of it."""
    try:
        found = json.loads(call.arguments.strip() or "{}")
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"arguments": call.arguments}


def said_whole(chat: Any, messages: list[Any], knobs: Mapping[str, Any]) -> Any:
    """Return the message that answers a conversation.

    Through the methods that every LangChain chat model implements, not through `invoke` and `stream` around them: what
    these add (callbacks, tracing, a description of the model) is a fifth of a call's CPU, and would send prompts to
    wherever a LANGSMITH_… variable points.
    """
    result = chat._generate(messages, **knobs)
    return with_facts(result.generations[0], result.llm_output)


def said_streamed(chat: Any, messages: list[Any], knobs: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the messages of a streamed answer, as `said_whole`; closing it closes the vendor's stream."""
    with closing(chat._stream(messages, **knobs)) as parts:
        for part in parts:
            yield with_facts(part, None)


def with_facts(generation: Any, output: Mapping[str, Any] | None) -> Any:
    """Return a generation's message with all that was told about it, as LangChain's `invoke` puts it together."""
    message = generation.message
    told = {**(output or {}), **(generation.generation_info or {})}
    message.response_metadata = {**told, **message.response_metadata}
    return message
