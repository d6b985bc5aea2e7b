"""/v1/cache and /v1/feedback: what is kept is seen, cleared in all workers, and asked ahead."""

import io
import json
import time

import pytest
from pydantic import SecretStr

from llmapi.core.clock import utc_now
from tests.api.test_jobs import ended
from tests.costs.booked import book, row

ADDRESS = "/v1/text/generate"
HI, HO = {"prompt": "Hi"}, {"prompt": "Ho"}


def asked(client, body=HI, **more):
    """Ask and return what the cache did."""
    return client.post(ADDRESS, json={**body, **more}).json["cache"]["status"]


def looked(client, body=HI, **more):
    return client.post("/v1/cache/lookup", json={"task": "text", "request": {**body, **more}}).json


def soon(true, seconds=5.0):
    """Wait until something is true."""
    until = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < until:
        time.sleep(0.01)
    return found


@pytest.fixture
def two(make, tmp_path):
    """Two workers of one service, with keys of two tenants."""
    keys = (SecretStr("a:" + "k" * 40), SecretStr("b:" + "l" * 40), SecretStr("o" * 40))
    return [make(data_dir=tmp_path / "one", auth="required", api_keys=keys) for _ in range(2)]


def of(tenant):
    return {"X-API-Key": {"a": "k", "b": "l", "default": "o"}[tenant] * 40}


@pytest.mark.parametrize("query", ["tag=night", "older_than_s=0"])
def test_what_one_worker_clears_is_gone_in_the_other_within_two_seconds(two, query):
    here, there = two
    body = {**HI, "cache": {"tags": ["night"]}}
    for client in two:
        for tenant in "ab":
            client.post(ADDRESS, json=body, headers=of(tenant))
    told = here.delete(f"/v1/cache?{query}", headers=of("a"))
    assert (told.status_code, told.json["tenants"], told.json["workers_within_s"]) == (200, 1, 2.0)

    def status(client, tenant):
        look = {"task": "text", "request": body}
        return client.post("/v1/cache/lookup", json=look, headers=of(tenant)).json["calls"][0]["status"]

    assert status(here, "a") == "miss"
    assert soon(lambda: status(there, "a") == "miss", 2.0)
    assert [status(client, "b") for client in two] == ["hit", "hit"]


def test_an_answer_is_cleared_by_its_key_by_its_owner_alone(two):
    client = two[0]
    client.post(ADDRESS, json=HI, headers=of("a"))
    key = client.post("/v1/cache/lookup", json={"task": "text", "request": HI}, headers=of("a")).json["calls"][0]["key"]

    def found(tenant):
        return client.get(f"/v1/cache/lookup?cache_key={key}", headers=of(tenant)).json["would_hit"]

    assert (found("a"), found("b")) == (True, False)
    theirs = client.delete(f"/v1/cache?cache_key={key}", headers=of("b"))
    assert (theirs.status_code, found("a")) == (200, True)
    assert client.delete(f"/v1/cache?cache_key={key}", headers=of("a")).status_code == 200
    assert not found("a")


def test_only_operators_clear_for_everyone(two):
    client = two[0]
    for tenant in "ab":
        client.post(ADDRESS, json=HI, headers=of(tenant))
    ring = client.application.extensions["llmapi"].keyring
    client.post("/v1/tenants", json={"id": "c"}, headers=of("default"))
    _, key = ring.create("c", name="n", role="admin")
    assert client.delete("/v1/cache?everyone=true", headers={"X-API-Key": key}).status_code == 403
    told = client.delete("/v1/cache?everyone=true", headers=of("default"))
    assert (told.status_code, told.json["tenants"]) == (200, 4)
    for tenant in "ab":
        assert client.post(ADDRESS, json=HI, headers=of(tenant)).json["cache"]["status"] == "miss"


@pytest.mark.parametrize("query", ["", "all=false", "tag=a&model=b", "older_than_s=-1", "tenant=b&all=true"])
def test_what_names_nothing_or_too_much_is_refused(client, query):
    assert client.delete(f"/v1/cache?{query}").status_code == 422


def test_a_lookup_tells_what_is_kept_and_asks_no_model(client, gemini):
    assert (looked(client)["would_hit"], len(gemini.asked)) == (False, 0)
    asked(client, cache={"tags": ["night"]})
    told = looked(client)
    call = told["calls"][0]
    assert (told["would_hit"], call["status"], call["exact"]["tags"]) == (True, "hit", ["night"])
    assert (call["exact"]["provider"], call["exact"]["took_s"] > 0, len(gemini.asked)) == ("gemini", True, 1)
    assert looked(client, cache={"mode": "refresh"})["calls"][0]["status"] == "miss"


def test_a_lookup_inside_out_is_refused_by_field(client):
    answer = client.post("/v1/cache/lookup", json={"task": "text", "request": {"prompt": 5}})
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "request.prompt")


def test_the_cache_tells_how_often_it_answered_and_what_that_saved(client):
    for _ in range(3):
        asked(client)
    asked(client, HO, cache={"mode": "bypass"})
    told = soon(lambda: (found := client.get("/v1/cache/stats").json)["calls"]["exact"] == 2 and found)
    assert told["calls"] == {"exact": 2, "semantic": 0, "coalesced": 0, "miss": 1, "bypass": 1}
    assert (told["hit_share"], told["worker"]["entries"]) == (0.6667, 1)
    assert float(told["saved"]["amount"]) > 0
    assert told["semantic_error"]["n"] == 0
    assert client.get("/v1/cache/stats?from=2026-01-02&to=2026-01-01").status_code == 422


def test_questions_asked_ahead_are_kept_and_each_is_paid_once(client, gemini):
    asked(client)
    body = {"task": "text", "requests": [HI, HO, HO, {"prompt": "Hum"}]}
    accepted = client.post("/v1/cache/warm", json=body)
    assert (accepted.status_code, accepted.json["reaches"]) == (202, "all_workers")
    job = ended(client, accepted.json["id"])
    told = job["result"]
    assert (job["kind"], job["status"], job["progress"]["done"]) == ("warm", "succeeded", 3)
    assert [told[name] for name in ("questions", "repeated", "kept", "asked", "failed", "left")] == [4, 1, 1, 2, 0, 0]
    assert (float(told["cost"]["amount"]) > 0, len(gemini.asked)) == (True, 3)
    assert [asked(client, body) for body in (HI, HO)] == ["hit", "hit"]


def test_a_file_is_asked_ahead_line_by_line_and_a_wrong_line_stops_none(client):
    line = {"custom_id": "c", "method": "POST", "url": ADDRESS, "body": HO}
    content = "\n".join(["", json.dumps(HI), "{", json.dumps(line), json.dumps({**line, "url": "/v1/chat"})])
    form = {"purpose": "batch", "file": (io.BytesIO(content.encode()), "in.jsonl")}
    file = client.post("/v1/files", data=form, content_type="multipart/form-data").json["id"]
    told = ended(client, client.post("/v1/cache/warm", json={"task": "text", "file": file}).json["id"])["result"]
    assert ([each["line"] for each in told["errors"]], told["asked"], told["failed"]) == ([3, 5], 2, 2)
    assert [asked(client, body) for body in (HI, HO)] == ["hit", "hit"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"task": "text"}, "requests"),
        ({"task": "text", "requests": [HI], "file": "f"}, "requests"),
        ({"task": "text", "requests": [HI, {"prompt": 5}]}, "requests.1.prompt"),
        ({"task": "text", "requests": [HI] * 1001}, "requests"),
        ({"task": "text", "top": 5}, "top"),
    ],
)
def test_a_warm_up_without_good_questions_is_refused(client, body, field):
    answer = client.post("/v1/cache/warm", json=body)
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, field)


def test_the_most_asked_are_asked_anew_where_requests_are_kept(make, gemini):
    client = make(requests_kept=60.0)
    for body, times in ((HI, 1), (HO, 3), ({"prompt": "Hum"}, 2)):
        for _ in range(times):
            asked(client, body)
    warm = {"task": "text", "top": 2, "refresh": True}
    for _ in range(2):  # what a warm-up asks is not counted
        told = ended(client, client.post("/v1/cache/warm", json=warm).json["id"])["result"]
        assert (told["questions"], told["asked"], told["failed"]) == (2, 2, 0)
    assert len(gemini.asked) == 3 + 2 * 2


def test_a_warm_up_sent_again_under_its_key_is_one_job(client):
    sent = [
        client.post("/v1/cache/warm", json={"task": "text", "requests": [HI]}, headers={"Idempotency-Key": "k"})
        for _ in range(2)
    ]
    assert sent[0].json == sent[1].json


def test_a_bad_answer_can_be_evicted_by_its_id(client, gemini):
    id = client.post(ADDRESS, json=HI).json["id"]
    wanted = {"id": id, "good": False, "evict": True}
    assert soon(lambda: client.post("/v1/feedback", json={**wanted, "evict": False}).status_code == 200)
    assert asked(client) == "hit"
    assert client.post("/v1/feedback", json=wanted).json == {"id": id, "learned": False, "evicted": True}
    assert asked(client) == "miss"


def test_what_was_served_by_meaning_is_not_said_to_be_evicted_by_its_request(client):
    engine = client.application.extensions["llmapi"].engine
    book(engine, [row(utc_now(), cache="semantic", call_id="req_1", question="d" * 64)])
    told = client.post("/v1/feedback", json={"id": "req_1", "good": False, "evict": True}).json
    assert (told["learned"], told["evicted"]) == (False, False)


def test_nobody_evicts_what_is_anothers(two):
    client = two[0]
    id = client.post(ADDRESS, json=HI, headers=of("a")).json["id"]
    mine = {"id": id, "good": True}
    assert soon(lambda: client.post("/v1/feedback", json=mine, headers=of("a")).status_code == 200)
    theirs = client.post("/v1/feedback", json={"id": id, "good": False, "evict": True}, headers=of("b"))
    nobodys = client.post("/v1/feedback", json={"id": "req_0", "good": False, "evict": True}, headers=of("b"))
    assert (theirs.status_code, theirs.json["detail"]) == (404, nobodys.json["detail"])
    assert client.post(ADDRESS, json=HI, headers=of("a")).json["cache"]["status"] == "hit"
