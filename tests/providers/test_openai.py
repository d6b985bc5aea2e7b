"""Vendors of OpenAI's format through the real LangChain client, against a fake on a socket."""

import math
import threading
import time

import pytest

from llmapi.core.calls import Message, Usage
from llmapi.core.errors import ProviderBroken, ProviderInvalid, ProviderRefused, ProviderThrottled, ProviderTimeout
from llmapi.core.errors import ProviderUnavailable
from llmapi.providers.openai import OpenAIFormat, closed, fixed_sampling
from tests.fakes.behaviours import Answer, Blocked, Empty, Hang, Raw, StreamError

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["a", "b"]}},
    "required": ["label"],
    "additionalProperties": False,
}


@pytest.fixture
def vendor(openai_upstream, transport):
    return OpenAIFormat("openai", "the-key", openai_upstream.base, transport=transport)


@pytest.fixture
def ask(vendor, question):
    """Ask and read to the end."""
    return lambda **fields: vendor.ask(question("openai", **fields)).completion()


def failing(ask, kind, **fields):
    """Return the error that an answer becomes."""
    with pytest.raises(kind) as caught:
        ask(**fields)
    assert type(caught.value) is kind
    return caught.value


@BOTH
def test_an_answer_comes_with_its_usage_and_its_reason_to_end(ask, openai_upstream, stream):
    openai_upstream.script = [Answer("It is so.", thinking=7, cached=1)]
    said = ask(stream=stream)
    assert (said.text, said.finish) == ("It is so.", "stop")
    assert said.usage == Usage(input_tokens=2, output_tokens=10, cached_tokens=1, reasoning_tokens=7)


def test_a_plain_answer_is_one_chunk_and_a_streamed_one_comes_in_pieces(vendor, question, openai_upstream):
    openai_upstream.script = ["a b c", "a b c"]
    assert [chunk.text for chunk in vendor.ask(question("openai"))] == ["a b c"]
    streamed = [chunk.text for chunk in vendor.ask(question("openai", stream=True))]
    assert [text for text in streamed if text] == ["a", " b", " c"]


def test_everything_a_call_says_reaches_the_vendor(ask, openai_upstream):
    turns = (Message("system", "Be brief"), Message("user", "Hi"), Message("assistant", "Ho"), Message("user", "He"))
    ask(messages=turns, temperature=0.5, top_p=0.9, stop=("END",), seed=7, max_tokens=33, schema=SCHEMA, logprobs=5)
    body = openai_upstream.bodies[0]
    assert [(turn["role"], turn["content"]) for turn in body.pop("messages")] == [
        ("system", "Be brief"),
        ("user", "Hi"),
        ("assistant", "Ho"),
        ("user", "He"),
    ]
    assert body == {
        "model": "fake-1",
        "stream": False,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "seed": 7,
        "max_tokens": 33,
        "logprobs": True,
        "top_logprobs": 5,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
        },
    }


def test_what_a_call_leaves_open_is_not_sent(ask, openai_upstream):
    ask()
    assert set(openai_upstream.bodies[0]) == {"model", "stream", "messages", "max_tokens"}


def test_a_vendor_gets_its_own_names_for_fields(openai_upstream, transport, question):
    names = {"max_tokens": "max_completion_tokens"}
    vendor = OpenAIFormat("openai", "k", openai_upstream.base, transport=transport, names=names)
    vendor.ask(question("openai", max_tokens=9)).completion()
    assert openai_upstream.bodies[0]["max_completion_tokens"] == 9
    assert "max_tokens" not in openai_upstream.bodies[0]


@pytest.mark.parametrize("model", ["o3", "o4-mini", "gpt-5-mini", "gpt-5.6-sol", "gpt-6-astra", "openai/gpt-5"])
def test_a_model_that_takes_no_temperature_gets_none(ask, openai_upstream, model):
    ask(model=model, temperature=0.5, top_p=0.5)
    assert not {"temperature", "top_p"} & set(openai_upstream.bodies[0])


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-5-chat-latest", "gpt-5.4", "mistral-small", "olmo-2"])
def test_other_models_get_their_temperature(model):
    assert not fixed_sampling(model)


@pytest.mark.parametrize(
    "change, strict",
    [({}, True), ({"required": []}, False), ({"additionalProperties": True}, False)],
)
def test_a_schema_binds_only_when_it_leaves_nothing_open(change, strict):
    assert closed({"type": "array", "items": [{**SCHEMA, **change}]}) is strict


@BOTH
def test_log_probabilities_come_with_their_alternatives(ask, openai_upstream, stream):
    openai_upstream.script = ["spam ham"]
    said = ask(stream=stream, logprobs=3)
    assert [token.token for token in said.logprobs] == ["spam", " ham"]
    assert [name for name, _ in said.logprobs[0].top] == ["spam", "spam1", "spam2"]
    assert math.exp(said.logprobs[0].logprob) == pytest.approx(0.8)


def test_a_log_probability_that_is_no_number_is_left_out(ask, openai_upstream):
    rows = [{"token": "a", "logprob": None}, {"token": "b", "logprob": -0.5, "top_logprobs": None}]
    message = {"role": "assistant", "content": "ab"}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": {"content": rows}}
    openai_upstream.script = [Answer("ab", extra={"choices": [choice]})]
    assert [token.token for token in ask(logprobs=1).logprobs] == ["b"]


@BOTH
def test_a_blocked_answer_is_refused_and_its_billed_tokens_are_kept(ask, openai_upstream, stream):
    openai_upstream.script = [Answer("Half of", finish="blocked")]
    assert failing(ask, ProviderRefused, stream=stream).usage == Usage(input_tokens=2, output_tokens=2)


@BOTH
def test_a_blocked_prompt_is_refused(ask, openai_upstream, stream):
    openai_upstream.script = [Blocked()]
    assert failing(ask, ProviderRefused, stream=stream).usage == Usage(input_tokens=2)


def test_a_refusal_in_words_is_refused(ask, openai_upstream):
    message = {"role": "assistant", "content": None, "refusal": "I cannot."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    openai_upstream.script = [Answer("", extra={"choices": [choice]})]
    failing(ask, ProviderRefused)


@BOTH
@pytest.mark.parametrize("nothing", [Empty(), Answer(""), Answer(" \n ")], ids=["no choice", "no text", "blank"])
def test_an_empty_answer_is_broken_and_may_be_asked_again(ask, openai_upstream, stream, nothing):
    openai_upstream.script = [nothing]
    assert failing(ask, ProviderBroken, stream=stream).retryable


def test_an_answer_without_choices_keeps_what_was_billed(ask, openai_upstream):
    openai_upstream.script = [Empty()]
    assert failing(ask, ProviderBroken).usage == Usage(input_tokens=2)


@BOTH
def test_a_model_that_only_thought_is_told_by_its_limit_and_not_asked_again(ask, openai_upstream, stream):
    openai_upstream.script = [Answer("", finish="length", thinking=64)]
    error = failing(ask, ProviderInvalid, stream=stream, max_tokens=64)
    assert "max_tokens" in error.message and not error.retryable
    assert error.usage == Usage(input_tokens=2, output_tokens=64, reasoning_tokens=64)


@BOTH
@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": -5, "completion_tokens": 10**12}], ids=["none", "mad"])
def test_a_usage_that_cannot_be_is_none(ask, openai_upstream, stream, usage):
    openai_upstream.script = [Answer("Fine.", usage=usage)]
    assert ask(stream=stream).usage == Usage()


def test_a_usage_told_anew_with_every_event_is_counted_once(ask, openai_upstream):
    events = [
        {"choices": [{"index": 0, "delta": {"content": "a"}}], "usage": {"prompt_tokens": 5, "completion_tokens": 1}},
        {
            "choices": [{"index": 0, "delta": {"content": " b"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2},
        },
    ]
    openai_upstream.script = [Raw(sse(events), kind="text/event-stream")]
    assert ask(stream=True).usage == Usage(input_tokens=5, output_tokens=2)


def test_a_stream_that_just_stops_is_a_cut(ask, openai_upstream):
    openai_upstream.script = [Answer("a b", finish=None)]
    failing(ask, ProviderBroken, stream=True)


@pytest.mark.parametrize("code, kind", [(503, ProviderUnavailable), (429, ProviderThrottled)])
def test_an_error_inside_a_stream_is_what_it_says(ask, openai_upstream, code, kind):
    openai_upstream.script = [StreamError("Half ", code)]
    failing(ask, kind, stream=True)


def test_an_error_inside_a_success_is_what_it_says(ask, openai_upstream):
    openai_upstream.script = [Raw(b'{"error": {"message": "Slow down", "code": 429}}')]
    failing(ask, ProviderThrottled)


def test_asking_returns_with_the_first_words_and_not_before_nor_later(vendor, question, openai_upstream, in_thread):
    gate = threading.Semaphore(0)
    openai_upstream.script = [Answer(pieces=("a", " b"), gate=gate)]
    asking = in_thread(lambda: vendor.ask(question("openai", stream=True)))
    for _ in range(2):  # the role, the first word
        gate.release()
    reply = asking.outcome()
    for _ in range(4):
        gate.release()
    assert [chunk.text for chunk in reply if chunk.text] == ["a", " b"]


@pytest.mark.parametrize("read", [0, 1])
def test_closing_a_reply_hangs_up_on_the_vendor(vendor, question, openai_upstream, read):
    openai_upstream.script = [Answer("a b c d", gap=0.05)]
    reply = vendor.ask(question("openai", stream=True, seconds=60.0))
    for _, _chunk in zip(range(read), reply, strict=False):
        pass
    reply.close()
    assert openai_upstream.aborted.wait(5)


def test_a_failed_call_asks_once_and_leaves_retrying_to_others(ask, openai_upstream):
    openai_upstream.script = [503, "Never asked for."]
    failing(ask, ProviderUnavailable)
    assert len(openai_upstream.asked) == 1


def test_the_key_is_sent_as_a_bearer_and_a_server_without_one_gets_a_placeholder(
    ask, openai_upstream, transport, question
):
    ask()
    server = OpenAIFormat("vllm", "", openai_upstream.base, transport=transport, keyless=True)
    server.ask(question("vllm")).completion()
    assert [asked.headers["authorization"] for asked in openai_upstream.asked] == ["Bearer the-key", "Bearer none"]


def test_texts_become_vectors_of_length_one_with_their_usage(ask):
    said = ask(inputs=("one two", "three"))
    assert [round(sum(x * x for x in vector), 6) for vector in said.vectors] == [1.0, 1.0]
    assert said.usage == Usage(input_tokens=3)


def test_vectors_stand_in_the_order_of_their_texts(ask, openai_upstream):
    rows = [{"index": 1, "embedding": [0.0, 2.0]}, {"index": 0, "embedding": [3.0, 0.0]}]
    openai_upstream.script = [Raw(str({"data": rows, "usage": {}}).replace("'", '"').encode())]
    assert ask(inputs=("a", "b")).vectors == ((1.0, 0.0), (0.0, 1.0))


@pytest.mark.parametrize("body", [b'{"data": []}', b'{"data": [{"index": 0, "embedding": []}]}', b"{}", b"["])
def test_embeddings_that_are_none_are_broken(ask, openai_upstream, body):
    openai_upstream.script = [Raw(body)]
    failing(ask, ProviderBroken, inputs=("text",))


def test_embeddings_keep_the_deadline_too(ask, openai_upstream):
    openai_upstream.script = [Hang()]
    began = time.monotonic()
    failing(ask, ProviderTimeout, inputs=("text",), seconds=0.2)
    assert time.monotonic() - began < 5.0  # without it, the transport's usual ten seconds would


def test_two_hundred_threads_share_one_model_without_waiting_for_each_other(
    vendor, question, openai_upstream, in_thread
):
    crowd = threading.Barrier(200)  # opens when all of them are being asked at the same time
    openai_upstream.behaviour = lambda asked: f"Fine {crowd.wait(20) * 0}"
    calls = [in_thread(lambda: vendor.ask(question("openai", seconds=30.0)).completion()) for _ in range(200)]
    for each in calls:
        each.join(30)
    assert {each.outcome().text for each in calls} == {"Fine 0"}
    assert openai_upstream.most_in_flight == 200


class LosesCount(OpenAIFormat):
    """A vendor whose library the interpreter cannot load the first time."""

    tries = 0

    def _make(self, api_key):
        self.tries += 1
        if self.tries == 1:
            raise SystemError("AST constructor recursion depth mismatch")
        return super()._make(api_key)


def test_a_library_that_could_not_be_parsed_is_loaded_again(openai_upstream, transport, question):
    vendor = LosesCount("openai", "the-key", openai_upstream.base, transport=transport)
    assert vendor.ask(question("openai")).completion().text == "Fine."
    assert vendor.tries == 2


def sse(events):
    rows = [str({"id": "x", "model": "m", **event}).replace("'", '"') for event in events]
    return "".join(f"data: {row}\n\n" for row in [*rows, "[DONE]"]).encode()
