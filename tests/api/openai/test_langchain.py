"""LangChain's ChatOpenAI pointed at us."""

import pytest
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from llmapi.core.calls import ToolCall
from tests.fakes.behaviours import Answer

ASKED = [SystemMessage("Be brief."), HumanMessage("How is the sea?")]


class Place(BaseModel):
    """A place."""

    city: str
    people: int


@tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"rain in {city}"


@pytest.fixture
def chat(served, model):
    return ChatOpenAI(model=model, base_url=served() + "/v1", api_key="sk-any", max_retries=0, stream_usage=True)


def test_it_asks_and_reads(chat, upstream):
    upstream.script = ["Calm."]
    answer = chat.invoke(ASKED)
    assert (answer.text, answer.response_metadata["finish_reason"]) == ("Calm.", "stop")
    assert answer.usage_metadata["total_tokens"] > 0


def test_it_streams(chat, upstream):
    upstream.script = ["Calm and blue."]
    pieces = list(chat.stream(ASKED))
    assert "".join(piece.text for piece in pieces) == "Calm and blue."
    assert sum((piece.usage_metadata or {}).get("total_tokens", 0) for piece in pieces) > 0


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_it_gets_structured_output(chat, upstream, method):
    upstream.script = ['```json\n{"city": "Oslo", "people": 7}\n```']
    assert chat.with_structured_output(Place, method=method).invoke(ASKED) == Place(city="Oslo", people=7)


def test_it_gets_structured_output_by_a_tool(chat, upstream):
    upstream.script = [Answer("", tool_calls=(ToolCall(0, "call_a", "Place", '{"city": "Oslo", "people": 7}'),))]
    assert chat.with_structured_output(Place, method="function_calling").invoke(ASKED) == Place(city="Oslo", people=7)


@pytest.mark.parametrize("stream", [False, True])
def test_its_tools_are_called_and_answered(chat, upstream, stream):
    upstream.script = [Answer("", tool_calls=(ToolCall(0, "call_a", "weather", '{"city": "Oslo"}'),)), "Rain."]
    bound = chat.bind_tools([weather])
    if stream:
        pieces = list(bound.stream(ASKED))
        wants = sum(pieces[1:], pieces[0])
    else:
        wants = bound.invoke(ASKED)
    (call,) = wants.tool_calls
    told = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
    assert bound.invoke([*ASKED, wants, told]).text == "Rain."
