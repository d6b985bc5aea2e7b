"""Callers who bring a key of their own for the vendor: sent to it, and seen nowhere else."""

import gc
import threading
import traceback

import pytest

from llmapi.core.errors import LlmApiError, ProviderInvalid, ProviderQuotaSpent, ProviderThrottled, ProviderUnavailable
from llmapi.providers.gemini import Gemini
from llmapi.providers.openai import OpenAIFormat
from llmapi.providers.own_keys import OwnClients
from tests.fakes.behaviours import Status

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
WAYS = pytest.mark.parametrize(
    "fields", [{}, {"stream": True}, {"inputs": ("text", "more") * 60}], ids=["plain", "stream", "embedding"]
)
OWN = "sk-the-callers-own"


@pytest.fixture(params=["openai", "gemini"])
def upstream(request, openai_upstream, gemini):
    return {"openai": openai_upstream, "gemini": gemini}[request.param]


@pytest.fixture
def made(upstream, transport):
    """Make a vendor with a key of ours: made("the-key")."""

    def make(key, **fields):
        if hasattr(upstream, "base"):
            return OpenAIFormat("vendor", key, upstream.base, transport=transport, **fields)
        return Gemini(key, upstream.url, transport=transport)

    return make


@pytest.fixture
def vendor(made):
    return made("the-key")


@pytest.fixture
def ask(vendor, question):
    return lambda **fields: vendor.ask(question("vendor", **{"provider_key": OWN, **fields})).completion()


def sent(upstream):
    """Return the keys that came."""
    return [
        (asked.headers.get("authorization") or asked.headers["x-goog-api-key"]).removeprefix("Bearer ")
        for asked in upstream.asked
    ]


@WAYS
def test_the_callers_key_is_sent_for_his_call_only(ask, upstream, fields):
    for key in (OWN, "", "another"):
        ask(**fields, provider_key=key)
    assert list(dict.fromkeys(sent(upstream))) == [OWN, "the-key", "another"]


def test_calls_with_their_own_keys_share_the_connections(ask, upstream):
    for number in range(5):
        ask(provider_key=f"key-{number}")
    assert upstream.connections == 1


@BOTH
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_told_to_be_the_callers(ask, upstream, stream, status):
    upstream.script = [Status(status, f"Incorrect API key provided: {OWN}")]
    with pytest.raises(ProviderInvalid) as caught:
        ask(stream=stream)
    assert caught.value.message == "The provider does not accept the key you sent."
    assert caught.value.details == {"provider_status": status}
    assert OWN not in "".join(traceback.format_exception(caught.value))


def test_google_refuses_a_key_with_status_400(gemini, transport, question):
    gemini.script = [Status(400, "API key not valid. Please pass a valid API key.")]
    with pytest.raises(ProviderInvalid) as caught:
        Gemini("", gemini.url, transport=transport).ask(question("gemini", provider_key=OWN))
    assert caught.value.message == "The provider does not accept the key you sent."
    assert caught.value.details == {"provider_status": 401}


def test_other_failures_of_such_a_call_are_what_they_are(ask, upstream):
    upstream.script = [400, 503, 429]
    for kind in (ProviderInvalid, ProviderUnavailable, ProviderThrottled):
        with pytest.raises(kind) as caught:
            ask()
        assert "key" not in caught.value.message


@pytest.mark.parametrize("key", ["two\nlines", "späße", " padded", "k" * 2000], ids=["line", "accent", "space", "long"])
def test_what_cannot_be_a_key_is_refused_without_asking_and_without_quoting(ask, upstream, key):
    with pytest.raises(ProviderInvalid, match="does not accept the key you sent") as caught:
        ask(provider_key=key)
    assert key not in "".join(traceback.format_exception(caught.value))
    assert upstream.asked == []


def test_a_callers_bad_key_or_spent_quota_is_no_illness_of_the_provider(vendor, ask, upstream):
    ask()
    upstream.script = [401, 403, 429, 402] * 3
    for _ in range(12):
        with pytest.raises((ProviderInvalid, ProviderThrottled, ProviderQuotaSpent)):
            ask()
    assert vendor.health() == {"status": "ok"}


def test_an_outage_counts_whoever_met_it(vendor, ask, upstream):
    upstream.script = [503] * 3
    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            ask()
    assert vendor.health()["status"] == "down"


@BOTH
def test_without_any_key_nobody_is_asked(made, question, upstream, stream):
    keyless = made("")
    keyless.start()
    with pytest.raises(ProviderInvalid, match="No key is configured"):
        keyless.ask(question("vendor", stream=stream))
    assert upstream.asked == []
    assert keyless.health() == {"status": "unknown"}


def test_without_a_key_of_ours_the_callers_will_do(made, question, upstream):
    made("").ask(question("vendor", provider_key=OWN)).completion()
    assert sent(upstream) == [OWN]


def test_what_the_environment_says_of_our_account_stays_with_our_key(
    openai_upstream, transport, question, monkeypatch
):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-ours")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-ours")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "authorization: Bearer ours")
    vendor = OpenAIFormat("openai", "the-key", openai_upstream.base, transport=transport)
    vendor.ask(question("openai", provider_key=OWN)).completion()
    assert "ours" not in str(openai_upstream.asked[0].headers)
    assert sent(openai_upstream) == [OWN]


def test_a_client_is_made_once_for_a_key_and_a_few_are_kept():
    made = []
    clients = OwnClients(lambda key: made.append(key) or object(), entries=2)
    first = clients.of("a")
    assert clients.of("a") is first and clients.of("b") is not first
    clients.of("c")  # "a" has to go
    clients.of("b")
    clients.of("a")
    assert made == ["a", "b", "c", "a"]


def test_threads_with_one_key_get_one_client(in_thread):
    crowd = threading.Barrier(8)
    clients = OwnClients(lambda key: crowd.wait(5) and object() or object())
    found = [in_thread(lambda: clients.of("a")) for _ in range(8)]
    assert len({id(each.outcome()) for each in found}) == 1


def test_no_key_can_be_seen_in_what_is_kept():
    clients = OwnClients(lambda key: object())
    clients.of(OWN)
    kept = [repr(clients), repr(vars(clients)), *map(repr, vars(clients).values())]
    assert OWN not in "".join(kept)


@WAYS
def test_a_client_that_is_forgotten_while_it_is_asked_finishes_its_call(vendor, question, upstream, in_thread, fields):
    go_on = threading.Event()
    upstream.behaviour = lambda asked: "Fine." if go_on.wait(5) else 500
    asking = in_thread(lambda: vendor.ask(question("vendor", provider_key=OWN, **fields)).completion())
    upstream.wait_asked()
    vendor.close()
    gc.collect()
    go_on.set()
    assert asking.outcome().finish == "stop"


def test_forgotten_clients_leave_the_connections_open_for_others(vendor, ask, upstream):
    ask()
    vendor.close()
    gc.collect()
    ask(provider_key="")
    assert upstream.connections == 1


def test_an_error_of_the_key_keeps_no_trace_of_it(ask, upstream):
    upstream.script = [Status(401, OWN)]
    with pytest.raises(LlmApiError) as caught:
        ask()
    assert OWN not in f"{caught.value!r} {caught.value.details} {vars(caught.value)}"
