"""What happens to limits while the place they are counted at is away."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmapi.core.errors import BadSetting
from llmapi.db.counting import counters_at
from llmapi.db.process_counters import ProcessCounters
from llmapi.db.sliding import CountersAway, Sliding
from llmapi.db.spare_counters import SteadyCounters
from tests.db.counting import Clock, Place, charge
from tests.gateway.conftest import run
from tests.servers.databases import Postgres
from tests.servers.valkey import Valkey


class Moody(ProcessCounters):
    """Counters that can be told to be away."""

    STORAGE_SCHEME = ["moody"]
    away = False
    asked = 0

    def take(self, charges, amount=1):
        self.asked += 1
        if self.away:
            raise CountersAway("not now")
        return super().take(charges, amount)


@pytest.fixture
def moody() -> Moody:
    return Moody(clock=Clock())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def steady(moody, clock) -> SteadyCounters:
    return SteadyCounters(moody, workers=4, spare=ProcessCounters(clock=clock), clock=clock)


def test_alone_a_process_lets_its_share_pass_and_what_it_let_pass_before_is_counted_in(steady, moody):
    assert steady.take([charge(12)]).counted
    moody.away = True
    assert [steady.take([charge(12)]).counted for _ in range(4)] == [True, True, False, False]
    assert [steady.take([charge(2, key="small")]).counted for _ in range(2)] == [True, False]


def test_while_they_are_away_one_hit_a_second_tries_them(steady, moody, clock):
    moody.away = True
    for _ in range(30):
        steady.take([charge(1000)])
        clock.now += 0.1
    assert moody.asked == 3


def test_after_their_return_all_is_as_before_within_a_second(steady, moody, clock, caplog):
    moody.away = True
    steady.take([charge(4)])
    assert steady.away
    moody.away = False
    clock.now += 1.0
    assert [steady.take([charge(4)]).counted for _ in range(5)] == [True] * 4 + [False]
    assert not steady.away
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


@pytest.fixture
def at_valkey(valkey: Valkey, tmp_path: Path) -> Iterator[Sliding]:
    place = Place("redis", valkey.url, tmp_path)
    yield place.open()
    place.close()


def slowest(steady: SteadyCounters, hits: int) -> float:
    """Return the seconds of the slowest of some hits."""
    spent = []
    for _ in range(hits):
        begin = time.monotonic()
        steady.take([charge(1000)])
        spent.append(time.monotonic() - begin)
    return max(spent)


def test_a_killed_valkey_costs_no_hit_much_time_and_is_used_again_once_it_is_back(valkey, at_valkey):
    steady = SteadyCounters(at_valkey, rest=0.1)
    steady.take([charge(1000)])
    valkey.kill()
    assert slowest(steady, 50) < 0.3
    assert steady.away
    valkey.start()
    valkey.until(lambda: steady.take([charge(1000)]).counted and not steady.away, 5.0)


def test_a_frozen_valkey_costs_no_hit_much_time_and_is_used_again_once_it_thaws(valkey, at_valkey):
    steady = SteadyCounters(at_valkey, rest=0.1)
    steady.take([charge(1000)])
    server = int(valkey.client().info("server")["process_id"])
    os.kill(server, signal.SIGSTOP)
    try:
        assert 0.05 < slowest(steady, 50) < 0.3
        assert steady.away
    finally:
        os.kill(server, signal.SIGCONT)
    valkey.until(lambda: steady.take([charge(1000)]).counted and not steady.away, 5.0)


def test_when_valkey_freezes_all_who_wait_are_told_together(valkey, at_valkey):
    steady = SteadyCounters(at_valkey)
    steady.take([charge(1000)])
    server = int(valkey.client().info("server")["process_id"])
    os.kill(server, signal.SIGSTOP)
    try:
        spent = run(*[lambda: slowest(steady, 3)] * 24)
    finally:
        os.kill(server, signal.SIGCONT)
    assert 0.1 < max(spent) < 0.5


def test_to_wait_for_one_s_turn_is_no_sign_that_valkey_is_away(at_valkey):
    at_valkey.take([charge(40)])
    with at_valkey._turn:  # a process that is too busy to go on
        passed: list[bool] = []
        hit = lambda: passed.append(at_valkey.take([charge(40)]).counted)
        threads = [threading.Thread(target=hit) for _ in range(8)]
        for thread in threads:
            thread.start()
        threading.Event().wait(0.5)
    for thread in threads:
        thread.join(5)
    assert passed == [True] * 8


def test_a_connection_valkey_has_closed_meanwhile_is_no_failure(valkey, at_valkey):
    at_valkey.take([charge(2)])
    valkey.client().client_kill_filter(_type="normal", skipme=True)
    valkey.client().script_flush()
    assert [at_valkey.take([charge(2)]).counted for _ in range(2)] == [True, False]


def test_valkey_forgets_a_window_that_is_over(valkey, at_valkey):
    at_valkey.take([charge(100, 2.0)])
    assert 1900 < valkey.client().pttl("llmapi:limits:k") <= 2002


def test_a_restart_of_postgresql_is_no_failure(postgres: Postgres, tmp_path):
    url = postgres.new()
    place = Place("postgresql", url, tmp_path)
    counters = place.open()
    counters.take([charge(2)])
    postgres.disconnect_all()
    assert [counters.take([charge(2)]).counted for _ in range(2)] == [True, False]
    place.close()
    postgres.drop(url)


def test_a_postgresql_that_is_not_there_is_away(tmp_path):
    counters = Place("postgresql", "postgresql://127.0.0.1:1/nothing", tmp_path).open()
    assert not counters.check()
    with pytest.raises(CountersAway):
        counters.take([charge(2)])


def test_where_to_count_is_chosen_by_a_url(tmp_path):
    at = lambda url, **more: counters_at(url, folder=tmp_path, **more).partition("://")[0]
    assert [at(""), at("", alone=True), at("memory://")] == ["counters", "process", "process"]
    assert [at("rediss://x"), at("postgresql+psycopg://x")] == ["counters+rediss", "counters+postgresql"]
    assert [at("database", database_url=url) for url in ("", "postgresql://x")] == ["counters", "counters+postgresql"]
    with pytest.raises(BadSetting, match="LLMAPI_LIMIT_URL"):
        at("memcached://x")


@pytest.mark.parametrize("url", ["redis://127.0.0.1:port/0", "postgresql://127.0.0.1:port/x"])
def test_a_url_that_cannot_be_read_stops_the_start(tmp_path, url):
    with pytest.raises(BadSetting, match="cannot be read"):
        Place("", url, tmp_path).open()
