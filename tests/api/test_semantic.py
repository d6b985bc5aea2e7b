"""Answers by meaning through HTTP, with the real embedder and a fake Gemini."""

import threading

import pytest
from sqlalchemy import select

from llmapi.db.engine import reading
from llmapi.db.tables.ledger import ledger
from llmapi.db.tables.semantic import learned
from llmapi.setting_tables import SemanticSettings, TaskSettings

RIVERS = ("Nile", "Rhine", "Volga", "Congo", "Ganges", "Loire")
FORMS = ("How long is the river {}?", "What is the length of the river {}?", "Tell me how long the river {} is")


def ask(client, prompt, **cache):
    wish = {"max_error": 0.05, **cache}
    return client.post("/v1/text/generate", json={"prompt": prompt, "cache": wish})


def asked_of(body):
    return body["contents"][-1]["parts"][0]["text"]


@pytest.fixture
def rivers(gemini):
    """The fake answers with the river's name; a judge's question with whether both answers are of one river."""

    def behaviour(asked):
        said = asked_of(asked.body)
        named = [river for river in RIVERS if river in said]
        if "Answer 1:" in said:
            return "YES" if len(named) == 1 else "NO"
        return f"The {named[0]} is long: {len(said)} letters." if named else "Fine."

    gemini.behaviour = behaviour
    return gemini


def talk(client, **cache):
    """Ask of every river in every form; return the answers to paraphrases."""
    answers = [ask(client, form.format(river), **cache) for form in FORMS for river in RIVERS]
    return answers[len(RIVERS) :]


def booked(services, task):
    """Return a tenant's booked calls of a task; waits until there is one."""
    for _ in range(250):
        with reading(services.engine) as connection:
            rows = connection.execute(select(ledger).where(ledger.c.task == task)).all()
        if rows:
            return rows
        threading.Event().wait(0.02)
    raise AssertionError("nothing was booked")


def test_a_paraphrase_is_served_once_there_is_evidence_and_says_what_it_rests_on(client, rivers):
    answers = talk(client)
    served = [answer for answer in answers if answer.json["cache"]["status"] == "semantic"]
    assert len(served) >= 3
    told = served[-1].json
    cache = told["cache"]
    assert cache["reason"] == "served" and cache["entry"].startswith("kept_") and cache["age_s"] >= 0
    assert 0.6 < cache["similarity"] <= 1.0 and 0.6 <= cache["probability"] <= 1.0
    assert told["cost"]["amount"] == "0" and served[-1].headers["Cache-Status"].startswith("llmapi; hit")


def test_a_paraphrase_gets_the_answer_of_its_own_river(client, rivers):
    for number, answer in enumerate(talk(client)):
        assert RIVERS[number % len(RIVERS)] in answer.json["output"]["text"]


def test_a_number_that_differs_is_never_served(client, gemini):
    for number in range(2, 14):
        cache = ask(client, f"Name {number} rivers in Peru").json["cache"]
        assert cache["status"] == "miss"


def test_what_changes_by_itself_is_never_served_to_another_question(client, gemini):
    asked = ("What is the weather in Oslo right now?", "what's the weather in Oslo right now", "Weather in Oslo now?")
    caches = [ask(client, prompt).json["cache"] for prompt in asked]
    assert {(cache["status"], cache["reason"]) for cache in caches} == {("miss", "gate:volatile")}
    assert ask(client, asked[0]).json["cache"]["status"] == "hit"


def test_only_answers_that_are_kept_are_a_documented_problem(client, gemini):
    answer = ask(client, "How long is the river Nile?", mode="only")
    assert (answer.status_code, answer.json["code"]) == (504, "cache_miss") and gemini.asked == []


@pytest.mark.parametrize("value", [-0.1, 0.3, 1, "0.01", True])
def test_a_bound_beyond_reason_is_refused(client, value):
    assert ask(client, "Hi", max_error=value).status_code == 422


def test_judge_calls_are_booked_and_bounded(make, rivers):
    client = make(semantic=SemanticSettings(policy="vcache", judge_share=0.3))
    requests = len(talk(client)) + len(RIVERS)
    services = client.application.extensions["llmapi"]
    row = booked(services, "judge")[0]
    assert (row.tenant, row.status, row.input_tokens > 0) == ("default", "ok", True)
    services.semantic.close()
    judged = [body for body in rivers.bodies if "Answer 1:" in asked_of(body)]
    assert 1 <= len(judged) <= 0.3 * requests
    assert "YES or NO" in judged[0]["systemInstruction"]["parts"][0]["text"]


def test_nobody_is_judged_while_it_is_off(make, rivers):
    client = make()
    for form in FORMS:
        client.post("/v1/text/generate", json={"prompt": form.format("Nile")})
    assert [body for body in rivers.bodies if "Answer 1:" in asked_of(body)] == []


def test_a_task_can_ask_for_all_its_requests(make, rivers):
    client = make(text=TaskSettings(max_error=0.05))
    caches = [client.post("/v1/text/generate", json={"prompt": FORMS[0].format(r)}).json["cache"] for r in RIVERS]
    assert caches[0]["reason"] == "cold" and caches[1]["reason"] == "below threshold"


def test_a_stop_keeps_what_was_learned(make, rivers):
    client = make(semantic=SemanticSettings(judge_share=0.0))
    talk(client)
    services = client.application.extensions["llmapi"]
    services.semantic.close()
    with reading(services.engine) as connection:
        rows = connection.execute(select(learned)).all()
    assert [row.tenant for row in rows] == ["default"] and rows[0].labels > 0
