"""/v1/keys, /v1/projects, /v1/tenants, /v1/me: nobody gives more than he has, and a key is told once."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from llmapi.api.openapi import examples_of
from llmapi.core.clock import rfc3339, utc_now
from llmapi.tenants.roles import ADMIN, OPERATORS_TENANT
from tests.api.matrix.house import running, with_key
from tests.api.matrix.objects import Owner, name

KEY = {"name": "n", "role": "developer"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    with running(tmp_path_factory.mktemp("admin")) as client:
        yield client


@pytest.fixture(scope="module")
def operator(client) -> Owner:
    return with_key(client, OPERATORS_TENANT, "admin")


@pytest.fixture
def acme(operator) -> str:
    """A new tenant."""
    return str(operator.made("/v1/tenants", json={"id": name("acme")})["id"])


@pytest.fixture
def admin(client, acme) -> Owner:
    return with_key(client, acme, "admin")


@pytest.fixture
def gold(operator) -> str:
    """A new plan."""
    return str(operator.made("/v1/plans", json={"name": name("gold"), "limits": {}})["name"])


def holding(owner: Owner, key: str) -> Owner:
    return Owner(owner.client, key)


def fields_of(answer) -> tuple[int, list[str]]:
    return answer.status_code, [error["field"] for error in answer.json.get("errors", [])]


def test_a_key_is_told_once_and_works(admin):
    answer = admin.ask("POST", "/v1/keys", json={**KEY, "scopes": ["jobs:read"], "addresses": ["127.0.0.0/8"]})
    made = dict(answer.json)
    key = made.pop("key")
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/v1/keys/{made['id']}")
    assert (key.startswith(f"lak_{made['id']}_"), made["scopes"]) == (True, ["jobs:read"])
    assert admin.ask("GET", f"/v1/keys/{made['id']}").json == made
    listed = admin.ask("GET", "/v1/keys")
    assert listed.json["data"][0] == made and key.encode() not in listed.data
    me = holding(admin, key).ask("GET", "/v1/me").json
    assert (me["tenant"], me["key"], me["role"], me["scopes"]) == (admin.tenant, made["id"], "developer", ["jobs:read"])


def test_no_cache_keeps_an_answer(admin):
    id = admin.made("/v1/keys", json=KEY)["id"]
    asked = [("GET", "/v1/keys"), ("POST", "/v1/keys"), ("GET", f"/v1/keys/{id}"), ("DELETE", f"/v1/keys/{id}")]
    asked += [("GET", "/v1/me"), ("GET", "/v1/projects"), ("GET", "/v1/keys/nobody"), ("GET", "/v1/tenants")]
    assert {admin.ask(method, path).headers["Cache-Control"] for method, path in asked} == {"no-store"}


def test_a_revoked_key_is_refused_and_stays_in_the_list(admin):
    made = admin.made("/v1/keys", json=KEY)
    other = holding(admin, made["key"])
    assert other.ask("GET", "/v1/me").status_code == 200
    assert admin.ask("DELETE", f"/v1/keys/{made['id']}").json["state"] == "revoked"
    assert other.ask("GET", "/v1/me").status_code == 401
    assert admin.ask("DELETE", f"/v1/keys/{made['id']}").json["state"] == "revoked"
    assert admin.ask("GET", f"/v1/keys/{made['id']}").json["state"] == "revoked"
    assert admin.ask("PATCH", f"/v1/keys/{made['id']}", json={"name": "x"}).status_code == 422


def test_a_rotated_key_is_good_beside_the_old_one_for_a_while(admin):
    made = admin.made("/v1/keys", json=KEY)
    address = f"/v1/keys/{made['id']}/rotate"
    second = admin.made(address, json={"overlap_s": 60})
    assert second["previous_key_until"] and second["id"] == made["id"]
    assert [holding(admin, each["key"]).ask("GET", "/v1/me").status_code for each in (made, second)] == [200, 200]
    third = admin.made(address, json={"overlap_s": 0})
    told = [holding(admin, each["key"]).ask("GET", "/v1/me").status_code for each in (made, second, third)]
    assert (told, third["previous_key_until"]) == ([401, 401, 200], None)


def test_what_is_named_is_changed_and_the_rest_stays(admin):
    admin.made("/v1/projects", json={"id": "search"})
    until = rfc3339(utc_now() + timedelta(days=1))
    made = admin.made("/v1/keys", json={**KEY, "expires": until})
    address = f"/v1/keys/{made['id']}"
    changed = admin.ask("PATCH", address, json={"project": "search", "scopes": ["tasks:run"]}).json
    assert (changed["project"], changed["scopes"], changed["name"]) == ("search", ["tasks:run"], "n")
    assert changed["expires"] == until
    assert holding(admin, made["key"]).ask("GET", "/v1/me").json["project"] == "search"
    freed = admin.ask("PATCH", address, json={"scopes": None, "expires": None}).json
    assert (len(freed["scopes"]) > 1, freed["expires"]) == (True, None)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"role": "root"}, "role"),
        ({"scopes": ["all"]}, "scopes.0"),
        ({"scopes": ["keys:write"]}, "scopes"),
        ({"project": "nowhere"}, "project"),
        ({"addresses": ["10.0.0.1/8"]}, "addresses.0"),
        ({"expires": "2020-01-01T00:00:00Z"}, "expires"),
        ({"expires": "2999-01-01T00:00:00Z"}, "expires"),
        ({"expires": "2026-11-01"}, "expires"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"tenant": "other"}, "tenant"),
        ({"state": "active"}, "state"),
        ({"requires_signature": "yes"}, "requires_signature"),
    ],
)
def test_a_wrong_field_is_named(admin, more, field):
    assert fields_of(admin.ask("POST", "/v1/keys", json=KEY | more)) == (422, [field])


@pytest.mark.parametrize("change", [{"role": "admin"}, {"state": "active"}, {"tenant": "b"}, {"id": "x"}])
def test_what_never_changes_is_refused(admin, change):
    id = admin.made("/v1/keys", json=KEY)["id"]
    assert fields_of(admin.ask("PATCH", f"/v1/keys/{id}", json=change)) == (422, list(change))


def test_nobody_gives_more_than_he_has(client, acme, admin):
    narrow = with_key(client, acme, "admin", scopes=("keys:*", "jobs:read"))
    assert narrow.ask("POST", "/v1/keys", json=KEY).status_code == 403
    assert narrow.ask("POST", "/v1/keys", json={**KEY, "scopes": ["jobs:write"]}).status_code == 403
    made = narrow.made("/v1/keys", json={**KEY, "scopes": ["jobs:read"]})
    assert narrow.ask("PATCH", f"/v1/keys/{made['id']}", json={"scopes": ["tasks:run"]}).status_code == 403
    assert narrow.ask("PATCH", f"/v1/keys/{made['id']}", json={"scopes": None}).status_code == 403
    strong = admin.made("/v1/keys", json=KEY)["id"]
    assert narrow.ask("POST", f"/v1/keys/{strong}/rotate", json={}).status_code == 403
    assert narrow.ask("PATCH", f"/v1/keys/{strong}", json={"name": "mine"}).status_code == 403


def test_nobody_revokes_a_key_that_may_do_more(client, acme, admin, operator):
    narrow = with_key(client, acme, "admin", scopes=("keys:*",))
    assert narrow.ask("DELETE", f"/v1/keys/{admin.ask('GET', '/v1/me').json['key']}").status_code == 403
    assert admin.ask("DELETE", f"/v1/keys/{narrow.ask('GET', '/v1/me').json['key']}").status_code == 200
    clerk = with_key(client, OPERATORS_TENANT, "admin", scopes=("tenants:*",))
    first = operator.ask("GET", "/v1/me").json["key"]
    assert clerk.ask("DELETE", f"/v1/tenants/{OPERATORS_TENANT}/keys/{first}").status_code == 403
    assert clerk.ask("DELETE", f"/v1/tenants/{acme}/keys/{admin.ask('GET', '/v1/me').json['key']}").status_code == 200


def test_a_tenant_puts_no_key_under_a_plan_and_an_operator_does(operator, admin, gold):
    id = admin.made("/v1/keys", json=KEY)["id"]
    assert admin.ask("POST", "/v1/keys", json={**KEY, "plan": gold}).status_code == 403
    assert admin.ask("PATCH", f"/v1/keys/{id}", json={"plan": ""}).status_code == 403
    made = operator.made(f"/v1/tenants/{admin.tenant}/keys", json={**KEY, "plan": gold})
    assert holding(admin, made["key"]).ask("GET", "/v1/me").json["plan"] == gold
    refused = operator.ask("POST", f"/v1/tenants/{admin.tenant}/keys", json={**KEY, "plan": "tin"})
    assert fields_of(refused) == (422, ["plan"])


def test_an_operator_makes_a_tenant_its_first_key_and_its_plan(operator, gold):
    id = name("umbrella")
    made = operator.ask("POST", "/v1/tenants", json={"id": id, "plan": gold})
    assert (made.status_code, made.headers["Location"]) == (201, f"/v1/tenants/{id}")
    assert (made.json["name"], made.json["state"], made.json["plan"]) == (id, "active", gold)
    first = operator.made(f"/v1/tenants/{id}/keys", json={"name": "first", "role": "admin"})
    me = holding(operator, first["key"]).ask("GET", "/v1/me").json
    assert (me["tenant"], me["role"], set(me["scopes"]), me["plan"]) == (id, "admin", set(ADMIN), gold)
    listed = operator.ask("GET", f"/v1/tenants/{id}/keys").json["data"]
    assert [row["id"] for row in listed] == [first["id"]]
    assert operator.ask("DELETE", f"/v1/tenants/{id}/keys/{first['id']}").json["state"] == "revoked"
    for path in ("/v1/tenants/nobody", "/v1/tenants/nobody/keys"):
        assert operator.ask("GET", path).status_code == 404
    assert operator.ask("POST", "/v1/tenants/nobody/keys", json=KEY).status_code == 404


def test_the_keys_of_a_suspended_tenant_are_refused(operator, admin):
    assert admin.ask("GET", "/v1/me").status_code == 200
    address = f"/v1/tenants/{admin.tenant}"
    assert operator.ask("PATCH", address, json={"state": "suspended"}).json["state"] == "suspended"
    assert admin.ask("GET", "/v1/me").status_code == 401
    operator.ask("PATCH", address, json={"state": "active"})
    assert admin.ask("GET", "/v1/me").status_code == 200


def test_who_only_acts_for_tenants_gives_himself_nothing(client, acme):
    clerk = with_key(client, OPERATORS_TENANT, "admin", scopes=("tenants:write",))
    assert clerk.ask("POST", f"/v1/tenants/{acme}/keys", json={"name": "first", "role": "admin"}).status_code == 201
    for role in ("admin", "developer"):
        answer = clerk.ask("POST", f"/v1/tenants/{OPERATORS_TENANT}/keys", json={"name": "n", "role": role})
        assert answer.status_code == 403


def test_a_plan_in_use_is_not_deleted(operator, acme, gold):
    address = f"/v1/tenants/{acme}"
    operator.ask("PATCH", address, json={"plan": gold})
    assert fields_of(operator.ask("DELETE", f"/v1/plans/{gold}")) == (422, ["name"])
    operator.ask("PATCH", address, json={"plan": ""})
    id = operator.made(f"{address}/keys", json={**KEY, "plan": gold})["id"]
    assert operator.ask("DELETE", f"/v1/plans/{gold}").status_code == 422
    operator.ask("DELETE", f"{address}/keys/{id}")
    assert operator.ask("DELETE", f"/v1/plans/{gold}").status_code == 204


def test_a_project_is_made_found_listed_and_deleted_once_no_key_belongs_to_it(admin):
    made = admin.made("/v1/projects", json={"id": "search", "name": "Search"})
    assert admin.ask("GET", "/v1/projects/search").json == made
    assert admin.ask("GET", "/v1/projects").json == {"data": [made], "next": None}
    assert fields_of(admin.ask("POST", "/v1/projects", json={"id": "search"})) == (422, ["id"])
    key = admin.made("/v1/keys", json={**KEY, "project": "search"})
    assert admin.ask("DELETE", "/v1/projects/search").status_code == 422
    admin.ask("DELETE", f"/v1/keys/{key['id']}")
    assert [admin.ask("DELETE", "/v1/projects/search").status_code for _ in range(2)] == [204, 404]


def test_lists_go_page_by_page(operator, admin):
    made = [admin.made("/v1/keys", json=KEY)["id"] for _ in range(3)]
    first = admin.ask("GET", "/v1/keys?limit=2").json
    second = admin.ask("GET", f"/v1/keys?limit=2&after={first['next']}").json
    assert [row["id"] for row in first["data"] + second["data"]][:3] == made[::-1]
    tenants = operator.ask("GET", "/v1/tenants?limit=1").json
    rest = operator.ask("GET", f"/v1/tenants?limit=1&after={tenants['next']}").json
    assert tenants["data"][0]["id"] == tenants["next"] < rest["data"][0]["id"]


@pytest.mark.parametrize(
    ("example", "method", "path"),
    [
        ("keys", "POST", "/v1/keys"),
        ("key_changes", "PATCH", "/v1/keys/{key}"),
        ("key_rotations", "POST", "/v1/keys/{key}/rotate"),
        ("projects", "POST", "/v1/projects"),
        ("tenants", "POST", "/v1/tenants"),
        ("tenant_changes", "PATCH", "/v1/tenants/{tenant}"),
    ],
)
def test_the_examples_of_the_document_are_taken(operator, acme, example, method, path):
    for row in examples_of(example).values():
        address = path.format(key=operator.made("/v1/keys", json=KEY)["id"], tenant=acme)
        answer = operator.ask(method, address, json=row["value"])
        assert answer.status_code < 300, (row, answer.data)
