"""The indexes: one contract, each engine; and what only shared ones, or growing ones, must do."""

import subprocess
import sys
import time

import numpy as np
import pytest
import redis

from llmapi.cache.index import Growing
from llmapi.cache.index_numpy import Rows
from llmapi.cache.index_pgvector import PgVectorIndex
from llmapi.cache.index_redis import RedisIndex
from llmapi.cache.index_shared import Guarded, open_index
from llmapi.cache.index_usearch import Graph
from llmapi.core.errors import BadSetting, Overloaded

WIDTH = 16


class OneSpace:
    """A shared index as an index of one namespace."""

    def __init__(self, shared):
        self.shared = shared

    def add(self, entry, vector):
        self.shared.add("acme:1", entry, vector, entry.encode(), 60.0)

    def remove(self, entry):
        self.shared.remove("acme:1", entry)

    def nearest(self, vector, count):
        return [(each.entry, each.cosine) for each in self.shared.nearest("acme:1", vector, count)]


@pytest.fixture(params=["pgvector", "redis"])
def url(request, postgres):
    """The URL of a server that keeps vectors, and nothing yet."""
    if request.param == "pgvector":
        made = postgres.new()
        yield made
        postgres.drop(made)
        return
    made = request.getfixturevalue("redis_vectors")
    with redis.Redis.from_url(made) as client:
        client.flushall()
    yield made


@pytest.fixture
def opened(url, tmp_path):
    """A maker of shared indexes on that server."""
    made = []

    def open_one(entries=100):
        if url.startswith("redis"):  # whose 0.2 s may pass on a busy machine
            made.append(RedisIndex(url, entries=entries, timeout=5.0))
        else:
            made.append(open_index(url, entries=entries, folder=tmp_path))
        return made[-1]

    yield open_one
    for each in made:
        each.close()


@pytest.fixture
def pgvector(postgres, tmp_path):
    url, now = postgres.new(), [1000.0]
    index = PgVectorIndex(url, entries=100, folder=tmp_path, clock=lambda: now[0])
    yield index, now
    index.close()
    postgres.drop(url)


@pytest.fixture
def on_redis(redis_vectors):
    with redis.Redis.from_url(redis_vectors) as client:
        client.flushall()
        index = RedisIndex(redis_vectors, entries=100, timeout=5.0)
        yield index, client
        index.close()


@pytest.fixture(params=["rows", "graph", "growing", "moving", "pgvector", "redis"])
def index(request):
    shared = {"pgvector": "pgvector", "redis": "on_redis"}
    if request.param in shared:
        return OneSpace(request.getfixturevalue(shared[request.param])[0])
    return {"rows": Rows, "graph": lambda: Graph(WIDTH), "growing": Growing, "moving": lambda: Growing(large=8)}[
        request.param
    ]()


def vectors(count, seed=1):
    found = np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_an_empty_index_has_nothing_near(index):
    assert list(index.nearest(vectors(1)[0], 5)) == []


def test_the_nearest_come_first_with_their_cosine(index):
    rows = vectors(40)
    for number, row in enumerate(rows):
        index.add(f"e{number}", row)
    asked = vectors(1, seed=2)[0]
    wanted = np.argsort(-(rows @ asked))[:5]
    found = index.nearest(asked, 5)
    assert [entry for entry, _ in found] == [f"e{number}" for number in wanted]
    assert [cosine for _, cosine in found] == pytest.approx((rows @ asked)[wanted].tolist(), abs=0.002)


def test_fewer_are_returned_when_there_are_no_more(index):
    for number, row in enumerate(vectors(3)):
        index.add(f"e{number}", row)
    assert len(index.nearest(vectors(1)[0], 5)) == 3


def test_what_was_removed_is_not_found_and_its_place_is_used_again(index):
    rows = vectors(30)
    for number, row in enumerate(rows):
        index.add(f"e{number}", row)
    for number in range(0, 30, 2):
        index.remove(f"e{number}")
    index.remove("e0")
    index.remove("nobody")
    assert {entry for entry, _ in index.nearest(rows[0], 30)} == {f"e{number}" for number in range(1, 30, 2)}
    index.add("new", rows[0])
    assert index.nearest(rows[0], 1)[0][0] == "new"


def test_an_entry_put_again_has_its_new_place_alone(index):
    rows = vectors(2)
    index.add("e", rows[0])
    index.add("e", rows[1])
    found = index.nearest(rows[1], 5)
    assert [entry for entry, _ in found] == ["e"] and found[0][1] == pytest.approx(1.0, abs=0.002)


def test_the_index_in_memory_finds_what_brute_force_finds_whatever_came_and_went():
    dice, rows, held = np.random.default_rng(0), Rows(), {}
    for step in range(600):
        name = str(dice.integers(200))
        if dice.random() < 0.3:
            rows.remove(name)
            held.pop(name, None)
        else:
            held[name] = vectors(1, seed=step)[0]
            rows.add(name, held[name])
    asked = vectors(1, seed=1000)[0]
    wanted = sorted(held, key=lambda name: -float(held[name] @ asked))[:7]
    assert [name for name, _ in rows.nearest(asked, 7)] == wanted


def test_a_large_index_moves_into_the_graph_step_by_step_and_loses_nothing():
    index, rows = Growing(large=100), vectors(260)
    for number, row in enumerate(rows):
        index.add(f"e{number}", row)
        if number == 101:
            assert 0 < index.sizes[0] < 100 and index.nearest(rows[0], 1)[0][0] == "e0"
    assert index.sizes == (0, 260)
    assert [index.nearest(row, 1)[0][0] for row in rows[::20]] == [f"e{number}" for number in range(0, 260, 20)]


def test_a_shared_index_keeps_what_belongs_to_an_entry_apart_by_namespace(opened):
    row, index = vectors(1)[0], opened()
    index.add("acme:1", "a", row, b"payload", 60.0)
    assert [each.payload for each in index.nearest("acme:1", row, 5)] == [b"payload"]
    assert index.nearest("other:1", row, 5) == []
    assert not index.remove("other:1", "a") and index.remove("acme:1", "a")


def test_another_worker_sees_what_this_one_put(opened):
    row, one, other = vectors(1)[0], opened(), opened()
    one.add("acme:1", "a", row, b"x", 60.0)
    assert [each.entry for each in other.nearest("acme:1", row, 5)] == ["a"]


def test_what_is_over_is_not_found_on_redis_and_leaves_its_vector_set(on_redis):
    (index, client), row = on_redis, vectors(1)[0]
    for name in "ab":
        index.add("acme:1", name, row, b"x", 60.0)
    client.delete("llmapi:meaning:{acme:1}:a")  # as its time does
    assert [each.entry for each in index.nearest("acme:1", row, 5)] == ["b"]
    assert client.execute_command("VCARD", "llmapi:meaning:{acme:1}") == 1
    assert 59_000 < client.pttl("llmapi:meaning:{acme:1}") <= 60_000, "the set is over with its last entry"


def test_what_is_over_is_not_found_and_is_cleared_away(pgvector):
    (index, now), row = pgvector, vectors(1)[0]
    index.add("acme:1", "old", row, b"x", 10.0)
    now[0] = 1010.0
    assert index.nearest("acme:1", row, 5) == []
    for number in range(64):
        index.add("acme:1", f"e{number}", row, b"x", 10.0)
    now[0] = 1000.0
    assert "old" not in {each.entry for each in index.nearest("acme:1", row, 100)}


def test_a_namespace_on_a_server_is_bounded(opened):
    index, row = opened(entries=10), vectors(1)[0]
    for number in range(64):
        index.add("acme:1", f"e{number}", row, b"x", 60.0)
    assert len(index.nearest("acme:1", row, 100)) == 10


def test_a_redis_without_vector_sets_is_told_as_busy(valkey):
    index = RedisIndex(valkey.url, entries=10)
    with pytest.raises(Overloaded):
        index.nearest("acme:1", vectors(1)[0], 5)
    with pytest.raises(Overloaded):
        index.add("acme:1", "a", vectors(1)[0], b"x", 60.0)
    index.close()


def test_a_server_that_failed_is_left_alone_for_a_while_and_then_asked_by_one():
    asked, now, works = [], [0.0], [False]

    class Shaky:
        def remove(self, space, entry):
            asked.append(now[0])
            if not works[0]:
                raise Overloaded("away")
            return True

    index = Guarded(Shaky(), lambda: now[0])
    for moment in (0.0, 0.5, 1.0, 1.5, 2.9, 3.0):
        now[0] = moment
        with pytest.raises(Overloaded):
            index.remove("acme:1", "a")
    assert asked == [0.0, 1.0, 3.0]
    now[0], works[0] = 7.0, True
    assert index.remove("acme:1", "a") and index.remove("acme:1", "a")


def test_a_server_nobody_hears_costs_its_time_limit_and_no_more(tmp_path):
    index = RedisIndex("redis://127.0.0.1:1/0", entries=10, timeout=0.1)
    began = time.monotonic()
    with pytest.raises(Overloaded):
        index.nearest("acme:1", vectors(1)[0], 5)
    assert time.monotonic() - began < 2.0


def test_a_url_nobody_knows_stops_the_start(tmp_path):
    with pytest.raises(BadSetting):
        open_index("chroma://x", entries=10, folder=tmp_path)


def test_the_graph_may_be_loaded_before_the_embedder():
    loaded = "import llmapi.cache.index_usearch, onnxruntime"
    assert subprocess.run([sys.executable, "-c", loaded]).returncode == 0
