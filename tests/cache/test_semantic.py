"""What is kept by meaning: bounds, time, namespaces, restarts, and workers that share."""

import numpy as np
import pytest
from sqlalchemy import update

from llmapi.cache.index import Found
from llmapi.cache.learned import Learned
from llmapi.cache.namespaces import Asked
from llmapi.cache.record import Source, recorded
from llmapi.cache.semantic import Spaces
from llmapi.cache.semantic_shelf import Bounds
from llmapi.cache.shared_entries import Entry, packed, unpacked
from llmapi.core.calls import Completion, Usage
from llmapi.core.errors import Overloaded
from llmapi.core.kept import About, Mark
from llmapi.db.engine import writing
from llmapi.db.tables.semantic import learned as table

HOME = "acme:" + "0" * 32


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def unit(seed):
    vector = np.random.default_rng(seed).normal(size=32).astype(np.float32)
    return vector / np.linalg.norm(vector)


def record(text="An answer.", created=1000.0, ttl=60.0, tenant="acme"):
    return recorded(
        Completion(text, Usage(1, 1), "stop"), Source("p", "m"), About(tenant, "text"), created=created, ttl=ttl
    )


def keep(spaces, question, seed, *, space=HOME, **more):
    look = spaces.look(Asked(space, question), "text", unit(seed), 0.05)
    return spaces.learn(look, record(created=1000.0, **more))


def near(spaces, text, seed, space=HOME):
    return spaces.look(Asked(space, text), "text", unit(seed), 0.05)


def made(clock=None, **more):
    return Spaces("fixed:0.9", clock=clock or Clock(), **more)


def test_what_is_near_is_served_with_its_age():
    clock = Clock()
    spaces = made(clock)
    keep(spaces, "name a river", 1)
    clock.now = 1007.0
    look = near(spaces, "name some river", 1)
    assert (look.kept.text, look.age, look.verdict.reason) == ("name a river", 7.0, "served")


def test_nothing_is_served_in_another_namespace():
    spaces = made()
    keep(spaces, "name a river", 1)
    assert near(spaces, "name some river", 1, space="other:" + "0" * 32).kept is None


def test_an_entry_lives_for_its_time_and_no_longer():
    clock = Clock()
    spaces = made(clock)
    keep(spaces, "name a river", 1, ttl=60.0)
    clock.now = 1059.9
    assert near(spaces, "name some river", 1).kept is not None
    clock.now = 1060.0
    assert near(spaces, "name some river", 1).kept is None and near(spaces, "name a river", 1).kept is None
    clock.now = 1062.0
    near(spaces, "x", 2)
    assert spaces.stats()["entries"] == 0


def test_entries_and_bytes_are_bounded_and_the_least_used_leave_first():
    spaces = made(bounds=Bounds(entries=3))
    for seed, name in enumerate(("one", "two", "three")):
        keep(spaces, f"name {name}", seed)
    assert near(spaces, "name one", 0).kept is not None
    keep(spaces, "name four", 3)
    assert [near(spaces, f"name {name}", seed).kept is not None for seed, name in enumerate(("one", "two"))] == [
        True,
        False,
    ]
    spaces = made(bounds=Bounds(size=5000))
    for seed in range(10):
        keep(spaces, f"question {'abcdefghij'[seed]}", seed, text="x" * 1000)
    assert spaces.stats()["entries"] == 2 and spaces.stats()["bytes"] <= 5000


def test_the_same_question_is_kept_once():
    spaces = made()
    keep(spaces, "name a river", 1)
    keep(spaces, "name a river", 1, text="Another answer.")
    assert spaces.stats()["entries"] == 1
    assert near(spaces, "name a river", 1).kept.record.completion.text == "Another answer."


def test_numbers_of_one_tenant_are_his_own():
    spaces = made()
    keep(spaces, "name a river", 1)
    assert spaces.stats("acme")["entries"] == 1 and spaces.stats("other")["entries"] == 0


def trained(spaces, requests=60):
    for number in range(requests):
        look = near(spaces, f"thing {'abcdefgh'[number % 8]} {'now' * (number // 8)}", number % 8)
        if look.kept is None:
            spaces.learn(look, record(), same=True if look.verdict.judge else None)


def test_a_restart_keeps_what_was_learned(database):
    spaces = Spaces("vcache", clock=Clock(), learned=Learned(database.open(), "vcache"))
    trained(spaces)
    labels = spaces.stats()["labels"]
    spaces.close()
    after = Spaces("vcache", clock=Clock(), learned=Learned(database.open(), "vcache"))
    near(after, "thing a", 1)
    assert labels > 0 and after.stats()["labels"] == labels
    other = Spaces("vote", clock=Clock(), learned=Learned(database.open(), "vote"))
    near(other, "thing a", 1)
    assert other.stats()["labels"] == 0


def test_of_two_workers_the_one_that_learned_more_is_remembered(database):
    learned = Learned(database.open(), "vote")
    learned.save(HOME, 5, {"a": [1.23456789, 2]})
    learned.save(HOME, 3, {"a": []})
    assert learned.load(HOME) == (5, {"a": [1.23457, 2]})
    learned.save(HOME, 6, {"b": 1})
    assert learned.load(HOME) == (6, {"b": 1}) and learned.load("other:1") is None


@pytest.mark.parametrize("state", [{}, {"policy": {}, "served": []}, {"policy": "vote"}])
def test_a_state_that_cannot_be_read_is_learned_anew(database, state):
    learned = Learned(database.open(), "vote")
    learned.save(HOME, 5, state)
    spaces = Spaces("vote", clock=Clock(), learned=learned)
    keep(spaces, "name a river", 1)
    spaces.learn(near(spaces, "name some river", 1), record(), same=True)
    spaces.close()
    assert learned.load(HOME)[0] == 6 and len(learned.load(HOME)[1]["policy"]["calibration"]["seen"]) == 1


def test_bytes_of_a_state_that_are_damaged_are_a_state_that_cannot_be_read(database):
    learned = Learned(database.open(), "vote")
    learned.save(HOME, 5, {"a": 1})
    with writing(database.open()) as connection:
        connection.execute(update(table).values(state=b"\x00"))
    assert learned.load(HOME) == (5, {})


class OneServer:
    """A server in memory that workers share; it can be away."""

    def __init__(self):
        self.entries, self.away = {}, False

    def add(self, space, entry, vector, payload, ttl):
        self._reached()
        self.entries[space, entry] = (vector, payload)

    def remove(self, space, entry):
        self._reached()
        return self.entries.pop((space, entry), None) is not None

    def nearest(self, space, vector, count):
        self._reached()
        mine = [(entry, *kept) for (where, entry), kept in self.entries.items() if where == space]
        found = [Found(entry, float(known @ vector), payload) for entry, known, payload in mine]
        return sorted(found, key=lambda each: -each.cosine)[:count]

    def close(self):
        pass

    def _reached(self):
        if self.away:
            raise Overloaded("away")


@pytest.fixture
def server():
    return OneServer()


def test_workers_that_share_a_server_see_each_others_entries(server):
    one, other = made(shared=server), made(shared=server)
    keep(one, "name a river", 1)
    assert near(other, "name some river", 1).kept.record == record()


def test_what_one_worker_evicts_no_other_serves(server):
    one, other = made(shared=server), made(shared=server)
    entry = keep(one, "name a river", 1)
    near(other, "name some river", 1)
    assert one.feedback("acme", entry, False, True)
    assert near(other, "name some river", 1).kept is None and near(other, "name a lake", 1).kept is None


def test_what_is_cleared_by_its_key_is_served_by_no_worker_that_finds_it_on_the_server(server):
    one, other = made(shared=server), made(shared=server)
    look = one.look(Asked(HOME, "name a river", "acme:k"), "text", unit(1), 0.05)
    one.learn(look, record())
    other.mark(Mark("other", "key", "acme:k", 1e12))
    assert near(other, "name some river", 1).kept is not None
    late = made(shared=server)
    late.mark(Mark("acme", "key", "acme:k", 1e12))
    assert near(late, "name some river", 1).kept is None and near(late, "name a river", 1).kept is None


def test_a_worker_evicts_what_it_never_saw(server):
    one, third = made(shared=server), made(shared=server)
    entry = keep(one, "name a river", 1)
    assert not third.feedback("other", entry, False, True)
    assert third.feedback("acme", entry, False, True) and near(one, "name some river", 1).kept is None


def test_a_server_that_is_away_breaks_nothing(server):
    spaces = made(shared=server)
    server.away = True
    keep(spaces, "name a river", 1)
    assert near(spaces, "name some river", 1).kept is not None


def test_an_answer_with_half_a_character_stays_with_the_worker_that_has_it(server):
    spaces = made(shared=server)
    assert keep(spaces, "name a river", 1, text="\ud83d") is not None
    assert server.entries == {} and spaces.stats()["entries"] == 1


def test_bytes_that_are_damaged_or_of_another_version_are_no_entry():
    good = packed(Entry("text", "c", unit(1), record(), "acme:k"))
    read = unpacked(good)
    assert (read.text, read.cluster, read.record, read.key) == ("text", "c", record(), "acme:k")
    assert (read.vector == unit(1)).all()
    for bad in (b"", b"\x00", b"\x01" + good[1:], b"\x03" + good[1:], good[:30], good[:-3]):
        assert unpacked(bad) is None
