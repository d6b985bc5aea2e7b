"""Text: one system turn, JSON checked before it is returned, one repair, nothing half kept."""

import pytest

from llmapi.core.calls import Usage
from llmapi.core.errors import ContextTooLong, ProviderThrottled, UnreadableAnswer, ValidationFailed
from llmapi.tasks.text import answer_text, read_text, text_call
from tests.tasks.scripted import BASE, Model, said

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}, "required": ["age"]}
AS_JSON = {"type": "json_schema", "schema": SCHEMA}


def roles(call):
    return [message.role for message in call.messages]


def test_a_prompt_is_the_users_turn_and_no_empty_system_turn_is_sent():
    call = text_call(BASE, prompt="Hello")
    assert [(each.role, each.text) for each in call.messages] == [("user", "Hello")]


def test_all_system_turns_become_one_at_the_front():
    said = (("user", "a"), ("system", "late"), ("assistant", "b"), ("user", "c"))
    call = text_call(BASE, messages=[{"role": role, "content": text} for role, text in said], system="first")
    assert roles(call) == ["system", "user", "assistant", "user"]
    assert call.messages[0].text == "first\n\nlate"


@pytest.mark.parametrize("wanted", [{}, {"prompt": "a", "messages": [{"role": "user", "content": "b"}]}])
def test_a_prompt_or_messages_must_come_and_not_both(wanted):
    with pytest.raises(ValidationFailed) as caught:
        text_call(BASE, **wanted)
    assert "prompt" in caught.value.fields


def test_messages_without_a_question_are_refused():
    with pytest.raises(ValidationFailed) as caught:
        text_call(BASE, messages=[{"role": "system", "content": "a"}])
    assert "messages" in caught.value.fields


def test_a_schema_goes_into_the_call_and_into_the_words():
    call = text_call(BASE, prompt="How old?", system="Be brief.", response_format=AS_JSON)
    assert call.schema == SCHEMA
    assert call.messages[0].text.startswith("Be brief.") and '"minimum":0' in call.messages[0].text


def test_a_broken_schema_is_refused_before_any_model_is_asked():
    with pytest.raises(ValidationFailed) as caught:
        text_call(BASE, prompt="a", response_format={"type": "json_schema", "schema": {"type": "strange"}})
    assert "response_format.schema.type" in caught.value.fields


def test_plain_text_comes_back_as_it_is():
    assert read_text(said(" Hi. ", "length"), None) == {"text": " Hi. ", "finish_reason": "length", "parsed": None}


def test_json_is_parsed_and_checked():
    assert read_text(said('{"age": 3}'), SCHEMA)["parsed"] == {"age": 3}
    with pytest.raises(UnreadableAnswer, match="less than the minimum"):
        read_text(said('{"age": -3}'), SCHEMA)


def test_an_answer_cut_at_the_token_limit_says_so():
    with pytest.raises(UnreadableAnswer, match="max_tokens"):
        read_text(said('{"age": ', "length"), SCHEMA)


def test_an_unreadable_answer_goes_back_once_with_the_reason():
    model = Model('{"age": "three"}', '{"age": 3}')
    assert answer_text(model.ask, text_call(BASE, prompt="a", response_format=AS_JSON))["parsed"] == {"age": 3}
    repair = model.calls[1].messages
    assert [each.role for each in repair[-2:]] == ["assistant", "user"]
    assert repair[-2].text == '{"age": "three"}' and "is not of type 'integer'" in repair[-1].text


def test_an_empty_answer_goes_back_without_an_empty_turn():
    model = Model("", '{"age": 3}')
    answer_text(model.ask, text_call(BASE, prompt="a", response_format=AS_JSON))
    assert all(message.text.strip() for message in model.calls[1].messages)


def test_after_one_repair_the_error_keeps_the_usage_of_both_answers():
    model = Model("no", "still no")
    with pytest.raises(UnreadableAnswer) as caught:
        answer_text(model.ask, text_call(BASE, prompt="a", response_format=AS_JSON))
    assert caught.value.usage == Usage(20, 2)
    assert len(model.calls) == 2


def test_a_provider_that_fails_during_the_repair_still_tells_what_the_first_answer_cost():
    model = Model("no", ProviderThrottled("busy"))
    with pytest.raises(ProviderThrottled) as caught:
        answer_text(model.ask, text_call(BASE, prompt="a", response_format=AS_JSON))
    assert caught.value.usage == Usage(10, 1)


def test_a_repair_too_long_for_the_model_does_not_blame_the_caller():
    model = Model("no", ContextTooLong("too long"))
    with pytest.raises(UnreadableAnswer, match="not JSON") as caught:
        answer_text(model.ask, text_call(BASE, prompt="a", response_format=AS_JSON))
    assert caught.value.usage == Usage(10, 1)


@pytest.mark.parametrize(
    ("text", "finish", "kept"),
    [
        ('{"age": 1}', "stop", True),
        ('{"age": 1}', "length", False),
        ('{"age": -1}', "stop", False),
        ("no", "stop", False),
    ],
)
def test_only_whole_readable_answers_are_worth_keeping(text, finish, kept):
    assert text_call(BASE, prompt="a", response_format=AS_JSON).good(said(text, finish)) is kept


def test_an_empty_text_is_not_kept():
    assert not text_call(BASE, prompt="a").good(said(" "))
    assert text_call(BASE, prompt="a").good(said("Hi"))
