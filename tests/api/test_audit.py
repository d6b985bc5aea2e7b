"""What those who run the service do is written down, and read by whom it concerns."""

import pytest
from sqlalchemy import delete

from llmapi.db.engine import writing
from llmapi.db.tables.audit import head

OPERATOR = {"Authorization": "Bearer the-operators-own-key"}


@pytest.fixture
def client(make):
    return make(auth="required", api_keys="the-operators-own-key")


def entries(client, headers=OPERATOR, query=""):
    answer = client.get(f"/v1/audit{query}", headers=headers)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    return answer.json["data"]


def new_key(client, role):
    answer = client.post("/v1/keys", json={"name": "theirs", "role": role}, headers=OPERATOR)
    assert answer.status_code == 201, answer.data
    return answer.json


def test_a_change_is_written_down_with_who_and_what_but_no_secret(client):
    made = new_key(client, "viewer")
    (entry,) = entries(client, query="?action=keys.create")
    assert (entry["tenant"], entry["target"], entry["number"]) == ("default", made["id"], 1)
    assert entry["actor"].startswith("key-")
    assert entry["details"]["asked"] == {"name": "theirs", "role": "viewer"}
    assert made["key"] not in str(entries(client))
    assert client.application.extensions["llmapi"].audit.verify() == []


def test_looks_at_keys_are_written_down_and_so_is_a_look_at_the_chain(client):
    client.get("/v1/keys", headers=OPERATOR)
    entries(client)
    assert [entry["action"] for entry in entries(client)] == ["audit.read", "keys.read"]


def test_what_is_refused_changes_nothing_and_is_not_in_the_chain(client):
    assert client.post("/v1/keys", json={"nme": "x"}, headers=OPERATOR).status_code == 422
    assert client.get("/v1/keys").status_code == 401
    assert entries(client) == []


@pytest.mark.parametrize("body", [b'{"id":' + b"[" * 300 + b"]" * 300 + b"}", b'{"id": 1e999}', b"{"])
def test_a_body_nobody_asked_for_keeps_no_change_out_of_the_chain(client, body):
    id = new_key(client, "viewer")["id"]
    answer = client.delete(f"/v1/keys/{id}", data=body, content_type="application/json", headers=OPERATOR)
    assert answer.status_code == 200
    entry = entries(client)[0]
    assert (entry["action"], entry["target"], "asked" in entry["details"]) == ("keys.delete", id, False)


def test_a_webhook_s_address_is_not_written_down(make):
    client = make(auth="required", api_keys="the-operators-own-key", webhook_allow="127.0.0.1")
    asked = {"url": "http://127.0.0.1:9/hook?token=secret-of-theirs", "events": ["job.*"]}
    assert client.post("/v1/webhooks", json=asked, headers=OPERATOR).status_code == 201
    (entry,) = entries(client)
    assert entry["details"]["asked"] == {"url": "***", "events": ["job.*"]}


def test_the_chain_is_for_those_with_its_scope_and_shows_their_tenant_alone(client):
    viewer = {"Authorization": f"Bearer {new_key(client, 'viewer')['key']}"}
    assert client.get("/v1/audit", headers=viewer).status_code == 403
    client.post("/v1/tenants", json={"id": "other"}, headers=OPERATOR)
    theirs = client.post("/v1/tenants/other/keys", json={"name": "first", "role": "admin"}, headers=OPERATOR).json
    headers = {"Authorization": f"Bearer {theirs['key']}"}
    assert entries(client, headers) == []
    assert client.get("/v1/audit?everyone=true", headers=headers).status_code == 403
    assert {entry["tenant"] for entry in entries(client, query="?everyone=true")} == {"default", "other"}


def test_an_answer_whose_entry_cannot_be_kept_is_not_given(client):
    with writing(client.application.extensions["llmapi"].engine) as connection:
        connection.execute(delete(head))
    answer = client.get("/v1/keys", headers=OPERATOR)
    assert (answer.status_code, answer.json["code"]) == (503, "overloaded")


def test_what_the_cache_was_told_to_forget_is_written_down(client):
    assert client.delete("/v1/cache?tag=release-7", headers=OPERATOR).status_code == 200
    (entry,) = entries(client)
    assert (entry["action"], entry["details"]["asked"]) == ("cache.delete", {"tag": "release-7"})
