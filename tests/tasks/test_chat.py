"""A conversation becomes a call, and its answer the next turn."""

from dataclasses import replace

import pytest

from llmapi.core.calls import Chunk, Completion, Message, Target, TokenLogprobs, Tool, ToolCall, Usage
from llmapi.core.errors import ContextTooLong, UnreadableAnswer, ValidationFailed
from llmapi.core.routing import Policy
from llmapi.tasks.chat import answer_chat, chat_call, piece_of, read_chat
from llmapi.tasks.runner import StreamEvent
from tests.tasks.scripted import BASE, Model, said

SEA = {"role": "user", "content": "How is the sea?"}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
FORMAT = {"type": "json_schema", "schema": {"type": "object", "required": ["city"]}}
WANTS = (ToolCall(0, "c1", "weather", "{}"), ToolCall(1, "c2", "time", "{}"))


def turns(*messages, system="", **more):
    return [(turn.role, turn.text) for turn in chat_call(BASE, {"messages": messages, **more}, system).messages]


def test_system_turns_stand_at_the_front_as_one_and_empty_ones_nowhere():
    told = [SEA, {"role": "system", "content": "Be brief."}, {"role": "assistant", "content": ""}, SEA]
    told += [{"role": "system", "content": "Be kind."}, {"role": "system", "content": " "}]
    assert turns(*told) == [("system", "Be brief.\n\nBe kind."), ("user", SEA["content"]), ("user", SEA["content"])]


def test_the_usual_system_prompt_counts_only_without_another():
    assert turns(SEA, system="Usual.")[0] == ("system", "Usual.")
    assert turns({"role": "system", "content": "Own."}, SEA, system="Usual.")[0] == ("system", "Own.")


def test_a_system_turn_alone_is_the_question():
    assert turns({"role": "system", "content": "Say hello."}, system="Usual.") == [
        ("system", "Usual."),
        ("user", "Say hello."),
    ]
    with pytest.raises(ValidationFailed):
        turns({"role": "system", "content": ""})


def test_the_schemas_rule_comes_last_of_the_system_turns():
    role, rule = turns({"role": "system", "content": "Be brief."}, SEA, response_format=FORMAT)[0]
    assert role == "system"
    assert rule.startswith("Be brief.\n\nAnswer with one JSON value")


def test_tools_and_their_results_go_along():
    told = [SEA, {"role": "assistant", "content": "", "tool_calls": [CALL]}]
    told += [{"role": "tool", "content": "", "tool_call_id": "c1"}]
    tools = [{"name": "weather", "description": "d", "parameters": {}}]
    base = replace(BASE, targets=(Target("fake", "m", frozenset({"tools"})),))
    call = chat_call(base, {"messages": told, "tools": tools, "tool_choice": "weather"})
    assert (call.tools, call.tool_choice) == ((Tool("weather", "d", {}),), "weather")
    assert call.messages[1:] == (Message("assistant", "", WANTS[:1]), Message("tool", "", (), "c1"))


def test_a_result_of_a_tool_nobody_called_is_refused():
    with pytest.raises(ValidationFailed) as refused:
        turns(SEA, {"role": "tool", "content": "x", "tool_call_id": "c1"})
    assert list(refused.value.fields) == ["messages.1.tool_call_id"]


@pytest.mark.parametrize("field", [{"tools": [{"name": "weather"}]}, {"logprobs": True}])
def test_candidates_that_cannot_do_it_are_left_out_with_their_weights(field):
    able = Target("b", "m", frozenset(field))
    base = replace(BASE, targets=(Target("a", "m"), able), policy=Policy(balance="weighted", weights=(1.0, 3.0)))
    call = chat_call(base, {"messages": [SEA], **field})
    assert (call.targets, call.policy.weights) == ((able,), (3.0,))
    with pytest.raises(ValidationFailed) as refused:
        chat_call(BASE, {"messages": [SEA], **field})
    assert list(refused.value.fields) == list(field)


def test_a_turn_that_calls_tools_has_no_text_and_says_why_it_ended():
    told = read_chat(Completion(tool_calls=WANTS, finish="stop"), None, {})
    assert (told["finish_reason"], told["message"]["content"], told["parsed"]) == ("tool_calls", None, None)
    assert [call["id"] for call in told["message"]["tool_calls"]] == ["c1", "c2"]
    one = read_chat(Completion(tool_calls=WANTS), None, {"parallel_tool_calls": False})
    assert [call["id"] for call in one["message"]["tool_calls"]] == ["c1"]


def test_with_a_schema_the_content_is_json_alone():
    schema = FORMAT["schema"]
    fenced = read_chat(said('Sure:\n```json\n{"city": "Oslo"}\n```'), schema, {})
    assert (fenced["message"]["content"], fenced["parsed"]) == ('{"city":"Oslo"}', {"city": "Oslo"})
    assert read_chat(said('{"city":  1}'), schema, {})["message"]["content"] == '{"city":  1}'


def test_a_cut_answer_is_returned_as_it_is():
    told = read_chat(said('{"city": "Os', "length"), FORMAT["schema"], {})
    assert (told["message"]["content"], told["parsed"], told["finish_reason"]) == ('{"city": "Os', None, "length")


def test_unreadable_json_goes_back_once_and_both_answers_are_billed():
    call = chat_call(BASE, {"messages": [SEA], "response_format": FORMAT})
    model = Model("no", '{"city": 1}')
    assert answer_chat(model.ask, call, {})["parsed"] == {"city": 1}
    assert "not JSON" in model.calls[1].messages[-1].text
    with pytest.raises(UnreadableAnswer) as failed:
        answer_chat(Model("no", "nor this").ask, call, {})
    assert failed.value.usage == Usage(20, 2)
    with pytest.raises(UnreadableAnswer):
        answer_chat(Model("no", ContextTooLong("too long")).ask, call, {})


def test_only_whole_readable_answers_are_worth_keeping():
    good = chat_call(BASE, {"messages": [SEA], "response_format": FORMAT}).good
    assert [good(said('{"city": 1}')), good(said("no")), good(said('{"city": 1}', "length"))] == [True, False, False]


def test_a_piece_is_text_or_an_event_with_more():
    log = (TokenLogprobs("Hé", -0.5, (("Hé", -0.5), ("Ho", -1.0))),)
    assert piece_of(Chunk("Hé"), {}) == "Hé"
    told = piece_of(Chunk("Hé", logprobs=log), {"logprobs": True, "top_logprobs": 1})
    row = {"token": "Hé", "logprob": -0.5, "bytes": [72, 195, 169]}
    assert told == StreamEvent("chunk", {"text": "Hé", "logprobs": [{**row, "top_logprobs": [row]}]})
    (call,) = piece_of(Chunk(tool_calls=WANTS), {"parallel_tool_calls": False}).data["tool_calls"]
    assert (call["index"], call["id"]) == (0, "c1")
    assert piece_of(Chunk(tool_calls=WANTS[1:]), {"parallel_tool_calls": False}) is None
