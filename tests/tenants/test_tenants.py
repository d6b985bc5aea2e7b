from collections.abc import Callable

import pytest

from llmapi.core.errors import NotFound, ValidationFailed
from llmapi.tenants.keys import Keyring
from llmapi.tenants.tenants import Tenants


def test_a_tenant_is_made_once_and_listed_by_id(tenants: Tenants) -> None:
    made = tenants.create("zoo", name="The Zoo", plan="gold")
    assert (made.id, made.name, made.plan, made.state) == ("zoo", "The Zoo", "gold", "active")
    with pytest.raises(ValidationFailed):
        tenants.create("zoo")
    first, after = tenants.list(limit=2)
    rest, end = tenants.list(limit=2, after=after)
    assert ([each.id for each in (*first, *rest)], after, end) == (["acme", "default", "zoo"], "default", None)


@pytest.mark.parametrize("id", ["", "Acme", "-a", "a" * 65, "a/b", "a b", "é", "a\n"])
def test_an_id_is_good_in_an_address(tenants: Tenants, id: str) -> None:
    for act in (lambda: tenants.create(id), lambda: tenants.create_project("acme", id)):
        with pytest.raises(ValidationFailed) as refused:
            act()
        assert list(refused.value.fields) == ["id"]


WRONG = [("state", {"state": "gone"}), ("id", {"id": "x"}), ("name", {"name": ""})]


@pytest.mark.parametrize(("field", "values"), WRONG)
def test_what_is_wrong_with_a_change_is_named(tenants: Tenants, field: str, values: dict[str, str]) -> None:
    with pytest.raises(ValidationFailed) as refused:
        tenants.update("acme", values)
    assert list(refused.value.fields) == [field]


def test_the_operators_tenant_cannot_be_suspended(tenants: Tenants) -> None:
    with pytest.raises(ValidationFailed):
        tenants.suspend("default")


def test_who_is_not_there_cannot_be_changed(tenants: Tenants) -> None:
    acts: list[Callable[[], object]] = [
        lambda: tenants.get("nobody"),
        lambda: tenants.suspend("nobody"),
        lambda: tenants.create_project("nobody", "p"),
        lambda: tenants.project("acme", "p"),
        lambda: tenants.delete_project("acme", "p"),
    ]
    for act in acts:
        with pytest.raises(NotFound):
            act()


def test_projects_are_their_tenants_own(tenants: Tenants) -> None:
    tenants.create_project("acme", "search", name="Search")
    tenants.create_project("default", "search")
    with pytest.raises(ValidationFailed):
        tenants.create_project("acme", "search")
    assert [each.name for each in tenants.projects("acme")[0]] == ["Search"]
    tenants.delete_project("acme", "search")
    assert tenants.projects("acme") == ((), None)
    assert tenants.project("default", "search").name == "search"


def test_a_project_with_keys_stays(tenants: Tenants, ring: Keyring) -> None:
    tenants.create_project("acme", "search")
    row, _ = ring.create("acme", name="ci", role="viewer", project="search")
    with pytest.raises(ValidationFailed):
        tenants.delete_project("acme", "search")
    ring.revoke("acme", row.id)
    tenants.delete_project("acme", "search")
