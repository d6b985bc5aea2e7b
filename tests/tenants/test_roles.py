import pytest

from llmapi.core.errors import Forbidden, ValidationFailed
from llmapi.tenants.roles import OPERATORS, ROLES, SCOPES, allows, checked_scopes, need_within, scopes_of


def test_a_pattern_takes_in_its_subject_and_the_star_everything():
    assert [allows({"jobs:*"}, scope) for scope in ("jobs:read", "jobs:*", "tasks:run", "*")] == [1, 1, 0, 0]
    assert all(allows({"*"}, scope) for scope in (*SCOPES, "*", "jobs:*"))
    assert not allows({"jobs:read"}, "jobs:*")


def test_each_role_can_do_what_the_smaller_ones_can():
    can = [{scope for scope in SCOPES if allows(ROLES[role], scope)} for role in ("viewer", "developer", "manager")]
    can.append({scope for scope in SCOPES if allows(ROLES["admin"], scope)})
    assert can[0] < can[1] < can[2] < can[3]
    assert can[3] == {scope for scope in SCOPES if not scope.startswith(OPERATORS)}


def test_a_viewer_only_reads():
    assert all(scope.endswith(":read") for scope in ROLES["viewer"])


def test_only_the_operators_own_admins_may_everything():
    assert scopes_of("default", "admin") == {"*"}
    others = [scopes_of("acme", role) for role in ROLES]
    assert not any(allows(scopes, scope) for scopes in others for scope in ("tenants:write", "admin:read", "*"))


@pytest.mark.parametrize("scope", ["tenants:read", "tenants:*", "admin:write", "*"])
def test_what_is_the_operators_is_for_no_other_tenant(scope):
    with pytest.raises(ValidationFailed):
        checked_scopes("acme", "admin", [scope])
    assert checked_scopes("default", "admin", [scope]) == {scope}


@pytest.mark.parametrize("scope", ["", ":", ":*", "jobs", "jobs:", "jobs:fly", "fly:*", "**", "jobs:**"])
def test_what_is_no_scope_is_refused(scope):
    with pytest.raises(ValidationFailed):
        checked_scopes("default", "admin", [scope])


def test_nobody_gives_a_pattern_of_which_he_has_a_part():
    with pytest.raises(Forbidden, match=r"jobs:\*"):
        need_within(["jobs:*"], {"jobs:read", "jobs:write"})
    need_within(["jobs:read", "files:*"], {"jobs:*", "files:*"})
