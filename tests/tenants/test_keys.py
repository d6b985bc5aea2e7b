"""Whose key is this, in every worker, on every database."""

import multiprocessing
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, select

from llmapi.core.errors import Forbidden, NotFound, Overloaded, ValidationFailed
from llmapi.core.identity import Payer
from llmapi.db.engine import reading
from llmapi.db.tables.identity import keys
from llmapi.tenants.holders import Known, Memory
from llmapi.tenants.key_words import new_key, new_secret
from llmapi.tenants.keys import Keyring
from llmapi.tenants.tenants import Tenants
from tests.servers.databases import Database, away
from tests.tenants.conftest import PEPPER, Time

HERE = "127.0.0.1"
Open = Callable[[], Keyring]


def test_a_key_stands_for_whom_it_was_made_for(ring: Keyring, tenants: Tenants) -> None:
    tenants.create_project("acme", "search")
    tenants.update("acme", {"plan": "gold"})
    row, key = ring.create("acme", name="ci", role="developer", scopes=["tasks:run"], project="search")
    found = ring.identify(key, HERE)
    assert found is not None
    assert (found.identity.tenant, found.identity.name, found.identity.role) == ("acme", f"key-{row.id}", "developer")
    assert found.identity.payer == Payer(project="search", key=row.id)
    assert (found.identity.scopes, found.identity.plan) == ({"tasks:run"}, "gold")
    assert found.named("ann").payer == Payer("search", row.id, "ann")


def test_the_database_holds_nothing_a_key_can_be_made_of(ring: Keyring, tenants: Tenants, database: Database) -> None:
    row, key = ring.create("acme", name="ci", role="viewer")
    ring.rotate("acme", row.id, 60)
    with reading(database.open()) as connection:
        kept = str(connection.execute(select(keys)).all())
    assert key not in kept and key.split("_")[2][:43] not in kept
    assert Keyring(database.open(), b"another pepper").identify(key, HERE) is None


def test_wrong_keys_are_nobodys(ring: Keyring, tenants: Tenants) -> None:
    row, key = ring.create("acme", name="ci", role="viewer")
    for wrong in ("", "nope", key[:-1], key.upper(), new_key()[1], new_secret(row.id), "lak_\udcff"):
        assert ring.identify(wrong, HERE) is None
        assert ring.identify(wrong, HERE) is None
    assert ring.identify(key, HERE) is not None


def test_known_keys_good_and_wrong_cost_the_database_nothing(ring: Keyring, tenants: Tenants, engine: Engine) -> None:
    _, key = ring.create("acme", name="ci", role="viewer")
    wrong = new_key()[1]
    assert ring.identify(key, HERE) and not ring.identify(wrong, HERE) and not ring.holder("nobody", HERE)
    said: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *its: said.append(its[2]))
    for _ in range(50):
        assert ring.identify(key, HERE) and not ring.identify(wrong, HERE) and not ring.holder("nobody", HERE)
    assert said == []


@pytest.mark.parametrize("end", ["revoke", "rotate", "suspend"])
def test_what_ends_a_key_reaches_other_workers_within_5_s_under_load(
    open_ring: Open, tenants: Tenants, time: Time, end: str
) -> None:
    here, there = open_ring(), open_ring()
    row, key = here.create("acme", name="ci", role="viewer")
    assert there.identify(key, HERE) is not None
    stop = threading.Event()
    odd: list[BaseException] = []

    def load() -> None:
        try:
            while not stop.is_set():
                there.identify(key, HERE)
        except BaseException as error:
            odd.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    {
        "revoke": lambda: here.revoke("acme", row.id),
        "rotate": lambda: here.rotate("acme", row.id, 0),
        "suspend": lambda: tenants.suspend("acme"),
    }[end]()
    time.pass_(4.999)
    assert there.identify(key, HERE) is None
    stop.set()
    for thread in threads:
        thread.join(10)
    assert odd == []
    assert here.identify(key, HERE) is None or end == "suspend"


def test_two_secrets_are_good_while_they_overlap(open_ring: Open, tenants: Tenants, time: Time) -> None:
    here, there = open_ring(), open_ring()
    row, old = here.create("acme", name="ci", role="viewer")
    changed, new = here.rotate("acme", row.id, 60)
    assert (changed.id, changed.previous_until) == (row.id, time.now() + timedelta(seconds=60))
    time.pass_(59)
    assert [ring.identify(key, HERE) is not None for ring in (here, there) for key in (old, new)] == [True] * 4
    time.pass_(1)
    assert [ring.identify(key, HERE) is not None for ring in (here, there) for key in (old, new)] == [False, True] * 2


def test_a_second_rotation_ends_the_first_secret_at_once(ring: Keyring, tenants: Tenants) -> None:
    row, first = ring.create("acme", name="ci", role="viewer")
    _, second = ring.rotate("acme", row.id, 60)
    _, third = ring.rotate("acme", row.id, 60)
    assert [ring.identify(key, HERE) is not None for key in (first, second, third)] == [False, True, True]


def test_a_revoked_key_stays_revoked(ring: Keyring, tenants: Tenants) -> None:
    row, key = ring.create("acme", name="ci", role="viewer")
    assert ring.revoke("acme", row.id).state == ring.revoke("acme", row.id).state == "revoked"
    for change in (lambda: ring.rotate("acme", row.id, 60), lambda: ring.update("acme", row.id, {"name": "x"})):
        with pytest.raises(ValidationFailed):
            change()
    assert ring.identify(key, HERE) is None and ring.holder(row.id, HERE) is None


def test_a_resumed_tenants_keys_are_good_again(ring: Keyring, tenants: Tenants) -> None:
    _, key = ring.create("acme", name="ci", role="viewer")
    tenants.suspend("acme")
    assert ring.identify(key, HERE) is None
    tenants.resume("acme")
    assert ring.identify(key, HERE) is not None


def test_a_key_expires_to_the_second(ring: Keyring, tenants: Tenants, time: Time) -> None:
    _, key = ring.create("acme", name="ci", role="viewer", expires=time.now() + timedelta(seconds=10))
    time.pass_(9.9)
    assert ring.identify(key, HERE) is not None
    time.pass_(0.1)
    assert ring.identify(key, HERE) is None


GOOD_AND_BAD = [
    ("192.0.2.7", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.8", "::ffff:192.0.2.8", "2001:db8::1", "", "unix:"]),
    ("192.0.2.0/24", ["192.0.2.0", "192.0.2.255"], ["192.0.3.0", "192.0.1.255"]),
    ("2001:db8::/32", ["2001:db8::1", "2001:db8:ffff::"], ["2001:db9::", "192.0.2.7", "::ffff:32.1.13.184"]),
    ("::ffff:192.0.2.0/120", ["192.0.2.1", "::ffff:192.0.2.1"], ["192.0.3.1", "::ffff:192.0.3.1"]),
]


@pytest.mark.parametrize(("network", "good", "bad"), GOOD_AND_BAD)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_key_is_good_only_from_its_addresses(
    ring: Keyring, tenants: Tenants, network: str, good: list[str], bad: list[str]
) -> None:
    _, key = ring.create("acme", name="ci", role="viewer", addresses=["10.0.0.0/8", network])
    assert [address for address in good + bad if ring.identify(key, address)] == good


def test_others_keys_are_as_unknown_as_none(ring: Keyring, tenants: Tenants) -> None:
    row, _ = ring.create("default", name="ci", role="viewer")
    for act in (
        lambda id: ring.get("acme", id),
        lambda id: ring.rotate("acme", id, 0),
        lambda id: ring.revoke("acme", id),
        lambda id: ring.update("acme", id, {"name": "mine"}),
        lambda id: ring.get_within("acme", id, {"*"}),
    ):
        said = []
        for id in (row.id, "unknown"):
            with pytest.raises(NotFound) as refused:
                act(id)
            said.append((refused.value.message, refused.value.fields, refused.value.details))
        assert said[0] == said[1]
    assert ring.list("acme").keys == ()


def test_keys_are_listed_newest_first_page_by_page(ring: Keyring, tenants: Tenants) -> None:
    made = sorted((ring.create("acme", name=f"k{n}", role="viewer")[0].id for n in range(5)), reverse=True)
    first = ring.list("acme", limit=3)
    second = ring.list("acme", limit=3, after=first.after)
    assert [row.id for row in (*first.keys, *second.keys)] == made
    assert (first.after, second.after) == (made[2], None)


def test_a_change_reaches_what_the_key_stands_for(ring: Keyring, tenants: Tenants) -> None:
    row, key = ring.create("acme", name="ci", role="viewer")
    assert ring.identify(key, HERE)
    changed = ring.update("acme", row.id, {"role": "developer", "may_name_user": True, "addresses": ["127.0.0.0/8"]})
    assert (changed.role, changed.addresses, changed.name) == ("developer", ("127.0.0.0/8",), "ci")
    found = ring.identify(key, HERE)
    assert found is not None and found.may_name_user and found.identity.role == "developer"
    assert ring.identify(key, "192.0.2.7") is None


WRONG = [
    ("name", {"name": ""}),
    ("name", {"name": "a\nb"}),
    ("role", {"role": "root"}),
    ("scopes", {"scopes": ["jobs:fly"]}),
    ("scopes", {"scopes": ["tasks:run"]}),  # not a viewer's
    ("project", {"project": "none"}),
    ("addresses", {"addresses": ["192.0.2.7/24"]}),
    ("addresses", {"addresses": ["10.0.0.0/8"] * 65}),
]


@pytest.mark.parametrize(("field", "values"), WRONG)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_is_wrong_with_a_key_is_named(ring: Keyring, tenants: Tenants, field: str, values: dict) -> None:
    row, _ = ring.create("acme", name="ci", role="viewer")
    for act in (
        lambda: ring.create("acme", **{"name": "ci", "role": "viewer", **values}),
        lambda: ring.update("acme", row.id, values),
    ):
        with pytest.raises(ValidationFailed) as refused:
            act()
        assert list(refused.value.fields) == [field]


def test_a_key_is_made_for_a_tenant_there_is_and_for_a_time_to_come(ring: Keyring, time: Time) -> None:
    with pytest.raises(NotFound):
        ring.create("nobody", name="ci", role="viewer")
    with pytest.raises(ValidationFailed):
        ring.create("default", name="ci", role="viewer", expires=time.now())


def test_a_key_lives_for_ten_years_at_most(ring: Keyring, time: Time) -> None:
    ring.create("default", name="ci", role="viewer", expires=time.now() + timedelta(days=3660))
    with pytest.raises(ValidationFailed):
        ring.create("default", name="ci", role="viewer", expires=time.now() + timedelta(days=3661))


def test_nobody_hands_out_more_than_he_has(ring: Keyring, tenants: Tenants) -> None:
    admin, _ = ring.create("acme", name="boss", role="admin")
    mine = frozenset({"keys:*", "jobs:read"})
    row, _ = ring.create("acme", name="ci", role="viewer", scopes=["jobs:read"], maker=mine)
    for act in (
        lambda: ring.create("acme", name="ci", role="viewer", maker=mine),
        lambda: ring.update("acme", row.id, {"scopes": None}, maker=mine),
        lambda: ring.update("acme", admin.id, {"addresses": []}, maker=mine),
        lambda: ring.rotate("acme", admin.id, 0, maker=mine),
        lambda: ring.revoke("acme", admin.id, maker=mine),
        lambda: ring.get_within("acme", admin.id, mine),
    ):
        with pytest.raises(Forbidden):
            act()
    assert ring.revoke("acme", row.id, maker=mine).state == "revoked"
    assert ring.get("acme", admin.id).state == "active"


def test_a_database_that_is_away_locks_nobody_out_for_5_s(
    ring: Keyring, tenants: Tenants, engine: Engine, time: Time
) -> None:
    _, key = ring.create("acme", name="ci", role="viewer")
    assert ring.identify(key, HERE) is not None
    away(engine)
    time.pass_(4.9)
    assert ring.identify(key, HERE) is not None
    time.pass_(0.2)
    for _ in range(3):
        with pytest.raises(Overloaded):
            ring.identify(key, HERE)
    assert ring.identify("no key at all", HERE) is None


def test_last_use_is_written_in_one_go_and_never_goes_back(ring: Keyring, tenants: Tenants, time: Time) -> None:
    row, key = ring.create("acme", name="ci", role="viewer")
    ring.identify(key, HERE)
    assert ring.get("acme", row.id).last_used is None
    ring.uses.write()
    used = ring.get("acme", row.id).last_used
    assert used == time.now()
    ring.uses.seen[row.id] = used - timedelta(seconds=5)
    ring.uses.write()
    assert ring.get("acme", row.id).last_used == used


def test_the_last_use_is_written_when_a_worker_stops(ring: Keyring, tenants: Tenants) -> None:
    row, key = ring.create("acme", name="ci", role="viewer")
    ring.start()
    ring.identify(key, HERE)
    ring.stop()
    assert ring.get("acme", row.id).last_used is not None


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    memory = Memory(3)
    for number in range(5):
        memory.put(number, Known(number))
    assert [number for number in range(5) if memory.get(number)] == [2, 3, 4]


def test_of_many_who_ask_for_the_first_key_one_gets_it(database: Database) -> None:
    fork = multiprocessing.get_context("fork")
    told = fork.SimpleQueue()
    children = [fork.Process(target=ask_first, args=(database, told)) for _ in range(4)]
    for child in children:
        child.start()
    made = [key for _ in children if (key := told.get())]
    for child in children:
        child.join(10)
    ring = Keyring(database.open(), PEPPER)
    assert len(made) == 1
    found = ring.identify(made[0], HERE)
    assert found is not None and (found.identity.tenant, found.identity.scopes) == ("default", {"*"})
    ring.revoke("default", found.id)
    assert ring.first() is None


def ask_first(database: Database, told: Any) -> None:
    made = Keyring(database.open(), PEPPER).first()
    told.put(made[1] if made else "")


def test_there_is_no_first_key_where_there_is_one(ring: Keyring, tenants: Tenants) -> None:
    ring.create("acme", name="ci", role="viewer")
    assert ring.first() is None
