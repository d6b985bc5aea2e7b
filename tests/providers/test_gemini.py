"""Gemini through the real LangChain client, against a fake on a socket."""

import gc
import json
import threading
import time

import pytest

from llmapi.core.calls import Message, Usage
from llmapi.core.errors import ProviderBroken, ProviderInvalid, ProviderRefused, ProviderThrottled, ProviderTimeout
from llmapi.core.errors import ProviderUnavailable
from llmapi.providers.gemini import Gemini
from tests.fakes.behaviours import Answer, Blocked, Empty, Hang, Raw, StreamError

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


@pytest.fixture
def vendor(gemini, transport):
    return Gemini("the-key", gemini.url, transport=transport)


@pytest.fixture
def ask(vendor, question):
    """Ask and read to the end."""
    return lambda **fields: vendor.ask(question("gemini", **fields)).completion()


def failing(ask, kind, **fields):
    """Return the error that an answer becomes."""
    with pytest.raises(kind) as caught:
        ask(**fields)
    assert type(caught.value) is kind
    return caught.value


@BOTH
def test_an_answer_comes_with_its_usage_and_its_reason_to_end(ask, gemini, stream):
    gemini.script = [Answer("It is so.", thinking=7, cached=1)]
    said = ask(stream=stream)
    assert (said.text, said.finish) == ("It is so.", "stop")
    assert said.usage == Usage(input_tokens=2, output_tokens=10, cached_tokens=1, reasoning_tokens=7)


def test_a_plain_answer_is_one_chunk_and_a_streamed_one_comes_in_pieces(vendor, question, gemini):
    gemini.script = ["a b c", "a b c"]
    assert [chunk.text for chunk in vendor.ask(question("gemini"))] == ["a b c"]
    assert [chunk.text for chunk in vendor.ask(question("gemini", stream=True))] == ["a", " b", " c", ""]


def test_everything_a_call_says_reaches_gemini(ask, gemini):
    turns = (Message("system", "Be brief"), Message("user", "Hi"), Message("assistant", "Ho"), Message("user", "He"))
    schema = {"type": "object", "properties": {"label": {"type": "string", "enum": ["a", "b"]}}}
    ask(messages=turns, temperature=0.5, top_p=0.9, stop=("END",), seed=7, max_tokens=33, schema=schema)
    body = gemini.bodies[0]
    assert [(turn["role"], turn["parts"][0]["text"]) for turn in body["contents"]] == [
        ("user", "Hi"),
        ("model", "Ho"),
        ("user", "He"),
    ]
    assert body["systemInstruction"]["parts"][0]["text"] == "Be brief"
    wanted = {"temperature": 0.5, "topP": 0.9, "stopSequences": ["END"], "seed": 7, "maxOutputTokens": 33}
    assert body["generationConfig"].items() >= wanted.items()
    assert body["generationConfig"]["responseJsonSchema"] == schema
    assert body["generationConfig"]["responseMimeType"] == "application/json"


def test_what_a_call_leaves_open_is_not_sent(ask, gemini):
    ask()
    assert gemini.bodies[0]["generationConfig"] == {"candidateCount": 1, "maxOutputTokens": 256}


@pytest.mark.filterwarnings("error")
def test_a_model_that_takes_no_temperature_gets_none(ask, gemini):
    ask(model="gemini-3.6-flash", temperature=0.5)
    assert "temperature" not in gemini.bodies[0]["generationConfig"]


def test_one_client_serves_every_model_and_the_key_stays_out_of_the_address(ask, gemini):
    ask(model="gemini-a")
    ask(model="gemini-b")
    assert [asked.path for asked in gemini.asked] == [f"/v1beta/models/gemini-{x}:generateContent" for x in "ab"]
    assert {asked.headers["x-goog-api-key"] for asked in gemini.asked} == {"the-key"}
    assert gemini.connections == 1


@BOTH
def test_a_blocked_prompt_is_refused_and_its_billed_tokens_are_kept(ask, gemini, stream):
    gemini.script = [Blocked()]
    assert failing(ask, ProviderRefused, stream=stream).usage == Usage(input_tokens=2)


@BOTH
def test_a_blocked_answer_is_refused_and_its_billed_tokens_are_kept(ask, gemini, stream):
    gemini.script = [Answer("Half of", finish="blocked")]
    assert failing(ask, ProviderRefused, stream=stream).usage == Usage(input_tokens=2, output_tokens=2)


def test_words_of_a_blocked_part_are_not_handed_out(vendor, question, gemini):
    gemini.script = [Answer(pieces=("Sure,", " here is how"), finish="blocked")]
    got = []
    with pytest.raises(ProviderRefused):
        got.extend(chunk.text for chunk in vendor.ask(question("gemini", stream=True)))
    assert got == ["Sure,"]


@BOTH
@pytest.mark.parametrize("nothing", [Empty(), Answer(""), Answer(" \n ")], ids=["no candidate", "no text", "blank"])
def test_an_empty_answer_is_broken_and_may_be_asked_again(ask, gemini, stream, nothing):
    gemini.script = [nothing]
    assert failing(ask, ProviderBroken, stream=stream).retryable


@BOTH
def test_a_model_that_only_thought_is_told_by_its_limit_and_not_asked_again(ask, gemini, stream):
    gemini.script = [Answer("", finish="length", thinking=64)]
    error = failing(ask, ProviderInvalid, stream=stream, max_tokens=64)
    assert "max_tokens" in error.message and not error.retryable
    assert error.usage == Usage(input_tokens=2, output_tokens=64, reasoning_tokens=64)


@BOTH
def test_an_answer_that_reached_its_limit_is_an_answer(ask, gemini, stream):
    gemini.script = [Answer("As far as", finish="length")]
    said = ask(stream=stream)
    assert (said.text, said.finish) == ("As far as", "length")


@BOTH
@pytest.mark.parametrize("usage", [{}, {"promptTokenCount": -5, "candidatesTokenCount": 10**12}], ids=["none", "mad"])
def test_a_usage_that_cannot_be_is_none(ask, gemini, stream, usage):
    gemini.script = [Answer("Fine.", usage=usage)]
    assert ask(stream=stream).usage == Usage()


def test_no_part_of_a_usage_is_larger_than_its_whole(ask, gemini):
    gemini.script = [Answer("Fine.", usage={"promptTokenCount": 5, "cachedContentTokenCount": 50})]
    assert ask().usage == Usage(input_tokens=5, cached_tokens=5)


def test_what_a_stream_takes_back_of_its_usage_is_taken_back(ask, gemini):
    """Gemini 2.0 counts the prompt lower in its last event, and that is the truth."""
    counts = [{"promptTokenCount": 9, "candidatesTokenCount": 1}, {"promptTokenCount": 6, "candidatesTokenCount": 2}]
    parts = [{"content": {"parts": [{"text": "a"}]}}, {"content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"}]
    events = [json.dumps({"candidates": [p], "usageMetadata": u}) for p, u in zip(parts, counts, strict=True)]
    gemini.script = [Raw("".join(f"data: {each}\n\n" for each in events).encode(), kind="text/event-stream")]
    assert ask(stream=True).usage == Usage(input_tokens=6, output_tokens=2)


def test_a_stream_cut_in_the_middle_keeps_what_was_billed_until_then(vendor, question, gemini):
    gemini.script = [Answer("a b c d", cut_after=2)]
    reply = vendor.ask(question("gemini", stream=True))
    got = []
    with pytest.raises(ProviderBroken) as caught:
        got.extend(chunk.text for chunk in reply)
    assert caught.value.usage == Usage(input_tokens=2, output_tokens=2)


def test_a_stream_that_just_stops_is_a_cut(ask, gemini):
    gemini.script = [Answer("a b", finish=None)]
    assert failing(ask, ProviderBroken, stream=True).usage == Usage(input_tokens=2, output_tokens=2)


@pytest.mark.parametrize("code, kind", [(503, ProviderUnavailable), (429, ProviderThrottled)])
def test_an_error_inside_a_stream_is_what_it_says(ask, gemini, code, kind):
    gemini.script = [StreamError("Half ", code)]
    assert failing(ask, kind, stream=True).usage == Usage(input_tokens=2, output_tokens=1)


def test_asking_returns_with_the_first_words_and_not_before_nor_later(vendor, question, gemini, in_thread):
    gate = threading.Semaphore(0)
    gemini.script = [Answer(pieces=("", "a", " b"), gate=gate)]
    asking = in_thread(lambda: vendor.ask(question("gemini", stream=True)))
    gate.release()  # an event without words
    gemini.wait_asked()
    assert asking.is_alive()
    gate.release()
    reply = asking.outcome()
    gate.release()
    assert [chunk.text for chunk in reply] == ["a", " b", ""]


@pytest.mark.parametrize("read", [0, 1])
def test_closing_a_reply_hangs_up_on_gemini(vendor, question, gemini, read):
    gemini.script = [Answer("a b c d", gap=0.05)]
    reply = vendor.ask(question("gemini", stream=True, seconds=60.0))
    for _, _chunk in zip(range(read), reply, strict=False):
        pass
    reply.close()
    assert gemini.aborted.wait(5)


def test_a_failed_call_asks_once_and_leaves_retrying_to_others(ask, gemini):
    gemini.script = [503, "Never asked for."]
    failing(ask, ProviderUnavailable)
    assert len(gemini.asked) == 1


def test_texts_become_vectors_of_length_one_in_their_order(ask, gemini):
    said = ask(inputs=("one two", "three"))
    assert [round(sum(x * x for x in vector), 6) for vector in said.vectors] == [1.0, 1.0]
    texts = [each["content"]["parts"][0]["text"] for each in gemini.bodies[0]["requests"]]
    assert texts == ["one two", "three"]


def test_more_texts_than_one_request_takes_go_in_several(ask, gemini):
    assert len(ask(inputs=tuple(f"text {n}" for n in range(150))).vectors) == 150
    assert [len(body["requests"]) for body in gemini.bodies] == [100, 50]


@pytest.mark.parametrize("body", [b'{"embeddings": []}', b'{"embeddings": [{"values": [0, 0]}]}', b"{}", b"["])
def test_embeddings_that_are_none_are_broken(ask, gemini, body):
    gemini.script = [Raw(body)]
    failing(ask, ProviderBroken, inputs=("text",))


def test_embeddings_keep_the_deadline_too(ask, gemini):
    gemini.script = [Hang()]
    began = time.monotonic()
    failing(ask, ProviderTimeout, inputs=("text",), seconds=0.2)
    assert time.monotonic() - began < 5.0  # without it, the transport's usual ten seconds would


def test_two_hundred_threads_share_one_model_without_waiting_for_each_other(vendor, question, gemini, in_thread):
    crowd = threading.Barrier(200)  # opens when all of them are being asked at the same time
    gemini.behaviour = lambda asked: f"Fine {crowd.wait(20) * 0}"
    calls = [in_thread(lambda: vendor.ask(question("gemini", seconds=30.0)).completion()) for _ in range(200)]
    for each in calls:
        each.join(30)
    assert {each.outcome().text for each in calls} == {"Fine 0"}
    assert gemini.most_in_flight == 200


def test_health_tells_how_the_last_calls_went(vendor, ask, gemini):
    assert vendor.health() == {"status": "unknown"}
    gemini.script = ["Fine.", 503, 503, 503, "Fine."]
    found = []
    for _ in range(5):
        try:
            ask()
        except ProviderUnavailable:
            pass
        found.append(vendor.health()["status"])
    assert found == ["ok", "degraded", "degraded", "down", "ok"]
    assert vendor.health()["last_error"] == "provider_unavailable"


def test_a_question_that_is_refused_says_nothing_bad_about_the_provider(vendor, ask, gemini):
    gemini.script = [Blocked()]
    failing(ask, ProviderRefused)
    assert vendor.health() == {"status": "ok"}


def test_a_provider_that_throttles_is_not_down(vendor, ask, gemini):
    gemini.script = [429] * 5
    for _ in range(5):
        failing(ask, ProviderThrottled)
    assert vendor.health()["status"] == "degraded"


def test_an_environment_meant_for_vertex_changes_nothing(ask, gemini, monkeypatch):
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    assert ask().text == "Fine."


@pytest.mark.parametrize("family", ["httpx", "httpx2"])
def test_either_http_library_of_googles_will_do(ask, gemini, monkeypatch, family):
    monkeypatch.setenv("GOOGLE_GENAI_HTTP_CLIENT", family)
    assert ask().text == "Fine."


def test_a_closed_provider_leaves_nothing_open(gemini, question, transport):
    vendor = Gemini("the-key", gemini.url, transport=transport)
    vendor.ask(question("gemini")).completion()
    vendor.close()
    transport.close()
    gc.collect()  # what is left open would warn, and a warning fails the test
    assert vendor.ask(question("gemini")).completion().text == "Fine."  # and it can be used again
