"""Every operation of the OpenAPI document x every role x one's own, a foreign and an unknown id."""

from collections.abc import Iterator

import pytest

from tests.api.matrix.document import Operation
from tests.api.matrix.house import House, furnished, running
from tests.api.matrix.objects import LINE, file
from tests.api.matrix.table import PUBLIC, ROLES, who_may
from tests.api.matrix.trial import ask, ids_for, is_shared, made, seen, unknown

UNSPOKEN = {"/docs", "/docs/<path:name>", "/openapi.json"}  # the document does not describe itself

TAKEN = {("/v1/keys", "role"), ("/v1/tenants/{tenant_id}/keys", "role"), ("/v1/tenants/{tenant_id}", "state")}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running(tmp_path_factory.mktemp("matrix")) as client:
        yield furnished(client)


@pytest.mark.parametrize("role", ROLES)
def test_every_role_is_let_in_exactly_where_the_table_says(house, role):
    wrong, kept = [], {}
    for each in house.every:
        may = role in who_may(each)
        ids = ids_for(each, house.maker(role), fresh=may and each.method != "GET", kept=kept)
        status = ask(each, house.a[role], ids, empty=not each.owned).status_code
        let_in = status not in (401, 403) and status < 500
        if let_in != may or (may and each.owned and status >= 300) or (not may and status != 403):
            wrong.append((str(each), "may" if may else "may not", status))
    assert wrong == []


def test_nobody_without_a_key_is_let_in(house):
    statuses = {
        str(each): ask(each, house.nobody, ("0" * 8,) * len(each.owned), empty=True).status_code for each in house.every
    }
    assert {name for name, status in statuses.items() if status != 401} == {f"GET {path}" for path in PUBLIC}
    assert {each.path for each in house.every if each.public} == PUBLIC


def test_what_is_no_method_of_the_document_is_no_way_in(house):
    wrong = []
    for each in (each for each in house.every if each.method == "GET" and each.path not in PUBLIC):
        path = each.at(("0" * 8,) * len(each.owned))
        asked = [("HEAD", house.nobody, 401), ("OPTIONS", house.nobody, 401)]
        if "n" not in who_may(each):
            asked += [("HEAD", house.a["n"], 403), ("OPTIONS", house.a["n"], 403)]
        for method, asker, expected in asked:
            if (status := asker.ask(method, path).status_code) != expected:
                wrong.append((method, path, asker.tenant, status))
    assert wrong == []


def test_a_foreign_id_is_answered_exactly_like_an_unknown_one(house):
    wrong = []
    for each in (each for each in house.every if each.owned and not is_shared(each)):
        foreign = made(each, house.a["a"])
        for place in range(len(foreign)):
            own = made(each, house.b)[:place] if place else ()
            theirs, nobodys = own + foreign[place:], own + unknown(foreign[place:])
            found, missed = (seen(ask(each, house.b, ids), ids) for ids in (theirs, nobodys))
            if found != missed or found[0] != 404:
                wrong.append((str(each), place, found, missed))
    assert wrong == []


@pytest.mark.parametrize("role", "mdvn")
def test_who_may_not_learns_nothing_from_the_refusal(house, role):
    wrong, kept = [], {}
    for each in (each for each in house.every if each.owned and role not in who_may(each)):
        own, foreign = (ids_for(each, owner, fresh=False, kept=kept) for owner in (house.a["a"], house.b))
        answers = [seen(ask(each, house.a[role], ids), ids) for ids in (own, foreign, unknown(own))]
        if answers != [answers[0]] * 3 or answers[0][0] != 403:
            wrong.append((str(each), answers))
    assert wrong == []


def test_another_tenant_changes_nothing(house):
    wrong = []
    for shown in (each for each in house.every if each.owned and each.method == "GET" and not is_shared(each)):
        ids = made(shown, house.a["a"])
        before = ask(shown, house.a["a"], ids)
        for each in house.every:
            if each.owned[-1:] == shown.owned[-1:]:
                ask(each, house.b, ids)
        after = ask(shown, house.a["a"], ids)
        if seen(before, ()) != seen(after, ()):
            wrong.append(str(shown))
    assert wrong == []


@pytest.mark.parametrize("role", "amdv")
def test_only_operators_name_a_tenant(house, role):
    for each in house.every:
        if each.path.startswith(("/v1/tenants", "/v1/plans")):
            assert ask(each, house.a[role], ("a",) * len(each.owned)).status_code == 403


@pytest.mark.parametrize("wish", ["tenant=b", "tenant=nobody", "by=tenant", "everyone=true"])
def test_only_operators_ask_for_what_others_do(house, wish):
    wrong = []
    for each in (each for each in house.every if wish.partition("=")[0] in each.query):
        mine, theirs = (house.a[role].ask(each.method, f"{each.path}?{wish}").status_code for role in "ao")
        if (mine, theirs) != (403, 200):
            wrong.append((str(each), mine, theirs))
    assert wrong == []


@pytest.mark.parametrize(
    ("path", "make", "body"),
    [
        ("/v1/batches", file, lambda id: {"input_file_id": id, "endpoint": LINE["url"], "completion_window": "24h"}),
        ("/v1/cache/warm", file, lambda id: {"task": "chat", "file": id}),
    ],
)
def test_a_foreign_id_within_a_body_is_answered_like_an_unknown_one(house, path, make, body):
    theirs = (make(house.a["a"]),)
    answers = [house.b.ask("POST", path, json=body(ids[0])) for ids in (theirs, unknown(theirs))]
    found, missed = (seen(answer, ids) for answer, ids in zip(answers, (theirs, unknown(theirs)), strict=True))
    assert (found, found[0] in (400, 404, 422)) == (missed, True)


@pytest.mark.parametrize("field", ["tenant", "tenant_id", "state", "cost", "role", "key"])
def test_no_body_names_a_tenant_a_state_or_a_cost(house, field):
    wrong = []
    for each in house.every:
        if not isinstance(each.body, dict) or (each.path, field) in TAKEN:
            continue
        ids = made(each, house.operator) if each.owned else ()
        answer = house.operator.ask(each.method, each.at(ids), json=each.body | {field: "b"})
        if answer.status_code not in (400, 422):
            wrong.append((str(each), answer.status_code))
    assert wrong == []


def test_no_route_stands_outside_the_document(house):
    rules = {rule.rule for rule in house.operator.client.application.url_map.iter_rules()}
    told = {each.path for each in house.every}
    plain = {rule: "/".join("{}" if part[:1] == "<" else part for part in rule.split("/")) for rule in rules}
    known = {"/".join("{}" if part[:1] == "{" else part for part in path.split("/")) for path in told}
    assert {rule for rule, form in plain.items() if form not in known} == UNSPOKEN


def test_an_address_that_nobody_thought_of_fails_with_words(house):
    new = Operation("GET", "/v1/secrets/{secret_id}", "secrets", False, None)
    with pytest.raises(pytest.fail.Exception, match="write a function that makes such an object"):
        made(new, house.b)
    with pytest.raises(pytest.fail.Exception, match="give MAY a row"):
        who_may(new)
