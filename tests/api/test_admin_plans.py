"""/v1/plans: made, listed, changed, deleted; never one that cannot be obeyed."""

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from llmapi.api.openapi import examples_of
from tests.api.matrix.house import running

PLAN = {"name": "team", "description": "d", "limits": {"requests": {"*": "60/minute"}, "monthly": {"usd": "25.50"}}}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    with running(tmp_path_factory.mktemp("plans"), auth="off") as client:
        yield client


@pytest.fixture
def client(service) -> Iterator[FlaskClient]:
    """The service, without plans."""
    yield service
    for plan in service.get("/v1/plans").json["data"]:
        service.delete(f"/v1/plans/{plan['name']}")


def test_a_plan_is_made_found_listed_changed_and_deleted(client):
    answer = client.post("/v1/plans", json=PLAN)
    made = dict(answer.json)
    assert (answer.status_code, answer.headers["Location"]) == (201, "/v1/plans/team")
    assert made["limits"] == {"requests": {"*": "60/minute"}, "monthly": {"usd": "25.5"}}
    assert client.get("/v1/plans/team").json == made
    assert client.get("/v1/plans").json == {"data": [made], "next": None}
    changed = client.patch("/v1/plans/team", json={"limits": {"concurrency": 3}}).json
    assert (changed["description"], changed["limits"]) == ("d", {"concurrency": 3})
    assert [client.delete("/v1/plans/team").status_code for _ in range(2)] == [204, 404]


def test_no_cache_keeps_an_answer(client):
    answers = [client.post("/v1/plans", json=PLAN), client.get("/v1/plans"), client.get("/v1/plans/nobody")]
    answers += [client.post("/v1/plans", json={}), client.delete("/v1/plans/team")]
    assert [answer.headers["Cache-Control"] for answer in answers] == ["no-store"] * 5


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"name": "Team"}, "name"),
        ({"name": "../etc"}, "name"),
        ({"name": "team\n"}, "name"),
        ({"tenant": "b"}, "tenant"),
        ({"limits": {"requests": {"nowhere": "1/minute"}}}, "limits.requests.nowhere"),
        ({"limits": {"requests": {"text": "0/minute"}}}, "limits.requests.text"),
        ({"limits": {"requests": {"text": 60}}}, "limits.requests.text.value"),
        ({"limits": {"tokens_per_day": -1}}, "limits.tokens_per_day"),
        ({"limits": {"concurrency": 1.5}}, "limits.concurrency"),
        ({"limits": {"concurrency": None}}, "limits.concurrency"),
        ({"limits": {"monthly": {"usd": 25.0}}}, "limits.monthly.usd"),
        ({"limits": {"monthly": {"usd": "1e9"}}}, "limits.monthly.usd"),
        ({"limits": {"cost": 1}}, "limits.cost"),
    ],
)
def test_a_wrong_field_is_named(client, more, field):
    answer = client.post("/v1/plans", json=PLAN | more)
    assert (answer.status_code, [error["field"] for error in answer.json["errors"]]) == (422, [field])


def test_the_examples_of_the_document_are_taken(client):
    for row in examples_of("plans").values():
        assert client.post("/v1/plans", json=row["value"]).status_code == 201
    for row in examples_of("plan_changes").values():
        assert client.patch("/v1/plans/team", json=row["value"]).status_code == 200


def test_a_second_plan_of_a_name_is_refused(client):
    assert client.post("/v1/plans", json=PLAN).status_code == 201
    again = client.post("/v1/plans", json=PLAN)
    assert (again.status_code, again.json["errors"][0]["field"]) == (422, "name")
