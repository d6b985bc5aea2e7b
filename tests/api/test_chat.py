"""POST /v1/chat: the envelope every task has, around the next turn of a conversation."""

import pytest

from llmapi.core.calls import ToolCall
from tests.api.reading import events_of
from tests.fakes.behaviours import Answer

ASKED = {"messages": [{"role": "user", "content": "How is the sea?"}]}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
OSLO = Answer("", tool_calls=(ToolCall(0, "", "weather", '{"city": "Oslo"}'),))


def ask(client, **more):
    return client.post("/v1/chat", json={**ASKED, **more})


def test_the_answer_is_the_next_turn_in_the_usual_envelope(client, gemini):
    gemini.script = ["Calm."]
    told = ask(client).json
    assert told["task"] == "chat"
    assert told["output"] == {
        "message": {"role": "assistant", "content": "Calm.", "tool_calls": []},
        "finish_reason": "stop",
        "parsed": None,
    }
    assert ask(client).json["cache"]["status"] == "hit"


def test_the_turn_can_be_sent_back_as_it_is_with_what_the_tool_said(client, gemini):
    gemini.script = [OSLO, "Rain."]
    message = ask(client, tools=[TOOL]).json["output"]["message"]
    result = {"role": "tool", "content": "rain", "tool_call_id": message["tool_calls"][0]["id"]}
    told = ask(client, messages=[*ASKED["messages"], message, result], tools=[TOOL]).json
    assert told["output"]["message"]["content"] == "Rain."


def test_a_stream_has_pieces_of_text_and_of_calls(client, gemini):
    gemini.script = ["Calm and blue.", OSLO]
    text, calls = (events_of(ask(client, stream=True, tools=[TOOL], seed=seed).data) for seed in (1, 2))
    assert "".join(event.data["text"] for event in text if event.kind == "chunk") == "Calm and blue."
    assert [event.data["tool_calls"][0]["index"] for event in calls if event.kind == "chunk"] == [0]
    assert calls[-1].data["output"]["finish_reason"] == "tool_calls"


def test_json_is_checked_and_returned_parsed(client, gemini):
    gemini.script = ['{"city": "Oslo"}']
    wanted = {"type": "json_schema", "schema": {"type": "object", "required": ["city"]}}
    assert ask(client, response_format=wanted).json["output"]["parsed"] == {"city": "Oslo"}


def test_a_dry_run_asks_nobody_and_a_job_asks_later(client, gemini):
    assert ask(client, dry_run=True).json["estimate"]["calls"] == 1
    assert gemini.asked == []
    accepted = client.post("/v1/chat", json=ASKED, headers={"Prefer": "respond-async"})
    assert (accepted.status_code, accepted.headers["Location"]) == (202, f"/v1/jobs/{accepted.json['id']}")


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("messages", {"messages": "hello"}),
        ("messages.0.role", {"messages": [{"role": "robot", "content": "x"}]}),
        ("messages.0.content", {"messages": [{"role": "user", "content": ""}]}),
        ("messages.0.tool_calls.0.id", {"messages": [{"role": "assistant", "tool_calls": [{"function": {
            "name": "weather", "arguments": "{}"}}]}]}),
        ("tools.0.function.name", {"tools": [{"type": "function", "function": {"name": "a b"}}]}),
        ("tools.0.function.name", {"tools": [{"type": "function", "function": {"name": "auto"}}]}),
        ("tools", {"tools": [TOOL, TOOL]}),
        ("tool_choice", {"tool_choice": "required"}),
        ("top_logprobs", {"top_logprobs": 2}),
        ("logprobs", {"logprobs": True}),
    ],
)  # fmt: skip
def test_each_wrong_field_is_named(client, gemini, field, more):
    refused = ask(client, **more)
    assert refused.status_code == 422
    assert field in [error["field"] for error in refused.json["errors"]]
    assert gemini.asked == []
