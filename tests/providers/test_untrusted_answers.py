"""Whatever a vendor answers, it becomes an answer of ours or an error that says whose fault it is: never a 500."""

import json
import resource
import time

import pytest

from llmapi.core.calls import Completion, Tool
from llmapi.core.errors import LlmApiError
from llmapi.providers.anthropic import Anthropic
from llmapi.providers.gemini import Gemini
from llmapi.providers.openai import OpenAIFormat
from tests.fakes.wire import Wire, http
from tests.providers.untrusted import ARGUMENTS, FORMATS, ODD, SHAPES, SSE, json_text, spoiled, sse

# LangChain warns of tools' calls in answers to questions without tools, and of its own records that do not fit
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

EVERY_VENDOR = pytest.mark.parametrize("name", sorted(FORMATS))
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
STATUSES = {422, 429, 502, 503, 504}
WEATHER = Tool("weather", "Tell the weather", {"type": "object", "properties": {"city": {"type": "string"}}})


@pytest.fixture
def wire():
    with Wire() as server:
        yield server


@pytest.fixture
def outcome(wire, transport, question):
    """Return what becomes of an answer of these bytes: a completion or an error of ours."""
    vendors = {
        "openai": OpenAIFormat("openai", "k", wire.url, transport=transport),
        "gemini": Gemini("k", wire.url, transport=transport),
        "anthropic": Anthropic("k", wire.url, transport=transport),
    }

    def ask(name, answer, stream, **fields):
        wire.answer = answer
        try:
            return vendors[name].ask(question(name, stream=stream, **fields)).completion()
        except LlmApiError as error:
            return error

    return ask


def is_sound(found):
    """Say whether an outcome can be shown: as an answer with numbers that make sense, or as the provider's fault."""
    if isinstance(found, LlmApiError):
        json.dumps(found.details, allow_nan=False).encode()
        return found.status in STATUSES and found.usage.total_tokens >= 0
    assert isinstance(found, Completion)
    said = [found.text, *(text for call in found.tool_calls for text in (call.id, call.name, call.arguments))]
    said += [name for token in found.logprobs for name in (token.token, *(name for name, _ in token.top))]
    numbers = [*vars_of(found.usage), *(token.logprob for token in found.logprobs)]
    json.dumps(numbers, allow_nan=False)
    return all(text.encode() is not None for text in said) and min(vars_of(found.usage)) >= 0


def vars_of(usage):
    return [usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens]


@BOTH
@EVERY_VENDOR
def test_the_answers_that_are_spoiled_here_are_good_ones(outcome, name, stream):
    form = FORMATS[name]
    said = outcome(name, form.stream(form.events) if stream else form.whole(form.plain), stream, tools=(WEATHER,))
    assert (said.text, said.tool_calls[0].name) == ("Fine.", "weather")


@BOTH
@EVERY_VENDOR
@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_a_malformed_answer_is_the_providers_fault(outcome, wire, shape, name, stream):
    assert is_sound(outcome(name, SHAPES[shape](FORMATS[name]), stream))
    assert wire.asked == 1


@EVERY_VENDOR
@pytest.mark.parametrize("odd", sorted(ODD))
def test_any_part_of_a_plain_answer_may_be_anything(outcome, odd, name):
    form = FORMATS[name]
    for value in spoiled(form.plain, ODD[odd]):
        assert is_sound(outcome(name, form.whole(value), False, tools=(WEATHER,))), value


@EVERY_VENDOR
@pytest.mark.parametrize("odd", sorted(ODD))
def test_any_part_of_an_event_may_be_anything(outcome, odd, name):
    form = FORMATS[name]
    for events in spoiled(list(form.events), ODD[odd]):
        assert is_sound(outcome(name, form.stream(events), True, tools=(WEATHER,))), events


@EVERY_VENDOR
def test_a_plain_answer_cut_anywhere_is_broken(outcome, name):
    text = json_text(FORMATS[name])
    for end in range(1, len(text), 11):
        found = outcome(name, http(text[:end]), False)
        assert is_sound(found) and isinstance(found, LlmApiError), text[:end]


@EVERY_VENDOR
def test_a_stream_cut_anywhere_is_no_whole_answer_without_its_end(outcome, name):
    text = sse(FORMATS[name])
    ending = min(at for word in (b'"finish_reason": "stop"', b"finishReason", b'"stop_reason": "tool_use"')
                 if (at := text.find(word)) >= 0)
    for end in range(1, len(text), 23):
        found = outcome(name, http(text[:end], headers=SSE), True, tools=(WEATHER,))
        assert is_sound(found) and (end > ending or isinstance(found, LlmApiError)), text[:end]


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_arguments_of_a_tool_that_are_no_json_cost_no_more_than_others(outcome, name):
    form = FORMATS[name]
    answer = sse(form).replace(json.dumps(ARGUMENTS).encode(), b'"%b"' % (b"{" * 100_000))
    began = time.process_time()
    said = outcome(name, http(answer, headers=SSE), True, tools=(WEATHER,))
    assert said.tool_calls[0].arguments == "{" * 100_000
    assert time.process_time() - began < 10.0  # seconds; LangChain alone takes 40


@BOTH
@EVERY_VENDOR
def test_large_answers_leave_no_memory_behind(outcome, name, stream):
    shapes = [SHAPES[shape](FORMATS[name]) for shape in ("20 MB", "packed to burst", "a line of 17 MB")]
    for answer in shapes:
        outcome(name, answer, stream)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for answer in shapes * 4:
        assert is_sound(outcome(name, answer, stream))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # kB at the worst moment
