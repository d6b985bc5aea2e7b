"""Memory over a real server: what one process keeps, all find, and a server that is away costs nobody an answer."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llmapi.cache.memory import MemoryCache
from llmapi.cache.record import VERSION
from llmapi.cache.redis import RedisServer
from llmapi.cache.shelf import ANSWERS
from llmapi.cache.tiered import TieredCache
from llmapi.core.calls import Completion
from llmapi.core.kept import About, Mark
from tests.servers.valkey import Valkey

WAIT = 0.06  # seconds a lookup may take longer because the server is away
Open = Callable[..., TieredCache]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open caches as processes of their own would; all are closed."""
    every: list[TieredCache] = []

    def one(url: str, start: bool = True, **said: Any) -> TieredCache:
        cache = TieredCache(MemoryCache(8, 60.0, **said), RedisServer(url))
        every.append(cache)
        if start:
            cache.start()
        return cache

    yield one
    for cache in every:
        cache.close()


def put(cache: TieredCache, key: str = "acme:k", text: str = "x", **about: Any) -> None:
    cache.put(key, Completion(text), provider="p", model="m", about=About("acme", "text", **about))


def text_of(cache: TieredCache, key: str = "acme:k", **said: Any) -> str | None:
    kept = cache.get(key, **said)
    return None if kept is None else kept.completion.text


def seconds(work: Callable[[], object]) -> float:
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def test_what_one_process_keeps_another_finds_in_one_round_trip(opened: Open, valkey: Valkey) -> None:
    one, two = opened(valkey.url), opened(valkey.url)
    put(one)
    text_of(two, "acme:other")  # it is connected
    before = valkey.client().info("stats")["total_commands_processed"]
    assert text_of(two) == "x"
    assert valkey.client().info("stats")["total_commands_processed"] - before == 2  # and this asking
    assert two.stats()["shared_hits"] == 1
    valkey.kill()
    assert text_of(two) == "x"  # it is in its memory now


def test_the_server_keeps_an_answer_for_its_time_and_grace(opened: Open, valkey: Valkey) -> None:
    put(opened(valkey.url, grace=30.0))
    assert 85_000 < valkey.client().pttl(ANSWERS + "acme:k") <= 90_000


def test_a_record_of_another_version_or_damaged_is_a_miss(opened: Open, valkey: Valkey) -> None:
    one, two = opened(valkey.url), opened(valkey.url)
    put(one)
    packed = valkey.client().get(ANSWERS + "acme:k")
    for bad in (bytes([VERSION + 1]) + packed[1:], packed[:-1], b"", b"\x80\x04K\x01."):
        valkey.client().set(ANSWERS + "acme:k", bad)
        assert text_of(two) is None


def test_a_newer_answer_of_the_server_comes_before_a_stale_one_here(opened: Open, valkey: Valkey) -> None:
    now = [1000.0]
    one, two = (opened(valkey.url, clock=lambda: now[0], grace=100.0) for _ in range(2))
    put(one, text="old")
    now[0] += 70
    put(two, text="new")
    assert text_of(one, stale=True) == "new"


def test_dropped_and_marked_answers_are_served_nowhere(opened: Open, valkey: Valkey) -> None:
    one, two = opened(valkey.url), opened(valkey.url)
    put(one, "acme:a")
    put(one, "acme:b", tags=("v1",))
    put(one, "acme:c")
    assert one.drop(["acme:a", "acme:none"]) == 1
    two.mark([Mark("acme", "tag", "v1", time.time())])
    assert [text_of(two, f"acme:{key}") for key in "abc"] == [None, None, "x"]


def stop(valkey: Valkey, number: int) -> None:
    os.kill(valkey.client().info("server")["process_id"], number)


def test_a_killed_server_fails_nobody_and_is_found_again(opened: Open, valkey: Valkey) -> None:
    cache = opened(valkey.url)
    put(cache, "acme:a")
    valkey.kill()
    assert seconds(lambda: put(cache, "acme:b")) < WAIT
    assert [text_of(cache, f"acme:{key}") for key in "abc"] == ["x", "x", None]
    assert cache.health()["status"] == "degraded"
    valkey.start()
    valkey.until(lambda: cache.health()["status"] == "ok", 5.0)
    put(cache, "acme:d")
    assert valkey.client().exists(ANSWERS + "acme:d")
    assert not valkey.client().exists(ANSWERS + "acme:b")  # what was written while it was away is not written later


def test_a_frozen_server_costs_one_short_wait_and_what_is_dropped_meanwhile_stays_dropped(
    opened: Open, valkey: Valkey
) -> None:
    cache, other = opened(valkey.url), opened(valkey.url)
    put(other)
    text_of(cache, "acme:other")
    process = valkey.client().info("server")["process_id"]
    os.kill(process, signal.SIGSTOP)
    try:
        assert seconds(lambda: text_of(cache)) < WAIT
        assert seconds(lambda: [text_of(cache) for _ in range(100)]) < WAIT
        cache.drop(["acme:k"])
    finally:
        os.kill(process, signal.SIGCONT)
    valkey.until(lambda: cache.health()["status"] == "ok", 5.0)
    assert valkey.client().exists(ANSWERS + "acme:k")
    assert text_of(cache) is None


def test_many_threads_at_a_server_that_never_answers_each_wait_once_at_most(opened: Open) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as hole:
        cache = opened(f"redis://127.0.0.1:{hole.getsockname()[1]}/1")
        took: list[float] = []
        work = [threading.Thread(target=lambda: took.append(seconds(lambda: text_of(cache)))) for _ in range(64)]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join(10)
        assert len(took) == 64 and sorted(took)[60] < 2 * WAIT
        assert seconds(lambda: text_of(cache)) < 0.01


def test_a_flapping_server_fails_nobody(opened: Open, valkey: Valkey) -> None:
    cache, over = opened(valkey.url), threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        number = 0
        try:
            while not over.is_set():
                put(cache, f"acme:{number % 20}")
                text_of(cache, f"acme:{(number + 7) % 20}")
                number += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        valkey.kill()
        valkey.start()
    over.set()
    for thread in threads:
        thread.join(5)
    assert failures == []
    valkey.until(lambda: cache.health()["status"] == "ok", 5.0)


def test_who_never_started_it_finds_the_server_again_too(opened: Open, valkey: Valkey) -> None:
    now = [0.0]
    server = RedisServer(valkey.url, clock=lambda: now[0])
    cache = TieredCache(MemoryCache(8, 60.0), server)
    valkey.kill()
    put(cache)
    valkey.start()
    assert not server.up
    now[0] = 1.5
    put(cache)
    assert (server.up, server.health()["status"]) == (True, "ok")
    cache.close()
