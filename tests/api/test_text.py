"""POST /v1/text/generate: what a caller may count on."""

import json

from tests.api.reading import events_of
from tests.fakes.behaviours import Answer, Blocked, Empty

ASKED = {"prompt": "Write about the sea."}
NO_STORE = {"Cache-Control": "no-store"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FORMAT = {"type": "json_schema", "schema": CITY}


def ask(client, **fields):
    return client.post("/v1/text/generate", json={**ASKED, **fields})


def test_an_answer_comes_in_the_contract_s_shape(client, gemini):
    gemini.script = ["The sea is wide."]
    answer = ask(client)
    assert answer.status_code == 200
    told = answer.json
    facts = {"id", "task", "model", "provider", "usage", "cost", "cache", "attempts", "timing", "created"}
    assert set(told) == facts | {"output"}
    assert told["output"] == {"text": "The sea is wide.", "finish_reason": "stop", "parsed": None}
    assert (told["task"], told["provider"], told["model"]) == ("text", "gemini", "gemini-flash-latest")
    assert told["usage"]["total_tokens"] == told["usage"]["input_tokens"] + told["usage"]["output_tokens"] > 0
    assert [attempt["status"] for attempt in told["attempts"]] == ["ok"]
    assert told["id"] == answer.headers["X-Request-ID"]
    assert told["timing"]["total_ms"] >= told["timing"]["provider_ms"] > 0


def test_the_task_s_own_settings_reach_the_model(make, gemini):
    from llmapi.setting_tables import TaskSettings

    client = make(text=TaskSettings(model="gemini/fake-9", temperature=0.3, max_tokens=7, system="Be kind.", timeout=9))
    ask(client)
    body = gemini.bodies[0]
    assert "models/fake-9:" in gemini.asked[0].path
    assert (body["generationConfig"]["temperature"], body["generationConfig"]["maxOutputTokens"]) == (0.3, 7)
    assert body["systemInstruction"]["parts"][0]["text"] == "Be kind."


def test_a_conversation_is_sent_turn_by_turn(client, gemini):
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Who are you?"},
    ]
    client.post("/v1/text/generate", json={"messages": turns})
    assert [turn["role"] for turn in gemini.bodies[0]["contents"]] == ["user", "model", "user"]


def test_the_same_question_is_paid_once(client, gemini):
    first, second = ask(client), ask(client)
    assert len(gemini.asked) == 1
    assert second.json["output"] == first.json["output"]
    assert (first.json["cache"]["status"], second.json["cache"]["status"]) == ("miss", "hit")
    assert second.json["cost"] == {"amount": "0", "currency": "USD", "status": "free"}
    assert second.json["cache"]["age_s"] >= 0
    assert second.headers["Cache-Status"].startswith("llmapi; hit")


def test_another_question_is_another_question(client, gemini):
    others = [{"temperature": 0.1}, {"max_tokens": 9}, {"seed": 1}, {"system": "x"}, {"stop": ["y"]}, {"top_p": 0.5}]
    for more in ({}, *others):
        assert ask(client, **more).json["cache"]["status"] == "miss"
    assert len(gemini.asked) == 7


def test_refresh_asks_anew_and_keeps_and_bypass_keeps_nothing(client, gemini):
    gemini.script = ["one", "two", "three"]
    modes = ("use", "bypass", "use", "refresh", "use")
    texts = [ask(client, cache={"mode": mode}).json["output"]["text"] for mode in modes]
    assert texts == ["one", "two", "one", "three", "three"]


def test_cache_control_says_the_same(client, gemini):
    gemini.script = ["one", "two"]
    ask(client)
    fresh = client.post("/v1/text/generate", json=ASKED, headers={"Cache-Control": "no-cache"})
    kept = client.post("/v1/text/generate", json=ASKED, headers={"Cache-Control": "only-if-cached"})
    assert (fresh.json["output"]["text"], kept.json["output"]["text"]) == ("two", "two")
    unkept = client.post("/v1/text/generate", json=ASKED, headers=NO_STORE)
    assert unkept.json["cache"]["status"] == "bypass"
    tagged = client.post("/v1/text/generate", json={**ASKED, "cache": {"tags": ["a"]}}, headers=NO_STORE)
    asked = client.post("/v1/text/generate", json={**ASKED, "cache": {"mode": "use"}}, headers=NO_STORE)
    assert [answer.json["cache"]["status"] for answer in (tagged, asked)] == ["bypass", "hit"]


def test_what_is_not_to_be_stored_is_not_whatever_is_said_beside_it(client):
    for said in ("no-store, max-age=0", "no-store, no-cache", "No-Cache,no-store", "max-age=0, no-store, max-age=9"):
        told = client.post("/v1/text/generate", json=ASKED, headers={"Cache-Control": said}).json
        assert told["cache"]["status"] == "bypass"
    assert ask(client).json["cache"]["status"] == "miss"
    aged = client.post("/v1/text/generate", json=ASKED, headers={"Cache-Control": "max-age=60"}).json
    anew = client.post("/v1/text/generate", json=ASKED, headers={"Cache-Control": "max-age=0"}).json
    assert (aged["cache"]["status"], anew["cache"]["status"]) == ("hit", "miss")


def test_only_without_a_kept_answer_is_a_documented_problem(client, gemini):
    answer = ask(client, cache={"mode": "only"})
    assert (answer.status_code, answer.json["code"], gemini.asked) == (504, "cache_miss", [])


def test_a_dry_run_asks_nobody(client, gemini):
    told = ask(client, dry_run=True, max_tokens=10).json
    assert gemini.asked == []
    assert told["output"] is None
    estimate = told["estimate"]
    assert estimate["input_tokens"] <= estimate["input_tokens_bound"]
    assert (estimate["output_tokens_bound"], estimate["would_hit"]) == (10, False)
    ask(client, max_tokens=10)
    assert ask(client, dry_run=True, max_tokens=10).json["estimate"]["would_hit"] is True


def test_a_dry_run_s_cost_is_never_less_than_the_real_one(client, gemini):
    bound = ask(client, dry_run=True, model="gemini/gemini-2.5-flash", max_tokens=50).json["estimate"]["cost_bound"]
    real = ask(client, model="gemini/gemini-2.5-flash", max_tokens=50).json["cost"]
    assert (bound["status"], real["status"]) == ("priced", "priced")
    assert float(bound["amount"]) >= float(real["amount"]) > 0


def test_a_model_without_a_price_is_unpriced_and_never_free(client):
    assert ask(client, model="gemini/fake-7").json["cost"] == {"amount": None, "currency": "USD", "status": "unpriced"}


def test_json_is_checked_before_it_is_returned(client, gemini):
    gemini.script = ['{"city": "Lima"}']
    answer = ask(client, response_format=FORMAT)
    assert answer.json["output"]["parsed"] == {"city": "Lima"}
    assert gemini.bodies[0]["generationConfig"]["responseMimeType"] == "application/json"


def test_unreadable_json_goes_back_once_with_what_is_wrong(client, gemini):
    gemini.script = ['{"town": "Lima"}', '{"city": "Lima"}']
    answer = ask(client, response_format=FORMAT)
    assert answer.json["output"]["parsed"] == {"city": "Lima"}
    assert "city" in json.dumps(gemini.bodies[1]["contents"][-1])
    assert answer.json["usage"]["output_tokens"] >= 4  # both answers are counted


def test_json_that_stays_unreadable_is_refused_and_not_kept(client, gemini):
    gemini.script = ["no", "still no", '{"city": "Lima"}']
    refused = ask(client, response_format=FORMAT)
    assert (refused.status_code, refused.json["code"], len(gemini.asked)) == (502, "unreadable_answer", 2)
    assert ask(client, response_format=FORMAT).status_code == 200


def test_a_stream_is_numbered_chunks_and_then_the_whole_answer(client, gemini):
    gemini.script = [Answer("The sea is wide.", pieces=("The sea", " is wide."))]
    response = ask(client, stream=True)
    assert response.mimetype == "text/event-stream"
    events = events_of(response.data)
    assert [event.id for event in events] == ["0", "1", "2"]
    assert [event.kind for event in events] == ["chunk", "chunk", "done"]
    assert "".join(event.data["text"] for event in events[:-1]) == "The sea is wide."
    assert events[-1].data["output"]["text"] == "The sea is wide."
    assert events[-1].data["usage"]["output_tokens"] == 4


def test_streamed_and_plain_answers_share_one_record(client, gemini):
    ask(client, stream=True).get_data()
    assert ask(client).json["cache"]["status"] == "hit"
    assert events_of(ask(client, stream=True).data)[-1].data["cache"]["status"] == "hit"
    assert len(gemini.asked) == 1


def test_what_fails_before_the_first_chunk_keeps_its_status(client, gemini):
    gemini.default = 503
    response = ask(client, stream=True)
    assert (response.status_code, response.json["code"]) == (503, "provider_unavailable")


def test_a_stream_cut_by_the_provider_ends_in_one_error_event_and_is_not_kept(client, gemini):
    gemini.script = [Answer("The sea is wide.", pieces=("The sea", " is", " wide."), cut_after=2)]
    events = events_of(ask(client, stream=True).data)
    assert [event.kind for event in events] == ["chunk", "chunk", "error"]
    assert events[-1].data["code"] == "provider_invalid"
    assert ask(client).json["cache"]["status"] == "miss"


def test_a_busy_provider_is_asked_again_when_it_said(client, gemini, naps):
    gemini.script = [429, 503, "Fine."]
    told = ask(client).json
    assert [attempt["status"] for attempt in told["attempts"]] == ["provider_throttled", "provider_unavailable", "ok"]
    assert len(naps) == 2
    assert told["attempts"][1]["wait_ms"] == round(naps[0] * 1000, 3)


def test_three_attempts_are_the_end_and_the_problem_shows_them(client, gemini):
    gemini.default = 503
    answer = ask(client)
    assert (answer.status_code, len(gemini.asked)) == (503, 3)
    assert [attempt["status"] for attempt in answer.json["attempts"]] == ["provider_unavailable"] * 3


def test_blocked_and_empty_answers_are_errors_and_never_empty_successes(client, gemini):
    gemini.script = [Blocked(), Answer("", finish="blocked")]
    assert [ask(client).json["code"] for _ in range(2)] == ["content_blocked"] * 2
    gemini.default = Empty()
    assert ask(client).json["code"] == "provider_invalid"


def test_prefer_respond_async_answers_at_once_with_a_job(client):
    answer = client.post("/v1/text/generate", json=ASKED, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json['id']}"
    assert answer.headers["Preference-Applied"] == "respond-async"
