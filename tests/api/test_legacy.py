"""POST /invoke as its document says, POST /api/query, and the front door."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr

from llmapi.setting_tables import Limits
from tests.fakes.behaviours import Answer, Status

ASKED = {"request_id": "550e8400-e29b-41d4-a716-446655440000", "user_prompt": "Explain quantum computing."}
OWN = "sk-own-key-of-the-caller-0123456789"


@pytest.fixture
def client(make, openai_upstream):
    """The application on Gemini, where OpenAI is open to those with their own key."""
    return make(openai_base_url=openai_upstream.base)


@pytest.fixture
def sure(make, openai_upstream):
    """The application on OpenAI's gpt-4o-mini, which shows probabilities."""
    return make(
        google_api_key=SecretStr(""),
        openai_api_key=SecretStr("sk-server-server-server-server"),
        openai_base_url=openai_upstream.base,
        openai_model="gpt-4o-mini",
    )


def invoke(client, **said):
    return client.post("/invoke", json={**ASKED, **said})


def turns(asked):
    """Return what a fake OpenAI was asked, as (role, text)."""
    return [(turn["role"], turn["content"]) for turn in asked.body["messages"]]


def test_an_answer_has_every_field_of_the_document(client, gemini):
    gemini.default = Answer("Qubits.")
    told = invoke(client).json
    assert (told["success"], told["request_id"], told["error"]) == (True, ASKED["request_id"], None)
    assert told["data"] == {"response": "Qubits.", "confidence": None}  # Gemini shows no probabilities
    usage = told["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"] > 0
    performance = told["performance"]
    assert performance["request_latency_ms"] >= performance["llm_latency_ms"] > 0
    assert (performance["cache_hit"], performance["retry_count"], performance["rate_limited"]) == (False, 0, False)
    assert (told["model"], told["cached"]) == ("gemini-flash-latest", False)
    assert told["timestamp"].endswith("Z") and len(told["timestamp"]) == len("2025-01-11T10:30:00.123Z")


def test_confidence_is_the_mean_probability_of_what_was_said(sure, openai_upstream):
    openai_upstream.default = "Qubits can be both."
    assert invoke(sure).json["data"]["confidence"] == pytest.approx(0.8)
    assert openai_upstream.asked[0].body["logprobs"] is True


def test_a_kept_answer_is_as_sure_as_it_was(sure, openai_upstream):
    first, second = invoke(sure), invoke(sure, request_id="another")
    assert (second.json["cached"], second.json["performance"]["cache_hit"]) == (True, True)
    assert second.json["data"] == first.json["data"]
    assert second.headers["Cache-Status"] == "llmapi; hit"
    assert len(openai_upstream.asked) == 1


def test_waits_and_throttling_are_told(client, gemini, naps):
    gemini.script = [429, 503, "Qubits."]
    performance = invoke(client).json["performance"]
    assert (performance["retry_count"], performance["rate_limited"]) == (2, True)


def test_messages_come_before_the_prompt_and_the_system_prompt_before_them(sure, openai_upstream):
    said = [
        {"type": "system", "content": "Be helpful."},
        {"type": "human", "content": "What is it?"},
        {"type": "ai", "content": "A computer."},
    ]
    invoke(sure, messages=said, system_prompt="You are a professor.")
    invoke(sure, messages=[*said, {"type": "human", "content": ASKED["user_prompt"]}], request_id="2")
    rule = ("system", "Be helpful.")
    talk = [("user", "What is it?"), ("assistant", "A computer."), ("user", ASKED["user_prompt"])]
    assert turns(openai_upstream.asked[0]) == [("system", "You are a professor.\n\nBe helpful."), *talk]
    assert turns(openai_upstream.asked[1]) == [rule, *talk]  # a prompt already there is not said twice


def test_an_own_key_pays_for_openai_s_small_model_unless_another_is_named(client, openai_upstream, gemini):
    assert invoke(client, openai_api_key=OWN).json["model"] == "gpt-4o-mini"
    assert invoke(client, openai_api_key=OWN, model="gpt-4o", request_id="2").json["model"] == "gpt-4o"
    assert {asked.headers["authorization"] for asked in openai_upstream.asked} == {f"Bearer {OWN}"}
    assert gemini.asked == []


def test_an_own_key_is_written_nowhere(client, tmp_path):
    told = [invoke(client, openai_api_key=OWN), client.get("/metrics"), client.get("/stats"), client.get("/health")]
    assert [answer.status_code for answer in told] == [200] * 4
    written = [answer.data for answer in told] + [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(OWN.encode() in each for each in written)


@pytest.mark.parametrize("model", ["gemini-flash-latest", "default", "gemini/gemini-2.5-pro", "nobody"])
def test_an_own_key_is_for_openai_s_models_alone(client, gemini, openai_upstream, model):
    answer = invoke(client, openai_api_key=OWN, model=model)
    assert (answer.status_code, answer.json["error"]["field"]) == (400, "model")
    assert (gemini.asked, openai_upstream.asked) == ([], [])


@pytest.mark.parametrize("key", ["", "sk-", "pk-0123456789", f"{OWN}\r\nX: y", "sk-ключ-0123456789"])
def test_a_key_of_another_form_is_refused_as_the_document_says(client, openai_upstream, key):
    answer = invoke(client, openai_api_key=key)
    assert answer.status_code == 400
    assert answer.json["success"] is False
    assert answer.json["request_id"] == ASKED["request_id"]
    assert answer.json["error"] == {
        "error_type": "validation_error",
        "error_code": "INVALID_API_KEY",
        "message": "Invalid OpenAI API key format",
        "field": "openai_api_key",
        "details": {"expected_format": "sk-..."},
    }
    assert openai_upstream.asked == []


def test_a_key_openai_refuses_is_the_caller_s_to_mend(client, openai_upstream):
    openai_upstream.default = Status(401)
    answer = invoke(client, openai_api_key=OWN)
    error = answer.json["error"]
    assert (answer.status_code, error["error_type"], error["field"]) == (401, "authentication_error", "openai_api_key")
    assert OWN not in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    ("behaviour", "status", "kind", "code"),
    [
        (429, 429, "rate_limit_error", "PROVIDER_THROTTLED"),
        (503, 503, "service_unavailable", "PROVIDER_UNAVAILABLE"),
        (Status(400), 503, "service_unavailable", "PROVIDER_INVALID"),
    ],
)
def test_a_failing_vendor_has_the_status_of_the_document(make, gemini, behaviour, status, kind, code):
    gemini.default = behaviour
    answer = invoke(make(retry_attempts=1))
    error = answer.json["error"]
    assert (answer.status_code, error["error_type"], error["error_code"]) == (status, kind, code)
    assert error["details"]["attempts"][0]["provider"] == "gemini"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"user_prompt": ""}, "user_prompt"),
        ({"messages": [{"type": "robot", "content": "x"}]}, "messages.0.type"),
        ({"temperature": 9}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"colour": "red"}, "colour"),
        ({"request_id": "ä"}, "request_id"),
        ({"request_id": "a\n"}, "request_id"),
        ({"request_id": "x" * 256}, "request_id"),
    ],
)
def test_a_wrong_field_is_named(client, wrong, field):
    answer = invoke(client, **wrong)
    error = answer.json["error"]
    assert (answer.status_code, error["error_code"], error["field"]) == (400, "VALIDATION_ERROR", field)


def test_what_is_no_request_at_all_is_refused_in_the_same_shape(make):
    client = make(limits=Limits(invoke="4/minute"))
    bodies = [b"", b"{", b"[]", b'{"user_prompt": "x"}', b"{}"]
    answers = [client.post("/invoke", data=body, content_type="application/json") for body in bodies]
    assert [answer.status_code for answer in answers] == [400, 400, 400, 400, 429]
    assert {answer.json["request_id"] == answer.headers["X-Request-ID"] for answer in answers} == {True}
    assert answers[4].json["error"]["error_code"] == "RATE_LIMITED" and answers[4].headers["Retry-After"]
    assert client.get("/invoke").json["error"]["error_code"] == "METHOD_NOT_ALLOWED"


def test_without_a_key_nobody_is_answered_where_keys_are_required(make):
    answer = invoke(make(auth="required", api_keys=(SecretStr("first-key-first-key"),)))
    assert (answer.status_code, answer.json["error"]["error_type"]) == (401, "authentication_error")


def test_the_same_request_gets_the_same_answer_and_is_paid_once(client, gemini):
    first, second = invoke(client), invoke(client)
    assert second.data == first.data
    assert ("Idempotent-Replayed" in first.headers, second.headers["Idempotent-Replayed"]) == (False, "true")
    assert len(gemini.asked) == 1


def test_an_id_used_for_another_body_is_refused(client, gemini):
    invoke(client)
    answer = invoke(client, user_prompt="Something else")
    error = answer.json["error"]
    assert (answer.status_code, error["error_type"]) == (409, "duplicate_request")
    assert (error["error_code"], error["field"]) == ("DUPLICATE_REQUEST_ID", "request_id")
    assert answer.headers["X-Should-Retry"] == "false"
    assert len(gemini.asked) == 1


def test_a_failed_request_frees_its_id(make, gemini):
    client = make(retry_attempts=1)
    gemini.script = [503, "Qubits."]
    assert [invoke(client).status_code for _ in range(2)] == [503, 200]


def test_a_request_under_way_is_not_begun_again(client, gemini):
    asked, leave = threading.Event(), threading.Event()

    def slow(_):
        asked.set()
        leave.wait(10)
        return "Qubits."

    gemini.behaviour = slow
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: invoke(client.application.test_client()))
        assert asked.wait(10)
        second = invoke(client)
        leave.set()
        assert (second.status_code, first.result().status_code) == (409, 200)
    assert len(gemini.asked) == 1


def test_tenants_do_not_share_ids(make):
    keys = (SecretStr("first-key-first-key"), SecretStr("acme:second-key-second-key"))
    client = make(auth="required", api_keys=keys)
    prompts = {"first-key-first-key": "One", "second-key-second-key": "Two"}
    answers = [
        client.post("/invoke", json={**ASKED, "user_prompt": said}, headers={"X-API-Key": key})
        for key, said in prompts.items()
    ]
    assert [answer.status_code for answer in answers] == [200, 200]


def test_a_query_tells_whether_its_answer_was_kept(client, gemini):
    gemini.default = Answer("Paris.")
    told = [client.post("/api/query", json={"query": "What is the capital of France?"}).json for _ in range(2)]
    assert [(each["response"], each["cached"], each["source"]) for each in told] == [
        ("Paris.", False, "model"),
        ("Paris.", True, "cache"),
    ]
    assert set(told[0]) == {"response", "cached", "source", "model", "latency_ms"}
    assert len(gemini.asked) == 1


def test_a_query_s_errors_are_problems(client):
    answer = client.post("/api/query", json={"query": ""})
    assert (answer.status_code, answer.mimetype) == (422, "application/problem+json")
    assert answer.json["errors"][0]["field"] == "query"


BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_the_front_door_says_ok_and_sends_browsers_to_the_docs(client):
    told = client.get("/", headers={"Accept": "*/*"})
    assert (told.status_code, told.json["status"], told.json["service"]) == (200, "ok", "llmapi")
    assert told.json["docs"] == "/docs"
    sent = client.get("/", headers=BROWSER)
    assert (sent.status_code, sent.headers["Location"], sent.headers["Vary"]) == (302, "/docs", "Accept")


def test_without_docs_the_front_door_still_says_ok(make):
    answer = make(docs=False).get("/", headers=BROWSER)
    assert (answer.status_code, answer.json["status"], answer.json["docs"]) == (200, "ok", None)


def test_the_front_door_needs_no_key(make):
    client = make(auth="required", api_keys=(SecretStr("first-key-first-key"),))
    assert client.get("/").status_code == 200
    assert json.loads(client.get("/").data)["status"] == "ok"
