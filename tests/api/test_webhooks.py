"""/v1/webhooks: endpoints, their secrets, what was sent to them; each tenant's own."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from llmapi.db.engine import writing
from tests.events.webhook_parts import until
from tests.fakes.receiver import Receiver

URL = "http://127.0.0.1:9/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def client(make):
    return make(webhook_allow="127.0.0.1")


def create(client, **wanted):
    answer = client.post("/v1/webhooks", json={"url": URL, **wanted})
    assert answer.status_code == 201, answer.json
    return answer.json


def deliveries(client, webhook, status, count=1):
    address = f"/v1/webhooks/{webhook['id']}/deliveries?status={status}"
    until(lambda: len(client.get(address).json["data"]) == count)
    return client.get(address).json["data"]


def test_a_secret_is_shown_once_and_a_webhook_found_again(client):
    answer = client.post("/v1/webhooks", json={"url": URL, "events": ["job.*"], "description": "d"})
    made = dict(answer.json)
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/v1/webhooks/{made['id']}")
    assert answer.headers["Cache-Control"] == "no-store"
    assert made["id"].startswith("whe_") and made.pop("secret").startswith("whsec_")
    assert client.get(f"/v1/webhooks/{made['id']}").json == made
    assert client.get("/v1/webhooks").json == {"data": [made], "next": None}
    assert (made["events"], made["description"], made["disabled"]) == (["job.*"], "d", None)


def test_an_event_of_the_callers_tenant_is_delivered_signed_and_its_delivery_is_told(client, receiver):
    webhook = create(client, url=receiver.url)
    services = client.application.extensions["llmapi"]
    with writing(services.engine) as connection:
        services.webhooks.outbox.add(connection, "default", "job.succeeded", {"id": "job_1"})
    sent = receiver.wait()[0]
    assert sent.verified(webhook["secret"])["data"] == {"id": "job_1"}
    told = deliveries(client, webhook, "delivered")[0]
    assert (told["id"], told["type"], told["attempts"], told["next_attempt"]) == (sent.id, "job.succeeded", 1, None)
    assert [(tried["status_code"], tried["error"]) for tried in told["history"]] == [(200, None)]


def test_a_test_event_is_sent_and_sent_again(client, receiver):
    webhook = create(client, url=receiver.url)
    answer = client.post(f"/v1/webhooks/{webhook['id']}/test")
    assert (answer.status_code, answer.json["status"]) == (202, "pending")
    deliveries(client, webhook, "delivered")
    again = client.post(f"/v1/webhooks/{webhook['id']}/deliveries/{answer.json['id']}/redeliver")
    assert again.status_code == 202
    first, second = receiver.wait(2)
    assert first.id == second.id == answer.json["id"]
    assert second.verified(webhook["secret"])["type"] == "webhook.test"


def test_a_new_secret_signs_beside_the_old_one(client, receiver):
    webhook = create(client, url=receiver.url)
    rotated = client.post(f"/v1/webhooks/{webhook['id']}/rotate-secret").json
    assert rotated["secret"] != webhook["secret"] and rotated["previous_secret_until"]
    client.post(f"/v1/webhooks/{webhook['id']}/test")
    sent = receiver.wait()[0]
    assert sent.verified(webhook["secret"]) == sent.verified(rotated["secret"])
    assert "secret" not in client.get(f"/v1/webhooks/{webhook['id']}").json


def test_what_is_named_is_changed_and_the_rest_stays(client):
    webhook = create(client, description="old")
    address = f"/v1/webhooks/{webhook['id']}"
    changed = client.patch(address, json={"events": ["job.dead"], "disabled": True}).json
    assert (changed["events"], changed["description"], changed["disabled"]) == (["job.dead"], "old", "by its owner")
    assert client.post(f"{address}/test").status_code == 422
    assert client.patch(address, json={"disabled": False}).json["disabled"] is None
    assert client.patch(address, json={}).json["events"] == ["job.dead"]


def test_a_deleted_webhook_is_gone(client):
    address = f"/v1/webhooks/{create(client)['id']}"
    assert (client.delete(address).status_code, client.delete(address).status_code) == (204, 404)
    assert client.get(address).status_code == client.get(f"{address}/deliveries").status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "https://127.0.0.2/"}, "url"),
        ({"url": "http://example.com/"}, "url"),
        ({"url": URL, "events": ["job.odd"]}, "events"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "tenant": "b"}, "tenant"),
        ({"url": URL, "secret": "whsec_mine"}, "secret"),
        ({"url": URL, "description": "x" * 501}, "description"),
    ],
)
def test_a_wrong_field_is_named(client, body, field):
    answer = client.post("/v1/webhooks", json=body)
    assert (answer.status_code, [error["field"] for error in answer.json["errors"]]) == (422, [field])


def test_a_webhook_is_not_moved_to_a_private_address(client):
    webhook = create(client)
    answer = client.patch(f"/v1/webhooks/{webhook['id']}", json={"url": "https://169.254.169.254/latest"})
    assert answer.status_code == 422
    assert client.get(f"/v1/webhooks/{webhook['id']}").json["url"] == URL


def test_a_private_address_is_refused_in_the_same_words_as_one_that_is_none(client):
    private = client.post("/v1/webhooks", json={"url": "https://10.0.0.1/"}, headers={"X-Request-ID": "r"})
    nothing = client.post("/v1/webhooks", json={"url": "https://-nobody/"}, headers={"X-Request-ID": "r"})
    assert private.data == nothing.data


def test_lists_go_page_by_page_newest_first(client):
    made = [create(client)["id"] for _ in range(3)]
    first = client.get("/v1/webhooks?limit=2").json
    second = client.get(f"/v1/webhooks?limit=2&after={first['next']}").json
    assert [row["id"] for row in first["data"] + second["data"]] == made[::-1]
    tests = [client.post(f"/v1/webhooks/{made[0]}/test").json["id"] for _ in range(3)]
    address = f"/v1/webhooks/{made[0]}/deliveries"
    first = client.get(f"{address}?limit=2").json
    second = client.get(f"{address}?limit=2&after={first['next']}").json
    assert [row["id"] for row in first["data"] + second["data"]] == tests[::-1]


def test_a_foreign_webhook_is_answered_like_an_unknown_one(make):
    keys = (SecretStr("a:key-of-a"), SecretStr("b:key-of-b"))
    client = make(auth="required", api_keys=keys, webhook_allow="127.0.0.1")
    a, b = ({"X-API-Key": f"key-of-{name}", "X-Request-ID": "r"} for name in "ab")
    id = client.post("/v1/webhooks", json={"url": URL}, headers=a).json["id"]
    message = client.post(f"/v1/webhooks/{id}/test", headers=a).json["id"]
    asked = [
        ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate-secret"), ("POST", "/test"),
        ("GET", "/deliveries"), ("POST", f"/deliveries/{message}/redeliver"),
    ]
    for method, rest in asked:
        body = {"json": {"description": "mine"}} if method == "PATCH" else {}
        foreign = client.open(f"/v1/webhooks/{id}{rest}", method=method, headers=b, **body)
        unknown = client.open(f"/v1/webhooks/whe_unknown{rest}", method=method, headers=b, **body)
        assert (foreign.status_code, foreign.data) == (404, unknown.data)
    assert client.get("/v1/webhooks", headers=b).json["data"] == []
    assert client.get(f"/v1/webhooks/{id}", headers=a).json["description"] == ""


def test_health_tells_of_the_sender(client):
    assert client.get("/health").json["dependencies"]["webhooks"]["status"] == "ok"
