"""/v1/budgets: set, seen with what is left, changed and deleted; each tenant's own."""

from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from sqlalchemy import insert

from llmapi.db.engine import writing
from llmapi.db.tables.budgets import balances
from tests.api.booking import application

KEYS = (SecretStr("default:operators-key-0123456789"), SecretStr("acme:tenants-key-0123456789"))
HEADERS = {"Authorization": "Bearer operators-key-0123456789"}
OTHERS = {"Authorization": "Bearer tenants-key-0123456789"}
MONTHLY = {"amount": "10.50", "window": "month"}


@pytest.fixture(scope="module")
def client(templates, tmp_path_factory):
    with application(templates, tmp_path_factory.mktemp("budgets"), [], auth="required", api_keys=KEYS) as client:
        client.environ_base["HTTP_AUTHORIZATION"] = HEADERS["Authorization"]
        yield client


def create(client, **wanted):
    answer = client.post("/v1/budgets", json={**MONTHLY, **wanted})
    assert answer.status_code == 201, answer.json
    return answer.json


def test_a_budget_is_found_again_with_its_window(client):
    answer = client.post("/v1/budgets", json=MONTHLY)
    made = answer.json
    assert (answer.headers["Location"], answer.headers["Cache-Control"]) == (f"/v1/budgets/{made['id']}", "no-store")
    assert client.get(f"/v1/budgets/{made['id']}").json == made
    told = {name: made[name] for name in ("level", "name", "amount", "kind", "active", "thresholds", "rolling_s")}
    assert told == {
        "level": "tenant",
        "name": "",
        "amount": "10.5",
        "kind": "hard",
        "active": True,
        "thresholds": [0.5, 0.8, 1.0],
        "rolling_s": None,
    }
    month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    assert made["current"]["start"] == month.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_what_is_spent_and_held_is_no_longer_left(client):
    made = create(client, level="key", name="key1", window="rolling", rolling_s=3600, kind="soft")
    row = {"budget": made["id"], "start": datetime.now(UTC), "spent": 1_250_000_000, "held": 250_000_001, "told": "[]"}
    with writing(client.application.extensions["llmapi"].engine) as connection:
        connection.execute(insert(balances), row)
    told = client.get(f"/v1/budgets/{made['id']}").json
    assert (told["spent"], told["held"], told["left"]) == ("1.25", "0.250000001", "8.999999999")
    assert (told["kind"], told["rolling_s"], told["level"], told["name"]) == ("soft", 3600, "key", "key1")


def test_what_is_not_named_stays(client):
    made = create(client, thresholds=[0.9])
    changed = client.patch(f"/v1/budgets/{made['id']}", json={"amount": "0.000000001", "active": False}).json
    assert (changed["amount"], changed["active"]) == ("0.000000001", False)
    assert {**changed, "amount": made["amount"], "active": True, "left": made["left"]} == made
    assert client.patch(f"/v1/budgets/{made['id']}", json={"kind": "soft"}).json["kind"] == "soft"


def test_a_deleted_budget_is_gone(client):
    made = create(client)
    assert client.delete(f"/v1/budgets/{made['id']}").status_code == 204
    assert client.get(f"/v1/budgets/{made['id']}").status_code == 404


def test_pages_follow_each_other(client):
    made = [create(client)["id"] for _ in range(5)]
    before = client.get("/v1/budgets?limit=100").json["data"]
    after, seen = None, []
    while True:
        page = client.get("/v1/budgets?limit=2" + (f"&after={after}" if after else "")).json
        seen += page["data"]
        if (after := page["next"]) is None:
            break
    assert seen == before and [each["id"] for each in seen][-5:] == made


def test_a_foreign_budget_is_an_unknown_one(client):
    id = create(client)["id"]
    assert id not in client.get("/v1/budgets?limit=100", headers=OTHERS).text

    def said(method, name):
        body = {"json": {"active": False}} if method == "patch" else {}
        answer = getattr(client, method)(f"/v1/budgets/{name}", headers=OTHERS, **body)
        return answer.status_code, {**answer.json, "request_id": ""}

    for method in ("get", "patch", "delete"):
        assert said(method, id) == said(method, "budget_unknown")
        assert said(method, id)[0] == 404


def test_what_is_no_budget_is_refused_by_name(client):
    wrong = [
        ({"amount": "1e3"}, "amount"),
        ({"amount": "-1"}, "amount"),
        ({"amount": 10}, "amount"),
        ({"amount": "1.0000000001"}, "amount"),
        ({"amount": "10000000000"}, "amount"),
        ({"window": "year"}, "window"),
        ({"window": "rolling"}, "rolling_s"),
        ({"rolling_s": 3600}, "rolling_s"),
        ({"window": "rolling", "rolling_s": 59}, "rolling_s"),
        ({"level": "galaxy"}, "level"),
        ({"level": "key"}, "name"),
        ({"name": "key1"}, "name"),
        ({"level": "user", "name": "a\x00b"}, "name"),
        ({"level": "user", "name": "x" * 129}, "name"),
        ({"kind": "mild"}, "kind"),
        ({"thresholds": [0]}, "thresholds.0"),
        ({"thresholds": [0.5] * 11}, "thresholds"),
        ({"tenant": "acme"}, "tenant"),
        ({"spent": "0"}, "spent"),
    ]
    for odd, field in wrong:
        answer = client.post("/v1/budgets", json={**MONTHLY, **odd})
        assert (answer.status_code in (400, 422)), odd
        if answer.status_code == 422:
            assert [each["field"] for each in answer.json["errors"]] == [field], (odd, answer.json)
