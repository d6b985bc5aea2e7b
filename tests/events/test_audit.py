"""The audit chain shows every change made to it."""

import contextlib
import random
import sqlite3
import threading
from datetime import UTC, datetime, timedelta

import pytest

from llmapi.core.errors import StorageFull
from llmapi.db.engine import FILE as FILE_OF_SQLITE
from llmapi.events.audit import FILE, Audit, heads_in
from llmapi.events.audit_chain import Entry, Head, faults, hash_of
from tests.servers.databases import Database

KEY = b"a key that is not in the database"


class Wall:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        self.now += timedelta(seconds=1, microseconds=7)
        return self.now


def open_audit(database: Database, key: bytes = KEY) -> Audit:
    return Audit(database.open(), key, database.folder, now=Wall())


@pytest.fixture
def audit(database: Database) -> Audit:
    return open_audit(database)


def test_entries_are_numbered_without_gaps_and_the_chain_is_whole(audit, database):
    for number in range(5):
        audit.append("acme", "key-1", "keys.create", f"lak-{number}", details={"asked": {"role": "viewer"}})
    assert [entry.number for entry in audit.all()] == [1, 2, 3, 4, 5]
    assert audit.verify(audit.exported()) == []
    assert [head.number for head in heads_in(database.folder / FILE)] == [1, 2, 3, 4, 5]
    assert audit.head() == audit.exported()[-1]


def test_who_has_another_key_cannot_verify(audit, database):
    audit.append("acme", "key-1", "keys.create")
    assert open_audit(database, b"some other key").verify() == ["entry 1 is not as it was written"]


def test_writers_in_several_processes_take_turns(database):
    chains = [open_audit(database) for _ in range(4)]
    threads = [
        threading.Thread(target=lambda chain=chain: [chain.append("acme", "k", "plans.set") for _ in range(10)])
        for chain in chains
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [entry.number for entry in chains[0].all()] == list(range(1, 41))
    assert chains[0].verify(chains[0].exported()) == []


def test_entries_are_found_by_tenant_actor_and_action_newest_first(audit):
    for tenant, actor, action in (("a", "k1", "keys.create"), ("b", "k2", "keys.delete"), ("a", "k2", "keysx.read")):
        audit.append(tenant, actor, action)
    found = [[entry.number for entry in audit.page(*who, **how).entries] for who, how in (
        (("a",), {}), ((None,), {}), (("a",), {"actor": "k2"}), ((None,), {"action": "keys."}), (("b",), {"after": 2})
    )]
    assert found == [[3, 1], [3, 2, 1], [3], [2, 1], []]
    first = audit.page(None, limit=2)
    assert (first.after, [entry.number for entry in audit.page(None, limit=2, after=first.after).entries]) == (2, [1])


def test_details_that_are_too_long_are_left_out(audit):
    assert audit.append("a", "k", "plans.set", details={"asked": "x" * 5000}).details == '{"too_long":5012}'


def test_a_head_that_cannot_be_exported_is_a_full_storage_and_the_chain_is_whole(audit, database):
    (database.folder / FILE).mkdir()
    with pytest.raises(StorageFull):
        audit.append("a", "k", "keys.create")
    assert (audit.head().number, audit.verify()) == (1, [])


class Copy:
    """A copy of a chain's database, and what may be done to it."""

    def __init__(self, file, folder):
        self.connection = sqlite3.connect(folder / "copy.sqlite3")
        with contextlib.closing(sqlite3.connect(file)) as whole:
            whole.backup(self.connection)

    def numbers(self):
        return [row[0] for row in self.connection.execute("SELECT number FROM audit_entries ORDER BY number")]

    def edit(self, chance):
        column = chance.choice(("at", "tenant", "actor", "action", "target", "request_id", "details", "hash"))
        number = chance.choice(self.numbers())
        old = self.connection.execute(f"SELECT {column} FROM audit_entries WHERE number = ?", (number,)).fetchone()[0]
        new = old + chance.choice((-1, 1)) if column == "at" else changed(chance, old)
        self.connection.execute(f"UPDATE audit_entries SET {column} = ? WHERE number = ?", (new, number))

    def delete(self, chance):
        first = chance.choice(self.numbers())
        self.connection.execute("DELETE FROM audit_entries WHERE number = ?", (first,))
        if chance.random() < 0.5:  # and the rest moves up
            self.connection.execute("UPDATE audit_entries SET number = -number WHERE number > ?", (first,))
            self.connection.execute("UPDATE audit_entries SET number = -number - 1 WHERE number < 0")

    def swap(self, chance):
        one, other = chance.sample(self.numbers(), 2)
        for old, new in ((one, -1), (other, one), (-1, other)):
            self.connection.execute("UPDATE audit_entries SET number = ? WHERE number = ?", (new, old))

    def truncate(self, chance):
        last = chance.choice(self.numbers()) - 1
        self.connection.execute("DELETE FROM audit_entries WHERE number > ?", (last,))
        if chance.random() < 0.8:  # and the head is put back, with what it was then
            row = self.connection.execute("SELECT hash FROM audit_entries WHERE number = ?", (last,)).fetchone()
            self.connection.execute("UPDATE audit_head SET number = ?, hash = ?", (last, row[0] if row else ""))

    def found(self, heads):
        columns = "number, at, tenant, actor, action, target, request_id, details, hash"
        rows = self.connection.execute(f"SELECT {columns} FROM audit_entries ORDER BY number").fetchall()
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        entries = [Entry(row[0], epoch + timedelta(microseconds=row[1]), *row[2:]) for row in rows]
        head = Head(*self.connection.execute("SELECT number, hash FROM audit_head").fetchone())
        return faults(KEY, entries, [*heads, head])


def changed(chance, text):
    place = chance.randrange(len(text) + 1)
    return text[:place] + chance.choice("0aZ ") + text[place + chance.randrange(1 if not text else 2):] + "~"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_thousand_edits_deletions_swaps_and_truncations_are_all_seen(audit, database, tmp_path):
    for number in range(40):
        audit.append("acme", f"key-{number % 3}", "keys.change", f"k{number}", request_id=f"req_{number}")
    heads, chance = audit.exported(), random.Random(7)
    copy = Copy(database.folder / FILE_OF_SQLITE, tmp_path)
    assert copy.found(heads) == []
    for number in range(1000):
        getattr(copy, ("edit", "delete", "swap", "truncate")[number % 4])(chance)
        assert copy.found(heads) != [], number
        copy.connection.rollback()
    copy.connection.close()


def test_an_entry_put_in_by_who_has_no_key_does_not_fit():
    first = Entry(1, datetime(2026, 1, 1, tzinfo=UTC), "a", "k", "keys.create", "", "", "{}")
    first = Entry(*[getattr(first, name) for name in Entry.__slots__[:-1]], hash_of(KEY, first, ""))
    forged = Entry(2, first.at, "a", "k", "keys.delete", "", "", "{}", hash_of(b"guess", first, first.hash))
    assert faults(KEY, [first, forged], []) == ["entry 2 is not as it was written"]


def test_an_entry_beyond_the_head_is_seen(audit, database):
    audit.append("acme", "k", "keys.create")
    with database.open().begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO audit_entries SELECT 2, at, tenant, actor, action, target, request_id, details, hash"
            " FROM audit_entries"
        )
    assert "entry 2 follows the head" in audit.verify()
