"""Every way a vendor fails, and what it is called here: the same for every format, plain and streamed."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from llmapi.core import errors
from llmapi.core.errors import CallEnded, LlmApiError, ProviderThrottled
from llmapi.core.lifetime import Lifetime
from llmapi.providers.anthropic import Anthropic
from llmapi.providers.failures import classify, our_errors, retry_after
from llmapi.providers.gemini import Gemini
from llmapi.providers.openai import OpenAIFormat
from tests.fakes.anthropic import FakeAnthropic
from tests.fakes.behaviours import Answer, Close, Drip, Hang, Raw, Reset, Status
from tests.fakes.gemini import FakeGemini, daily_quota, retry_info
from tests.fakes.openai import FakeOpenAI

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
SECRET = "sk-secret-of-the-tenant"
LOUD = f"Key {SECRET} failed at https://internal.example.org/v1?key={SECRET}"

EVERYWHERE = [
    (400, "ProviderInvalid", False),
    (401, "ProviderInvalid", False),
    (403, "ProviderInvalid", False),
    (404, "ProviderInvalid", False),
    (422, "ProviderInvalid", False),
    (402, "ProviderQuotaSpent", False),
    (408, "ProviderTimeout", True),
    (429, "ProviderThrottled", True),
    (499, "ProviderUnavailable", True),
    (500, "ProviderUnavailable", True),
    (503, "ProviderUnavailable", True),
    (504, "ProviderUnavailable", True),
    (529, "ProviderUnavailable", True),
    (Raw(b"<html>Bad gateway</html>", 502, "text/html"), "ProviderUnavailable", True),
    (Raw(b"", 307, headers={"Location": "http://127.0.0.1:9/"}), "ProviderInvalid", False),
    (Status(400, "Input token count (9) exceeds the maximum number of tokens allowed (3)."), "ContextTooLong", False),
    (Status(400, "This model's maximum context length is 8 tokens."), "ContextTooLong", False),
    (Status(400, "The request was blocked by our content policy."), "ProviderRefused", False),
    (Raw(b"<html>Hello</html>", kind="text/html"), "ProviderBroken", True),
    (Raw(b'{"candidates": [{"cont'), "ProviderBroken", True),
    (Raw(b"[1]"), "ProviderBroken", True),
    (Raw(b"null"), "ProviderBroken", True),
    (Raw(b'{"candidates": 5, "choices": 5}'), "ProviderBroken", True),
    (Raw(b'{"candidates": [null], "choices": [null]}'), "ProviderBroken", True),
    (Raw(b"\xff\xfe"), "ProviderBroken", True),
    (Raw(b""), "ProviderBroken", True),
    (Raw(b"data: {nope\n\n", kind="text/event-stream"), "ProviderBroken", True),
    (Answer("a b c d", cut_after=2), "ProviderBroken", True),
    (Reset(), "ProviderHungUp", True),
    (Close(), "ProviderHungUp", True),
    (Hang(), "ProviderTimeout", True),
    (Drip(), "ProviderTimeout", True),
]


@pytest.fixture(params=[FakeGemini, FakeOpenAI, FakeAnthropic])
def upstream(request):
    with request.param() as fake:
        yield fake


@pytest.fixture
def ask(upstream, transport, question):
    if isinstance(upstream, FakeGemini):
        vendor = Gemini(SECRET, upstream.url, transport=transport)
    elif isinstance(upstream, FakeAnthropic):
        vendor = Anthropic(SECRET, upstream.url, transport=transport)
    else:
        vendor = OpenAIFormat("openai", SECRET, upstream.base, transport=transport)
    return lambda **fields: vendor.ask(question(vendor.name, **fields)).completion()


def failure(ask, **fields):
    with pytest.raises(LlmApiError) as caught:
        ask(**fields)
    return caught.value


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("what, kind, retryable", EVERYWHERE)
def test_every_failure_has_one_name(ask, upstream, stream, what, kind, retryable):
    upstream.script = [what]
    error = failure(ask, stream=stream, seconds=0.3 if isinstance(what, Hang | Drip) else 10.0)
    assert (type(error).__name__, error.retryable) == (kind, retryable)
    assert len(upstream.asked) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("code", [400, 401, 403, 404, 429, 500])
def test_what_is_shown_holds_no_key_no_address_and_no_word_of_the_vendor(ask, upstream, stream, code):
    upstream.script = [Status(code, LOUD)]
    error = failure(ask, stream=stream)
    shown = f"{error} {error.message} {error.details} {error.fields}"
    assert error.details["provider_status"] == code
    assert not any(word in shown for word in (SECRET, "internal", "http", "failed at"))


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_call_ended_by_its_reader_is_told_as_such(ask, upstream, question, in_thread, stream):
    upstream.script = [Hang()]
    lifetime = Lifetime(60.0)
    asking = in_thread(lambda: failure(ask, lifetime=lifetime, stream=stream))
    upstream.wait_asked()
    lifetime.end()
    assert type(asking.outcome()) is CallEnded
    assert upstream.aborted.wait(5)


def test_a_refused_connection_is_unavailability(transport, question):
    with FakeOpenAI() as gone:
        address = gone.base
    vendor = OpenAIFormat("openai", "k", address, transport=transport)
    with pytest.raises(errors.ProviderUnavailable):
        vendor.ask(question("openai"))


def test_the_wait_of_a_retry_after_is_kept(ask, upstream):
    upstream.script = [Status(429, headers={"Retry-After": "9"}), Status(503, headers={"Retry-After": "4"})]
    assert [failure(ask).retry_after for _ in range(2)] == [9.0, 4.0]


def test_google_says_the_wait_in_its_details(transport, question, gemini):
    gemini.script = [Status(429, details=retry_info("17.5s"), headers={"Retry-After": "60"})]
    vendor = Gemini("k", gemini.url, transport=transport)
    assert failure(lambda: vendor.ask(question("gemini"))).retry_after == 17.5


def test_a_daily_quota_of_google_is_not_waited_for(transport, question, gemini):
    gemini.script = [Status(429, details=daily_quota() + retry_info("30s"))]
    vendor = Gemini("k", gemini.url, transport=transport)
    error = failure(lambda: vendor.ask(question("gemini")))
    assert type(error) is errors.ProviderQuotaSpent and not error.retryable


def test_an_empty_account_at_openai_is_not_waited_for(transport, question, openai_upstream):
    openai_upstream.script = [Status(429, details="insufficient_quota")]
    vendor = OpenAIFormat("openai", "k", openai_upstream.base, transport=transport)
    error = failure(lambda: vendor.ask(question("openai")))
    assert type(error) is errors.ProviderQuotaSpent and error.details["provider_code"] == "insufficient_quota"


def test_a_question_the_library_does_not_take_is_not_asked_again(ask, upstream):
    error = failure(ask, stop=(object(),))
    assert (type(error), error.retryable) == (errors.ProviderInvalid, False)
    assert upstream.asked == []


@pytest.mark.parametrize(
    "value, wait",
    [
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        ("9e99", 86_400.0),
        ("nan", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("Mon, 02 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 02 Nov 2026 11:00:00 GMT", 0.0),
        ("Mon, 02 Nov 2026 12:00:10 -0000", 10.0),
        ("Mon, 99 Nov 2026 12:00:30 GMT", None),
    ],
)
def test_a_retry_after_is_read_as_seconds_or_as_a_date(value, wait):
    assert retry_after(value, lambda: NOON) == wait


@pytest.mark.parametrize(
    "error, kind",
    [
        (json.JSONDecodeError("x", "doc", 0), "ProviderBroken"),
        (IndexError(), "ProviderBroken"),
        (KeyError("choices"), "ProviderBroken"),
        (TypeError(), "ProviderBroken"),
        (AttributeError(), "ProviderBroken"),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "x"), "ProviderBroken"),
        (TimeoutError(), "ProviderTimeout"),
        (ConnectionResetError(), "ProviderUnavailable"),
        (RuntimeError("?"), "ProviderInvalid"),
    ],
)
def test_errors_without_an_answer_are_told_by_their_type(error, kind):
    assert type(classify(error)).__name__ == kind


@pytest.mark.parametrize("family", ["httpx", "httpx2"])
@pytest.mark.parametrize(
    "trouble, kind",
    [
        ("ReadTimeout", "ProviderTimeout"),
        ("ConnectTimeout", "ProviderTimeout"),
        ("ConnectError", "ProviderUnavailable"),
        ("ReadError", "ProviderUnavailable"),
        ("RemoteProtocolError", "ProviderUnavailable"),
    ],
)
def test_both_families_of_httpx_mean_the_same(family, trouble, kind):
    error = getattr(pytest.importorskip(family), trouble)("x")
    assert type(classify(error)).__name__ == kind


def test_an_error_of_ours_is_found_however_deep_a_library_wrapped_it():
    ours = ProviderThrottled("Slow down.", retry_after=3.0)
    outer = RuntimeError("x")
    outer.__cause__ = ValueError("y")
    outer.__cause__.__context__ = ours
    assert classify(outer) is ours


def test_errors_that_lead_to_each_other_are_walked_once():
    one, two = RuntimeError("1"), RuntimeError("2")
    one.__cause__, two.__cause__ = two, one
    assert type(classify(one)) is errors.ProviderInvalid


def test_the_vendors_error_stays_the_cause():
    with pytest.raises(errors.ProviderBroken) as caught, our_errors():
        raise KeyError("choices")
    assert isinstance(caught.value.__cause__, KeyError)


def test_classifying_loads_no_library_of_a_vendor():
    code = (
        "import sys; from llmapi.providers.failures import classify; classify(ValueError('x'));"
        "print([name for name in sys.modules if name.split('.')[0] in {'google', 'openai', 'httpx', 'httpx2',"
        " 'langchain_core', 'pydantic'}])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
