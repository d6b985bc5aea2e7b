"""Tools on their way to the vendors and their calls on the way back, with the real LangChain clients."""

import json

import pytest

from llmapi.core.calls import Message, Tool, ToolCall
from llmapi.core.errors import ProviderBroken, ProviderInvalid
from llmapi.providers.gemini import Gemini
from llmapi.providers.openai import OpenAIFormat
from tests.fakes.behaviours import Answer, Raw

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
SCHEMA = {
    "type": "object",
    "properties": {"city": {"$ref": "#/$defs/city"}},
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"city": {"type": "string", "minLength": 2}},
}
WEATHER = Tool("weather", "Tell the weather", SCHEMA)
TIME = Tool("time")
OSLO = ToolCall(0, "call_a", "weather", '{"city": "Oslo"}')
NOW = ToolCall(1, "call_b", "time", "{}")
WANTED = Answer("", tool_calls=(OSLO, NOW))
TURNS = (
    Message("user", "Weather and time?"),
    Message("assistant", "", (OSLO, NOW)),
    Message("tool", '{"sky": "grey"}', tool_call_id="call_a"),
    Message("tool", "noon", tool_call_id="call_b"),
)


@pytest.fixture
def to_openai(openai_upstream, transport, question):
    vendor = OpenAIFormat("openai", "k", openai_upstream.base, transport=transport)
    return lambda **fields: vendor.ask(question("openai", **{"tools": (WEATHER, TIME), **fields}))


@pytest.fixture
def to_gemini(gemini, transport, question):
    vendor = Gemini("k", gemini.url, transport=transport)
    return lambda **fields: vendor.ask(question("gemini", **{"tools": (WEATHER, TIME), **fields}))


def test_tools_reach_openai_with_their_schemas_as_they_are(to_openai, openai_upstream):
    to_openai(tool_choice="weather").close()
    assert openai_upstream.bodies[0]["tools"] == [
        {"type": "function", "function": {"name": "weather", "description": "Tell the weather", "parameters": SCHEMA}},
        {"type": "function", "function": {"name": "time"}},
    ]
    assert openai_upstream.bodies[0]["tool_choice"] == {"type": "function", "function": {"name": "weather"}}


def test_tools_reach_gemini_with_their_schemas_as_they_are(to_gemini, gemini):
    to_gemini(tool_choice="weather").close()
    said = {"name": "weather", "description": "Tell the weather"}
    weather = {**said, "parameters_json_schema": SCHEMA}  # Google reads either spelling, and its library writes this
    assert gemini.bodies[0]["tools"] == [{"functionDeclarations": [weather, {"name": "time"}]}]
    wanted = {"mode": "ANY", "allowedFunctionNames": ["weather"]}
    assert gemini.bodies[0]["toolConfig"] == {"functionCallingConfig": wanted}


@pytest.mark.parametrize("choice, mode", [("auto", "AUTO"), ("none", "NONE"), ("required", "ANY")])
def test_the_three_words_of_a_choice_are_known_to_both(
    to_openai, to_gemini, openai_upstream, gemini, choice, mode
):
    to_openai(tool_choice=choice).close()
    to_gemini(tool_choice=choice).close()
    assert openai_upstream.bodies[0]["tool_choice"] == choice
    assert gemini.bodies[0]["toolConfig"] == {"functionCallingConfig": {"mode": mode}}


@pytest.mark.parametrize("fields", [{}, {"tools": (), "tool_choice": "auto"}], ids=["no choice", "no tools"])
def test_a_choice_goes_nowhere_without_being_made_or_without_tools(
    to_openai, to_gemini, openai_upstream, gemini, fields
):
    to_openai(**fields).close()
    to_gemini(**fields).close()
    assert "tool_choice" not in openai_upstream.bodies[0]
    assert "toolConfig" not in gemini.bodies[0]


@BOTH
def test_openais_calls_come_whole_with_their_ids(to_openai, openai_upstream, stream):
    openai_upstream.script = [WANTED]
    said = to_openai(stream=stream).completion()
    assert (said.text, said.finish, said.tool_calls) == ("", "tool_calls", (OSLO, NOW))


@BOTH
def test_geminis_calls_come_whole_with_ids_of_their_own(to_gemini, gemini, stream):
    gemini.script = [WANTED]
    said = to_gemini(stream=stream).completion()
    assert (said.text, said.finish) == ("", "tool_calls")
    assert [(call.index, call.name, call.arguments) for call in said.tool_calls] == [
        (0, "weather", '{"city": "Oslo"}'),
        (1, "time", "{}"),
    ]
    assert len({call.id for call in said.tool_calls} - {""}) == 2


def test_a_stream_brings_id_and_name_first_and_the_arguments_in_pieces(to_openai, openai_upstream):
    openai_upstream.script = [WANTED]
    pieces = [piece for chunk in to_openai(stream=True) for piece in chunk.tool_calls if piece.index == 0]
    assert pieces[0] == ToolCall(0, "call_a", "weather", "")
    assert {(piece.id, piece.name) for piece in pieces[1:]} == {("", "")}
    assert len(pieces) > 3 and "".join(piece.arguments for piece in pieces) == OSLO.arguments


@BOTH
def test_words_before_a_call_are_kept(to_openai, to_gemini, openai_upstream, gemini, stream):
    for upstream, ask in ((openai_upstream, to_openai), (gemini, to_gemini)):
        upstream.script = [Answer("I look it up.", tool_calls=(OSLO,))]
        said = ask(stream=stream).completion()
        assert (said.text, said.finish, len(said.tool_calls)) == ("I look it up.", "tool_calls", 1)


@BOTH
def test_arguments_that_are_no_json_are_passed_on_as_they_are(to_openai, openai_upstream, stream):
    openai_upstream.script = [Answer("", tool_calls=(ToolCall(0, "call_a", "weather", '{"city": "Os'),))]
    assert to_openai(stream=stream).completion().tool_calls[0].arguments == '{"city": "Os'


def test_arguments_with_half_a_character_can_still_be_sent_on(to_openai, openai_upstream):
    openai_upstream.script = [Answer("", tool_calls=(ToolCall(0, "a", "weather", '{"city": "\\ud800"}'),))]
    assert to_openai().completion().tool_calls[0].arguments == '{"city": "\\ud800"}'


@BOTH
def test_a_call_whose_arguments_were_cut_off_ends_for_length(to_openai, openai_upstream, stream):
    openai_upstream.script = [Answer("", tool_calls=(ToolCall(0, "a", "weather", '{"ci'),), finish="length")]
    assert to_openai(stream=stream).completion().finish == "length"


@BOTH
def test_a_call_promised_but_not_made_is_no_answer(to_openai, openai_upstream, stream):
    openai_upstream.script = [Answer("", finish="tool_calls")]
    with pytest.raises(ProviderBroken):
        to_openai(stream=stream).completion()


@pytest.mark.parametrize("index", ["0", "null"], ids=["all are number 0", "no numbers"])
def test_calls_are_told_apart_by_their_ids_when_their_numbers_are_useless(to_openai, openai_upstream, index):
    events = [delta(index, id=id, name="time", arguments=part) for id in "ab" for part in ("{", "}")]
    openai_upstream.script = [Raw("".join([*events, "data: [DONE]\n\n"]).encode(), kind="text/event-stream")]
    calls = to_openai(stream=True).completion().tool_calls
    assert calls == (ToolCall(0, "a", "time", "{}"), ToolCall(1, "b", "time", "{}"))


def test_a_call_without_an_id_gets_one(to_openai, openai_upstream):
    openai_upstream.script = [Answer("", tool_calls=(ToolCall(0, "", "time", "{}"), ToolCall(1, "", "time", "{}")))]
    ids = [call.id for call in to_openai().completion().tool_calls]
    assert all(ids) and len(set(ids)) == 2


def test_what_tools_said_goes_back_to_openai_word_for_word(to_openai, openai_upstream):
    odd = ToolCall(0, "call_a", "weather", '{ "city":"Osl')
    to_openai(messages=(TURNS[0], Message("assistant", "Wait", (odd, NOW)), *TURNS[2:])).close()
    rows = openai_upstream.bodies[0]["messages"][1:]
    assert rows == [
        {"role": "assistant", "content": "Wait", "tool_calls": [function(odd), function(NOW)]},
        {"role": "tool", "tool_call_id": "call_a", "content": '{"sky": "grey"}'},
        {"role": "tool", "tool_call_id": "call_b", "content": "noon"},
    ]


def test_what_tools_said_goes_back_to_gemini_with_the_names_of_the_tools(to_gemini, gemini):
    to_gemini(messages=TURNS).close()
    assert gemini.bodies[0]["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}},
                {"functionCall": {"name": "time", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "weather", "response": {"sky": "grey"}}},
                {"functionResponse": {"name": "time", "response": {"output": "noon"}}},
            ],
        },
    ]


def test_an_id_used_again_in_a_later_turn_gets_the_result_of_its_turn(to_gemini, gemini):
    again = (Message("assistant", "", (OSLO,)), Message("tool", "sun", tool_call_id="call_a"))
    to_gemini(messages=(*TURNS, *again)).close()
    last = gemini.bodies[0]["contents"][-1]["parts"]
    assert last == [{"functionResponse": {"name": "weather", "response": {"output": "sun"}}}]


def test_arguments_that_are_no_object_reach_gemini_within_one(to_gemini, gemini):
    odd = ToolCall(0, "call_a", "weather", '{"city": "Os')
    to_gemini(messages=(TURNS[0], Message("assistant", "", (odd,)), TURNS[2])).close()
    part = gemini.bodies[0]["contents"][1]["parts"][0]
    assert part == {"functionCall": {"name": "weather", "args": {"arguments": '{"city": "Os'}}}


@BOTH
def test_a_result_of_no_call_is_not_left_out_in_silence(to_gemini, gemini, stream):
    with pytest.raises(ProviderInvalid, match="belongs to no call"):
        to_gemini(messages=(TURNS[0], TURNS[3]), stream=stream)
    assert gemini.asked == []


def function(call):
    return {"type": "function", "id": call.id, "function": {"name": call.name, "arguments": call.arguments}}


def delta(index, *, id, name, arguments):
    """Return an event with a piece of a call, as vendors write it who repeat id and name in every piece."""
    call = {"index": json.loads(index), "id": id, "function": {"name": name, "arguments": arguments}}
    choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": "stop"}
    return f"data: {json.dumps({'id': 'x', 'model': 'm', 'choices': [choice]})}\n\n"
